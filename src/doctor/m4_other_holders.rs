//! M4: somebody else holds memory that servers are to have: a notebook, another server, a desktop. What a
//! program has of a GPU that shares the memory is in none of its own figures (vllm-project/vllm#56457: 1.8 GiB
//! of 77), so the driver's are looked at as well.

use std::collections::BTreeMap;

use serde_json::json;

use super::Case;
use super::case::{Seen, gib};
use super::finding::{Check, Found, Severity};
use super::look::Holder;
use crate::resource::machine::Bytes;

/// Less is what any desktop has.
const MATTERS: Bytes = Bytes(4 << 30);

pub(super) const CHECK: Check = Check {
    id: "M4",
    name: "others hold memory",
    why: "vLLM ends, or the machine stands still, where less is free than was counted on.",
    reported: None,
    look,
};

fn look(case: &Case<'_>) -> Vec<Found> {
    case.each(|seen| found(case, seen))
}

fn found(case: &Case<'_>, seen: &Seen<'_>) -> Option<Found> {
    if case.servers(seen.name).is_empty() {
        return None;
    }
    let sessions = seen.processes.sessions.iter();
    let own: Vec<u32> = sessions
        .flat_map(|it| &it.processes)
        .map(|it| it.pid)
        .collect();
    let mut others: BTreeMap<u32, &Holder> = BTreeMap::new();
    let all = seen.look.holders.iter().chain(&seen.look.gpu_users);
    for holder in all.filter(|it| it.memory >= MATTERS && !own.contains(&it.pid)) {
        let known = others.entry(holder.pid).or_insert(holder);
        if known.memory < holder.memory {
            *known = holder;
        }
    }
    let words = others
        .values()
        .map(|it| format!("{} ({}, pid {}): {}", it.name, it.user, it.pid, it.memory));
    let words: Vec<_> = words.collect();
    let first = others.keys().next()?;
    Some(Found {
        severity: Severity::Warning,
        nodes: vec![seen.name.clone()],
        message: words.join("; "),
        evidence: others
            .values()
            .map(|it| json!({"pid": it.pid, "user": it.user, "name": it.name, "gib": gib(it.memory)}))
            .collect(),
        hint: format!("end what is yours: kill {first}"),
    })
}
