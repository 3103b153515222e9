//! M2: files that the kernel keeps in memory stand in the way of a start.
//!
//! Where programs and GPU share the memory, vLLM takes for free what is not used for anything, though the
//! kernel would give its cache back: it ends with `Free memory on device ... is less than desired`, most of
//! all at the second start, whose weights are in the cache of the first. vllm-project/vllm#48140 (0.24.0; its
//! reporter had 40 GiB of weights there).

use serde_json::json;

use super::Case;
use super::case::{Seen, gib};
use super::declared::share;
use super::finding::{Check, Found, Severity};
use crate::resource::machine::Bytes;

pub(super) const CHECK: Check = Check {
    id: "M2",
    name: "cached files take the place of a start",
    why: "vLLM counts what the kernel keeps of files as used, and ends where too little else is free.",
    reported: Some("https://github.com/vllm-project/vllm/issues/48140"),
    look,
};

fn look(case: &Case<'_>) -> Vec<Found> {
    case.each(|seen| found(case, seen))
}

fn found(case: &Case<'_>, seen: &Seen<'_>) -> Option<Found> {
    let (total, available) = seen.shared_memory()?;
    let free = seen.look.of_memory("MemFree")?;
    let cached = seen.look.of_memory("Cached")?;
    let down = case.down(seen);
    let first = down
        .iter()
        .map(|(_, server)| share(server))
        .fold(0.0, f64::max);
    let taken = Bytes((total.0 as f64 * first) as u64);
    // Less than what is available is another finding.
    (taken > free && taken <= available).then(|| Found {
        severity: Severity::Warning,
        nodes: vec![seen.name.clone()],
        message: format!(
            "a server is to take {taken}; {free} are free, and {cached} are files that are cached"
        ),
        evidence: json!({
            "to_start_gib": gib(taken),
            "free_gib": gib(free),
            "cached_gib": gib(cached),
            "available_gib": gib(available),
        }),
        hint: "sync; echo 3 | sudo tee /proc/sys/vm/drop_caches".to_owned(),
    })
}
