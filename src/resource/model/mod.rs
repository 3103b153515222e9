//! The room of the model: a revision in the Hugging Face cache of a node.
//!
//! It is recognised from files alone, whole or not; what falls short is fetched from the hub by the
//! tool in the environment of the engine that serves it.

mod cached;
mod declared;
mod fetching;

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
    fetcher: Fetcher,
}

/// The engine of the same node, whose environment holds the hub's tool.
#[derive(Debug, Clone)]
pub struct Fetcher {
    /// The engine.
    pub engine: Address,
    /// Its environment on the node.
    pub venv: String,
}

impl Model {
    /// Returns the model, as one node is to have it.
    pub fn new(
        node: &NodeName,
        name: &ModelName,
        declared: &ModelDeclaration,
        fetcher: Fetcher,
    ) -> Self {
        Self {
            address: Address::on(node, KIND, Some(name.as_str())),
            node: node.clone(),
            declared: declared.clone(),
            fetcher,
        }
    }

    fn cached(&self, seen: &Observation) -> Cached {
        let answers = seen.of(&self.node);
        answers.map_or_else(Cached::default, |answers| {
            Cached::read(&self.declared, answers)
        })
    }

    /// Returns why it cannot be fetched, where that can be told before.
    fn obstacle(cached: &Cached) -> Option<Reason> {
        if cached.cache.is_empty() {
            let text = "it did not say where its cache is";
            return Some(Reason::new("not_writable", text));
        }
        if !cached.is_writable {
            let text = format!("{} cannot be written by this user", cached.cache);
            return Some(Reason::new("not_writable", text));
        }
        (cached.free == Some(0))
            .then(|| Reason::new("disk_full", format!("the disk of {} is full", cached.cache)))
    }
}

impl Resource for Model {
    fn address(&self) -> &Address {
        &self.address
    }

    fn questions(&self) -> Vec<Question> {
        vec![cached::question(&self.declared)]
    }

    /// The tool that fetches comes with the engine.
    fn relies_on(&self, seen: &Observation) -> Vec<Address> {
        if self.cached(seen).is_whole(&self.declared) {
            return Vec::new();
        }
        vec![self.fetcher.engine.clone()]
    }

    fn compare(&self, seen: &Observation) -> Change {
        let cached = self.cached(seen);
        let shortfalls = cached.shortfalls(&self.declared);
        if shortfalls.is_empty() {
            let commit: String = cached.revision.chars().take(12).collect();
            return Change::keep(&self.address, format!("{} at {commit}", self.declared.repo));
        }
        let action = if cached.has_repo() {
            Action::Update
        } else {
            Action::Create
        };
        let reasons = shortfalls
            .into_iter()
            .map(|shortfall| Reason::new("not_cached", shortfall.text));
        if let Some(obstacle) = Self::obstacle(&cached) {
            return Change::new(
                &self.address,
                Action::Blocked,
                reasons.chain([obstacle]).collect(),
            );
        }
        let hub = self.declared.endpoint.as_deref().unwrap_or("the hub");
        Change::new(&self.address, action, reasons.collect())
            .described(format!("{} from {hub}", self.declared.repo))
    }

    fn effects(&self, change: &Change, seen: &Observation) -> Vec<Effect> {
        if !matches!(change.action, Action::Create | Action::Update) {
            return Vec::new();
        }
        let cached = self.cached(seen);
        let shortfalls = cached.shortfalls(&self.declared);
        let work = fetching::work(&self.declared, &cached, &shortfalls, &self.fetcher.venv);
        vec![Effect::Work(Box::new(work))]
    }
}
