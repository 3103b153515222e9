//! F6: no file brings the address of the fast link back after a reboot. What `ip address add` and, on DGX OS,
//! a profile of nmcli below /run made is gone then:
//! tonyd2wild/DeepSeek-v4-Flash-Vision-Exp-DSpark-1M-NVFP4-KV-2x-DGX-Spark#40.

use serde_json::json;

use super::Case;
use super::case::Seen;
use super::finding::{Check, Found, Severity};

pub(super) const CHECK: Check = Check {
    id: "F6",
    name: "the address is lost at a reboot",
    why: "After the next reboot the link is up and has no address, and nothing says so.",
    reported: Some(
        "https://github.com/tonyd2wild/DeepSeek-v4-Flash-Vision-Exp-DSpark-1M-NVFP4-KV-2x-DGX-Spark/pull/40",
    ),
    look,
};

fn look(case: &Case<'_>) -> Vec<Found> {
    case.each(found)
}

fn found(seen: &Seen<'_>) -> Option<Found> {
    let port = seen.fabric_port().filter(|_| seen.look.tells_who_keeps)?;
    let file = seen.look.kept.get(&port.name);
    if file.is_some_and(|file| stays(file)) {
        return None;
    }
    let address = seen.fabric_address()?;
    Some(Found {
        severity: Severity::Warning,
        nodes: vec![seen.name.clone()],
        message: match file {
            Some(file) => format!(
                "{address} on {} comes from {file}, which a reboot empties",
                port.name
            ),
            None => format!("{address} on {} comes from no file", port.name),
        },
        evidence: json!({"interface": port.name, "address": address, "file": file}),
        hint: format!(
            "a file in /etc/netplan that gives {} the address {address}",
            port.name
        ),
    })
}

/// Whether a file is there after a reboot, or made anew from one that is.
fn stays(file: &str) -> bool {
    !file.starts_with("/run/") || file.contains("netplan-")
}
