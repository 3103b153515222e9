//! F7: a port of a GB10 is two interfaces, each on four lanes of its own, and one alone carries half of what
//! the cable does: 98 Gb/s, and 161 with both (tonyd2wild's pull request 35; NVIDIA/dgx-spark-playbooks#103).

use serde_json::json;

use super::Case;
use super::case::Seen;
use super::finding::{Check, Found, Severity};

/// The lanes of half a port, and the speed that both claim to have, in Mb/s.
const LANES: u32 = 4;
const CLAIMED: u64 = 200_000;

pub(super) const CHECK: Check = Check {
    id: "F7",
    name: "half of the link is unused",
    why: "One of the two interfaces of a port carries about 100 of its 200 Gb/s. NCCL uses both where both \
          have an address; replica's own copies use the declared one.",
    reported: Some(
        "https://github.com/tonyd2wild/DeepSeek-v4-Flash-Vision-Exp-DSpark-1M-NVFP4-KV-2x-DGX-Spark/pull/35",
    ),
    look,
};

fn look(case: &Case<'_>) -> Vec<Found> {
    case.each(found)
}

fn found(seen: &Seen<'_>) -> Option<Found> {
    let port = seen.fabric_port()?;
    let is_half = |lanes: Option<(u32, u32)>| lanes.is_some_and(|(now, _)| now <= LANES);
    if port.speed.is_none_or(|speed| speed < CLAIMED) || !is_half(port.lanes) || port.rdma.is_none()
    {
        return None;
    }
    let has_address = |name: &str| seen.look.addresses.iter().any(|(own, _)| own == name);
    let other = seen.look.ports.iter().find(|other| {
        let is_like = other.is_up && other.rdma.is_some() && other.speed == port.speed;
        other.name != port.name && is_like && !has_address(&other.name)
    })?;
    Some(Found {
        severity: Severity::Note,
        nodes: vec![seen.name.clone()],
        message: format!(
            "{} is up and has no address, beside {}",
            other.name, port.name
        ),
        evidence: json!({"used": port.name, "unused": other.name, "lanes_of_each": LANES}),
        hint: format!(
            "an address of another network for {} on both nodes, and NCCL_IB_HCA={},{}",
            other.name,
            port.rdma.as_deref().unwrap_or_default(),
            other.rdma.as_deref().unwrap_or_default()
        ),
    })
}
