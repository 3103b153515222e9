//! What a kind of thing must answer for the corridor to converge it.

use std::collections::BTreeMap;

use crate::name::NodeName;
use crate::plan::{Address, Change, Effect};

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
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answers(BTreeMap<String, String>);

impl Answers {
    /// Returns the answer to a question: empty where it was not asked.
    pub fn to(&self, id: &str) -> &str {
        self.0.get(id).map_or("", String::as_str)
    }

    /// Records an answer.
    pub fn insert(&mut self, id: impl Into<String>, answer: impl Into<String>) {
        self.0.insert(id.into(), answer.into());
    }
}

impl FromIterator<(String, String)> for Answers {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(answers: I) -> Self {
        Self(answers.into_iter().collect())
    }
}

/// Everything that was seen, at one moment, of every node.
#[derive(Debug, Clone, Default)]
pub struct Observation {
    /// What each node answered, or why it could not be asked, in one line.
    pub nodes: BTreeMap<NodeName, Result<Answers, String>>,
}

impl Observation {
    /// Returns what a node answered, or nothing where it could not be asked.
    pub fn of(&self, node: &NodeName) -> Option<&Answers> {
        self.nodes.get(node)?.as_ref().ok()
    }
}

/// One thing that a manifest declares, or that was left on a node by an earlier one.
///
/// A room opens no connection: it asks questions, compares the answers, and says what would make
/// the thing so. All of it is pure.
pub trait Resource: Send + Sync {
    /// Returns where it stands.
    fn address(&self) -> &Address;

    /// Returns what must be as declared before this can be. What cannot be brought about blocks it.
    fn needs(&self) -> Vec<Address> {
        Vec::new()
    }

    /// Returns what this should come after, but can do without.
    fn follows(&self) -> Vec<Address> {
        Vec::new()
    }

    /// Returns what to ask its node.
    fn questions(&self) -> Vec<Question>;

    /// Compares what was seen with what is declared. Only called when its node answered.
    fn compare(&self, seen: &Observation) -> Change;

    /// Returns what would make it so, in this order.
    fn effects(&self, change: &Change, seen: &Observation) -> Vec<Effect>;

    /// Returns what must have become as declared before this is changed, though it could be without:
    /// what this would name otherwise than it is, were it to stay.
    fn relies_on(&self, _seen: &Observation) -> Vec<Address> {
        Vec::new()
    }

    /// Returns what this is to have of which there is only one, such as a port of its node.
    fn claims(&self) -> Option<String> {
        None
    }

    /// Returns what it has of that now.
    fn holds(&self, _seen: &Observation) -> Vec<String> {
        Vec::new()
    }

    /// Returns what this must be told before another thing is stopped, so that nobody notices.
    fn release(&self, _other: &Address, _seen: &Observation) -> Vec<Effect> {
        Vec::new()
    }

    /// Returns what this must be told once another thing runs again.
    fn regain(&self, _other: &Address, _seen: &Observation) -> Vec<Effect> {
        Vec::new()
    }

    /// Returns what only one thing may use at a time while it changes, such as a node's memory
    /// while a model loads.
    fn exclusive(&self) -> Option<String> {
        None
    }

    /// Returns the group of which only one member at a time is replaced while it serves. The first
    /// is the canary: when it fails, the others stay as they are.
    fn rolls_with(&self) -> Option<String> {
        None
    }
}
