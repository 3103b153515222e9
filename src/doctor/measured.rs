//! What is measured where that is asked for, beside what nodes say.

use serde::Serialize;

use super::declared::FABRIC;
use super::loaded::Load;
use crate::name::NodeName;
use crate::node::NodeDeclaration;
use crate::resource::Topology;

/// The network that nodes share in any case.
const LAN: &str = "lan";

/// What was measured.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Measurements {
    /// The ways between nodes, each in its own direction.
    pub links: Vec<Link>,
    /// The servers under a short load.
    pub loads: Vec<Load>,
    /// What could not be measured, each with why and what to do.
    pub left_out: Vec<String>,
}

/// The way from one node to another.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Link {
    /// Where the bytes came from.
    pub from: NodeName,
    /// Where they went.
    pub to: NodeName,
    /// Over the addresses of this network.
    pub network: String,
    /// What came, in Gb/s.
    pub gbit_per_s: f64,
    /// How long a word takes there and back while nothing else goes, in ms.
    pub rtt_ms: f64,
    /// How long it was counted what comes, in seconds.
    pub seconds: f64,
    /// Over so many TCP connections.
    pub connections: usize,
    /// Whether the bytes were sealed, as those of a copied model are unless the network is trusted.
    pub encrypted: bool,
}

/// Two nodes between which the ways are measured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair<'a> {
    /// Both.
    pub nodes: [&'a NodeName; 2],
    /// The network that both are on: the fast one, else the one that all share.
    pub network: &'static str,
    /// Their addresses on it, as the other dials them.
    pub addresses: [&'a str; 2],
    /// Whether both trust it.
    pub is_trusted: bool,
}

/// The pairs of these nodes: each with the next one, and the last with the first.
pub fn pairs<'a>(topology: &'a Topology, nodes: &[&'a NodeName]) -> Vec<Pair<'a>> {
    let declared = |node: &'a NodeName| topology.nodes.get(node);
    let next = nodes.iter().skip(1).chain(nodes.first());
    let mut pairs: Vec<[&NodeName; 2]> = nodes.iter().zip(next).map(|(a, b)| [*a, *b]).collect();
    if nodes.len() < 3 {
        pairs.truncate(nodes.len().saturating_sub(1));
    }
    let pairs = pairs.into_iter();
    pairs
        .filter_map(|[one, other]| pair([one, other], declared(one)?, declared(other)?))
        .collect()
}

fn pair<'a>(
    nodes: [&'a NodeName; 2],
    one: &'a NodeDeclaration,
    other: &'a NodeDeclaration,
) -> Option<Pair<'a>> {
    [FABRIC, LAN].into_iter().find_map(|network| {
        Some(Pair {
            nodes,
            network,
            addresses: [
                &one.addresses.get(network)?.address,
                &other.addresses.get(network)?.address,
            ],
            is_trusted: one.trusts(network) && other.trusts(network),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest;

    const FOUR: &str = "
topology: t
nodes:
  a: {ssh: a, addresses: {lan: 10.0.0.1, fabric: {address: 10.1.0.1, trusted: true}}}
  b: {ssh: b, addresses: {lan: 10.0.0.2, fabric: {address: 10.1.0.2, trusted: true}}}
  c: {ssh: c, addresses: {lan: 10.0.0.3}}
  d: {ssh: d}
";

    fn said(asked: &[&str]) -> Vec<String> {
        let topology = manifest::read(FOUR).unwrap();
        let nodes = topology.nodes.keys();
        let nodes: Vec<_> = nodes
            .filter(|node| asked.contains(&node.as_str()))
            .collect();
        let pairs = pairs(&topology, &nodes);
        let line = |it: &Pair<'_>| format!("{}{} {}", it.nodes[0], it.nodes[1], it.network);
        pairs.iter().map(line).collect()
    }

    #[test]
    fn each_is_measured_with_the_next_over_the_fastest_that_both_have() {
        assert_eq!(said(&["a", "b"]), ["ab fabric"]);
        assert_eq!(said(&["a", "b", "c"]), ["ab fabric", "bc lan", "ca lan"]);
        assert_eq!(said(&["a", "d"]), Vec::<String>::new());
        assert_eq!(said(&["a"]), Vec::<String>::new());
        assert_eq!(said(&[]), Vec::<String>::new());
        let topology = manifest::read(FOUR).unwrap();
        let nodes: Vec<_> = topology.nodes.keys().collect();
        let trusted = pairs(&topology, &nodes[..3]);
        let trusted: Vec<bool> = trusted.iter().map(|it| it.is_trusted).collect();
        assert_eq!(trusted, [true, false, false]);
    }
}
