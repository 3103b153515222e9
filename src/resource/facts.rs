//! What there is to learn of a node, and what was learnt of it.

use std::any::{Any, TypeId};
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use crate::net::Authority;

/// Something to learn of a node, as pyinfra and ansible have facts.
///
/// Facts with the same id are gathered once, however many things want them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fact {
    /// What it is, with everything that makes it differ from others: `venv ~/vllm`.
    pub id: String,
    /// How it is learnt.
    pub question: Question,
}

/// How a fact is learnt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Question {
    /// By a POSIX shell fragment that reads and never writes; what it prints is the fact.
    Script(String),
    /// By dialling a port as the node does: `forbidden` where its sshd lets nobody through, and
    /// nothing elsewhere, whoever listens there.
    Dial {
        /// The host, as the node dials it.
        host: String,
        /// The port.
        port: u16,
        /// What is read there beside the other questions, for who is asked for a sign of life.
        page: Option<&'static str>,
    },
}

/// The answer of an sshd that lets nobody through.
pub(crate) const FORBIDDEN: &str = "forbidden";

impl Fact {
    /// What a fragment prints, by this id.
    pub fn new(id: impl Into<String>, script: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            question: Question::Script(script.into()),
        }
    }

    /// Whether the way to a port of the node is forbidden; and a page that is to be read there.
    pub fn dial(host: &str, port: u16, page: Option<&'static str>) -> Self {
        Self {
            id: format!("dial {}", Authority::new(host, port)),
            question: Question::Dial {
                host: host.to_owned(),
                port,
                page,
            },
        }
    }
}

/// What was gathered of a node, by the ids of the facts.
#[derive(Clone, Default)]
pub struct Facts {
    texts: BTreeMap<String, String>,
    readings: Readings,
}

/// What was parsed of the facts so far, by its type.
type Readings = Arc<Mutex<HashMap<TypeId, Arc<dyn Any + Send + Sync>>>>;

impl Facts {
    /// What was gathered by this id: empty where nothing was.
    pub fn get(&self, id: &str) -> &str {
        self.texts.get(id).map_or("", String::as_str)
    }

    /// What `read` makes of these facts, made once for each type: every thing of a node reads the
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

    /// Records a fact.
    pub fn insert(&mut self, id: impl Into<String>, fact: impl Into<String>) {
        self.texts.insert(id.into(), fact.into());
        self.readings = Readings::default();
    }
}

impl FromIterator<(String, String)> for Facts {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(facts: I) -> Self {
        Self {
            texts: facts.into_iter().collect(),
            readings: Readings::default(),
        }
    }
}

/// Of what was gathered only the ids are shown: a node's random key is among it.
impl fmt::Debug for Facts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.texts.keys()).finish()
    }
}

impl PartialEq for Facts {
    fn eq(&self, other: &Self) -> bool {
        self.texts == other.texts
    }
}

impl Eq for Facts {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_are_read_once_until_there_are_more() {
        let mut facts = Facts::default();
        facts.insert("a", "one two");
        let count = |facts: &Facts| {
            facts.parsed(|facts| {
                facts
                    .get("a")
                    .split(' ')
                    .map(str::to_owned)
                    .collect::<Vec<_>>()
            })
        };
        let first = count(&facts);
        assert_eq!(*first, ["one", "two"]);
        assert!(Arc::ptr_eq(&first, &count(&facts.clone())));
        let before = facts.clone();
        facts.insert("a", "one");
        assert_eq!(*count(&facts), ["one"]);
        assert_eq!(*count(&before), ["one", "two"], "a copy stays as it was");
        assert_ne!(facts, before);
    }
}
