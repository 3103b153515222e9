//! What there is to look at: what every node said, and what is declared for it.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::caches::Caches;
use super::declared::FABRIC;
use super::kernels::Kernels;
use super::look::{Look, Port};
use super::measured::Measurements;
use crate::name::{InstanceName, NodeName};
use crate::node::NodeDeclaration;
use crate::plan::{Address, Plan};
use crate::resource::instance::{self, Server};
use crate::resource::machine::{Bytes, Machine};
use crate::resource::process::ProcessTable;
use crate::resource::{Facts, Observation, Topology};

/// Everything that a check may look at.
pub struct Case<'a> {
    topology: &'a Topology,
    /// What an apply would do.
    pub(super) plan: &'a Plan,
    /// What was measured, where that was asked for.
    pub(super) measured: &'a Measurements,
    /// The nodes that answered.
    pub(super) nodes: BTreeMap<&'a NodeName, Seen<'a>>,
}

/// A node that answered.
pub(super) struct Seen<'a> {
    pub(super) name: &'a NodeName,
    pub(super) declared: &'a NodeDeclaration,
    pub(super) look: Arc<Look>,
    pub(super) kernels: Arc<Kernels>,
    pub(super) caches: Arc<Caches>,
    /// All that it said.
    pub(super) facts: &'a Facts,
    pub(super) machine: Arc<Machine>,
    pub(super) processes: Arc<ProcessTable>,
}

impl<'a> Case<'a> {
    /// What is to be looked at, of these nodes.
    pub fn new(
        topology: &'a Topology,
        observed: &'a Observation,
        plan: &'a Plan,
        measured: &'a Measurements,
        is_asked: impl Fn(&NodeName) -> bool,
    ) -> Self {
        let declared = topology.nodes.iter().filter(|(name, _)| is_asked(name));
        let nodes = declared.filter_map(|(name, declared)| {
            let facts = observed.of(name)?;
            let seen = Seen {
                name,
                declared,
                look: Look::read(facts),
                kernels: Kernels::read(facts),
                caches: Caches::read(facts),
                facts,
                machine: Machine::read(facts),
                processes: ProcessTable::read(facts),
            };
            Some((name, seen))
        });
        Self {
            topology,
            plan,
            measured,
            nodes: nodes.collect(),
        }
    }

    /// What is found on each node.
    pub(super) fn each<T>(&self, found: impl Fn(&Seen<'a>) -> Option<T>) -> Vec<T> {
        self.nodes.values().filter_map(found).collect()
    }

    /// The servers of a node that have weights.
    pub(super) fn servers(&self, node: &NodeName) -> Vec<(&'a InstanceName, &'a Server)> {
        let servers = self.topology.instances.iter();
        let own = servers.filter(|(_, server)| server.node == *node);
        own.filter(|(_, server)| server.runtime.vllm().is_some())
            .collect()
    }

    /// Those that do not run.
    pub(super) fn down(&self, seen: &Seen<'_>) -> Vec<(&'a InstanceName, &'a Server)> {
        let mut servers = self.servers(seen.name);
        servers.retain(|(name, _)| !self.runs(seen, name));
        servers
    }

    /// Those that run.
    pub(super) fn up(&self, seen: &Seen<'_>) -> Vec<(&'a InstanceName, &'a Server)> {
        let mut servers = self.servers(seen.name);
        servers.retain(|(name, _)| self.runs(seen, name));
        servers
    }

    fn runs(&self, seen: &Seen<'_>, server: &InstanceName) -> bool {
        let address = Address::on(seen.name, instance::KIND, Some(server.as_str()));
        let sessions = seen.processes.of(self.topology.name.as_str(), &address);
        !sessions.is_empty()
    }

    /// The two ends of the fast link, where it has two that answered: of each node its interface.
    pub(super) fn fabric(&self) -> Vec<(&Seen<'a>, &Port)> {
        let ends = self.nodes.values();
        ends.filter_map(|seen| Some((seen, seen.fabric_port()?)))
            .collect()
    }
}

impl Case<'_> {
    fn port(&self, node: &NodeName, network: &str) -> Option<&Port> {
        let seen = self.nodes.get(node)?;
        seen.look
            .port_of(&seen.declared.addresses.get(network)?.address)
    }

    /// The interface by which a node is on a network.
    pub(super) fn interface(&self, node: &NodeName, network: &str) -> Option<&str> {
        self.port(node, network).map(|port| port.name.as_str())
    }

    /// Whether the GPU of a node shares its memory, as that of a GB10 does.
    pub(super) fn is_unified(&self, node: &NodeName) -> bool {
        let seen = self.nodes.get(node);
        seen.is_some_and(|seen| seen.machine.is_unified())
    }

    /// How fast that says that it is, in Gb/s.
    pub(super) fn says_gbit_per_s(&self, node: &NodeName, network: &str) -> Option<f64> {
        let speed = self.port(node, network)?.speed?;
        (speed > 0).then_some(speed as f64 / 1e3)
    }
}

impl Seen<'_> {
    /// Its address on the fast link, where one is declared.
    pub(super) fn fabric_address(&self) -> Option<&str> {
        let declared = self.declared.addresses.get(FABRIC)?;
        Some(&declared.address)
    }

    /// The interface that has that address.
    pub(super) fn fabric_port(&self) -> Option<&Port> {
        self.look.port_of(self.fabric_address()?)
    }

    /// Its memory, where its GPU shares it: all of it, and what can be had.
    pub(super) fn shared_memory(&self) -> Option<(Bytes, Bytes)> {
        let both = self.machine.memory_total.zip(self.machine.memory_available);
        both.filter(|_| self.machine.is_unified())
    }
}

/// GiB with one digit, for evidence.
pub(super) fn gib(bytes: Bytes) -> f64 {
    (bytes.0 as f64 / f64::from(1u32 << 30) * 10.0).round() / 10.0
}
