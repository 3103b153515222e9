//! vLLM servers that somebody else started, on nodes that say `unmanaged: stop`; elsewhere they are
//! only shown.

use std::collections::BTreeMap;
use std::time::Duration;

use super::contract::{Observation, Resource};
use super::facts::Fact;
use super::process::{Ownership, ProcessTable, UnmanagedProcess, UnmanagedServer};
use crate::name::NodeName;
use crate::node::{NodeDeclaration, UnmanagedPolicy};
use crate::plan::effect::KillUnmanaged;
use crate::plan::{
    Action, Address, Change, Effect, LivenessProbe, NodePort, Operation, Operations, Reason,
    ReasonCode, Relations, Stand,
};

/// What this kind is called.
const KIND: &str = "unmanaged";

/// How long a server may take to end by itself. One with a request under way never does.
const GRACE: Duration = Duration::from_secs(15);

/// The nodes of a topology.
type Nodes = BTreeMap<NodeName, NodeDeclaration>;

/// A server that is not ours and is to be stopped.
pub(super) struct Unmanaged {
    address: Address,
    node: NodeName,
    boot_id: String,
    server: UnmanagedServer,
    ports: Vec<u16>,
    found: String,
}

impl Unmanaged {
    /// Finds every unmanaged server on the nodes that say that these are stopped.
    pub(super) fn find(nodes: &Nodes, observed: &Observation) -> Vec<Self> {
        let stopped = nodes
            .iter()
            .filter(|(_, it)| it.unmanaged() == UnmanagedPolicy::Stop);
        let read =
            stopped.filter_map(|(node, _)| Some((node, ProcessTable::read(observed.of(node)?))));
        read.flat_map(|(node, table)| {
            let servers = table.unmanaged_servers().into_iter();
            let found: Vec<_> = servers.map(|it| Self::of(node, &table, it)).collect();
            found
        })
        .collect()
    }

    fn of(node: &NodeName, table: &ProcessTable, server: UnmanagedServer) -> Self {
        let mut found = table.describe(&server.root);
        let parts = server.parts.iter();
        let parts: Vec<_> = parts
            .map(|it| format!("pid {} ({})", it.pid, it.name))
            .collect();
        if !parts.is_empty() {
            found = format!("{found}; with {}", parts.join(", "));
        }
        Self {
            address: address(node, &server),
            node: node.clone(),
            boot_id: table.boot_id.clone(),
            ports: table.ports_of_stale(&server),
            server,
            found,
        }
    }
}

/// Where a server stands that is to be stopped.
pub(super) fn address(node: &NodeName, server: &UnmanagedServer) -> Address {
    Address::on(node, KIND, Some(&server.root.pid.to_string()))
}

impl Resource for Unmanaged {
    fn address(&self) -> &Address {
        &self.address
    }

    fn facts(&self) -> Vec<(NodeName, Fact)> {
        vec![(self.node.clone(), super::process::fact())]
    }

    fn liveness_probe(&self, _: &Observation) -> Option<LivenessProbe> {
        None
    }

    fn stand(&self, _: &Observation) -> Stand {
        let reason = Reason::new(
            ReasonCode::Stale,
            "a vLLM server that replica did not start",
        );
        let change = Change::new(&self.address, Action::Destroy, vec![reason]);
        let processes = self.server.processes();
        let end = Effect::KillUnmanaged(KillUnmanaged {
            address: self.address.clone(),
            boot_id: self.boot_id.clone(),
            processes: processes.map(|it| (it.pid, it.start)).collect(),
            ports: self.ports.clone(),
            grace: GRACE,
        });
        let ports = self.ports.iter();
        Stand {
            operations: Operations {
                stop: vec![Operation::on(&self.node, end)],
                ..Operations::default()
            },
            relations: Relations {
                occupies: ports.map(|port| NodePort::new(&self.node, *port)).collect(),
                ..Relations::default()
            },
            seen: Some(format!("{} of boot {}", self.found, self.boot_id)),
            ..Stand::new(change.described(self.found.clone()))
        }
    }
}

/// The vLLM on the nodes that is not ours and is left alone, in words, each with who may
/// end it. What `ended` names is none of it.
pub(super) fn left_alone(
    nodes: &Nodes,
    observed: &Observation,
    ended: &[Unmanaged],
) -> Vec<String> {
    let mut found = Vec::new();
    for (node, facts) in observed.answered() {
        let table = ProcessTable::read(facts);
        let servers = table.unmanaged_servers();
        for it in &table.unmanaged {
            let is_its =
                |server: &UnmanagedServer| server.processes().any(|p| p.pid == it.process.pid);
            if ended
                .iter()
                .any(|one| one.node == *node && is_its(&one.server))
            {
                continue;
            }
            let leaves = nodes
                .get(node)
                .is_some_and(|it| it.unmanaged() == UnmanagedPolicy::Leave);
            let is_server = servers.iter().any(is_its);
            let ended_by = ended_by(node, it, is_server && leaves);
            found.push(format!("{node}: {}{ended_by}", table.describe(&it.process)));
        }
    }
    found
}

/// How a process would come to its end, were it to.
fn ended_by(node: &NodeName, it: &UnmanagedProcess, could_be_stopped: bool) -> String {
    match it.ownership {
        Ownership::OtherUser if ["", "root"].contains(&it.process.user.as_str()) => {
            " (only root can stop it)".to_owned()
        }
        Ownership::OtherUser => format!(" (only {} or root can stop it)", it.process.user),
        Ownership::Container => " (in a container: it is stopped with that)".to_owned(),
        Ownership::Own if could_be_stopped => {
            format!(" (with `unmanaged: stop` declared for {node}, apply stops it)")
        }
        Ownership::Own => String::new(),
    }
}
