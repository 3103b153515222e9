//! Our numbers beside a baseline's.

use super::anomaly::{Anomaly, Subject};
use super::baseline::{Baseline, Origin};
use super::facts::JobFacts;
use super::figures::{BatchFigures, SingleFigures};
use super::quantile::tidy;
use super::result::{Comparison, Row};
use super::summary::Summary;
use crate::shape::LoadShape;

impl Comparison {
    /// Compares. The anomalies are the verdict's, of which those about the baseline become remarks.
    pub(crate) fn of(
        job: &JobFacts,
        summary: &Summary,
        baseline: &Baseline,
        anomalies: &[Anomaly],
    ) -> Self {
        let about: Vec<&Anomaly> = anomalies
            .iter()
            .filter(|anomaly| anomaly.subject == Subject::Baseline)
            .collect();
        let comparable = !about.iter().any(|anomaly| anomaly.id == "A15");
        let mut rows = rows(job, summary, baseline);
        for row in &mut rows {
            row.flagged |= !comparable;
        }
        Self {
            baseline: baseline.path.display().to_string(),
            comparable,
            rows,
            remarks: about
                .iter()
                .map(|anomaly| anomaly.message.clone())
                .collect(),
        }
    }
}

fn rows(job: &JobFacts, summary: &Summary, baseline: &Baseline) -> Vec<Row> {
    let mut rows = match job.load {
        LoadShape::Sequential(_) => beside_single(job, summary, baseline.figures.single),
        LoadShape::Batch(_) => beside_batch(summary, baseline.figures.batch),
    }
    .unwrap_or_default();
    if let Origin::Ours { headline, .. } = &baseline.origin {
        let ttft = summary.metrics.ttft.as_ref().map(|d| d.p50.value);
        let tpot = summary.metrics.tpot.as_ref().map(|d| d.p50.value);
        for (what, ours, theirs) in [
            ("median TTFT", ttft, headline.ttft_p50_ms),
            ("median TPOT", tpot, headline.tpot_p50_ms),
        ] {
            rows.extend(ours.zip(theirs).map(|(o, t)| Row::new(what, "ms", o, t)));
        }
    }
    rows
}

fn beside_single(
    job: &JobFacts,
    summary: &Summary,
    theirs: Option<SingleFigures>,
) -> Option<Vec<Row>> {
    let (theirs, latency_ms) = (theirs?, summary.metrics.e2el.as_ref()?.mean);
    let tokens = f64::from(job.max_tokens);
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
    let mean = metrics.e2el.as_ref()?.mean;
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
    let tokens = metrics.output_tokens as f64;
    rows.push(Row::new("tokens in all", "tokens", tokens, theirs.tokens));
    Some(rows)
}

impl Row {
    fn new(what: &str, unit: &str, ours: f64, theirs: f64) -> Self {
        Self {
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
