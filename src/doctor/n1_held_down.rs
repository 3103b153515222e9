//! N1: the driver says that heat or power hold the clock of a GPU down, or it works at a clock far below
//! its own. GB10s that got too little from their power supply once stay at 500 to 850 MHz until they are cut
//! from it: Blackwellboy/model-serving-minefield#55, ollama/ollama#13552. A slow state that no figure shows
//! (tonyd2wild/DeepSeek-V4.1-Flash-vLLM-DGX-Spark#1) is found by measuring alone (A26).

use serde_json::json;

use super::Case;
use super::case::Seen;
use super::finding::{Check, Found, Severity};
use super::look::GpuState;

/// What holds a clock down, by the bits of NVML's `nvmlClocksEventReasons`, but for being idle and for what
/// somebody set.
const REASONS: [(u64, &str); 5] = [
    (0x04, "the power limit"),
    (0x08, "the hardware"),
    (0x20, "heat, by the driver"),
    (0x40, "heat, by the hardware"),
    (0x80, "the power supply"),
];

/// Whoever works has a clock above this, in MHz: owners report 2,180 to 2,411, and 500 to 850 of a GB10 that
/// is held down.
pub(super) const LOW: f64 = 1000.0;
/// From here on it works, in percent.
pub(super) const WORKS: f64 = 80.0;

pub(super) const CHECK: Check = Check {
    id: "N1",
    name: "a GPU is held down",
    why: "It computes prompts at a half or a quarter of its speed, and a comparison of two nodes compares this.",
    reported: Some("https://github.com/Blackwellboy/model-serving-minefield/pull/55"),
    look,
};

fn look(case: &Case<'_>) -> Vec<Found> {
    let of = |seen: &Seen<'_>| {
        let gpus = seen.look.gpus.iter().enumerate();
        gpus.filter_map(|(number, gpu)| found(seen, number, gpu))
            .collect::<Vec<_>>()
    };
    case.nodes.values().flat_map(of).collect()
}

/// What holds a clock down, in words.
pub(super) fn reasons(held_by: u64) -> Vec<&'static str> {
    let reasons = REASONS.iter().filter(|(bit, _)| held_by & bit != 0);
    reasons.map(|(_, words)| *words).collect()
}

fn found(seen: &Seen<'_>, number: usize, gpu: &GpuState) -> Option<Found> {
    let reasons = reasons(gpu.held_by.unwrap_or_default());
    let is_low =
        gpu.busy.is_some_and(|busy| busy >= WORKS) && gpu.clock.is_some_and(|clock| clock < LOW);
    if reasons.is_empty() && !is_low {
        return None;
    }
    let mhz = gpu
        .clock
        .map_or_else(String::new, |clock| format!(", at {clock} MHz"));
    let message = if reasons.is_empty() {
        format!("GPU {number} works{mhz}, and nothing says why")
    } else {
        format!(
            "GPU {number} is held down by {}{mhz}",
            reasons.join(" and ")
        )
    };
    Some(Found {
        severity: Severity::Warning,
        nodes: vec![seen.name.clone()],
        message,
        evidence: json!({
            "clock_mhz": gpu.clock,
            "power_w": gpu.power,
            "heat_c": gpu.heat,
            "busy_percent": gpu.busy,
            "reasons": reasons,
        }),
        hint: "let it cool; if it stays so, pull the plug of its power supply for a minute: a reboot is not enough"
            .to_owned(),
    })
}
