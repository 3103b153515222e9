//! How latencies are distributed: of each load, or of each replica where there is one load.

use super::super::Reported;
use super::super::chart::{Axis, Chart, Dot, HALF, Lies, Look, MOST_SERIES, Series};
use super::super::markup::Markup;
use super::super::sheet::{Sheet, Swatch, legend};
use super::super::thin::evenly;
use super::{figure, plot, quantile};
use crate::results::Record;
use crate::results::quantile::Distribution;
use crate::view::words::number;

/// Fewer requests have no distribution to look at.
const FEW: usize = 5;

/// As many steps of a curve as can be told apart.
const STEPS: usize = 200;

/// A latency of a request, in ms.
type Latency = fn(&Record) -> Option<f64>;

const LATENCIES: [(&str, Latency); 3] = [
    ("TTFT", Record::ttft_ms),
    ("TPOT", Record::tpot_ms),
    ("e2el", Record::e2el_ms),
];

/// Requests that are drawn as one curve.
struct Group<'a> {
    name: String,
    colour: usize,
    records: Vec<&'a Record>,
}

/// The curves, with the percentiles below; nothing where there are no requests to draw.
pub(in super::super) fn distributions(it: &Reported) -> Markup {
    let groups = groups(it);
    if groups.iter().all(|group| group.records.len() < FEW) {
        return Markup::default();
    }
    let mut out = Markup::default();
    let names: Vec<_> = groups
        .iter()
        .map(|it| (it.name.clone(), it.colour))
        .collect();
    legend(&mut out, &names, Swatch::Line);
    out.element("div", &[("class", "plots")], |out| {
        for (name, latency) in LATENCIES {
            curves(out, name, latency, &groups);
        }
    });
    table(&groups).write(&mut out);
    out
}

/// The loads; of one load, its replicas; of one replica, all of it.
fn groups(it: &Reported) -> Vec<Group<'_>> {
    let loads: Vec<_> = it.loads().collect();
    let ok = |records: &'_ [Record]| -> Vec<usize> {
        (0..records.len()).filter(|&i| records[i].is_ok()).collect()
    };
    if let [(_, records)] = loads.as_slice() {
        let served = it.instances();
        let by = |name: &str| -> Vec<&Record> {
            let places = ok(records).into_iter().map(|i| &records[i]);
            places
                .filter(|record| record.instance.as_deref() == Some(name))
                .collect()
        };
        let each = served
            .iter()
            .enumerate()
            .take(MOST_SERIES)
            .map(|(colour, name)| Group {
                name: (*name).to_owned(),
                colour,
                records: by(name),
            });
        let each: Vec<_> = each.filter(|group| !group.records.is_empty()).collect();
        if each.len() > 1 {
            return each;
        }
    }
    let places: Vec<usize> = (0..loads.len()).collect();
    let shown = evenly(&places, MOST_SERIES).into_iter().enumerate();
    let groups = shown.map(|(colour, place)| {
        let (point, records) = loads[place];
        Group {
            name: point.load.label(),
            colour,
            records: ok(records).into_iter().map(|i| &records[i]).collect(),
        }
    });
    groups.collect()
}

fn sorted(group: &Group<'_>, latency: Latency) -> Vec<f64> {
    let mut all: Vec<f64> = group.records.iter().filter_map(|it| latency(it)).collect();
    all.sort_by(f64::total_cmp);
    all
}

fn curves(out: &mut Markup, name: &str, latency: Latency, groups: &[Group<'_>]) {
    let series: Vec<Series> = groups
        .iter()
        .map(|group| Series {
            name: group.name.clone(),
            colour: group.colour,
            points: curve(&sorted(group, latency)),
            look: Look::Line,
        })
        .filter(|series| !series.points.is_empty())
        .collect();
    if series.is_empty() {
        return;
    }
    let chart = Chart {
        title: format!("How {name} is distributed"),
        width: HALF,
        height: 250.0,
        x: Axis {
            label: format!("{name}, ms"),
            lies: Lies::AsNeeded,
        },
        y: Axis {
            label: "% of requests, at or below".to_owned(),
            lies: Lies::Between(0.0, 100.0, vec![0.0, 25.0, 50.0, 75.0, 95.0]),
        },
        series,
        limits: Vec::new(),
    };
    figure(out, "", |out| plot(out, &chart.draw()));
}

/// The steps of a sorted sample: for each value the share that is not above it.
fn curve(sorted: &[f64]) -> Vec<Dot> {
    let n = sorted.len() as f64;
    let places: Vec<usize> = (0..sorted.len()).collect();
    let mut dots = Vec::new();
    let mut before = 0.0;
    for place in evenly(&places, STEPS) {
        let share = 100.0 * (place + 1) as f64 / n;
        let dot = |y| Dot {
            x: sorted[place],
            y,
            ..Dot::default()
        };
        dots.extend([dot(before), dot(share)]);
        before = share;
    }
    dots
}

fn table(groups: &[Group<'_>]) -> Sheet {
    let mut sheet = Sheet::new(&[
        ("of", false),
        ("latency", false),
        ("requests", true),
        ("mean ms", true),
        ("p50", true),
        ("p90", true),
        ("p95", true),
        ("p99", true),
        ("max", true),
    ]);
    for group in groups {
        for (name, latency) in LATENCIES {
            let Some(all) = Distribution::of_ms(sorted(group, latency)) else {
                continue;
            };
            let mut row = vec![group.name.clone(), name.to_owned(), all.n.to_string()];
            row.push(number(all.mean));
            row.extend([all.p50, all.p90, all.p95, all.p99].map(quantile));
            row.push(number(all.max));
            sheet.row(row);
        }
    }
    sheet
}
