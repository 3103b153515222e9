//! Short forms: a text in the place of a map of which it is the one key that must be there.

use std::rc::Rc;

use serde_json::{Value as Json, json};

use super::scalar::{Meaning, Scalar};
use super::tree::{Entry, Node, Value};

/// Of what is declared below a key of the root, the key that a text alone stands for.
const SHORT: [(&str, &str); 2] = [("models", "repo"), ("nodes", "ssh")];

/// The tree with each short form written out.
pub(super) fn written_out(root: &Rc<Node>) -> Rc<Node> {
    let Value::Map(entries) = &root.value else {
        return Rc::clone(root);
    };
    // The numbers of the text's own values go up from 1.
    let mut ids = (0..).map(|back| usize::MAX / 2 - back);
    let entries = entries.iter().map(|entry| {
        let short = SHORT.iter().find(|(kind, _)| *kind == entry.key);
        Entry {
            value: match short {
                Some((_, key)) => each(&entry.value, key, &mut ids),
                None => Rc::clone(&entry.value),
            },
            ..entry.clone()
        }
    });
    with(root, Value::Map(entries.collect()))
}

fn each(things: &Rc<Node>, key: &str, ids: &mut impl Iterator<Item = usize>) -> Rc<Node> {
    let Value::Map(entries) = &things.value else {
        return Rc::clone(things);
    };
    let entries = entries.iter().map(|entry| Entry {
        value: match &entry.value.value {
            Value::Scalar(scalar) if is_short(scalar, key) => alone(&entry.value, key, ids),
            _ => Rc::clone(&entry.value),
        },
        ..entry.clone()
    });
    with(things, Value::Map(entries.collect()))
}

/// Whether a text is the value of the key, and not the key itself with no space before its value.
fn is_short(scalar: &Scalar, key: &str) -> bool {
    let rest = scalar.text.strip_prefix(key);
    scalar.meaning == Meaning::Text && !rest.is_some_and(|rest| rest.starts_with(':'))
}

/// A map of one key, which stands where its value does.
fn alone(value: &Rc<Node>, key: &str, ids: &mut impl Iterator<Item = usize>) -> Rc<Node> {
    let mut next = || ids.next().unwrap_or_default();
    let entry = Entry {
        id: next(),
        key: key.to_owned(),
        span: value.span.clone(),
        value: Rc::clone(value),
    };
    Rc::new(Node {
        id: next(),
        span: value.span.clone(),
        value: Value::Map(vec![entry]),
        weight: value.weight + 1,
        depth: value.depth + 1,
    })
}

fn with(node: &Node, value: Value) -> Rc<Node> {
    Rc::new(Node {
        value,
        span: node.span.clone(),
        ..*node
    })
}

/// Adds the short forms to the schema.
pub(super) fn add_to(schema: &mut Json) {
    for (kind, key) in SHORT {
        let things = schema.pointer_mut(&format!("/properties/{kind}/patternProperties"));
        let things = things.and_then(Json::as_object_mut).into_iter().flatten();
        for (_, thing) in things {
            let short =
                json!({"type": "string", "description": format!("`{{{key}: …}}`, in short.")});
            *thing = json!({"anyOf": [short, thing.take()]});
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::manifest::read;

    #[test]
    fn a_text_stands_for_a_map_of_one_key() {
        let rest = "engines: {e: {venv: ~/v, vllm: 0.13.0+cu130}}\n\
                    instances: {a: {node: one, port: 1, engine: e, model: m}}\n";
        let short = "topology: t\nnodes: {one: n@host}\nmodels: {m: org/name}\n";
        let long = "topology: t\nnodes: {one: {ssh: n@host}}\nmodels: {m: {repo: org/name}}\n";
        let [short, long] = [short, long].map(|it| read(&format!("{it}{rest}")).unwrap());
        assert_eq!(short, long);
    }
}
