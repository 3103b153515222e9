//! M5: nothing ends a program before a machine whose GPU shares its memory runs out of it. The kernel's own
//! killer comes too late there: eugr/spark-vllm-docker#257 (a server that was started anew again and again
//! took sshd with it), NVIDIA/open-gpu-kernel-modules#1358 (no kill, no panic, an empty pstore). sparkrun's
//! setup turns earlyoom on for that reason.

use serde_json::json;

use super::Case;
use super::case::{Seen, gib};
use super::finding::{Check, Found, Severity};

pub(super) const CHECK: Check = Check {
    id: "M5",
    name: "nothing guards the memory",
    why: "The kernel kills too late where GPU and programs share the memory: the machine stands still first, \
          and its sshd with it.",
    reported: Some("https://github.com/eugr/spark-vllm-docker/issues/257"),
    look,
};

fn look(case: &Case<'_>) -> Vec<Found> {
    case.each(found)
}

fn found(seen: &Seen<'_>) -> Option<Found> {
    let (total, _) = seen.shared_memory()?;
    let is_told = !seen.look.memory.is_empty();
    (is_told && seen.look.guards.is_empty()).then(|| Found {
        severity: Severity::Warning,
        nodes: vec![seen.name.clone()],
        message: "neither earlyoom nor nohang nor systemd-oomd runs".to_owned(),
        evidence: json!({"guards": [], "total_gib": gib(total)}),
        hint: "sudo apt install earlyoom".to_owned(),
    })
}
