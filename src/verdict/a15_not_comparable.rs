//! A15: a baseline that was measured under other conditions, or does not say under which.

use serde_json::{Value, json};

use super::Case;
use crate::results::{Anomaly, Baseline, DEFINITIONS, JobFacts, Origin, Severity, Subject, differ};
use crate::shape::LoadShape;

pub(super) fn check(case: &Case<'_>) -> Vec<Anomaly> {
    let differences = case
        .baseline
        .map(|baseline| differences(case.job, case.provenance, baseline))
        .unwrap_or_default();
    if differences.is_empty() {
        return Vec::new();
    }
    vec![Anomaly {
        id: "A15".to_owned(),
        name: "not comparable".to_owned(),
        severity: Severity::Warning,
        subject: Subject::Baseline,
        replica: None,
        message: format!("the baseline is not comparable: {}", differences.join("; ")),
        evidence: json!({"differences": differences}),
        cause: "it comes from another set-up, or its file keeps too little of it".to_owned(),
        next: "measure the baseline with `replica bench` on a topology of one instance".to_owned(),
    }]
}

/// Returns what keeps a baseline from being compared with a job, a fragment each.
fn differences(job: &JobFacts, provenance: &Value, baseline: &Baseline) -> Vec<String> {
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
