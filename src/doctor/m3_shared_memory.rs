//! M3: `/dev/shm` holds memory. What servers leave there when they are killed stays until a reboot, and on a
//! machine whose GPU shares its memory it is the GPU's memory too. An owner of two GB10s suspects a container
//! with 64 GB of it behind machines that went off under load:
//! tonyd2wild/DeepSeek-v4-Flash-Vision-Exp-DSpark-1M-NVFP4-KV-2x-DGX-Spark#31.

use serde_json::json;

use super::Case;
use super::case::{Seen, gib};
use super::finding::{Check, Found, Severity};
use crate::resource::machine::Bytes;

/// Less is not worth a word.
const MATTERS: Bytes = Bytes(1 << 30);

pub(super) const CHECK: Check = Check {
    id: "M3",
    name: "/dev/shm holds memory",
    why: "Files there are memory, and those of a server that was killed stay until the next reboot.",
    reported: Some(
        "https://github.com/tonyd2wild/DeepSeek-v4-Flash-Vision-Exp-DSpark-1M-NVFP4-KV-2x-DGX-Spark/issues/31",
    ),
    look,
};

fn look(case: &Case<'_>) -> Vec<Found> {
    case.each(found)
}

fn found(seen: &Seen<'_>) -> Option<Found> {
    let (size, used) = seen.look.shm?;
    (used >= MATTERS).then(|| Found {
        severity: Severity::Warning,
        nodes: vec![seen.name.clone()],
        message: format!("{used} of its {size} are in use"),
        evidence: json!({"used_gib": gib(used), "size_gib": gib(size)}),
        hint: "ls -l /dev/shm; sudo fuser -v /dev/shm/*      (what nobody has open can be removed)"
            .to_owned(),
    })
}
