//! A tree with another laid over it, in which everything still knows where it stands.

use std::collections::HashMap;
use std::rc::Rc;

use super::tree::{Entry, Node, Value};

/// Choices whose settings are keys: one of them takes the place of another as a whole.
const WHOLE: [&str; 1] = ["policy"];

/// The same with changes: maps are joined key by key, `null` takes a key away, and anything else takes
/// the place of what is there, as in JSON merge patches (RFC 7396).
pub(super) fn overlaid(base: &Rc<Node>, changes: &Rc<Node>) -> Rc<Node> {
    let (Value::Map(there), Value::Map(laid)) = (&base.value, &changes.value) else {
        return Rc::clone(changes);
    };
    let mut laid_by_key: HashMap<&str, &Entry> = laid
        .iter()
        .map(|entry| (entry.key.as_str(), entry))
        .collect();
    let mut joined = Vec::new();
    for entry in there {
        match laid_by_key.remove(entry.key.as_str()) {
            None => joined.push(entry.clone()),
            Some(change) if change.value.is_nothing() => {}
            Some(change) if WHOLE.contains(&change.key.as_str()) => joined.push(change.clone()),
            Some(change) => joined.push(Entry {
                value: overlaid(&entry.value, &change.value),
                ..change.clone()
            }),
        }
    }
    // In the order of the text.
    let new = laid
        .iter()
        .filter(|entry| laid_by_key.contains_key(entry.key.as_str()));
    joined.extend(new.filter(|entry| !entry.value.is_nothing()).cloned());
    // Where the joined map is said to stand is where it was changed: there a reader has to look.
    Rc::new(Node {
        id: changes.id,
        span: changes.span.clone(),
        value: Value::Map(joined),
        weight: base.weight + changes.weight,
        depth: base.depth.max(changes.depth),
    })
}

/// A map of one entry, whose key stands where that of another does.
pub(super) fn under(key: &str, at: &Entry, value: &Rc<Node>) -> Rc<Node> {
    let entry = Entry {
        id: at.id,
        key: key.to_owned(),
        span: at.span.clone(),
        value: Rc::clone(value),
    };
    Rc::new(Node {
        id: at.value.id,
        span: at.value.span.clone(),
        weight: value.weight + 1,
        depth: value.depth + 1,
        value: Value::Map(vec![entry]),
    })
}
