//! The room of the program: `replica` itself on a node that runs the proxy or the simulator, or sends
//! what is measured.

mod binaries;
mod build_id;

use std::sync::Arc;

pub use binaries::{Binaries, Binary};

use super::contract::{self, Found, Observation, Resource};
use super::facts::{Fact, Facts};
use super::machine::Bytes;
use super::node_files::{NodeFiles, StateFolder};
use super::prerequisites::Prerequisites;
use crate::name::{NodeName, TopologyName};
use crate::plan::effect::Upload;
use crate::plan::{
    Action, Address, Change, Effect, LivenessProbe, Operation, Operations, Reason, ReasonCode,
    Stand,
};

/// What this kind is called.
pub const KIND: &str = "program";

/// The kind: it is found by its files.
pub(super) struct Kind;

impl contract::Kind for Kind {
    fn name(&self) -> &'static str {
        KIND
    }

    fn facts(&self, folder: &StateFolder) -> Vec<Fact> {
        vec![folder.fact()]
    }

    fn found(&self, topology: &str, node: &NodeName, facts: &Facts) -> Vec<Found> {
        let folder = StateFolder::of(topology);
        let files = NodeFiles::read(&folder, facts);
        let is_there = files.binaries().next().is_some();
        let found = Found {
            address: Address::on(node, KIND, None),
            summary: "replica itself".to_owned(),
            pid: None,
            occupies: Vec::new(),
            stop: None,
            paths: vec![folder.binaries(), folder.run()],
            failure: None,
        };
        is_there.then_some(found).into_iter().collect()
    }
}

/// `replica` itself, as one node is to have it.
pub struct Program {
    address: Address,
    node: NodeName,
    folder: StateFolder,
    binaries: Arc<Binaries>,
}

impl Program {
    /// The program of a node.
    pub fn new(topology: &TopologyName, node: &NodeName, binaries: &Arc<Binaries>) -> Self {
        Self {
            address: Address::on(node, KIND, None),
            node: node.clone(),
            folder: StateFolder::of(topology.as_str()),
            binaries: Arc::clone(binaries),
        }
    }

    /// Its node.
    pub fn node(&self) -> &NodeName {
        &self.node
    }

    /// The binary that fits the node's system, once that is known.
    pub fn binary(&self, observed: &Observation) -> Option<&Binary> {
        let files = NodeFiles::read(&self.folder, observed.of(&self.node)?);
        self.binaries.fitting(&files.system)
    }

    /// Where it stands on the node.
    pub fn path(&self, observed: &Observation) -> String {
        let name = self
            .binary(observed)
            .map_or_else(|| "replica".to_owned(), Binary::name);
        self.folder.binary(&name)
    }
}

impl Program {
    /// What lies there of it, in one text.
    fn seen(&self, observed: &Observation) -> Option<String> {
        let files = NodeFiles::read(&self.folder, observed.of(&self.node)?);
        let binaries = files
            .binaries()
            .map(|(name, size)| format!("{name}, {size} bytes"));
        let binaries: Vec<String> = binaries.collect();
        (!binaries.is_empty()).then(|| binaries.join("; "))
    }

    fn compare(&self, observed: &Observation) -> Change {
        let files = observed
            .of(&self.node)
            .map(|facts| NodeFiles::read(&self.folder, facts))
            .unwrap_or_default();
        let Some(binary) = self.binaries.fitting(&files.system) else {
            return Change::blocked(&self.address, self.binaries.missing(&files.system));
        };
        let summary = format!("replica {}, {}", env!("CARGO_PKG_VERSION"), binary.short());
        let name = binary.name();
        let is_spoiled = files.is_spoiled(&name);
        if !is_spoiled && files.binaries().any(|it| it == (&name, binary.size)) {
            return Change::keep(&self.address, summary);
        }
        if let Some(obstacle) = self.obstacle(binary, observed) {
            return Change::blocked(&self.address, obstacle).described(summary);
        }
        let (action, reason) = if is_spoiled {
            let text = "it holds something else than what was put there";
            (Action::Replace, Reason::new(ReasonCode::Incomplete, text))
        } else if files.binaries().next().is_some() {
            (
                Action::Replace,
                Reason::new(ReasonCode::Differs, "this replica is another build"),
            )
        } else {
            (
                Action::Create,
                Reason::new(ReasonCode::Absent, "it is not on the node"),
            )
        };
        Change::new(&self.address, action, vec![reason]).described(summary)
    }

    /// Why it cannot be put there, or run.
    fn obstacle(&self, binary: &Binary, observed: &Observation) -> Option<Reason> {
        let prerequisites = Prerequisites::read(observed.of(&self.node)?);
        let full = || prerequisites.full(Bytes(binary.size));
        prerequisites.no_programs().or_else(full)
    }

    fn upload(&self, binary: &Binary) -> Operation {
        let effect = Effect::Upload(Upload {
            source: binary.path.clone(),
            target: self.folder.binary(&binary.name()),
        });
        Operation::on(&self.node, effect)
    }
}

impl Resource for Program {
    fn address(&self) -> &Address {
        &self.address
    }

    fn facts(&self) -> Vec<(NodeName, Fact)> {
        vec![(self.node.clone(), self.folder.fact())]
    }

    fn liveness_probe(&self, _: &Observation) -> Option<LivenessProbe> {
        None
    }

    fn stand(&self, observed: &Observation) -> Stand {
        let binary = self.binary(observed);
        Stand {
            operations: Operations {
                start: binary.iter().map(|binary| self.upload(binary)).collect(),
                ..Operations::default()
            },
            seen: self.seen(observed),
            ..Stand::new(self.compare(observed))
        }
    }
}
