//! F3: the interface of the fast link has fewer lanes to its machine than it could have, or slower ones. ASUS
//! GX10s with a BIOS from before April 2026 have the second half of the port on two lanes of four:
//! <https://forums.developer.nvidia.com/t/367853>.

use serde_json::json;

use super::Case;
use super::case::Seen;
use super::finding::{Check, Found, Severity};
use super::look::Port;

pub(super) const CHECK: Check = Check {
    id: "F3",
    name: "too few lanes",
    why: "The cable says 200 Gb/s all the same; what the lanes carry is the most that goes through.",
    reported: Some(
        "https://forums.developer.nvidia.com/t/asus-ascent-gx10-second-connectx-7-pcie-slot-wired-at-gen5-x2-instead-of-x4-50-bandwidth-loss-vs-dgx-spark-fe/367853",
    ),
    look,
};

fn look(case: &Case<'_>) -> Vec<Found> {
    let of = |seen: &Seen<'_>| {
        let fast = seen
            .look
            .ports
            .iter()
            .filter(|port| port.rdma.is_some() && port.is_up);
        fast.filter_map(|port| found(seen, port))
            .collect::<Vec<_>>()
    };
    case.nodes.values().flat_map(of).collect()
}

fn found(seen: &Seen<'_>, port: &Port) -> Option<Found> {
    let (lanes, most_lanes) = port.lanes?;
    let (speed, most_speed) = port.lane_speed?;
    (lanes < most_lanes || speed < most_speed).then(|| Found {
        severity: Severity::Warning,
        nodes: vec![seen.name.clone()],
        message: format!(
            "{} has {lanes} lanes of {most_lanes}, at {speed} GT/s of {most_speed}",
            port.name
        ),
        evidence: json!({
            "interface": port.name,
            "lanes": lanes,
            "lanes_at_most": most_lanes,
            "gt_per_s": speed,
            "gt_per_s_at_most": most_speed,
        }),
        hint: "sudo fwupdmgr refresh && sudo fwupdmgr update      (the BIOS; then cut its power for a minute)"
            .to_owned(),
    })
}
