//! N3: clocks that differ. All nodes are asked at once, so that what is left is the difference and the time
//! of asking.

use serde_json::json;

use super::Case;
use super::finding::{Check, Found, Severity};

/// Less may come of the asking, in seconds.
const MATTERS: u64 = 10;

pub(super) const CHECK: Check = Check {
    id: "N3",
    name: "clocks differ",
    why: "Logs of two nodes cannot be laid beside each other, and certificates and tokens are too old or too new.",
    reported: None,
    look,
};

fn look(case: &Case<'_>) -> Vec<Found> {
    let clocks = case.each(|seen| Some((seen.look.clock?, seen.name)));
    let (Some((first, early)), Some((last, late))) = (clocks.iter().min(), clocks.iter().max())
    else {
        return Vec::new();
    };
    let apart = last - first;
    if apart < MATTERS {
        return Vec::new();
    }
    vec![Found {
        severity: Severity::Warning,
        nodes: vec![(*early).clone(), (*late).clone()],
        message: format!("the clock of {late} is {apart} s ahead of that of {early}"),
        evidence: json!({"apart_s": apart}),
        hint: "sudo timedatectl set-ntp true      (on both)".to_owned(),
    }]
}
