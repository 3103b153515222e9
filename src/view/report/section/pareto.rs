//! What one user gets against what all servers together yield: the two are traded for each other.

use super::super::chart::{Axis, Chart, Dot, Lies, Look, MOST_SERIES, Series, WIDTH};
use super::super::markup::Markup;
use super::super::sheet::{Sheet, Swatch, legend};
use super::super::{Report, Reported};
use super::{figure, known, plot};
use crate::results::Point;

/// The plot, where there are two loads or more to be compared.
pub(in super::super) fn pareto(report: &Report) -> Option<Markup> {
    let mut series = Vec::new();
    let mut sheet = Sheet::new(&[
        ("result of", false),
        ("load", false),
        ("tok/s/user", true),
        ("tok/s per instance", true),
        ("instances", true),
        ("", false),
    ]);
    for (colour, it) in report.results.iter().enumerate().take(MOST_SERIES) {
        let instances = it.instances().len().max(1);
        let points: Vec<Dot> = it
            .result
            .points
            .iter()
            .filter_map(|p| dot(p, instances))
            .collect();
        for (dot, point) in points.iter().zip(&it.result.points) {
            sheet.row(vec![
                it.result.job.name.clone(),
                point.load.label(),
                known(Some(dot.x)),
                known(Some(dot.y)),
                instances.to_string(),
                if dot.is_void { "✗ invalid" } else { "" }.to_owned(),
            ]);
        }
        series.push(Series {
            name: name(report, it),
            colour,
            points,
            look: Look::DotsOnALine,
        });
    }
    series.retain(|it| !it.points.is_empty());
    let dots: usize = series.iter().map(|it| it.points.len()).sum();
    if dots < 2 {
        return None;
    }
    let names: Vec<_> = series
        .iter()
        .map(|it| (it.name.clone(), it.colour))
        .collect();
    let axis = |label: &str| Axis {
        label: label.to_owned(),
        lies: Lies::FromZero,
    };
    let chart = Chart {
        title: "Speed of one stream against throughput per instance".to_owned(),
        width: WIDTH,
        height: 340.0,
        x: axis("tok/s/user (1000 / median TPOT)"),
        y: axis("tok/s per instance"),
        series,
        limits: Vec::new(),
    };
    let mut out = Markup::default();
    figure(
        &mut out,
        "Up and to the right is better. A cross is a load that cannot be believed.",
        |out| {
            legend(out, &names, Swatch::Dot);
            plot(out, &chart.draw());
        },
    );
    sheet.write(&mut out);
    Some(out)
}

fn dot(point: &Point, instances: usize) -> Option<Dot> {
    let metrics = &point.summary.metrics;
    Some(Dot {
        x: metrics.tok_s_user?,
        y: metrics.output_tps? / instances as f64,
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
