//! Latency against load, of a result with several loads of one class.

use super::super::Reported;
use super::super::chart::{Axis, Chart, Dot, HALF, Lies, Limit, Look, Series};
use super::super::markup::Markup;
use super::super::sheet::{Sheet, Swatch, legend};
use super::{figure, known, plot, quantile};
use crate::results::quantile::{Distribution, Quantile};
use crate::results::{Metrics, Point};
use crate::shape::Class;
use crate::view::words::number;

/// The plots of TTFT and TPOT; nothing where there is nothing to draw a line between.
pub(in super::super) fn load(it: &Reported) -> Markup {
    let points: Vec<(&Point, f64)> = it
        .result
        .points
        .iter()
        .map(|p| (p, size(p.load.class())))
        .collect();
    let Some(first) = points.first() else {
        return Markup::default();
    };
    let is_alike = |(point, _): &&(&Point, f64)| is_open(point) == is_open(first.0);
    let mut alike: Vec<(&Point, f64)> = points.iter().filter(is_alike).copied().collect();
    alike.sort_by(|a, b| a.1.total_cmp(&b.1));
    if alike.iter().filter(|it| it.1 > alike[0].1).count() == 0 {
        return Markup::default();
    }
    let label = if is_open(first.0) {
        "requests/s asked"
    } else {
        "requests in flight"
    };
    let mut out = Markup::default();
    out.element("div", &[("class", "plots")], |out| {
        for (name, of) in [("TTFT", ttft as Of), ("TPOT", tpot)] {
            let slo = limit(it, name);
            one(out, name, label, &alike, of, slo);
        }
    });
    table(&alike, label).write(&mut out);
    out
}

/// What the objective of the benchmark allows, where it has one for this metric.
fn limit(it: &Reported, name: &str) -> Option<Limit> {
    let slo = it.result.job.slo.as_ref()?;
    let mut limits = slo.limits();
    let (_, limit) = limits.find(|(metric, _)| metric.eq_ignore_ascii_case(name))?;
    Some(Limit {
        label: format!("SLO {} ms", number(limit.get() * 1000.0)),
        at: limit.get() * 1000.0,
        is_of_x: false,
    })
}

type Of = fn(&Metrics) -> Option<&Distribution>;

fn ttft(metrics: &Metrics) -> Option<&Distribution> {
    metrics.ttft.as_ref()
}

fn tpot(metrics: &Metrics) -> Option<&Distribution> {
    metrics.tpot.as_ref()
}

fn is_open(point: &Point) -> bool {
    matches!(point.load.class(), Class::Open { .. })
}

/// How much a load asks for: requests in flight, or requests a second.
pub(super) fn size(class: Class) -> f64 {
    match class {
        Class::Alone => 1.0,
        Class::Together { requests } => f64::from(requests),
        Class::Closed { width } => f64::from(width),
        Class::Open { per_s } => per_s,
    }
}

fn one(
    out: &mut Markup,
    name: &str,
    label: &str,
    loads: &[(&Point, f64)],
    of: Of,
    slo: Option<Limit>,
) {
    let series = |quantile_name: &str, colour: usize, at: fn(&Distribution) -> Quantile| {
        let dots = loads.iter().filter_map(|(point, size)| {
            let quantile = at(of(&point.summary.metrics)?);
            (!quantile.at_least).then(|| Dot {
                x: *size,
                y: quantile.value,
                bounds: quantile.ci,
                is_void: !point.valid,
                ..Dot::default()
            })
        });
        Series {
            name: quantile_name.to_owned(),
            colour,
            points: dots.collect(),
            look: Look::DotsOnALine,
        }
    };
    let mut all = vec![series("p50", 0, |it| it.p50), series("p95", 1, |it| it.p95)];
    all.retain(|it| it.points.len() > 1);
    if all.is_empty() {
        return;
    }
    let names: Vec<_> = all.iter().map(|it| (it.name.clone(), it.colour)).collect();
    let axis = |label: String, lies| Axis { label, lies };
    let chart = Chart {
        title: format!("{name} against load"),
        width: HALF,
        height: 260.0,
        x: axis(label.to_owned(), Lies::FromZero),
        y: axis(format!("{name}, ms"), Lies::AsNeeded),
        series: all,
        limits: slo.into_iter().collect(),
    };
    figure(
        out,
        &format!("{name}; bars are the bounds of each percentile (95 %)."),
        |out| {
            legend(out, &names, Swatch::Line);
            plot(out, &chart.draw());
        },
    );
}

fn table(loads: &[(&Point, f64)], label: &str) -> Sheet {
    let by = if label.starts_with("requests/s") {
        "requests/s"
    } else {
        "in flight"
    };
    let mut sheet = Sheet::new(&[
        (by, true),
        ("tok/s", true),
        ("TTFT p50 ms", true),
        ("p95", true),
        ("p99", true),
        ("TPOT p50 ms", true),
        ("p95", true),
        ("p99", true),
        ("", false),
    ]);
    for (point, size) in loads {
        let metrics = &point.summary.metrics;
        let all = |of: Option<&Distribution>| match of {
            Some(d) => [d.p50, d.p95, d.p99].map(quantile),
            None => Default::default(),
        };
        let mut row = vec![known(Some(*size)), known(metrics.output_tps)];
        row.extend(all(metrics.ttft.as_ref()));
        row.extend(all(metrics.tpot.as_ref()));
        row.push(if point.valid { "" } else { "✗ invalid" }.to_owned());
        sheet.row(row);
    }
    sheet
}
