//! When requests are sent: one file a load shape.
//!
//! A manifest writes a [`Load`]: a few keys, of which one names a shape. What it comes to is a
//! [`Course`]: one [`Shape`], several that go up, or a search among rates. A shape answers for itself:
//! how it is called, what class of load it is, and its [`Schedule`], in which a [`Pacing`] says when
//! each request is sent and a [`Stop`] when there are no more. Which shape it is nobody else asks;
//! what rules, tables and files need to tell apart is the [`Class`].
//!
//! A new shape is a file with its `Form`, and its line in the list below. It imports no other room.

mod arrivals;
mod batch;
mod class;
mod concurrency;
mod course;
mod form;
mod format;
mod guard;
mod pacing;
mod ramp;
mod rate;
mod requests;
mod search;
mod sequential;
mod several;
mod stop;
mod trace;
mod trace_file;

use std::path::{Path, PathBuf};

use schemars::{JsonSchema, Schema};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::quantity::{Rate, Seconds};
pub use arrivals::Arrivals;
pub use class::Class;
pub use course::{Course, Skipped, Walk, Went};
use form::{Beside, Form};
pub use form::{InvalidLoad, LoadPart};
pub use format::Format;
pub use guard::{Ended, Stopped};
pub use pacing::{Next, Pacing, Schedule};
pub use ramp::Ends;
pub use rate::Pace;
pub use requests::Requests;
pub use search::{Found, Probe};
pub use several::Several;
pub use stop::Stop;
pub use trace::Trace;
pub use trace_file::{ReadTrace, TraceFile, TraceRequest, UnreadableTrace};

