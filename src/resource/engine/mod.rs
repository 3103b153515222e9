//! The room of the engine: a vLLM build in a virtual environment of a node.
//!
//! It is recognised from files alone; Python is never started for it, which would take ten seconds
//! and touch the GPU. What falls short is installed, and nothing else of the environment changes.

mod declared;
mod installed;
mod installing;

pub use declared::*;
pub use installed::Installed;

use super::contract::{Observation, Question, Resource};
use crate::name::{EngineName, NodeName};
use crate::plan::{Action, Address, Change, Effect, Reason};

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

    fn found(&self, seen: &Observation) -> Installed {
        let answers = seen.of(&self.node);
        answers.map_or_else(Installed::default, |answers| {
            Installed::read(&self.declared, answers)
        })
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
        let found = self.found(seen);
        let shortfalls = found.shortfalls(&self.declared);
        if shortfalls.is_empty() {
            return Change::keep(
                &self.address,
                format!("vLLM {}, as declared", found.version()),
            );
        }
        let action = if found.exists() {
            Action::Update
        } else {
            Action::Create
        };
        let reasons = shortfalls
            .into_iter()
            .map(|shortfall| Reason::new("not_installed", shortfall.text));
        let versions = installed::wanted(&self.declared);
        let provider = &versions[installed::provider(&self.declared)];
        Change::new(&self.address, action, reasons.collect()).described(format!("vLLM {provider}"))
    }

    fn effects(&self, change: &Change, seen: &Observation) -> Vec<Effect> {
        if !change.action.starts() && change.action != Action::Update {
            return Vec::new();
        }
        let found = self.found(seen);
        let shortfalls = found.shortfalls(&self.declared);
        let work = installing::work(&self.declared, &found, &shortfalls);
        vec![Effect::Work(Box::new(work))]
    }
}
