//! D1: a model is not whole on a node that is to serve it, by the plan's own look at its files: against the index of its
//! safetensors, and what each says that it is long.

use serde_json::json;

use super::Case;
use super::finding::{Check, Found, Severity};
use crate::plan::{Action, Change};
use crate::resource::model;

pub(super) const CHECK: Check = Check {
    id: "D1",
    name: "a model is not whole",
    why: "An apply brings what is lacking first, which can take an hour; until then nothing of it is served.",
    reported: None,
    look,
};

fn look(case: &Case<'_>) -> Vec<Found> {
    let models = case.plan.changes.iter();
    let models = models.filter(|change| change.address.kind == model::KIND);
    models.filter_map(|change| found(case, change)).collect()
}

fn found(case: &Case<'_>, change: &Change) -> Option<Found> {
    let severity = match change.action {
        // What is there of it was to be the whole.
        Action::Update => Severity::Warning,
        Action::Create => Severity::Note,
        // A1 says what is blocked.
        _ => return None,
    };
    let node = change
        .node
        .as_ref()
        .filter(|node| case.nodes.contains_key(*node))?;
    let why: Vec<&str> = change.reasons.iter().map(|it| it.text.as_str()).collect();
    Some(Found {
        severity,
        nodes: vec![node.clone()],
        message: format!("{}: {}", change.address, why.join("; ")),
        evidence: json!({"address": change.address.to_string(), "reasons": why, "from": change.summary}),
        hint: format!("replica apply -target={}", change.address),
    })
}
