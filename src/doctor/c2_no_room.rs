//! C2: the disk on which a first start keeps what it compiled is nearly full. vLLM, Triton and FlashInfer write
//! there while the engine starts, and the start ends with `No space left on device` after the weights were loaded.

use serde_json::json;

use super::Case;
use super::case::{Seen, gib};
use super::finding::{Check, Found, Severity};
use crate::resource::machine::Bytes;

/// What several starts compile fits into this.
const ROOM: Bytes = Bytes(2 << 30);

pub(super) const CHECK: Check = Check {
    id: "C2",
    name: "no room for compiled kernels",
    why: "A start compiles for minutes, and fails in the end for want of a place to put it.",
    reported: None,
    look,
};

fn look(case: &Case<'_>) -> Vec<Found> {
    case.each(|seen| found(case, seen))
}

fn found(case: &Case<'_>, seen: &Seen<'_>) -> Option<Found> {
    let scarce = seen.caches.0.iter().filter(|cache| cache.free < ROOM);
    let least = scarce.min_by_key(|cache| cache.free)?;
    (!case.servers(seen.name).is_empty()).then(|| Found {
        severity: Severity::Warning,
        nodes: vec![seen.name.clone()],
        message: format!("the disk of {} has {} left", least.path, least.free),
        evidence: json!({"folder": least.path, "free_gib": gib(least.free), "source": least.source}),
        hint: format!(
            "free some, or VLLM_CACHE_ROOT and TRITON_CACHE_DIR in `env` of the engine, on another disk: {} is on {}",
            least.path, least.source
        ),
    })
}
