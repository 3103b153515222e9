//! F2: the address that is declared for the fast link is on a slower interface than another that is up. The
//! link of a GB10 has four names, and its 10 GbE port a fifth.

use serde_json::json;

use super::Case;
use super::case::Seen;
use super::finding::{Check, Found, Severity};

/// So much faster is another interface.
const TIMES: u64 = 4;

pub(super) const CHECK: Check = Check {
    id: "F2",
    name: "a faster link is there",
    why: "What goes over the declared one goes at its speed, however fast the other is.",
    reported: Some("https://github.com/NVIDIA/dgx-spark-playbooks/issues/102"),
    look,
};

fn look(case: &Case<'_>) -> Vec<Found> {
    case.each(found)
}

fn found(seen: &Seen<'_>) -> Option<Found> {
    let port = seen.fabric_port()?;
    let speed = port.speed.filter(|speed| *speed > 0)?;
    let others = seen
        .look
        .ports
        .iter()
        .filter(|other| other.is_up && other.speed.is_some());
    let fastest = others.max_by_key(|other| other.speed)?;
    let most = fastest.speed?;
    (most >= speed * TIMES).then(|| Found {
        severity: Severity::Warning,
        nodes: vec![seen.name.clone()],
        message: format!(
            "its `fabric` address is on {} ({} Gb/s), and {} has {} Gb/s",
            port.name,
            speed as f64 / 1e3,
            fastest.name,
            most as f64 / 1e3
        ),
        evidence: json!({
            "declared": {"interface": port.name, "mbit_per_s": speed},
            "faster": {"interface": fastest.name, "mbit_per_s": most},
        }),
        hint: format!(
            "the address of {} as `fabric` in `addresses` of the node",
            fastest.name
        ),
    })
}
