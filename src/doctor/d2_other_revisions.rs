//! D2: nodes have other revisions of one model, as none is declared: each node serves what its `refs/main` said on the
//! day on which it was fetched.

use std::collections::BTreeMap;

use serde_json::json;

use super::Case;
use super::finding::{Check, Found, Severity};
use crate::name::NodeName;
use crate::resource::model::Cached;

pub(super) const CHECK: Check = Check {
    id: "D2",
    name: "nodes serve other revisions of a model",
    why: "They answer otherwise, and load other weights: what is measured on one is not of the other.",
    reported: None,
    look,
};

fn look(case: &Case<'_>) -> Vec<Found> {
    let mut models: BTreeMap<String, BTreeMap<String, Vec<&NodeName>>> = BTreeMap::new();
    for seen in case.nodes.values() {
        for (_, server) in case.servers(seen.name) {
            let Some(vllm) = server.runtime.vllm() else {
                continue;
            };
            let declared = &vllm.model;
            let cached = Cached::read(declared, seen.facts);
            // A folder is known by what is in it, where a node may have another cut of the same.
            if declared.path.is_some() || cached.revision.is_empty() {
                continue;
            }
            let revisions = models.entry(declared.repo.clone()).or_default();
            let nodes = revisions.entry(cached.revision).or_default();
            if !nodes.contains(&seen.name) {
                nodes.push(seen.name);
            }
        }
    }
    models.retain(|_, revisions| revisions.len() > 1);
    models
        .iter()
        .map(|(repo, revisions)| found(repo, revisions))
        .collect()
}

fn found(repo: &str, revisions: &BTreeMap<String, Vec<&NodeName>>) -> Found {
    let words = revisions.iter().map(|(revision, nodes)| {
        let nodes: Vec<_> = nodes.iter().map(|node| node.as_str()).collect();
        format!("{:.12} on {}", revision, nodes.join(", "))
    });
    let words: Vec<_> = words.collect();
    // Which of them is newer the caches do not tell.
    let any = revisions.keys().next().cloned().unwrap_or_default();
    Found {
        severity: Severity::Warning,
        nodes: revisions
            .values()
            .flatten()
            .map(|node| (*node).clone())
            .collect(),
        message: format!("{repo}: {}", words.join("; ")),
        evidence: json!({"repo": repo, "revisions": revisions}),
        hint: format!("`revision: {any}` in the model, or another of them; then replica apply"),
    }
}
