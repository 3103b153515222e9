//! F4: the two ends of the fast link have other MTUs, or both the one of slow networks. Ends that differ lose
//! what is too large for one of them: small answers come, and models do not. At 200 Gb/s with packets of 1500
//! a processor is the limit: NVIDIA/dgx-spark-playbooks#25, #103.

use std::collections::BTreeSet;

use serde_json::json;

use super::Case;
use super::finding::{Check, Found, Severity};

/// From this speed on, packets of 1500 bytes are what limits it, in Mb/s.
const FAST: u64 = 100_000;
const USUAL: u64 = 1500;

pub(super) const CHECK: Check = Check {
    id: "F4",
    name: "MTU of the fast link",
    why: "Ends that differ lose what is too large for one of them; packets of 1500 keep a processor busy \
          before the link is.",
    reported: Some("https://github.com/NVIDIA/dgx-spark-playbooks/pull/103"),
    look,
};

fn look(case: &Case<'_>) -> Vec<Found> {
    let ends = case.fabric();
    let mtus: BTreeSet<u64> = ends.iter().filter_map(|(_, port)| port.mtu).collect();
    let said = ends.iter().filter_map(|(seen, port)| {
        Some(json!({"node": seen.name, "interface": port.name, "mtu": port.mtu?}))
    });
    let evidence: serde_json::Value = said.collect();
    let nodes = ends.iter().map(|(seen, _)| (*seen.name).clone()).collect();
    let is_fast = ends
        .iter()
        .any(|(_, port)| port.speed.is_some_and(|speed| speed >= FAST));
    let names: BTreeSet<&str> = ends.iter().map(|(_, port)| port.name.as_str()).collect();
    let names: Vec<&str> = names.into_iter().collect();
    let hint = format!(
        "on each: sudo ip link set dev {} mtu 9000      (and in netplan, so that it stays)",
        names.join(" / ")
    );
    let (severity, message) = if mtus.len() > 1 {
        let mtus: Vec<_> = mtus.iter().map(u64::to_string).collect();
        (
            Severity::Problem,
            format!("its ends differ: {}", mtus.join(" and ")),
        )
    } else if is_fast && mtus.iter().all(|mtu| *mtu <= USUAL) && !mtus.is_empty() {
        (
            Severity::Warning,
            format!("it is {USUAL}, as of a slow network"),
        )
    } else {
        return Vec::new();
    };
    vec![Found {
        severity,
        nodes,
        message,
        evidence,
        hint,
    }]
}
