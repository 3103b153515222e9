//! F5: RDMA goes by a number that stands for an address, and the number is another on each machine and after
//! each change of the network. One that is written down for all of them is right until then:
//! MiaAI-Lab/DeepSeek-v4-Flash-DSpark-2x-DGX-Spark#10, FujitsuPolycom/sparkring#290 and #186 (a number moves
//! from 3 to 4 within half an hour, and one end alone fails).

use std::net::Ipv4Addr;

use serde_json::json;

use super::Case;
use super::case::Seen;
use super::declared::variable;
use super::finding::{Check, Found, Severity};

/// What writes the number down.
const PINS: [&str; 2] = ["NCCL_IB_GID_INDEX", "UCX_IB_GID_INDEX"];

pub(super) const CHECK: Check = Check {
    id: "F5",
    name: "the RoCE address of the fast link",
    why: "With another number, or none, RDMA does not begin: `ibv_modify_qp` fails, or the start hangs.",
    reported: Some("https://github.com/FujitsuPolycom/sparkring/issues/290"),
    look,
};

fn look(case: &Case<'_>) -> Vec<Found> {
    let of = |seen: &Seen<'_>| found(case, seen);
    case.nodes.values().flat_map(of).collect()
}

fn found(case: &Case<'_>, seen: &Seen<'_>) -> Vec<Found> {
    let address: Option<Ipv4Addr> = seen.fabric_address().and_then(|it| it.parse().ok());
    let device = seen.fabric_port().and_then(|port| port.rdma.as_deref());
    let (Some(address), Some(device)) = (address, device) else {
        return Vec::new();
    };
    if seen.look.gids.is_empty() {
        return Vec::new();
    }
    let Some(index) = seen.look.gid_of(device, address) else {
        let has = seen.look.gids.iter().filter(|gid| gid.device == device);
        return vec![Found {
            severity: Severity::Warning,
            nodes: vec![seen.name.clone()],
            message: format!("{device} knows no RoCEv2 address for {address}"),
            evidence: has
                .map(|gid| json!({"index": gid.index, "kind": gid.kind, "gid": gid.address.to_string()}))
                .collect(),
            hint: "sudo ip link set dev PORT down && sudo ip link set dev PORT up      (it makes the table anew)"
                .to_owned(),
        }];
    };
    let servers = case.servers(seen.name).into_iter();
    let pinned = servers.flat_map(|(name, server)| {
        PINS.iter().filter_map(move |pin| {
            let value = variable(server, pin)?;
            (value.parse() != Ok(index)).then_some((name, *pin, value.to_owned()))
        })
    });
    pinned
        .map(|(name, pin, value)| Found {
            severity: Severity::Problem,
            nodes: vec![seen.name.clone()],
            message: format!("`{name}` has {pin}={value}, and here {address} is {index}"),
            evidence: json!({"device": device, "address": address, "index": index, pin: value}),
            hint: format!("leave {pin} out of `env`: NCCL finds the number by itself"),
        })
        .collect()
}
