//! What is known to be wrong already, so that reading can go on around it.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::ops::Range;

use super::tree::{Entry, Node, Value};

/// The parts of a tree that were reported, and by what each is replaced while reading on.
#[derive(Debug, Default)]
pub(super) struct Marks {
    /// Values for which a stand-in is read.
    broken: HashSet<usize>,
    /// Keys that are passed over, with their values.
    skipped: HashSet<usize>,
    /// Misspelt keys, with the word that each is read as.
    renamed: HashMap<usize, &'static str>,
    /// Keys that a map should have had, for which a stand-in is read.
    missing: BTreeSet<(usize, &'static str)>,
}

/// What to replace.
#[derive(Debug, Clone, Copy)]
pub(super) enum Mark {
    Broken(usize),
    Skipped(usize),
    Renamed(usize, &'static str),
    Missing(usize, &'static str),
}

impl Marks {
    /// Adds a mark; says no when it is there already.
    pub(super) fn add(&mut self, mark: Mark) -> bool {
        match mark {
            Mark::Broken(id) => self.broken.insert(id),
            Mark::Skipped(id) => self.skipped.insert(id),
            Mark::Renamed(id, word) => self.renamed.insert(id, word).is_none(),
            Mark::Missing(id, field) => self.missing.insert((id, field)),
        }
    }

    pub(super) fn is_broken(&self, node: &Node) -> bool {
        self.broken.contains(&node.id)
    }

    pub(super) fn is_skipped(&self, entry: &Entry) -> bool {
        self.skipped.contains(&entry.id)
    }

    /// A key as it is read.
    pub(super) fn key<'a>(&self, entry: &'a Entry) -> &'a str {
        self.renamed.get(&entry.id).copied().unwrap_or(&entry.key)
    }

    /// The keys that are read although the map lacks them.
    pub(super) fn missing(&self, node: &Node) -> Vec<&'static str> {
        self.missing
            .range((node.id, "")..)
            .take_while(|(id, _)| *id == node.id)
            .map(|(_, field)| *field)
            .collect()
    }
}

/// Where a path of keys and positions leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Found {
    /// To a value.
    Value {
        /// The bytes of its key, where it has one.
        key: Option<Range<usize>>,
        /// The bytes to point at: the value itself, or the key of a map, a list, or nothing.
        place: Range<usize>,
    },
    /// No further than to a map that lacks the next key: the bytes of that map's own key.
    Absent(Range<usize>),
    /// Through something that was reported already.
    Reported,
}

/// Follows a path from the root, by keys as they are read, and by positions in lists.
pub(super) fn find(root: &Node, marks: &Marks, path: &[&str]) -> Found {
    let mut node = root;
    let mut key = None;
    for step in path {
        if marks.is_broken(node) || marks.missing(node).contains(step) {
            return Found::Reported;
        }
        let child = match &node.value {
            Value::List(items) => step
                .parse()
                .ok()
                .and_then(|i: usize| items.get(i))
                .map(|item| (None, item)),
            _ => node
                .entries()
                .iter()
                .find(|entry| marks.key(entry) == *step && !marks.is_skipped(entry))
                .map(|entry| (Some(entry.span.clone()), &entry.value)),
        };
        match child {
            Some((span, child)) => (key, node) = (span, child),
            None => return Found::Absent(place(node, key.as_ref())),
        }
    }
    if marks.is_broken(node) {
        return Found::Reported;
    }
    let place = place(node, key.as_ref());
    Found::Value { key, place }
}

/// The bytes that stand for a value: itself, or its key where it is a map, a list, or
/// nothing, of which there is no good place to point at.
pub(super) fn place(node: &Node, key: Option<&Range<usize>>) -> Range<usize> {
    match (&node.value, key) {
        (Value::Scalar(_), _) if !node.span.is_empty() => node.span.clone(),
        (_, Some(key)) => key.clone(),
        (_, None) => node.span.clone(),
    }
}
