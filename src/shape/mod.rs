//! When requests are sent: one file a load shape.
//!
//! A manifest writes a [`Load`]: a few keys, of which one names a shape. Checked, it is a [`Shape`],
//! which answers for itself: how it is called, what class of load it is, and its [`Schedule`]. Which
//! shape it is nobody else asks; what rules, tables and files need to tell apart is the [`Class`].
//!
//! A new shape is a file with its `Form`, and its line in the list below. It imports no other room.

mod batch;
mod class;
mod concurrency;
mod form;
mod pacing;
mod sequential;

use schemars::{JsonSchema, Schema};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

pub use class::Class;
use form::Form;
pub use form::{InvalidLoad, LoadPart};
pub use pacing::{Next, Pacing, Schedule};

/// Makes of the list of shapes what a manifest writes and what it means.
macro_rules! shapes {
    ($($(#[$what:meta])* $key:ident: $Shape:ident($Value:ty),)+) => {
        /// How many requests are sent, and when: `{sequential: 1}`, `{batch: 8}`,
        /// `{concurrency: 16, requests: 160}`.
        #[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields)]
        #[schemars(transform = one_shape)]
        pub struct Load {
            $(
                $(#[$what])*
                #[serde(default, skip_serializing_if = "Option::is_none")]
                pub $key: Option<$Value>,
            )+
            /// Requests in all, of a load that goes on, such as `concurrency`.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub requests: Option<u32>,
        }

        /// A load that can be driven.
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        #[serde(into = "Load", try_from = "Load")]
        pub enum Shape {
            $($(#[$what])* $Shape($key::$Shape),)+
        }

        /// The keys that name a shape, with those that go with each, and an example.
        const FORMS: &[(&str, &[&str], &str)] = &[
            $((stringify!($key), <$key::$Shape as Form>::WITH, <$key::$Shape as Form>::EXAMPLE),)+
        ];

        impl Shape {
            fn form(&self) -> &dyn form::Answers {
                match self {
                    $(Self::$Shape(shape) => shape,)+
                }
            }
        }

        impl TryFrom<Load> for Shape {
            type Error = InvalidLoad;

            fn try_from(load: Load) -> Result<Self, InvalidLoad> {
                let made = [
                    $((
                        stringify!($key),
                        load.$key.map(|value| $key::$Shape::check(value, &load).map(Self::$Shape)),
                    ),)+
                ];
                let named = made.into_iter().filter_map(|(key, shape)| Some((key, shape?)));
                only(named.collect(), &load)
            }
        }

        impl From<Shape> for Load {
            fn from(shape: Shape) -> Self {
                match shape {
                    $(Shape::$Shape(shape) => shape.written(),)+
                }
            }
        }
    };
}

shapes! {
    /// So many requests, one after another.
    sequential: Sequential(u32),
    /// So many requests, all at once.
    batch: Batch(u32),
    /// So many requests in flight: another is sent as soon as one has ended.
    concurrency: Concurrency(u32),
}

impl Shape {
    /// How it is called in a table: `batch 8`.
    pub fn label(&self) -> String {
        self.form().label()
    }

    /// What class of load it is.
    pub fn class(&self) -> Class {
        self.form().class()
    }

    /// When its requests are sent.
    pub fn schedule(&self) -> Schedule {
        self.form().schedule()
    }
}

type Named = Vec<(&'static str, Result<Shape, InvalidLoad>)>;

/// The one shape that a load names.
fn only(mut named: Named, load: &Load) -> Result<Shape, InvalidLoad> {
    match (named.pop(), named.pop()) {
        (None, _) => Err(none(load)),
        (Some((_, shape)), None) => shape,
        (Some((last, _)), Some((other, _))) => Err(InvalidLoad::new(
            LoadPart::Key(last),
            format!("`{other}` and `{last}` are two loads"),
            format!("write one of {}", examples()),
        )),
    }
}

fn none(load: &Load) -> InvalidLoad {
    match load.requests {
        Some(_) => InvalidLoad::new(
            LoadPart::Key("requests"),
            "`requests` says how many are sent, and nothing says when",
            format!("write one of {}", examples()),
        ),
        None => InvalidLoad::new(
            LoadPart::Whole,
            "`load` does not say when requests are sent",
            format!("write one of {}", examples()),
        ),
    }
}

fn examples() -> String {
    let examples: Vec<String> = FORMS.iter().map(|(.., it)| format!("`{it}`")).collect();
    examples.join(", ")
}

/// Adds to the schema that there is one shape, with what goes with it, and that nothing is counted
/// from 0.
fn one_shape(schema: &mut Schema) {
    let keys = schema.get_mut("properties").and_then(Value::as_object_mut);
    for key in keys.into_iter().flat_map(Map::values_mut) {
        if key["format"] == "uint32" {
            key["type"] = json!("integer");
            key["minimum"] = json!(1);
        }
    }
    let one = |(key, with, _): &(&str, &[&str], &str)| {
        let keys: Vec<&str> = [&[*key], *with].concat();
        json!({"required": keys, "maxProperties": keys.len()})
    };
    let all: Vec<_> = FORMS.iter().map(one).collect();
    schema.insert("oneOf".to_owned(), all.into());
}

#[cfg(test)]
pub(crate) mod known;
#[cfg(test)]
mod tests;
