//! Our numbers beside a baseline's, and what keeps them from being held against each other.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::baseline::{Baseline, BatchFigures, Origin, SingleFigures, differ};
use super::quantile::tidy;
use super::result::JobFacts;
use super::shape::LoadShape;
use super::summary::{DEFINITIONS, Summary};
use super::verdict::{Anomaly, Subject};

/// A result beside its baseline.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// The baseline's file.
    pub baseline: String,
    /// Says that like is compared with like.
    pub comparable: bool,
    /// The numbers.
    pub rows: Vec<Row>,
    /// What to know before reading them, a sentence each.
    pub remarks: Vec<String>,
}

/// One number, ours and theirs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// What it is: `throughput`.
    pub what: String,
    /// Its unit: `tok/s`.
    pub unit: String,
    /// Ours.
    pub ours: f64,
    /// Theirs.
    pub theirs: f64,
    /// Ours over theirs; nothing where theirs is not the thing that its name says.
    pub ratio: Option<f64>,
    /// Says that a remark bears on it.
    pub flagged: bool,
}

impl Comparison {
    /// Compares. The anomalies are the verdict's, of which those about the baseline become remarks.
    pub(super) fn of(
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

/// Returns what keeps a baseline from being compared with a job, a fragment each.
pub(super) fn differences(job: &JobFacts, provenance: &Value, baseline: &Baseline) -> Vec<String> {
    let mut found = Vec::new();
    if let Some(theirs) = &baseline.model {
        if *theirs != job.model && !mentions(provenance, theirs) {
            found.push(format!("its model is `{theirs}`, ours `{}`", job.model));
        }
    } else {
        found.push("it names no model".to_owned());
    }
    match &baseline.origin {
        Origin::Notebook { served } => {
            if !served {
                found.push("it was measured within the process, ours over HTTP".to_owned());
            }
            found.push("it does not say how its latencies are defined".to_owned());
        }
        Origin::Ours {
            job: theirs, valid, ..
        } => found.extend(unlike(job, theirs, *valid)),
    }
    found.extend(other_sizes(job, baseline));
    found
}

fn mentions(value: &Value, text: &str) -> bool {
    match value {
        Value::String(said) => said == text,
        Value::Array(list) => list.iter().any(|item| mentions(item, text)),
        Value::Object(map) => map.values().any(|item| mentions(item, text)),
        _ => false,
    }
}

fn unlike(ours: &JobFacts, theirs: &JobFacts, valid: bool) -> Vec<String> {
    let mut found = Vec::new();
    if !valid {
        found.push("it was itself found invalid".to_owned());
    }
    if theirs.definitions != DEFINITIONS {
        found.push(format!("its definitions are `{}`", theirs.definitions));
    }
    if theirs.load != ours.load {
        found.push(format!(
            "its load is {:?}, ours {:?}",
            theirs.load, ours.load
        ));
    }
    if theirs.max_tokens != ours.max_tokens {
        let (t, o) = (theirs.max_tokens, ours.max_tokens);
        found.push(format!("its answers have {t} tokens, ours {o}"));
    }
    if theirs.prompts != ours.prompts {
        found.push("its prompts are others".to_owned());
    }
    found
}

fn other_sizes(job: &JobFacts, baseline: &Baseline) -> Vec<String> {
    let figures = &baseline.figures;
    let ours = f64::from(job.load.course().requests());
    let mut found = Vec::new();
    let length = match (&job.load, figures.single, figures.batch) {
        (LoadShape::Sequential(_), Some(single), _) => single.tokens_by_speed(),
        (LoadShape::Batch(_), _, Some(batch)) => {
            if differ(batch.size, ours) {
                found.push(format!(
                    "its batch has {} requests, ours {ours}",
                    batch.size
                ));
            }
            batch.tokens / batch.size
        }
        _ => {
            found.push("it has no number for this load".to_owned());
            return found;
        }
    };
    if matches!(baseline.origin, Origin::Notebook { .. }) && differ(length, job.max_tokens.into()) {
        let asked = job.max_tokens;
        found.push(format!(
            "its answers have about {length:.0} tokens, ours {asked}"
        ));
    }
    found
}
