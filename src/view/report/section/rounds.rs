//! What each round of a load came to: whether they lie near each other, and which stands for all.

use super::super::Reported;
use super::super::chart::{Axis, Chart, Dot, Lies, Look, MOST_SERIES, Series, WIDTH};
use super::super::markup::Markup;
use super::super::sheet::{Sheet, Swatch, legend};
use super::{figure, known, plot};
use crate::results::{Point, Rounds};

/// Throughput round by round, of the loads that were driven more than once.
pub(in super::super) fn rounds(it: &Reported) -> Markup {
    let mut out = Markup::default();
    let points = it.result.points.iter();
    let driven: Vec<(&Point, &Rounds)> = points
        .filter_map(|point| Some((point, point.summary.rounds.as_ref()?)))
        .collect();
    let series: Vec<Series> = driven
        .iter()
        .take(MOST_SERIES)
        .enumerate()
        .map(|(colour, (point, rounds))| series(colour, point, rounds))
        .filter(|it| it.points.len() > 1)
        .collect();
    if series.is_empty() {
        return out;
    }
    let names: Vec<_> = series
        .iter()
        .map(|it| (it.name.clone(), it.colour))
        .collect();
    let most = driven.iter().map(|(_, rounds)| rounds.n).max().unwrap_or(1);
    let marks = (1..=most).step_by(most.div_ceil(10).max(1));
    let chart = Chart {
        title: "Throughput round by round".to_owned(),
        width: WIDTH,
        height: 240.0,
        x: Axis {
            label: "round".to_owned(),
            lies: Lies::Between(0.5, most as f64 + 0.5, marks.map(|n| n as f64).collect()),
        },
        y: Axis {
            label: "tok/s".to_owned(),
            lies: Lies::FromZero,
        },
        series,
        limits: Vec::new(),
    };
    let caption =
        "The round with the median throughput stands for all; latencies are of all rounds.";
    figure(&mut out, caption, |out| {
        legend(out, &names, Swatch::Dot);
        plot(out, &chart.draw());
    });
    table(&driven).write(&mut out);
    out
}

fn series(colour: usize, point: &Point, rounds: &Rounds) -> Series {
    let each = rounds.output_tps.iter().enumerate();
    let points = each.filter_map(|(place, tps)| {
        let is_median = place == rounds.median;
        Some(Dot {
            x: place as f64 + 1.0,
            y: (*tps)?,
            label: if is_median { "median" } else { "" }.to_owned(),
            ..Dot::default()
        })
    });
    Series {
        name: point.load.label(),
        colour,
        points: points.collect(),
        look: Look::DotsOnALine,
    }
}

fn table(driven: &[(&Point, &Rounds)]) -> Sheet {
    let mut sheet = Sheet::new(&[
        ("load", false),
        ("round", true),
        ("ok", true),
        ("of", true),
        ("s", true),
        ("tok/s", true),
        ("e2el mean ms", true),
        ("", false),
    ]);
    for (point, rounds) in driven {
        let each = rounds.each.iter().zip(&rounds.output_tps).enumerate();
        for (place, (round, tps)) in each {
            let is_median = place == rounds.median;
            sheet.row(vec![
                point.load.label(),
                (place + 1).to_string(),
                round.ok.to_string(),
                round.requests.to_string(),
                known(Some(round.seconds)),
                known(*tps),
                known(round.e2el_mean_ms),
                if is_median { "stands for all" } else { "" }.to_owned(),
            ]);
        }
    }
    sheet
}
