//! Each request as a bar from its sending to its end, coloured by who served it: the picture in which
//! a cold replica, or one that serves one request after another, cannot be overlooked.

use super::super::Reported;
use super::super::chart::{WIDTH, drawing, line, text};
use super::super::markup::{Markup, length};
use super::super::scale::{Scale, tick};
use super::super::sheet::{Sheet, Swatch, legend};
use super::super::thin::{evenly, requests};
use super::{figure, known, plot, seconds};
use crate::results::{Point, Record};
use crate::view::words::number;

/// As many bars as can be told apart.
const BARS: usize = 300;

/// As many requests as are written out below.
const WRITTEN: usize = 100;

const LEFT: f64 = 54.0;
const RIGHT: f64 = 14.0;
const TOP: f64 = 6.0;
const BOTTOM: f64 = 38.0;

/// The timelines of all loads of a result; nothing where its requests were not kept.
pub(in super::super) fn timeline(it: &Reported) -> Markup {
    let mut out = Markup::default();
    for (point, records) in it.loads().filter(|(_, records)| records.len() > 1) {
        if it.result.points.len() > 1 {
            out.words("h4", &[], &point.load.label());
        }
        one(&mut out, it, point, records);
    }
    out
}

fn one(out: &mut Markup, it: &Reported, point: &Point, records: &[Record]) {
    let shown = requests(records, BARS);
    let instances = it.instances();
    let names = instances.iter().enumerate();
    let names: Vec<_> = names
        .map(|(colour, name)| ((*name).to_owned(), colour))
        .collect();
    let mut caption =
        "Pale: until the first token. Full: while tokens came. Outlined: failed.".to_owned();
    if shown.len() < records.len() {
        let (few, all) = (shown.len(), records.len());
        caption = format!(
            "{caption} {few} of {all} requests are drawn; those that failed or were slowest are \
             among them."
        );
    }
    let start = shown
        .iter()
        .filter_map(|it| it.stamps.sent)
        .min()
        .unwrap_or(0);
    figure(out, &caption, |out| {
        legend(out, &names, Swatch::Bar);
        plot(out, &draw(&shown, &instances, start, &point.load.label()));
    });
    table(records, start).write(out);
}

/// The height of one bar, so that few are seen well and many go onto a page.
fn bar(bars: usize) -> f64 {
    match bars {
        0..=16 => 14.0,
        17..=50 => 8.0,
        51..=120 => 4.0,
        _ => 2.0,
    }
}

fn draw(shown: &[&Record], instances: &[&str], start: u64, label: &str) -> Markup {
    let each = bar(shown.len());
    let height = TOP + each * shown.len() as f64 + BOTTOM;
    let ends = shown
        .iter()
        .map(|it| seconds(it.stamps.ended.saturating_sub(start)));
    let end = ends.fold(1e-6, f64::max);
    let x = Scale::between(0.0, end, LEFT, WIDTH - RIGHT);
    let mut out = Markup::default();
    let attributes = drawing(&format!("The requests of {label} in time"), WIDTH, height);
    let attributes = attributes
        .each_ref()
        .map(|(name, value)| (*name, value.as_str()));
    out.element("svg", &attributes, |out| {
        for value in x.ticks(8) {
            let at = x.at(value);
            line(out, "grid", [at, TOP, at, height - BOTTOM]);
            text(out, "tick middle", at, height - BOTTOM + 16.0, &tick(value));
        }
        for (place, record) in shown.iter().enumerate() {
            let top = TOP + each * place as f64;
            request(out, record, instances, [top, each * 0.8], |at| {
                x.at(seconds(at.saturating_sub(start)))
            });
        }
        line(
            out,
            "axis",
            [LEFT, height - BOTTOM, WIDTH - RIGHT, height - BOTTOM],
        );
        let middle = f64::midpoint(LEFT, WIDTH - RIGHT);
        text(
            out,
            "name middle",
            middle,
            height - 6.0,
            "s since the first was sent",
        );
        text(out, "tick end", LEFT - 6.0, TOP + 10.0, "first");
        if shown.len() > 4 {
            text(out, "tick end", LEFT - 6.0, height - BOTTOM - 2.0, "last");
        }
    });
    out
}

/// One request, at a height, as high as that.
fn request(
    out: &mut Markup,
    record: &Record,
    instances: &[&str],
    [top, high]: [f64; 2],
    x: impl Fn(u64) -> f64,
) {
    let stamps = &record.stamps;
    let Some(sent) = stamps.sent else { return };
    let served = instances
        .iter()
        .position(|it| record.instance.as_deref() == Some(it));
    let class = served
        .map(|colour| format!("s{colour}"))
        .unwrap_or_default();
    out.element("g", &[("class", &class)], |out| {
        out.words("title", &[], &told(record));
        let mut part = |class: &str, from: u64, to: u64| {
            let (left, right) = (x(from), x(to));
            let [left, top, wide, high] = [left, top, (right - left).max(0.6), high].map(length);
            out.shape(
                "rect",
                &[
                    ("class", class),
                    ("x", &left),
                    ("y", &top),
                    ("width", &wide),
                    ("height", &high),
                ],
            );
        };
        if !record.is_ok() {
            part("failed", sent, stamps.ended);
            return;
        }
        let first = stamps.first.unwrap_or(stamps.ended);
        part("wait", sent, first);
        part("tokens", first, stamps.last.unwrap_or(stamps.ended));
    });
}

/// What is said of a request where somebody points at it.
fn told(record: &Record) -> String {
    let by = record.instance.as_deref().unwrap_or("nobody that is known");
    let what = if record.is_ok() {
        let tokens = record
            .n_out
            .map(|n| format!("{n} tokens, "))
            .unwrap_or_default();
        let ttft = record
            .ttft_ms()
            .map(|ms| format!("TTFT {} ms, ", number(ms)));
        let whole = record.e2el_ms().map(|ms| format!("e2el {} ms", number(ms)));
        tokens + &ttft.unwrap_or_default() + &whole.unwrap_or_default()
    } else {
        record.status.word().to_owned()
    };
    format!("request {}, {by}: {what}", record.index)
}

fn table(records: &[Record], start: u64) -> Sheet {
    let mut sheet = Sheet::new(&[
        ("request", true),
        ("served by", false),
        ("", false),
        ("sent s", true),
        ("TTFT ms", true),
        ("TPOT ms", true),
        ("e2el ms", true),
        ("tokens in", true),
        ("out", true),
    ]);
    for record in evenly(&records.iter().collect::<Vec<_>>(), WRITTEN) {
        let sent = record
            .stamps
            .sent
            .map(|at| seconds(at.saturating_sub(start)));
        let number_of = |it: Option<u64>| it.map(|n| n.to_string()).unwrap_or_default();
        sheet.row(vec![
            record.index.to_string(),
            record.instance.clone().unwrap_or_default(),
            record.status.word().to_owned(),
            sent.map(|it| format!("{it:.3}")).unwrap_or_default(),
            known(record.ttft_ms()),
            known(record.tpot_ms()),
            known(record.e2el_ms()),
            number_of(record.n_in),
            number_of(record.n_out),
        ]);
    }
    sheet
}
