//! M1: what is declared for a machine leaves too little of a memory that programs and GPU share.
//!
//! vLLM takes its share of all there is, and some more while it starts; a driver that finds no memory then
//! takes the machine with it, so that only the plug helps: vllm-project/vllm#46307 (0.70 of 119 GiB went to
//! 112 GiB in use), #56824, NVIDIA/open-gpu-kernel-modules#1358. Those who leave 8 to 10 GiB to the machine do
//! not report it.

use serde_json::json;

use super::Case;
use super::case::{Seen, gib};
use super::declared::share;
use super::finding::{Check, Found, Severity};
use crate::resource::machine::Bytes;

/// What is to stay with the machine.
const AIR: Bytes = Bytes(8 << 30);

pub(super) const CHECK: Check = Check {
    id: "M1",
    name: "too little memory is left",
    why: "Programs and GPU share this memory: where it runs out, the machine stands still without a word, and \
          only cutting its power helps.",
    reported: Some("https://github.com/vllm-project/vllm/issues/46307"),
    look,
};

fn look(case: &Case<'_>) -> Vec<Found> {
    case.each(|seen| of_all(case, seen).or_else(|| of_those_that_start(case, seen)))
}

/// What all servers of a node take together.
fn of_all(case: &Case<'_>, seen: &Seen<'_>) -> Option<Found> {
    let (total, _) = seen.shared_memory()?;
    let servers = case.servers(seen.name);
    let declared: f64 = servers.iter().map(|(_, server)| share(server)).sum();
    let taken = Bytes((total.0 as f64 * declared) as u64);
    let most = total.0.saturating_sub(AIR.0);
    (taken.0 > most).then(|| Found {
        severity: Severity::Problem,
        nodes: vec![seen.name.clone()],
        message: format!("{taken} of the {total} are declared, which leaves less than {AIR}"),
        evidence: json!({
            "declared_gib": gib(taken),
            "total_gib": gib(total),
            "left_to_the_machine_gib": gib(AIR),
        }),
        hint: at_most(most, total, servers.len()),
    })
}

/// What those take that do not run yet, of what can be had now.
fn of_those_that_start(case: &Case<'_>, seen: &Seen<'_>) -> Option<Found> {
    let (total, available) = seen.shared_memory()?;
    let down = case.down(seen);
    let declared: f64 = down.iter().map(|(_, server)| share(server)).sum();
    let taken = Bytes((total.0 as f64 * declared) as u64);
    let most = available.0.saturating_sub(AIR.0);
    (!down.is_empty() && taken.0 > most).then(|| Found {
        severity: Severity::Problem,
        nodes: vec![seen.name.clone()],
        message: format!(
            "what is to start takes {taken}, and {available} can be had, of which {AIR} are to stay free"
        ),
        evidence: json!({
            "to_start_gib": gib(taken),
            "available_gib": gib(available),
            "total_gib": gib(total),
            "left_to_the_machine_gib": gib(AIR),
        }),
        hint: at_most(most, total, down.len()),
    })
}

fn at_most(most: u64, total: Bytes, servers: usize) -> String {
    let share = most as f64 / total.0.max(1) as f64 / servers.max(1) as f64;
    let share = (share * 100.0).floor() / 100.0;
    format!("`gpu_memory_utilization: {share}` at most, or end what holds the memory")
}
