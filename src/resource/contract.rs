//! What a kind of thing must answer for the corridor to converge it.

use std::any::{Any, TypeId};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use super::place::Folder;
use crate::name::NodeName;
use crate::plan::effect::Stop;
use crate::plan::{Address, Failure, Stand};

/// Something to ask a node: a POSIX shell fragment that reads and never writes.
///
/// Questions with the same id are asked once, however many things want the answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// What it asks, with everything that makes it differ from others: `venv ~/vllm`.
    pub id: String,
    /// The fragment; what it prints is the answer.
    pub script: String,
}

impl Question {
    /// Returns a question.
    pub fn new(id: impl Into<String>, script: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            script: script.into(),
        }
    }
}

/// What a node answered, by the question's id.
#[derive(Debug, Clone, Default)]
pub struct Answers {
    texts: BTreeMap<String, String>,
    readings: Readings,
}

/// What was parsed of the answers so far, by its type.
type Readings = Arc<Mutex<HashMap<TypeId, Arc<dyn Any + Send + Sync>>>>;

impl Answers {
    /// Returns the answer to a question: empty where it was not asked.
    pub fn to(&self, id: &str) -> &str {
        self.texts.get(id).map_or("", String::as_str)
    }

    /// What `read` makes of these answers, made once for each type: every thing of a node reads the
    /// same table, some of them many times.
    pub fn parsed<T: Any + Send + Sync>(&self, read: impl FnOnce(&Self) -> T) -> Arc<T> {
        let readings = || self.readings.lock().unwrap_or_else(PoisonError::into_inner);
        let known = readings().get(&TypeId::of::<T>()).cloned();
        if let Some(Ok(reading)) = known.map(Arc::downcast) {
            return reading;
        }
        let reading = Arc::new(read(self));
        readings().insert(TypeId::of::<T>(), Arc::clone(&reading) as _);
        reading
    }

    /// Records an answer.
    pub fn insert(&mut self, id: impl Into<String>, answer: impl Into<String>) {
        self.texts.insert(id.into(), answer.into());
        self.readings = Readings::default();
    }
}

impl FromIterator<(String, String)> for Answers {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(answers: I) -> Self {
        Self {
            texts: answers.into_iter().collect(),
            readings: Readings::default(),
        }
    }
}

impl PartialEq for Answers {
    fn eq(&self, other: &Self) -> bool {
        self.texts == other.texts
    }
}

impl Eq for Answers {}

/// Everything that was observed, at one moment, of every node.
#[derive(Debug, Clone, Default)]
pub struct Observation {
    nodes: BTreeMap<NodeName, Result<Answers, Failure>>,
    /// Tells this observation from every other, for [`Memo`]: what is added to it makes it another.
    identity: Arc<()>,
}

impl Observation {
    /// What a node answered; nothing where it could not be asked.
    pub fn of(&self, node: &NodeName) -> Option<&Answers> {
        self.nodes.get(node)?.as_ref().ok()
    }

    /// Records what a node answered, or why it could not be asked.
    pub fn insert(&mut self, node: NodeName, answers: Result<Answers, Failure>) {
        self.nodes.insert(node, answers);
        self.identity = Arc::default();
    }

    /// Every node that was to be asked, with what it answered, or why it could not be asked.
    pub fn nodes(&self) -> &BTreeMap<NodeName, Result<Answers, Failure>> {
        &self.nodes
    }

    /// The nodes that answered.
    pub fn answered(&self) -> impl Iterator<Item = (&NodeName, &Answers)> {
        let nodes = self.nodes.iter();
        nodes.filter_map(|(node, answers)| Some((node, answers.as_ref().ok()?)))
    }

    /// The nodes that could not be asked, each with why.
    pub fn unreachable(&self) -> Vec<(NodeName, Failure)> {
        let nodes = self.nodes.iter();
        nodes
            .filter_map(|(node, answers)| Some((node.clone(), answers.as_ref().err()?.clone())))
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

    /// What every node is asked, so that things of this kind are found that nobody declares.
    fn questions(&self, folder: &Folder) -> Vec<Question>;

    /// The things of this kind that a topology has on a node, declared or not. Of a kind that stays
    /// when its topology is destroyed there is none.
    fn found(&self, topology: &str, node: &NodeName, answers: &Answers) -> Vec<Found>;

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
    /// The ports that it listens on.
    pub occupies: Vec<u16>,
    /// How it is stopped; nothing where it does not run.
    pub stop: Option<Stop>,
    /// The files of it that are removed with it: absolute, or `~/…`.
    pub paths: Vec<String>,
}

/// One thing that a manifest declares, or that an earlier one left on a node.
///
/// A room opens no connection: it asks questions, compares the answers with what is declared, and
/// says how the thing stands. All of it is pure. What else a command wants of a thing is a changed
/// copy of its [`Stand`], never another implementation of this.
pub trait Resource: Send + Sync {
    /// Its address.
    fn address(&self) -> &Address;

    /// What to ask which node: a thing may span several.
    fn questions(&self) -> Vec<(NodeName, Question)>;

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

    #[test]
    fn answers_are_read_once_until_there_are_more() {
        let mut answers = Answers::default();
        answers.insert("a", "one two");
        let count = |answers: &Answers| {
            answers.parsed(|answers| {
                answers
                    .to("a")
                    .split(' ')
                    .map(str::to_owned)
                    .collect::<Vec<_>>()
            })
        };
        let first = count(&answers);
        assert_eq!(*first, ["one", "two"]);
        assert!(Arc::ptr_eq(&first, &count(&answers.clone())));
        let before = answers.clone();
        answers.insert("a", "one");
        assert_eq!(*count(&answers), ["one"]);
        assert_eq!(*count(&before), ["one", "two"], "a copy stays as it was");
        assert_ne!(answers, before);
    }
}
