//! N7: a stream that is alone is slow for its node: slower than one of the same server on another node, or far
//! below what its memory allows. GB10s have slow states of 1.5 to 1.7 times that no figure of the driver shows:
//! tonyd2wild/DeepSeek-V4.1-Flash-vLLM-DGX-Spark#1. The bounds are those of A26, which says it of a measurement.

use serde_json::json;

use super::Case;
use super::finding::{Check, Found, Severity};
use super::loaded::Load;

/// How much longer than elsewhere a token may take, and how much less is noise, in ms.
const THAN_PEERS: f64 = 1.3;
const MATTERS_MS: f64 = 3.0;

/// A stream that runs at less of what its memory allows is worth a word.
const OF_ROOFLINE: f64 = 0.4;

pub(super) const CHECK: Check = Check {
    id: "N7",
    name: "decoding is slow",
    why: "A token takes what the memory of its machine gives; where that is less than it should, every answer is slower, \
          and a comparison of two nodes compares this.",
    reported: Some("https://github.com/tonyd2wild/DeepSeek-V4.1-Flash-vLLM-DGX-Spark/issues/1"),
    look,
};

fn look(case: &Case<'_>) -> Vec<Found> {
    let loads = &case.measured.loads;
    let slower = loads.iter().filter_map(|load| than_peers(load, loads));
    let below = loads.iter().filter_map(below_roofline);
    slower.chain(below).collect()
}

fn than_peers(load: &Load, loads: &[Load]) -> Option<Found> {
    let peers = loads.iter();
    let peers = peers.filter(|it| it.node != load.node && it.alike == load.alike);
    let fastest = peers.min_by(|a, b| a.decode_ms.total_cmp(&b.decode_ms))?;
    let (slow, fast) = (load.decode_ms, fastest.decode_ms);
    (slow > fast * THAN_PEERS && slow - fast > MATTERS_MS).then(|| Found {
        severity: Severity::Warning,
        nodes: vec![load.node.clone()],
        message: format!(
            "alone, `{}` takes {slow:.1} ms for a token, and `{}` on {}, which is declared alike, {fast:.1} ms",
            load.instance, fastest.instance, fastest.node
        ),
        evidence: json!([figures(load), figures(fastest)]),
        hint: hint(),
    })
}

fn below_roofline(load: &Load) -> Option<Found> {
    let allowed = load.roofline_tok_s.filter(|allowed| *allowed > 0.0)?;
    let tok_s = 1000.0 / load.decode_ms;
    let share = tok_s / allowed;
    (share < OF_ROOFLINE).then(|| Found {
        severity: Severity::Warning,
        nodes: vec![load.node.clone()],
        message: format!(
            "alone, `{}` runs at {tok_s:.1} tok/s, {:.0} % of the {allowed:.1} that its memory allows",
            load.instance,
            share * 100.0
        ),
        evidence: figures(load),
        hint: hint(),
    })
}

fn figures(load: &Load) -> serde_json::Value {
    json!({
        "instance": load.instance,
        "node": load.node,
        "decode_ms": load.decode_ms,
        "roofline_tok_s": load.roofline_tok_s,
        "gpu": load.gpu,
    })
}

fn hint() -> String {
    "see what else works there (`replica status`, nvidia-smi); if nothing does, pull the plug of its power supply for a \
     minute, then `replica doctor --measure`"
        .to_owned()
}
