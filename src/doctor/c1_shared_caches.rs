//! C1: what is compiled at a first start is kept where other machines keep theirs. Both compile into the same folders
//! at once, and fail one after the other, each time otherwise.

use serde_json::json;

use super::Case;
use super::case::Seen;
use super::finding::{Check, Found, Severity};

pub(super) const CHECK: Check = Check {
    id: "C1",
    name: "compiled kernels are shared",
    why: "Two machines that compile into one folder at once damage what the other reads: starts fail, or hang.",
    reported: Some(
        "https://github.com/tonyd2wild/DeepSeek-v4-Flash-Vision-Exp-DSpark-1M-NVFP4-KV-2x-DGX-Spark/issues/27",
    ),
    look,
};

fn look(case: &Case<'_>) -> Vec<Found> {
    case.each(|seen| found(case, seen))
}

fn found(case: &Case<'_>, seen: &Seen<'_>) -> Option<Found> {
    let shared = seen.caches.0.iter().filter(|cache| cache.is_shared());
    let shared: Vec<_> = shared.collect();
    let first = shared
        .first()
        .filter(|_| !case.servers(seen.name).is_empty())?;
    let paths: Vec<&str> = shared.iter().map(|cache| cache.path.as_str()).collect();
    Some(Found {
        severity: Severity::Warning,
        nodes: vec![seen.name.clone()],
        message: format!(
            "{} {} on {} ({})",
            paths.join(", "),
            if paths.len() > 1 { "are" } else { "is" },
            first.source,
            first.kind
        ),
        evidence: json!({"folders": paths, "file_system": first.kind, "source": first.source}),
        hint: "env: {VLLM_CACHE_ROOT: …, TRITON_CACHE_DIR: …, FLASHINFER_WORKSPACE_BASE: …} of the engine, on the node's own \
               disk"
            .to_owned(),
    })
}
