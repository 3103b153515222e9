//! A15: a baseline that was measured under other conditions, or does not say under which.

use serde_json::json;

use super::{Anomaly, Case, Severity, Subject};
use crate::load::comparison::differences;

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