/// Makes of the list of shapes what a manifest writes and what it means.
macro_rules! shapes {
    (
        shapes { $($(#[$what:meta])* $key:ident: $Shape:ident($Value:ty),)+ }
        beside { $($(#[$said:meta])* $with:ident: $Said:ty,)+ }
    ) => {
        /// How many requests are sent, and when: `{sequential: 1}`, `{batch: 8}`,
        /// `{concurrency: 16, requests: 160}`, `{rate: 2/s, duration: 5m}`.
        #[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields)]
        #[schemars(transform = one_shape)]
        pub struct Load {
            $(
                $(#[$what])*
                #[serde(default, skip_serializing_if = "Option::is_none")]
                pub $key: Option<$Value>,
            )+
            $(
                $(#[$said])*
                #[serde(default, skip_serializing_if = "Option::is_none")]
                pub $with: Option<$Said>,
            )+
        }

        /// A load that can be driven.
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        #[serde(into = "Load", try_from = "Load")]
        pub enum Shape {
            $($(#[$what])* $Shape($key::$Shape),)+
        }

        /// The keys that name a shape, with those that go with each, and an example.
        const FORMS: &[Beside] = &[
            $(Beside {
                key: stringify!($key),
                with: <$key::$Shape as Form>::WITH,
                needs: <$key::$Shape as Form>::NEEDS,
                example: <$key::$Shape as Form>::EXAMPLE,
            },)+
        ];

        impl Load {
            /// The keys that are given beside those that name shapes.
            fn given(&self) -> Vec<&'static str> {
                let all = [$((stringify!($with), self.$with.is_some()),)+];
                let given = all.into_iter().filter(|(_, is_given)| *is_given);
                given.map(|(key, _)| key).collect()
            }
        }

        impl Shape {
            fn form(&self) -> &dyn form::Answers {
                match self {
                    $(Self::$Shape(shape) => shape,)+
                }
            }

            fn form_mut(&mut self) -> &mut dyn form::Answers {
                match self {
                    $(Self::$Shape(shape) => shape,)+
                }
            }
        }

        impl TryFrom<Load> for Shape {
            type Error = InvalidLoad;

            fn try_from(load: Load) -> Result<Self, InvalidLoad> {
                let given = load.given();
                let made = [
                    $((
                        stringify!($key),
                        load.$key.clone().map(|value| {
                            beside(stringify!($key), &given)?;
                            $key::$Shape::check(value, &load).map(Self::$Shape)
                        }),
                    ),)+
                ];
                let named = made.into_iter().filter_map(|(key, shape)| Some((key, shape?)));
                only(named.collect(), &given)
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
    shapes {
        /// So many requests, one after another.
        sequential: Sequential(u32),
        /// So many requests, all at once.
        batch: Batch(u32),
        /// So many requests in flight: another is sent as soon as one has ended. A list is a load for each,
        /// from the least to the most.
        concurrency: Concurrency(Several<u32>),
        /// So many requests a second, whatever is in flight. A list is a load for each, from the least to
        /// the most; `search` looks for the highest that meets what is asked.
        rate: Rate(Several<Pace>),
        /// A rate that goes evenly from one to another, in `duration`.
        ramp: Ramp(ramp::Ends),
        /// A file with the moments of requests, relative to the manifest: they are sent as they came then.
        /// What is asked is told by `prompts`.
        trace: Trace(PathBuf),
    }
    beside {
        /// Requests in all, of a load that goes on; `10x` is ten for each in flight.
        requests: Requests,
        /// How long requests are sent. What is in flight then is waited for.
        duration: Seconds,
        /// How long requests are sent at least, however many that are.
        min: Seconds,
        /// How long requests are sent at most, however few that are.
        max: Seconds,
        /// How requests by the clock follow each other: `poisson` (unless it is said), `constant` or
        /// `{gamma: 0.5}`.
        arrivals: Arrivals,
        /// Where a rate is looked for: the lower end and the upper one.
        between: Vec<Rate>,
        /// What requests by the clock are drawn from: the same gives the same moments. 0 unless it is said.
        seed: u64,
        /// How many requests by the clock may be in flight. What would be more is not sent, and counted as
        /// dropped. Without it, all are sent.
        max_in_flight: u32,
        /// How the file of a trace is to be read.
        format: Format,
        /// What all times of a trace are multiplied by: 0.1 is ten times as fast.
        time_scale: f64,
        /// How many requests of a trace are sent, from its beginning.
        limit: u32,
        /// The digest of the file of a trace; another file is refused.
        sha256: String,
    }
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

    /// Whether it says itself how long it goes on.
    pub fn is_timed(&self) -> bool {
        self.form().is_timed()
    }

    /// The trace that it replays, where it replays one.
    pub fn trace(&self) -> Option<&Trace> {
        self.form().trace()
    }

    /// Reads what it takes from a file in a folder.
    ///
    /// # Errors
    ///
    /// When there is no such file, or it is not what it should be.
    pub fn read(&mut self, folder: &Path) -> Result<(), UnreadableTrace> {
        self.form_mut().read(folder)
    }
}

/// Whether what stands beside a key that names a shape belongs there.
fn beside(key: &str, given: &[&'static str]) -> Result<(), InvalidLoad> {
    let mut forms = FORMS.iter().filter(|form| form.key == key);
    forms.try_for_each(|form| form.check(given))
}

type Made = Vec<(&'static str, Result<Shape, InvalidLoad>)>;

/// The one shape that a load names.
fn only(mut named: Made, given: &[&'static str]) -> Result<Shape, InvalidLoad> {
    match (named.pop(), named.pop()) {
        (None, _) => Err(none(given)),
        (Some((_, shape)), None) => shape,
        (Some((last, _)), Some((other, _))) => Err(InvalidLoad::new(
            LoadPart::Key(last),
            format!("`{other}` and `{last}` are two loads"),
            format!("write one of {}", examples()),
        )),
    }
}

fn none(given: &[&'static str]) -> InvalidLoad {
    let hint = format!("write one of {}", examples());
    match given.first() {
        Some(key) => InvalidLoad::new(
            LoadPart::Key(key),
            format!("`{key}` is a part of a load, and nothing says when requests are sent"),
            hint,
        ),
        None => InvalidLoad::new(
            LoadPart::Whole,
            "`load` does not say when requests are sent",
            hint,
        ),
    }
}

fn examples() -> String {
    let examples: Vec<String> = FORMS.iter().map(|it| format!("`{}`", it.example)).collect();
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
    let one = |form: &Beside| {
        let keys: Vec<&str> = [&[form.key], form.with].concat();
        let mut one = json!({"required": [form.key], "propertyNames": {"enum": keys}});
        if !form.needs.is_empty() {
            let needs = form.needs.iter().map(|key| json!({"required": [key]}));
            one["anyOf"] = needs.collect();
        }
        one
    };
    // A search is written as the rate that it looks for, with where it looks.
    let search = FORMS.iter().filter(|form| form.key == "rate").map(|form| {
        let mut search = one(form);
        search["required"] = json!(["rate", "between"]);
        search["properties"] = json!({"rate": {"const": "search"}});
        search["propertyNames"]["enum"] = json!([&["rate", "between"], form.with].concat());
        search
    });
    let all: Vec<_> = FORMS.iter().map(one).chain(search).collect();
    schema.insert("oneOf".to_owned(), all.into());
}

#[cfg(test)]
pub(crate) mod known;
#[cfg(test)]
mod tests;
