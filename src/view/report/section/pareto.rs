//! What one user gets against what all servers together yield: the two are traded for each other.

use super::super::chart::{Axis, Chart, Dot, Lies, Limit, Look, MOST_SERIES, Series, WIDTH};
use super::super::markup::Markup;
use super::super::sheet::{Sheet, Swatch, legend};
use super::super::{Report, Reported};
use super::load::size;
use super::{figure, known, plot};
use crate::results::Point;
use crate::view::bench::roofline;
use crate::view::words::number;

/// The plot, where there are two loads or more to be compared.
pub(in super::super) fn pareto(report: &Report) -> Markup {
    let parts = Parts::of(report);
    let shown = report.results.iter().take(MOST_SERIES).enumerate();
    let mut series: Vec<Series> = shown
        .map(|(colour, it)| Series {
            name: name(report, it),
            colour,
            points: ascending(&it.result.points)
                .into_iter()
                .filter_map(|point| dot(point, parts.number(it)))
                .collect(),
            look: Look::DotsOnALine,
        })
        .collect();
    series.retain(|it| !it.points.is_empty());
    let mut out = Markup::default();
    if series.iter().map(|it| it.points.len()).sum::<usize>() < 2 {
        return out;
    }
    let names: Vec<_> = series
        .iter()
        .map(|it| (it.name.clone(), it.colour))
        .collect();
    let axis = |label: &str| Axis {
        label: label.to_owned(),
        lies: Lies::FromZero,
    };
    let by = parts.unit();
    let chart = Chart {
        title: format!("Speed of one stream against {by}"),
        width: WIDTH,
        height: 340.0,
        x: axis("tok/s/user (1000 / median TPOT)"),
        y: axis(by),
        series,
        limits: limits(report),
    };
    let caption = "Up and to the right is better. A cross is a load that cannot be believed.";
    figure(&mut out, caption, |out| {
        legend(out, &names, Swatch::Dot);
        plot(out, &chart.draw());
    });
    table(report, parts).write(&mut out);
    out
}

/// The speeds of a stream that memory does not allow to be passed.
fn limits(report: &Report) -> Vec<Limit> {
    let bounds = report.results.iter().map(|it| &it.result.roofline);
    let speeds = roofline::drawn(bounds).into_iter();
    speeds
        .map(|at| Limit {
            label: format!("roofline {}", number(at)),
            at,
            is_of_x: true,
        })
        .collect()
}

/// Loads from the least to the most: a search drives them in another order.
fn ascending(points: &[Point]) -> Vec<&Point> {
    let mut points: Vec<&Point> = points.iter().collect();
    points.sort_by(|a, b| size(a.load.class()).total_cmp(&size(b.load.class())));
    points
}

/// What throughput is divided by: GPUs where all results tell of theirs. What is divided by GPUs and
/// what is divided by instances is not compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Parts {
    Gpus,
    Instances,
}

impl Parts {
    fn of(report: &Report) -> Self {
        let have_gpus = report.results.iter().all(|it| it.gpus().is_some());
        if have_gpus {
            Self::Gpus
        } else {
            Self::Instances
        }
    }

    fn number(self, it: &Reported) -> usize {
        let gpus = it.gpus().filter(|_| self == Self::Gpus);
        gpus.unwrap_or_else(|| it.instances().len()).max(1)
    }

    fn unit(self) -> &'static str {
        match self {
            Self::Gpus => "tok/s/GPU",
            Self::Instances => "tok/s per instance",
        }
    }
}

fn table(report: &Report, parts: Parts) -> Sheet {
    let counted = match parts {
        Parts::Gpus => "GPUs",
        Parts::Instances => "instances",
    };
    let mut sheet = Sheet::new(&[
        ("result of", false),
        ("load", false),
        ("tok/s/user", true),
        (parts.unit(), true),
        (counted, true),
        ("", false),
    ]);
    for it in &report.results {
        let number = parts.number(it);
        for point in &it.result.points {
            let Some(dot) = dot(point, number) else {
                continue;
            };
            sheet.row(vec![
                it.result.job.name.clone(),
                point.load.label(),
                known(Some(dot.x)),
                known(Some(dot.y)),
                number.to_string(),
                if dot.is_void { "✗ invalid" } else { "" }.to_owned(),
            ]);
        }
    }
    sheet
}

fn dot(point: &Point, parts: usize) -> Option<Dot> {
    let metrics = &point.summary.metrics;
    Some(Dot {
        x: metrics.tok_s_user?,
        y: metrics.output_tps? / parts as f64,
        label: point.load.label(),
        is_void: !point.valid,
        ..Dot::default()
    })
}

/// The benchmark's name, and of several results of one, when each was measured.
fn name(report: &Report, it: &Reported) -> String {
    let name = &it.result.job.name;
    let alike = report
        .results
        .iter()
        .filter(|other| other.result.job.name == *name);
    if alike.count() > 1 {
        it.name()
    } else {
        name.clone()
    }
}
