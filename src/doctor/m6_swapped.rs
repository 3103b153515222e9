//! M6: a machine that serves has swapped. What a GPU has of shared memory cannot be swapped, so programs are,
//! and each token waits for them.

use serde_json::json;

use super::Case;
use super::case::{Seen, gib};
use super::finding::{Check, Found, Severity};
use crate::resource::machine::Bytes;

/// Less is what a kernel puts away of programs that sleep.
const MATTERS: Bytes = Bytes(1 << 30);

pub(super) const CHECK: Check = Check {
    id: "M6",
    name: "it has swapped",
    why: "Memory was short here, and what was put on the disk is read back in the middle of an answer.",
    reported: None,
    look,
};

fn look(case: &Case<'_>) -> Vec<Found> {
    case.each(found)
}

fn found(seen: &Seen<'_>) -> Option<Found> {
    let (total, free) = (
        seen.look.of_memory("SwapTotal")?,
        seen.look.of_memory("SwapFree")?,
    );
    let used = Bytes(total.0.saturating_sub(free.0));
    (used >= MATTERS).then(|| Found {
        severity: Severity::Note,
        nodes: vec![seen.name.clone()],
        message: format!("{used} of {total} of its swap are in use"),
        evidence: json!({"swapped_gib": gib(used), "swap_gib": gib(total)}),
        hint: "end what holds the memory, then: sudo swapoff -a && sudo swapon -a".to_owned(),
    })
}
