//! F1: the address that is declared for the fast link is on no interface, or its interface is down. Addresses
//! that were set by hand are gone after a reboot, and interfaces change their names.

use serde_json::json;

use super::Case;
use super::case::Seen;
use super::finding::{Check, Found, Severity};

pub(super) const CHECK: Check = Check {
    id: "F1",
    name: "the fast link is not there",
    why: "Models are copied over it, and prefill and decode hand over on it: neither begins.",
    reported: None,
    look,
};

fn look(case: &Case<'_>) -> Vec<Found> {
    case.each(found)
}

fn found(seen: &Seen<'_>) -> Option<Found> {
    let address = seen.fabric_address()?;
    if seen.look.addresses.is_empty() || address.parse::<std::net::Ipv4Addr>().is_err() {
        return None;
    }
    let message = match seen.fabric_port() {
        None => format!("no interface has its `fabric` address {address}"),
        Some(port) if !port.is_up && port.speed.is_none() => {
            format!(
                "{}, which has its `fabric` address {address}, is down",
                port.name
            )
        }
        Some(_) => return None,
    };
    let own = seen
        .look
        .addresses
        .iter()
        .map(|(port, own)| format!("{port} {own}"));
    Some(Found {
        severity: Severity::Problem,
        nodes: vec![seen.name.clone()],
        message,
        evidence: json!({"declared": address, "has": own.collect::<Vec<_>>()}),
        hint: "ip -4 address      (then set it there, or in `addresses` of the node)".to_owned(),
    })
}
