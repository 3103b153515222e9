//! The room of the engine: a vLLM build in a virtual environment of a node.
//!
//! It is recognised from files alone; Python is never started for it, which would take ten seconds
//! and touch the GPU. Installing is not done here yet: an engine that falls short is blocked.

mod declared;
mod installed;

pub use declared::*;
pub use installed::Installed;

use super::contract::{Observation, Question, Resource};
use crate::name::{EngineName, NodeName};
use crate::plan::{Address, Change, Effect, Reason};

/// What this kind is called.
pub const KIND: &str = "engine";

/// A vLLM build that a node is to have.
pub struct Engine {
    address: Address,
    node: NodeName,
    declared: EngineDeclaration,
}

impl Engine {
    /// Returns the engine, as one node is to have it.
    pub fn new(node: &NodeName, name: &EngineName, declared: &EngineDeclaration) -> Self {
        Self {
            address: Address::on(node, KIND, Some(name.as_str())),
            node: node.clone(),
            declared: declared.clone(),
        }
    }
}

impl Resource for Engine {
    fn address(&self) -> &Address {
        &self.address
    }

    fn questions(&self) -> Vec<Question> {
        vec![installed::question(&self.declared)]
    }

    fn compare(&self, seen: &Observation) -> Change {
        let found = seen
            .of(&self.node)
            .map(|answers| Installed::read(&self.declared, answers))
            .unwrap_or_default();
        let shortfalls = found.shortfalls(&self.declared);
        if shortfalls.is_empty() {
            return Change::keep(
                &self.address,
                format!("vLLM {}, as declared", found.version()),
            );
        }
        let reasons = shortfalls
            .into_iter()
            .map(|text| Reason::new("not_installed", text));
        let advice = Reason::new(
            "install_by_hand",
            "install it on the node: this version of replica uses what is there",
        );
        Change::new(
            &self.address,
            crate::plan::Action::Blocked,
            reasons.chain([advice]).collect(),
        )
    }

    fn effects(&self, _: &Change, _: &Observation) -> Vec<Effect> {
        Vec::new()
    }
}
