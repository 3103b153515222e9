//! A1: an apply would not get through, for what its plan says by itself. It is here so that one command says
//! everything.

use serde_json::json;

use super::Case;
use super::finding::{Check, Found, Severity};
use crate::plan::{Action, Change};

pub(super) const CHECK: Check = Check {
    id: "A1",
    name: "apply is blocked",
    why: "An apply leaves what is blocked as it is, and ends with an error.",
    reported: None,
    look,
};

fn look(case: &Case<'_>) -> Vec<Found> {
    let blocked = case.plan.changes.iter();
    let blocked = blocked.filter(|change| change.action == Action::Blocked);
    let own = blocked.filter(|change| {
        change
            .node
            .as_ref()
            .is_none_or(|node| case.nodes.contains_key(node))
    });
    own.map(found).collect()
}

fn found(change: &Change) -> Found {
    let why = change.reasons.iter().map(|reason| reason.text.clone());
    let why: Vec<String> = why.collect();
    let hints = change
        .reasons
        .iter()
        .filter_map(|reason| reason.hint.clone());
    let hints: Vec<_> = hints.collect();
    Found {
        severity: Severity::Problem,
        nodes: change.node.iter().cloned().collect(),
        message: format!("{} is blocked: {}", change.address, why.join("; ")),
        evidence: json!({"address": change.address.to_string(), "reasons": why}),
        hint: match &hints[..] {
            [] => "replica plan".to_owned(),
            hints => hints.join("; "),
        },
    }
}
