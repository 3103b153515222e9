//! What a kind of thing must answer for the corridor to converge it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::facts::{Fact, Facts};
use super::node_files::StateFolder;
use crate::name::NodeName;
use crate::plan::effect::{KeepLog, Stop};
use crate::plan::{Address, Failure, Liveness, LivenessProbe, Stand};

/// Everything that was observed, at one moment, of every node.
#[derive(Debug, Clone, Default)]
pub struct Observation {
    nodes: BTreeMap<NodeName, Result<Facts, Failure>>,
    /// What the servers showed that were asked for a sign of life.
    liveness: BTreeMap<Address, Liveness>,
    /// Tells this observation from every other, for [`Memo`]: what is added to it makes it another.
    identity: Arc<()>,
}

impl Observation {
    /// What a node answered; nothing where it could not be asked.
    pub fn of(&self, node: &NodeName) -> Option<&Facts> {
        self.nodes.get(node)?.as_ref().ok()
    }

    /// Records what a node answered, or why it could not be asked.
    pub fn insert(&mut self, node: NodeName, facts: Result<Facts, Failure>) {
        self.nodes.insert(node, facts);
        self.identity = Arc::default();
    }

    /// What a server showed that was asked for a sign of life; nothing of one that was not.
    pub fn liveness(&self, address: &Address) -> Option<&Liveness> {
        self.liveness.get(address)
    }

    /// Records what servers showed.
    pub fn insert_liveness(&mut self, shown: impl IntoIterator<Item = (Address, Liveness)>) {
        self.liveness.extend(shown);
        self.identity = Arc::default();
    }

    /// Every node that was to be asked, with what it answered, or why it could not be asked.
    pub fn nodes(&self) -> &BTreeMap<NodeName, Result<Facts, Failure>> {
        &self.nodes
    }

    /// The nodes that answered.
    pub fn answered(&self) -> impl Iterator<Item = (&NodeName, &Facts)> {
        let nodes = self.nodes.iter();
        nodes.filter_map(|(node, facts)| Some((node, facts.as_ref().ok()?)))
    }

    /// The nodes that could not be asked, each with why.
    pub fn unreachable(&self) -> Vec<(NodeName, Failure)> {
        let nodes = self.nodes.iter();
        nodes
            .filter_map(|(node, facts)| Some((node.clone(), facts.as_ref().err()?.clone())))
            .collect()
    }
}

/// What a thing makes of an observation, made once: others ask it again and again.
#[derive(Debug)]
pub(super) struct Memo<T> {
    last: Mutex<Option<(Arc<()>, Arc<T>)>>,
}

impl<T> Default for Memo<T> {
    fn default() -> Self {
        Self {
            last: Mutex::default(),
        }
    }
}

impl<T> Memo<T> {
    /// What `make` makes of this observation.
    pub(super) fn of(&self, observed: &Observation, make: impl FnOnce() -> T) -> Arc<T> {
        let last = || self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((identity, made)) = &*last()
            // The memo holds the identity, so that no other observation can come to have it.
            && Arc::ptr_eq(identity, &observed.identity)
        {
            return Arc::clone(made);
        }
        // Made without the lock: it may ask for what it waits on.
        let made = Arc::new(make());
        *last() = Some((Arc::clone(&observed.identity), Arc::clone(&made)));
        made
    }
}

/// The static side of a kind: what is known of it before anything is declared. The kinds are one
/// list, [`KINDS`](super::KINDS), in the order in which things are made.
pub trait Kind: Sync {
    /// What it is called in addresses and marks.
    fn name(&self) -> &'static str;

    /// The facts wanted of every node, so that things of this kind are found that nobody declares.
    fn facts(&self, folder: &StateFolder) -> Vec<Fact>;

    /// The things of this kind that a topology has on a node, declared or not. Of a kind that stays
    /// when its topology is destroyed there is none.
    fn found(&self, topology: &str, node: &NodeName, facts: &Facts) -> Vec<Found>;

    /// Where `status` lists its things, of a kind whose things serve.
    fn listed(&self) -> Listed {
        Listed::Nowhere
    }
}

/// Where the document of `status` lists the things of a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listed {
    /// Nowhere: none of them serves.
    Nowhere,
    /// By their names, in a map of this key.
    ByName(&'static str),
    /// By the name of the kind: a topology has one at most.
    Alone,
}

/// A thing of ours on a node, found without a manifest.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// What it is.
    pub address: Address,
    /// What there is of it, for the line in the plan: `pid 4711`.
    pub summary: String,
    /// The process that leads it, where it runs.
    pub pid: Option<u32>,
    /// The ports that it listens on.
    pub occupies: Vec<u16>,
    /// How it is stopped; nothing where it does not run.
    pub stop: Option<Stop>,
    /// The files of it that are removed with it: absolute, or `~/…`.
    pub paths: Vec<String>,
    /// The log of its last start that was never seen to serve, to keep before it goes.
    pub failure: Option<KeepLog>,
}

/// One thing that a manifest declares, or that an earlier one left on a node.
///
/// A room opens no connection: it asks for facts, compares them with what is declared, and
/// says how the thing stands. All of it is pure. What else a command wants of a thing is a changed
/// copy of its [`Stand`], never another implementation of this.
pub trait Resource: Send + Sync {
    /// Its address.
    fn address(&self) -> &Address;

    /// The facts that it wants, and of which node: a thing may span several.
    fn facts(&self) -> Vec<(NodeName, Fact)>;

    /// How it is asked for a sign of life, where it runs and has shown one before: nothing for what
    /// cannot be asked.
    fn liveness_probe(&self, observed: &Observation) -> Option<LivenessProbe>;

    /// How it stands: what is to become of it, by which operations, and what ties it to others.
    /// Of a node that did not answer nothing is to be concluded; the corridor blocks the change.
    fn stand(&self, observed: &Observation) -> Stand;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_memo_is_of_one_observation() {
        let node: NodeName = "n".parse().unwrap();
        let (memo, mut observed) = (Memo::default(), Observation::default());
        let made = |observed: &Observation, text: &'static str| *memo.of(observed, || text);
        assert_eq!(made(&observed, "one"), "one");
        assert_eq!(made(&observed.clone(), "two"), "one", "a copy is the same");
        observed.insert(node, Err(Failure::new("gone")));
        assert_eq!(made(&observed, "three"), "three");
        assert_eq!(made(&Observation::default(), "four"), "four");
    }
}
