//! The text as a tree in which every key and every value knows where it stands.

use std::ops::Range;
use std::rc::Rc;

use super::scalar::{Meaning, Scalar};
use super::suggest::shown;

/// One value of the text.
#[derive(Debug)]
pub(super) struct Node {
    /// Tells this value from every other of the text; an alias is the value that it names.
    pub(super) id: usize,
    /// Where it stands; of a map or a list, where it begins.
    pub(super) span: Range<usize>,
    pub(super) value: Value,
    /// How many values it holds, itself included, aliases unfolded.
    pub(super) weight: usize,
    /// How many values lie in each other here, itself included, aliases unfolded.
    pub(super) depth: usize,
}

/// What a value is.
#[derive(Debug)]
pub(super) enum Value {
    Scalar(Scalar),
    List(Vec<Rc<Node>>),
    Map(Vec<Entry>),
}

/// A key and its value.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) id: usize,
    pub(super) key: String,
    pub(super) span: Range<usize>,
    pub(super) value: Rc<Node>,
}

impl Node {
    /// Whether nothing is written there.
    pub(super) fn is_nothing(&self) -> bool {
        matches!(&self.value, Value::Scalar(scalar) if matches!(scalar.meaning, Meaning::Empty | Meaning::Null))
    }

    /// The entries of a map; of anything else, none.
    pub(super) fn entries(&self) -> &[Entry] {
        match &self.value {
            Value::Map(entries) => entries,
            _ => &[],
        }
    }

    /// The same without some entries of the map that it is, by their keys.
    pub(super) fn without(self: Rc<Self>, is_unwanted: impl Fn(&str) -> bool) -> Rc<Self> {
        let Value::Map(entries) = &self.value else {
            return self;
        };
        let wanted = entries.iter().filter(|entry| !is_unwanted(&entry.key));
        Rc::new(Self {
            value: Value::Map(wanted.cloned().collect()),
            span: self.span.clone(),
            ..*self
        })
    }

    /// What a reader would call this value: `the text \`http\``, `a list`.
    pub(super) fn found(&self) -> String {
        match &self.value {
            Value::List(_) => "a list".to_owned(),
            Value::Map(_) => "a map".to_owned(),
            Value::Scalar(scalar) => match scalar.meaning {
                Meaning::Empty => "nothing".to_owned(),
                Meaning::Null => format!("`{}`, which is nothing", scalar.text),
                Meaning::Bool(_) => format!("`{}`", scalar.text),
                Meaning::Int(_) | Meaning::Large(_) | Meaning::Float(_) => {
                    format!("the number {}", shown(&scalar.text))
                }
                Meaning::Text => format!("the text `{}`", shown(&scalar.text)),
            },
        }
    }
}
