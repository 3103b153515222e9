//! Which address of a node is for what: the one that others reach it by, and the one of the fast link.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use super::place::Place;
use super::survey::Link;
use crate::node::Reach;

/// The interfaces that programs make for themselves, by how their names begin.
const VIRTUAL: [&str; 10] = [
    "br-",
    "cali",
    "cni",
    "docker",
    "flannel",
    "lxc",
    "tailscale",
    "tun",
    "veth",
    "virbr",
];

/// The addresses of a node, as others dial it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Addresses<'a> {
    /// By which it was reached, or is by the others.
    pub(super) lan: Option<String>,
    /// On the fast link.
    pub(super) fabric: Option<&'a Link>,
}

/// Finds the addresses of each node, in the order of the nodes.
pub(super) fn addresses(places: &[Place]) -> Vec<Addresses<'_>> {
    let lan: Vec<_> = places.iter().map(|place| lan(place, places)).collect();
    let own = |at: usize| {
        let address: Ipv4Addr = lan[at].as_deref()?.parse().ok()?;
        links(&places[at]).find(|link| link.address == address)
    };
    let slow: Vec<Option<&Link>> = (0..places.len()).map(own).collect();
    let fast = fast_network(places, &slow);
    let on_it = |place: &'_ Place| -> Option<usize> {
        let fast = fast?;
        place
            .surveyed
            .links
            .iter()
            .position(|link| link.network() == fast)
    };
    places
        .iter()
        .zip(lan)
        .map(|(place, lan)| Addresses {
            lan,
            fabric: on_it(place).map(|at| &place.surveyed.links[at]),
        })
        .collect()
}

/// The addresses that are of wires.
fn links(place: &Place) -> impl Iterator<Item = &Link> {
    place.surveyed.links.iter().filter(|link| {
        let is_virtual = VIRTUAL
            .iter()
            .any(|begin| link.interface.starts_with(begin));
        !link.address.is_loopback() && !is_virtual
    })
}

/// How others reach a node. This machine is not asked over a network: its address is the one in the network
/// of another.
fn lan(place: &Place, places: &[Place]) -> Option<String> {
    let said = place.surveyed.reached.clone();
    if place.reach != Reach::Local {
        return said.filter(|address| !address.contains('%'));
    }
    let others = places
        .iter()
        .filter_map(|it| it.surveyed.reached.as_deref());
    let others: Vec<Ipv4Addr> = others.filter_map(|address| address.parse().ok()).collect();
    let reaches = |link: &&Link| {
        let of = |address: &Ipv4Addr| {
            let other = Link {
                address: *address,
                ..(*link).clone()
            };
            other.network() == link.network()
        };
        others.iter().any(of)
    };
    links(place)
        .find(reaches)
        .map(|link| link.address.to_string())
}

/// The network that two nodes or more are on, and that is faster than the one by which they are reached.
/// Addresses that are the same on two nodes are of networks inside of each.
fn fast_network(places: &[Place], slow: &[Option<&Link>]) -> Option<(u32, u32)> {
    let mut networks: BTreeMap<(u32, u32), Vec<&Link>> = BTreeMap::new();
    for (place, slow) in places.iter().zip(slow) {
        let mut seen = BTreeSet::new();
        for link in links(place) {
            let is_slow = slow.is_some_and(|slow| slow.network() == link.network());
            if !is_slow && seen.insert(link.network()) {
                networks.entry(link.network()).or_default().push(link);
            }
        }
    }
    let slowest = |links: &[&Link]| links.iter().filter_map(|link| link.speed).min();
    let reached = slow.iter().flatten().filter_map(|link| link.speed).max();
    networks.retain(|_, links| {
        let addresses: BTreeSet<_> = links.iter().map(|link| link.address).collect();
        let has_rdma = links.iter().all(|link| link.rdma.is_some());
        let is_faster = slowest(links) > reached && slowest(links).is_some();
        links.len() > 1 && addresses.len() == links.len() && (has_rdma || is_faster)
    });
    let rank = |links: &Vec<&Link>| (links.len(), slowest(links));
    let best = networks.values().map(rank).max()?;
    let found = networks.iter().find(|(_, links)| rank(links) == best);
    found.map(|(network, _)| *network)
}

#[cfg(test)]
mod tests {
    use super::super::survey::tests::surveyed;
    use super::*;

    fn place(name: &str, reach: &str, lines: &str) -> Place {
        Place {
            name: name.parse().unwrap(),
            reach: reach.parse().unwrap(),
            surveyed: surveyed(lines, ""),
        }
    }

    /// What each node has, as `lan fabric`.
    fn found(places: &[Place]) -> Vec<String> {
        let words = |it: &Addresses<'_>| {
            let fabric = it.fabric.map(|link| link.address.to_string());
            format!(
                "{} {}",
                it.lan.as_deref().unwrap_or("-"),
                fabric.as_deref().unwrap_or("-")
            )
        };
        addresses(places).iter().map(words).collect()
    }

    #[test]
    fn the_fast_link_is_the_one_that_both_are_on_and_that_is_faster() {
        let spark = |n: u8| {
            let lines = format!(
                "reached 192.168.1.{n}\nlink enP7s7 192.168.1.{n}/24 1000 1500 -\n\
                 link docker0 172.17.0.1/16 10000 1500 -\nlink wlP9s9 10.0.0.{n}/24 -1 1500 -\n\
                 link enp1s0f0np0 192.168.100.{n}/24 200000 9000 rocep1s0f0\n\
                 link enP2p1s0f0np0 192.168.101.{n}/24 200000 9000 roceP2p1s0f0\n"
            );
            place(
                &format!("spark-{n}"),
                &format!("nvidia@192.168.1.{n}"),
                &lines,
            )
        };
        assert_eq!(
            found(&[spark(76), spark(77)]),
            ["192.168.1.76 192.168.100.76", "192.168.1.77 192.168.100.77"]
        );
        assert_eq!(
            found(&[spark(76)]),
            ["192.168.1.76 -"],
            "a link has two ends"
        );
        let laptop = place(
            "here",
            "local",
            "link eth0 192.168.1.5/24 1000 1500 -\nlink tun0 10.9.0.2/24 - - -",
        );
        assert_eq!(
            found(&[laptop, spark(76), spark(77)]),
            [
                "192.168.1.5 -",
                "192.168.1.76 192.168.100.76",
                "192.168.1.77 192.168.100.77"
            ]
        );
    }

    #[test]
    fn what_is_no_faster_is_no_fast_link() {
        let one = |n: u8| {
            let lines = format!(
                "reached 10.77.0.{n}\nlink eth0 10.77.0.{n}/24 10000 1500 -\nlink eth1 10.78.0.{n}/24 10000 1500 -\n"
            );
            place(&format!("n{n}"), &format!("n@10.77.0.{n}"), &lines)
        };
        assert_eq!(found(&[one(1), one(2)]), ["10.77.0.1 -", "10.77.0.2 -"]);
        let alone = place("here", "local", "link eth0 10.0.0.1/24 1000 1500 -");
        assert_eq!(found(&[alone]), ["- -"]);
    }
}
