//! The room of the program: `replica` itself on a node that runs the proxy or the simulator.

mod binaries;
mod build_id;

use std::sync::Arc;

pub use binaries::{Binaries, Binary};

use super::contract::{self, Answers, Found, Observation, Question, Resource};
use super::place::{Folder, Place};
use crate::name::{NodeName, TopologyName};
use crate::plan::effect::Upload;
use crate::plan::{
    Action, Address, Change, Effect, Operation, Operations, Reason, ReasonCode, Stand,
};

/// What this kind is called.
pub const KIND: &str = "program";

/// The kind: it is found by its files.
pub(super) struct Kind;

impl contract::Kind for Kind {
    fn name(&self) -> &'static str {
        KIND
    }

    fn questions(&self, folder: &Folder) -> Vec<Question> {
        vec![folder.question()]
    }

    fn found(&self, topology: &str, node: &NodeName, answers: &Answers) -> Vec<Found> {
        let folder = Folder::of(topology);
        let place = Place::read(&folder, answers);
        let is_there = place.binaries().next().is_some();
        let found = Found {
            address: Address::on(node, KIND, None),
            summary: "replica itself".to_owned(),
            occupies: Vec::new(),
            stop: None,
            paths: vec![folder.binaries(), folder.run()],
        };
        is_there.then_some(found).into_iter().collect()
    }
}

/// `replica` itself, as one node is to have it.
pub struct Program {
    address: Address,
    node: NodeName,
    folder: Folder,
    binaries: Arc<Binaries>,
}

impl Program {
    /// Returns the program of a node.
    pub fn new(topology: &TopologyName, node: &NodeName, binaries: &Arc<Binaries>) -> Self {
        Self {
            address: Address::on(node, KIND, None),
            node: node.clone(),
            folder: Folder::of(topology.as_str()),
            binaries: Arc::clone(binaries),
        }
    }

    /// Returns the binary that fits the node's system, once that is known.
    pub fn binary(&self, seen: &Observation) -> Option<&Binary> {
        let place = Place::read(&self.folder, seen.of(&self.node)?);
        self.binaries.fitting(&place.system)
    }

    /// Returns where it stands on the node.
    pub fn path(&self, seen: &Observation) -> String {
        let name = self
            .binary(seen)
            .map_or_else(|| "replica".to_owned(), Binary::name);
        self.folder.binary(&name)
    }
}

impl Program {
    fn compare(&self, seen: &Observation) -> Change {
        let place = seen
            .of(&self.node)
            .map(|answers| Place::read(&self.folder, answers))
            .unwrap_or_default();
        let Some(binary) = self.binaries.fitting(&place.system) else {
            return Change::blocked(&self.address, self.binaries.missing(&place.system));
        };
        let summary = format!("replica {}, {}", env!("CARGO_PKG_VERSION"), binary.short());
        let name = binary.name();
        if place.binaries().any(|it| it == (&name, binary.size)) {
            return Change::keep(&self.address, summary);
        }
        let (action, reason) = if place.binaries().next().is_some() {
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

    fn questions(&self) -> Vec<(NodeName, Question)> {
        vec![(self.node.clone(), self.folder.question())]
    }

    fn stand(&self, observed: &Observation) -> Stand {
        let binary = self.binary(observed);
        Stand {
            operations: Operations {
                start: binary.iter().map(|binary| self.upload(binary)).collect(),
                ..Operations::default()
            },
            ..Stand::new(self.compare(observed))
        }
    }
}
