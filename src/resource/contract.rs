//! What a kind of thing must answer for the corridor to converge it.

use std::any::{Any, TypeId};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

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
#[derive(Debug, Clone, Default)]
pub struct Answers {
    texts: BTreeMap<String, String>,
    readings: Readings,
}

/// What was made of the answers so far, by its type.
type Readings = Arc<Mutex<HashMap<TypeId, Arc<dyn Any + Send + Sync>>>>;

impl Answers {
    /// Returns the answer to a question: empty where it was not asked.
    pub fn to(&self, id: &str) -> &str {
        self.texts.get(id).map_or("", String::as_str)
    }

    /// Returns what `read` makes of these answers, and makes it once for each type: every thing of
    /// a node reads the same table, some of them many times.
    pub fn once<T: Any + Send + Sync>(&self, read: impl FnOnce(&Self) -> T) -> Arc<T> {
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

    /// Returns that by which it is made what it is, its needs above all: while they change, it cannot
    /// be said what this becomes. Its change is decided anew once they are as declared, and only
    /// then made.
    fn rests_on(&self, _seen: &Observation) -> Vec<Address> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_once_until_there_are_more() {
        let mut answers = Answers::default();
        answers.insert("a", "one two");
        let count = |answers: &Answers| {
            answers.once(|answers| {
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
