//! E2: a C library that is older than the one that the wheels of a declared vLLM were built on. An installer finds no
//! wheel then, and begins to build vLLM, which takes an hour or fails: those for CPUs want 2.35
//! (<https://vllm.ai/releases>), those for CUDA what their tags say: up to 0.33, 2.31 from 0.12 on, 2.35 with 0.20, and
//! 2.28 after it, as torch does.

use serde_json::json;

use super::Case;
use super::case::Seen;
use super::finding::{Check, Found, Severity};

pub(super) const CHECK: Check = Check {
    id: "E2",
    name: "the C library is too old for the wheels",
    why: "The installer passes over the wheels, and builds vLLM from source instead, or finds nothing at all.",
    reported: Some("https://vllm.ai/releases"),
    look,
};

fn look(case: &Case<'_>) -> Vec<Found> {
    case.each(|seen| found(case, seen))
}

fn found(case: &Case<'_>, seen: &Seen<'_>) -> Option<Found> {
    let own = seen.machine.libc.as_deref()?;
    let has = numbers(own)?;
    let servers = case.servers(seen.name).into_iter();
    let wanting = servers.filter_map(|(_, server)| {
        let version = &server.runtime.vllm()?.engine.version;
        let least = least(version)?;
        (has < least).then_some((least, version.as_str()))
    });
    let (least, version) = wanting.max()?;
    Some(Found {
        severity: Severity::Problem,
        nodes: vec![seen.name.clone()],
        message: format!(
            "glibc {own}, and the wheels of vLLM {version} want {}.{}",
            least.0, least.1
        ),
        evidence: json!({"glibc": own, "vllm": version, "glibc_at_least": format!("{}.{}", least.0, least.1)}),
        hint: "Ubuntu 22.04 or newer on the node".to_owned(),
    })
}

/// The oldest C library that the wheels of a version run with, where that is known.
fn least(version: &str) -> Option<(u32, u32)> {
    if version.ends_with("+cpu") {
        return Some((2, 35));
    }
    match numbers(version)? {
        (0, 12..=19) => Some((2, 31)),
        (0, 20) => Some((2, 35)),
        (0, 21..) => Some((2, 28)),
        _ => None,
    }
}

/// The first two numbers of a version.
fn numbers(version: &str) -> Option<(u32, u32)> {
    let mut numbers = version.split(['.', '+']).map(|part| part.parse().ok());
    Some((numbers.next()??, numbers.next()??))
}
