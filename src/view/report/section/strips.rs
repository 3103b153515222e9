//! What was in flight and what came back, replica by replica, along one axis of time.

use super::super::Reported;
use super::super::chart::{WIDTH, drawing, line, text};
use super::super::markup::{Markup, length};
use super::super::scale::{Scale, tick};
use super::super::sheet::Sheet;
use super::{figure, plot, seconds};
use crate::results::{Record, by_instance};
use crate::view::words::number;

/// Stretches of time that are told apart.
const BINS: usize = 240;

const LEFT: f64 = 110.0;
const RIGHT: f64 = 40.0;
const STRIP: f64 = 44.0;
const GAP: f64 = 8.0;
const BOTTOM: f64 = 38.0;

/// One replica in time.
struct Strip<'a> {
    name: &'a str,
    colour: usize,
    /// The most requests in flight within each stretch.
    in_flight: Vec<f64>,
    /// Tokens each second within each stretch.
    tokens: Vec<f64>,
}

/// The strips of each load; nothing where nothing ran beside anything.
pub(in super::super) fn strips(it: &Reported) -> Option<Markup> {
    let mut out = Markup::default();
    for (point, records) in it.loads() {
        if point.summary.metrics.in_flight.peak < 2 {
            continue;
        }
        let Some((strips, span)) = of(it, records) else {
            continue;
        };
        if it.result.points.len() > 1 {
            out.words("h4", &[], &point.load.label());
        }
        let caption = "As the client saw it: requests sent and not ended, and tokens that came.";
        figure(&mut out, caption, |out| {
            plot(out, &draw(&strips, span, &point.load.label()));
        });
        table(&strips, span).write(&mut out);
    }
    (!out.is_empty()).then_some(out)
}

/// The strips of the replicas that served, and the seconds that they are of.
fn of<'a>(it: &'a Reported, records: &'a [Record]) -> Option<(Vec<Strip<'a>>, f64)> {
    let served = by_instance(records);
    let start = records.iter().filter_map(|it| it.stamps.sent).min()?;
    let end = records.iter().map(|it| it.stamps.ended).max()?;
    let span = seconds(end.saturating_sub(start)).max(1e-6);
    let at = |us: u64| seconds(us.saturating_sub(start)) / span;
    let instances = it.instances().into_iter().enumerate();
    let strips: Vec<Strip<'_>> = instances
        .filter_map(|(colour, name)| {
            let records = served.get(name)?;
            Some(Strip {
                name,
                colour,
                in_flight: in_flight(records, at),
                tokens: tokens(records, at, span),
            })
        })
        .collect();
    (!strips.is_empty()).then_some((strips, span))
}

/// The stretch in which a moment lies; moments are shares of the whole.
fn bin(share: f64, bins: usize) -> usize {
    ((share * bins as f64) as usize).min(bins - 1)
}

fn in_flight(records: &[&Record], at: impl Fn(u64) -> f64) -> Vec<f64> {
    let mut edges: Vec<(u64, i64)> = Vec::new();
    for record in records {
        if let Some(sent) = record.stamps.sent {
            edges.extend([(sent, 1), (record.stamps.ended.max(sent), -1)]);
        }
    }
    edges.sort_unstable();
    let mut most = vec![0.0_f64; BINS];
    let (mut now, mut from) = (0_i64, 0);
    for (moment, step) in edges {
        let to = bin(at(moment), BINS);
        for stretch in &mut most[from..=to] {
            *stretch = stretch.max(now as f64);
        }
        now += step;
        from = to;
        most[to] = most[to].max(now as f64);
    }
    most
}

/// Fewer stretches than of the others: a rate needs some tokens in each.
fn tokens(records: &[&Record], at: impl Fn(u64) -> f64, span: f64) -> Vec<f64> {
    let bins = BINS / 4;
    let mut rates = vec![0.0; bins];
    for (moment, n) in records.iter().flat_map(|it| &it.tokens) {
        rates[bin(at(*moment), bins)] += *n as f64 * bins as f64 / span;
    }
    rates
}

fn most(all: &[f64]) -> f64 {
    all.iter().copied().fold(0.0, f64::max)
}

