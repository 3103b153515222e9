//! Where the requests of benchmarks are sent from.

use super::super::problem::Problem;
use super::Checker;
use super::proxy::{backends, is_loopback};
use super::references::refers;
use crate::name::{BenchmarkName, NodeName};
use crate::node::Reach;
use crate::resource::proxy::DEFAULT_REACH;

/// This machine, as `from` calls it where no node has that name.
const HERE: &str = "local";

/// What sends is a declared node, or this machine.
pub(super) fn are_declared(seen: &Checker<'_>) -> Vec<Problem> {
    let named = named(seen).filter(|(_, node)| node.as_str() != HERE);
    named
        .filter_map(|(name, node)| {
            let path = ["benchmarks", name.as_str(), "from"];
            if seen.names("nodes").is_empty() {
                let title = "`from` names a node, and none is declared";
                return Some(
                    seen.report(&path, title)?
                        .hint("leave it out: it is this machine"),
                );
            }
            let problem = refers(seen, &path, node.as_str(), "node")?;
            Some(problem.hint("or write `local`: this machine"))
        })
        .collect()
}

/// What listens on the loopback of its node alone is reached from there alone.
pub(super) fn reach_what_they_measure(seen: &Checker<'_>) -> Vec<Problem> {
    let mut out = Vec::new();
    for (name, from) in named(seen) {
        let is_here = is_this_machine(seen, from);
        let is_known = is_here || seen.document.nodes.contains_key(from);
        let unreached = measured(seen).into_iter().find(|it| {
            let is_there = it.node == from || (is_here && is_this_machine(seen, it.node));
            is_known && !is_there && it.is_local(seen)
        });
        let Some(unreached) = unreached else { continue };
        let path = ["benchmarks", name.as_str(), "from"];
        let title = format!(
            "{} is not reached from there: it listens on the loopback of node `{}` only",
            unreached.called, unreached.node
        );
        out.extend(seen.report(&path, title).map(|problem| {
            problem.hint(format!(
                "write `from: {}`, or let it listen on an address of its node",
                unreached.node
            ))
        }));
    }
    out
}

/// The benchmarks that name who sends.
fn named<'a>(seen: &Checker<'a>) -> impl Iterator<Item = (&'a BenchmarkName, &'a NodeName)> {
    let benchmarks = seen.document.benchmarks.iter();
    benchmarks.filter_map(|(name, benchmark)| Some((name, benchmark.from.as_ref()?)))
}

fn is_this_machine(seen: &Checker<'_>, node: &NodeName) -> bool {
    match seen.document.nodes.get(node) {
        Some(node) => node.ssh == Reach::Local,
        None => node.as_str() == HERE,
    }
}

/// Something that a benchmark sends requests to.
struct Measured<'a> {
    called: String,
    node: &'a NodeName,
    host: Option<&'a str>,
}

impl Measured<'_> {
    /// Whether only its own node reaches it.
    fn is_local(&self, seen: &Checker<'_>) -> bool {
        if let Some(host) = self.host {
            return is_loopback(host);
        }
        let proxy = seen.document.proxy.as_ref();
        let network = proxy.and_then(|proxy| proxy.reach.as_deref());
        let node = seen.document.nodes.get(self.node);
        let address = node.and_then(|node| node.address(network.unwrap_or(DEFAULT_REACH)));
        address.is_some_and(is_loopback)
    }
}

fn measured<'a>(seen: &Checker<'a>) -> Vec<Measured<'a>> {
    let document = seen.document;
    let proxy = document.proxy.as_ref();
    let instances = match proxy {
        Some(proxy) => backends(seen, proxy),
        None => document.instances.iter().collect(),
    };
    let instances = instances.into_iter().map(|(name, instance)| Measured {
        called: format!("instance `{name}`"),
        node: &instance.node,
        host: instance.host.as_deref(),
    });
    let proxy = proxy.map(|proxy| Measured {
        called: "the proxy".to_owned(),
        node: &proxy.node,
        host: proxy.host.as_deref(),
    });
    proxy.into_iter().chain(instances).collect()
}
