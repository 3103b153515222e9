//! What is declared otherwise in one arm than in another, in the things that people vary.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::plan::Planned;
use crate::resource::process;

/// One thing that two arms differ in. An argument of all instances is one thing, and so are the roles.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// What it is: `roles`, `policy`, `max_num_batched_tokens`.
    pub what: String,
    /// How the two have it: `a: prefill, b: decode instead of both`.
    pub how: String,
}

impl Difference {
    /// An argument of which one of the two has the best value.
    pub(super) fn tuned(argument: &str) -> Self {
        Self {
            what: argument.to_owned(),
            how: format!("{argument} is tuned"),
        }
    }
}

/// The things that differ between the settings of an arm and those of another.
pub(super) fn differences(arm: &Value, other: &Value) -> Vec<Difference> {
    let fields = process::differences(other, arm, &[]);
    let named: Vec<(String, String)> = fields
        .iter()
        .map(|field| {
            let old = field.old.as_ref().map_or("none".to_owned(), shown);
            let new = match &field.new {
                Planned::Known(value) => shown(value),
                _ => "none".to_owned(),
            };
            (
                thing(&field.path),
                format!("{}: {new} instead of {old}", field.path),
            )
        })
        .collect();
    let things: BTreeSet<&String> = named.iter().map(|(what, _)| what).collect();
    let told = things.into_iter().map(|what| {
        let of_it = named.iter().filter(|(it, _)| it == what);
        Difference {
            what: what.clone(),
            how: of_it
                .map(|(_, how)| how.as_str())
                .collect::<Vec<_>>()
                .join("; "),
        }
    });
    told.collect()
}

/// The thing that people vary, of which a setting is a part.
fn thing(path: &str) -> String {
    let steps: Vec<&str> = path.split('.').collect();
    match steps.as_slice() {
        ["instances", _, "role"] => "roles".to_owned(),
        ["instances" | "engines", _, "args", argument, ..] => (*argument).replace('-', "_"),
        ["instances" | "engines", _, "env", variable, ..] => (*variable).to_owned(),
        ["instances", _] | ["proxy", "backends" | "weights", ..] => {
            "which instances answer".to_owned()
        }
        ["engines", ..] => "engine".to_owned(),
        ["instances", _, what, ..] | ["proxy", what, ..] | [what, ..] => (*what).to_owned(),
        [] => "everything".to_owned(),
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
