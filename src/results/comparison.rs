//! Our numbers beside a baseline's.

use super::anomaly::{Anomaly, Subject};
use super::baseline::Baseline;
use super::figures::{BatchFigures, SingleFigures, SteadyFigures};
use super::headline::Headline;
use super::quantile::tidy;
use super::result::{Comparison, Point, Row};
use super::summary::Summary;
use crate::shape::Class;

impl Comparison {
    /// Sets judged loads beside a baseline. What was found about the baseline becomes remarks.
    pub(crate) fn of(points: &[Point], baseline: &Baseline) -> Self {
        let anomalies = points.iter().flat_map(|point| &point.anomalies);
        let about: Vec<&Anomaly> = anomalies
            .filter(|anomaly| anomaly.subject == Subject::Baseline)
            .collect();
        let comparable = !about.iter().any(|anomaly| anomaly.id == "A15");
        let mut rows = Vec::new();
        for point in points {
            let load = (points.len() > 1).then(|| point.label());
            rows.extend(beside(point, baseline).into_iter().map(|row| Row {
                load: load.clone(),
                flagged: row.flagged || !comparable,
                ..row
            }));
        }
        let mut remarks: Vec<String> = Vec::new();
        for anomaly in about {
            if !remarks.contains(&anomaly.message) {
                remarks.push(anomaly.message.clone());
            }
        }
        Self {
            baseline: baseline.path.display().to_string(),
            comparable,
            rows,
            remarks,
        }
    }
}

fn beside(point: &Point, baseline: &Baseline) -> Vec<Row> {
    let (summary, Some(claim)) = (&point.summary, baseline.claim(&point.load)) else {
        return Vec::new();
    };
    let figures = claim.figures;
    let mut rows = match point.load.class() {
        Class::Alone => beside_single(summary, figures.single),
        Class::Together { .. } => beside_batch(summary, figures.batch),
        Class::Closed { .. } | Class::Open { .. } => beside_steady(summary, figures.steady),
    }
    .unwrap_or_default();
    let (ours, theirs) = (Headline::of(point), claim.headline);
    for (what, ours, theirs) in [
        ("median TTFT", ours.ttft_p50_ms, theirs.ttft_p50_ms),
        ("median TPOT", ours.tpot_p50_ms, theirs.tpot_p50_ms),
    ] {
        rows.extend(ours.zip(theirs).map(|(o, t)| Row::new(what, "ms", o, t)));
    }
    rows
}

fn beside_single(summary: &Summary, theirs: Option<SingleFigures>) -> Option<Vec<Row>> {
    let (theirs, latency_ms) = (theirs?, summary.mean_latency_ms()?);
    let tokens = summary.tokens_each()?;
    let speed = tokens / latency_ms * 1000.0;
    let mut rows = vec![
        Row::new(
            "latency of one request",
            "ms",
            latency_ms,
            theirs.latency_ms,
        ),
        Row::new("speed of one request", "tok/s", speed, theirs.tokens_per_s),
    ];
    let claimed = Row::new("tokens of one request", "tokens", tokens, theirs.tokens);
    if theirs.contradicts_itself() {
        let true_tokens = theirs.tokens_by_speed();
        rows.push(claimed.unlike());
        rows.push(Row::new("tokens by its speed", "tokens", tokens, true_tokens).flagged());
    } else {
        rows.push(claimed);
    }
    Some(rows)
}

fn beside_batch(summary: &Summary, theirs: Option<BatchFigures>) -> Option<Vec<Row>> {
    let (theirs, metrics) = (theirs?, &summary.metrics);
    let mean = summary.mean_latency_ms()?;
    let mut rows = vec![Row::new(
        "throughput",
        "tok/s",
        metrics.output_tps?,
        theirs.tokens_per_s,
    )];
    let claimed = Row::new("mean latency", "ms", mean, theirs.mean_latency_ms);
    if theirs.latency_is_impossible() {
        let wall = Row::new(
            "mean latency by its wall time",
            "ms",
            mean,
            theirs.wall_ms(),
        );
        rows.push(claimed.unlike());
        rows.push(wall.flagged());
    } else {
        rows.push(claimed);
    }
    let tokens = summary.typical().output_tokens as f64;
    rows.push(Row::new("tokens in all", "tokens", tokens, theirs.tokens));
    Some(rows)
}

fn beside_steady(summary: &Summary, theirs: Option<SteadyFigures>) -> Option<Vec<Row>> {
    let (theirs, metrics) = (theirs?, &summary.metrics);
    let (speed, mean) = (metrics.output_tps?, summary.mean_latency_ms()?);
    let tokens = summary.typical().output_tokens as f64;
    Some(vec![
        Row::new("throughput", "tok/s", speed, theirs.tokens_per_s),
        Row::new("mean latency", "ms", mean, theirs.mean_latency_ms),
        Row::new("tokens in all", "tokens", tokens, theirs.tokens),
    ])
}

impl Row {
    fn new(what: &str, unit: &str, ours: f64, theirs: f64) -> Self {
        Self {
            load: None,
            what: what.to_owned(),
            unit: unit.to_owned(),
            ours: tidy(ours),
            theirs: tidy(theirs),
            ratio: (theirs > 0.0).then(|| tidy(ours / theirs)),
            flagged: false,
        }
    }

    fn flagged(mut self) -> Self {
        self.flagged = true;
        self
    }

    /// Theirs is something else than its name says: no ratio.
    fn unlike(mut self) -> Self {
        self.ratio = None;
        self.flagged()
    }
}
