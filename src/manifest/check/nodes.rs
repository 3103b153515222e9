//! The machines of a topology.

use std::collections::HashMap;

use super::super::problem::Problem;
use super::super::suggest::{listed, nearest, shown};
use super::Checker;
use crate::name::NodeName;
use crate::node::{NodeDeclaration, Reach};
use crate::resource::proxy::DEFAULT_REACH;

/// There is a node, and where `instances` is written there is an instance.
pub(super) fn some_are_declared(seen: &Checker<'_>) -> Vec<Problem> {
    let mut out = Vec::new();
    if seen.names("nodes").is_empty() {
        out.extend(
            seen.report(&["nodes"], "there are no nodes")
                .map(|problem| {
                    problem.hint("this machine is a node too: `nodes: {here: {ssh: local}}`")
                }),
        );
    }
    if seen.is_given(&["instances"]) && seen.names("instances").is_empty() {
        out.extend(seen.report(&["instances"], "there are no instances").map(|problem| {
            problem.hint("declare one, or leave the key out to run none; `replica destroy` stops all")
        }));
    }
    out
}

/// No machine has two names: its ports and its memory would be counted twice.
pub(super) fn each_is_another_machine(seen: &Checker<'_>) -> Vec<Problem> {
    let mut known = HashMap::new();
    let mut out = Vec::new();
    for (name, node) in &seen.document.nodes {
        let path = ["nodes", name.as_str(), "ssh"];
        let Some(place) = seen.place(&path) else {
            continue;
        };
        let Some((first, first_place)) = known.get(&machine(&node.ssh)) else {
            known.insert(machine(&node.ssh), (name, place));
            continue;
        };
        out.push(
            Problem::new(format!("nodes `{first}` and `{name}` are one machine"))
                .at(place)
                .label("reached in the same way")
                .also(
                    std::ops::Range::clone(first_place),
                    format!("`{first}` is reached here"),
                )
                .hint("declare a machine once; several instances may run on one node"),
        );
    }
    out
}

/// What becomes of servers that nobody declares is said once, by one of its two names.
pub(super) fn unmanaged_is_said_once(seen: &Checker<'_>) -> Vec<Problem> {
    let mut out = Vec::new();
    for name in seen.names("nodes") {
        let (key, former) = (["nodes", name, "unmanaged"], ["nodes", name, "stale"]);
        if !seen.is_given(&key) || !seen.is_given(&former) {
            continue;
        }
        let problem = seen.report_key(&former, "`stale` is what `unmanaged` was called before");
        out.extend(problem.zip(seen.key(&key)).map(|(problem, place)| {
            problem
                .also(place, "said here already")
                .hint("keep `unmanaged`")
        }));
    }
    out
}

/// What tells machines apart: two users of one host are on one machine.
fn machine(reach: &Reach) -> (String, u16) {
    match reach {
        Reach::Local => (String::new(), 0),
        Reach::Ssh { host, port, .. } => (host.to_lowercase(), port.unwrap_or(22)),
    }
}

/// An address is a host alone: the port is the instance's.
pub(super) fn addresses_are_addresses(seen: &Checker<'_>) -> Vec<Problem> {
    let mut out = Vec::new();
    for (name, node) in &seen.document.nodes {
        for (network, address) in &node.addresses {
            let path = ["nodes", name.as_str(), "addresses", network];
            let written_out = [&path[..], &["address"]].concat();
            let is_written_out = seen.is_given(&written_out);
            let path = if is_written_out {
                &written_out
            } else {
                &path[..]
            };
            let address = &address.address;
            out.extend(not_an_address(address).and_then(|hint| {
                let title = format!("`{}` is not an address", shown(address));
                Some(seen.report(path, title)?.hint(hint))
            }));
        }
    }
    for (name, instance) in &seen.document.instances {
        out.extend(bad_host(
            seen,
            &["instances", name.as_str(), "host"],
            instance.host.as_deref(),
        ));
    }
    if let Some(proxy) = &seen.document.proxy {
        out.extend(bad_host(seen, &["proxy", "host"], proxy.host.as_deref()));
    }
    out
}

fn bad_host(seen: &Checker<'_>, path: &[&str], host: Option<&str>) -> Option<Problem> {
    let host = host?;
    let hint = not_an_address(host)?;
    let title = format!("`{}` is not an address", shown(host));
    Some(seen.report(path, title)?.hint(hint))
}

fn not_an_address(text: &str) -> Option<&'static str> {
    if text.contains("://") || text.contains('/') {
        return Some("write the host alone, without `http://` and without a path");
    }
    if text.parse::<std::net::IpAddr>().is_ok() {
        return None;
    }
    if text.contains(':') {
        return Some("write the host alone; the port is the instance's own `port`");
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    let good = !text.is_empty() && !text.starts_with('-') && text.chars().all(plain);
    (!good).then_some("write an IP address or a host name")
}

/// Every node that serves has an address on the network by which the proxy reaches it.
pub(super) fn reached_by_the_network_of_the_proxy(seen: &Checker<'_>) -> Vec<Problem> {
    let Some(proxy) = &seen.document.proxy else {
        return Vec::new();
    };
    let network = proxy.reach.as_deref();
    let serving = seen
        .document
        .nodes
        .iter()
        .filter(|(name, _)| *name == &proxy.node || hosts_an_instance(seen, name));
    serving
        .filter(|(_, node)| lacks(node, network))
        .filter_map(|(name, node)| unreached(seen, name, node, network))
        .collect()
}

fn hosts_an_instance(seen: &Checker<'_>, node: &NodeName) -> bool {
    let mut instances = seen.document.instances.values();
    instances.any(|instance| instance.node == *node && instance.host.is_none())
}

/// Whether the proxy has no address to dial. Where it names no network, a node without any
/// address is dialled as SSH does.
fn lacks(node: &NodeDeclaration, network: Option<&str>) -> bool {
    match network {
        Some(network) => node.ssh != Reach::Local && !node.addresses.contains_key(network),
        None => node.address(DEFAULT_REACH).is_none(),
    }
}

fn unreached(
    seen: &Checker<'_>,
    name: &NodeName,
    node: &NodeDeclaration,
    network: Option<&str>,
) -> Option<Problem> {
    let reach = seen.place(&["proxy", "reach"])?;
    let has = node.addresses.keys().map(String::as_str);
    let wanted = shown(network.unwrap_or(DEFAULT_REACH));
    let title = format!("node `{name}` has no `{wanted}` address");
    let problem = seen.report(&["nodes", name.as_str(), "addresses"], title)?;
    let Some(network) = network else {
        let problem = problem.also(reach, "this proxy names no `reach`, so it is `lan`");
        return Some(problem.hint(format!(
            "add it, or give the proxy another `reach`: {}",
            listed(has)
        )));
    };
    let problem = problem.also(reach, "the proxy reaches nodes by it");
    Some(match nearest(network, has) {
        Some(near) => problem.hint(format!("did you mean `reach: {near}`?")),
        None => problem.hint(format!("add it: `addresses: {{{wanted}: …}}`")),
    })
}
