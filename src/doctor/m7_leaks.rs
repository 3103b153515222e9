//! M7: a vLLM that is known to lose memory where programs and GPU share it: what a start that failed had of the
//! GPU stayed lost until a reboot, with 0.23 and no more with 0.24 (vllm-project/vllm#45179).

use serde_json::json;

use super::Case;
use super::case::Seen;
use super::finding::{Check, Found, Severity};

/// The first release without it.
const MENDED: (u32, u32) = (0, 24);

pub(super) const CHECK: Check = Check {
    id: "M7",
    name: "this vLLM loses shared memory",
    why: "What a start that failed had of the GPU can stay lost to everything else, until a reboot.",
    reported: Some("https://github.com/vllm-project/vllm/pull/45179"),
    look,
};

fn look(case: &Case<'_>) -> Vec<Found> {
    case.each(|seen| found(case, seen))
}

fn found(case: &Case<'_>, seen: &Seen<'_>) -> Option<Found> {
    seen.shared_memory()?;
    let servers = case.servers(seen.name).into_iter();
    let old = servers.filter_map(|(_, server)| {
        let version = &server.runtime.vllm()?.engine.version;
        (release(version)? < MENDED).then_some(version)
    });
    let version = old.min()?;
    Some(Found {
        severity: Severity::Note,
        nodes: vec![seen.name.clone()],
        message: format!("vLLM {version} is declared, and its memory is shared with the GPU"),
        evidence: json!({"vllm": version, "mended_in": format!("{}.{}", MENDED.0, MENDED.1)}),
        hint: "a newer `vllm:`; until then look at M1 again after each restart".to_owned(),
    })
}

/// The first two numbers of a version.
fn release(version: &str) -> Option<(u32, u32)> {
    let mut numbers = version.split('.').map(|part| part.parse().ok());
    Some((numbers.next()??, numbers.next()??))
}
