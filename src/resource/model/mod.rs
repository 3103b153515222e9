//! The room of the model: a revision in the Hugging Face cache of a node.
//!
//! Fetching is not done here yet: a model that is not whole is blocked.

mod cached;
mod declared;

pub use cached::Cached;
pub use declared::*;

use super::contract::{Observation, Question, Resource};
use crate::name::{ModelName, NodeName};
use crate::plan::{Action, Address, Change, Effect, Reason};

/// What this kind is called.
pub const KIND: &str = "model";

/// A model that a node is to have.
pub struct Model {
    address: Address,
    node: NodeName,
    declared: ModelDeclaration,
}

impl Model {
    /// Returns the model, as one node is to have it.
    pub fn new(node: &NodeName, name: &ModelName, declared: &ModelDeclaration) -> Self {
        Self {
            address: Address::on(node, KIND, Some(name.as_str())),
            node: node.clone(),
            declared: declared.clone(),
        }
    }
}

impl Resource for Model {
    fn address(&self) -> &Address {
        &self.address
    }

    fn questions(&self) -> Vec<Question> {
        vec![cached::question(&self.declared)]
    }

    fn compare(&self, seen: &Observation) -> Change {
        let cached = seen
            .of(&self.node)
            .map(|answers| Cached::read(&self.declared, answers))
            .unwrap_or_default();
        let shortfalls = cached.shortfalls(&self.declared);
        if shortfalls.is_empty() {
            let commit: String = cached.revision.chars().take(12).collect();
            return Change::keep(&self.address, format!("{} at {commit}", self.declared.repo));
        }
        let reasons = shortfalls
            .into_iter()
            .map(|text| Reason::new("not_cached", text));
        let revision = self.declared.revision.as_ref();
        let revision = revision.map_or_else(String::new, |r| format!(" --revision {r}"));
        let advice = Reason::new(
            "fetch_by_hand",
            format!(
                "fetch it on the node with `hf download {}{revision}`: this version of replica uses what is there",
                self.declared.repo
            ),
        );
        Change::new(
            &self.address,
            Action::Blocked,
            reasons.chain([advice]).collect(),
        )
    }

    fn effects(&self, _: &Change, _: &Observation) -> Vec<Effect> {
        Vec::new()
    }
}
