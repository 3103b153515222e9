//! A topology as it is meant: what runs where, everything looked up that one thing names of another.

use std::collections::{BTreeMap, BTreeSet};

use indexmap::IndexMap;

use super::benchmark::Measurement;
use super::environment::EnvValue;
use super::instance::Server;
use super::proxy::ProxyDeclaration;
use crate::name::{BenchmarkName, InstanceName, NodeName, TopologyName};
use crate::node::{NodeDeclaration, Reach};

/// What runs where, and what is measured of it. It is made of a text by [`crate::manifest`], whose
/// rules it keeps: every reference is good, and every engine is of one sort.
///
/// Engines and models stand in the servers that have them: one that nobody runs is nowhere.
#[derive(Debug, Clone, PartialEq)]
pub struct Topology {
    /// The name of what runs.
    pub name: TopologyName,
    /// The machines.
    pub nodes: BTreeMap<NodeName, NodeDeclaration>,
    /// The servers.
    pub instances: BTreeMap<InstanceName, Server>,
    /// The proxy before them.
    pub proxy: Option<ProxyDeclaration>,
    /// The measurements, in the order in which they are made.
    pub benchmarks: IndexMap<BenchmarkName, Measurement>,
}

impl Topology {
    /// The variables of whoever applies that hold secrets of it.
    pub fn secrets(&self) -> BTreeSet<&str> {
        let of_env = self.instances.values().flat_map(|it| it.env.values());
        let models = self.instances.values().filter_map(|server| {
            let vllm = server.runtime.vllm()?;
            Some(vllm.models(&server.model))
        });
        let tokens = models
            .flatten()
            .filter_map(|(_, model)| model.token.as_ref());
        of_env.chain(tokens).filter_map(EnvValue::source).collect()
    }

    /// The node that sends the requests of a benchmark; none where that is this machine. What is not
    /// said is the node of the proxy.
    pub fn sender(&self, benchmark: &Measurement) -> Option<&NodeName> {
        let proxy = self.proxy.as_ref().map(|proxy| &proxy.node);
        let named = benchmark.from.as_ref().or(proxy)?;
        let (name, node) = self.nodes.get_key_value(named)?;
        (node.ssh != Reach::Local).then_some(name)
    }
}
