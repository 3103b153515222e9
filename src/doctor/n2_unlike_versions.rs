//! N2: machines of one sort have other drivers, kernels, BIOSes or network firmware. Owners of two Sparks who
//! looked for why one is slower found this: driver 580.173.02 with older firmware, 590 with captured graphs,
//! a BIOS that wires half the lanes.

use std::collections::BTreeMap;

use serde_json::json;

use super::Case;
use super::finding::{Check, Found, Severity};
use crate::name::NodeName;

/// What is compared.
const COMPARED: [&str; 4] = ["driver", "kernel", "BIOS", "firmware"];

pub(super) const CHECK: Check = Check {
    id: "N2",
    name: "nodes that are alike have other versions",
    why: "What is compared between the nodes is then these, and a fault of one is not one of the other.",
    reported: Some("https://conselara.dev/notes/dgx-spark-gb10-hardware-reference/"),
    look,
};

fn look(case: &Case<'_>) -> Vec<Found> {
    COMPARED.iter().flat_map(|what| found(case, what)).collect()
}

fn found(case: &Case<'_>, what: &str) -> Vec<Found> {
    // Those with the same GPUs are of one sort.
    let mut sorts: BTreeMap<String, BTreeMap<&str, Vec<&NodeName>>> = BTreeMap::new();
    let with_versions = case.nodes.values().filter_map(|seen| {
        let gpu = seen.machine.gpus.first()?;
        Some((
            gpu.name.clone(),
            seen.look.versions.get(what)?.as_str(),
            seen.name,
        ))
    });
    let all: Vec<_> = with_versions.collect();
    for (gpu, version, node) in &all {
        let versions = sorts.entry(gpu.clone()).or_default();
        versions.entry(*version).or_default().push(*node);
    }
    let unlike = sorts.into_iter().filter(|(_, versions)| versions.len() > 1);
    unlike
        .map(|(gpu, versions)| {
            let words = versions.iter().map(|(version, nodes)| {
                let nodes: Vec<_> = nodes.iter().map(|node| node.as_str()).collect();
                format!("{version} on {}", nodes.join(", "))
            });
            let words: Vec<_> = words.collect();
            Found {
                severity: Severity::Warning,
                nodes: versions.values().flatten().map(|node| (*node).clone()).collect(),
                message: format!("{what} of the nodes with {gpu}: {}", words.join("; ")),
                evidence: json!({"what": what, "versions": versions}),
                hint: "sudo apt update && sudo apt full-upgrade && sudo fwupdmgr update      (on the older one)"
                    .to_owned(),
            }
        })
        .collect()
}