fn draw(strips: &[Strip<'_>], span: f64, label: &str) -> Markup {
    let rows = strips.len() * 2;
    let bottom = rows as f64 * (STRIP + GAP);
    let x = Scale::between(0.0, span, LEFT, WIDTH - RIGHT);
    let mut out = Markup::default();
    let attributes = drawing(
        &format!("What each replica had to do under {label}"),
        WIDTH,
        bottom + BOTTOM,
    );
    let attributes = attributes
        .each_ref()
        .map(|(name, value)| (*name, value.as_str()));
    // One scale for all replicas, or the idle one would look as busy as the others.
    let flying = strips
        .iter()
        .map(|it| most(&it.in_flight))
        .fold(0.0, f64::max);
    let coming = strips.iter().map(|it| most(&it.tokens)).fold(0.0, f64::max);
    out.element("svg", &attributes, |out| {
        for value in x.ticks(8) {
            let at = x.at(value);
            line(out, "grid", [at, 0.0, at, bottom]);
            text(out, "tick middle", at, bottom + 14.0, &tick(value));
        }
        for (place, strip) in strips.iter().enumerate() {
            let top = |row: usize| (place * 2 + row) as f64 * (STRIP + GAP);
            let class = format!("s{}", strip.colour);
            out.element("g", &[("class", &class)], |out| {
                area(out, &strip.in_flight, flying, top(0));
                area(out, &strip.tokens, coming, top(1));
            });
            beside(out, [strip.name, "in flight", &whole(flying)], top(0));
            beside(out, [strip.name, "tok/s", &number(coming)], top(1));
        }
        let middle = f64::midpoint(LEFT, WIDTH - RIGHT);
        text(
            out,
            "name middle",
            middle,
            bottom + 32.0,
            "s since the first was sent",
        );
    });
    out
}

/// A count.
fn whole(count: f64) -> String {
    format!("{count:.0}")
}

fn beside(out: &mut Markup, [name, what, most]: [&str; 3], top: f64) {
    text(out, "end", LEFT - 8.0, top + 18.0, name);
    text(out, "tick end", LEFT - 8.0, top + 33.0, what);
    text(out, "tick", WIDTH - RIGHT + 4.0, top + 10.0, most);
    line(out, "axis", [LEFT, top + STRIP, WIDTH - RIGHT, top + STRIP]);
}

/// A filled outline of equally long stretches.
fn area(out: &mut Markup, values: &[f64], most: f64, top: f64) {
    let wide = (WIDTH - RIGHT - LEFT) / values.len() as f64;
    let high = |value: f64| top + STRIP - STRIP * value / most.max(1e-9);
    let mut path = format!("M{} {}", length(LEFT), length(top + STRIP));
    let mut before = None;
    for (place, value) in values.iter().enumerate() {
        let at = high(*value);
        if before != Some(at) {
            let left = LEFT + wide * place as f64;
            path += &format!("H{}V{}", length(left), length(at));
            before = Some(at);
        }
    }
    path += &format!("H{}V{}Z", length(WIDTH - RIGHT), length(top + STRIP));
    out.shape("path", &[("class", "area"), ("d", &path)]);
}

fn table(strips: &[Strip<'_>], span: f64) -> Sheet {
    let mut sheet = Sheet::new(&[
        ("replica", false),
        ("most in flight", true),
        ("busy s", true),
        ("most tok/s", true),
    ]);
    for strip in strips {
        let busy = strip.in_flight.iter().filter(|it| **it > 0.0).count();
        sheet.row(vec![
            strip.name.to_owned(),
            whole(most(&strip.in_flight)),
            number(busy as f64 * span / BINS as f64),
            number(most(&strip.tokens)),
        ]);
    }
    sheet
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::scene::request;

    #[test]
    fn what_is_in_flight_is_counted_where_it_is() {
        let all = [
            request(0, "a", 0.0, 10.0, 500.0),
            request(1, "a", 250.0, 260.0, 1000.0),
        ];
        let records: Vec<&Record> = all.iter().collect();
        let at = |us: u64| us as f64 / 1e6;
        let counted = in_flight(&records, at);
        let quarters = [0.1, 0.3, 0.7].map(|share| counted[bin(share, BINS)]);
        assert_eq!(quarters.map(|it| it as i64), [1, 2, 1]);
        let rates = tokens(&records, at, 1.0);
        let mean = rates.iter().sum::<f64>() / rates.len() as f64;
        assert!((mean - 200.0).abs() < 1e-6, "{mean}");
    }
}
