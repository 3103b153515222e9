//! What is asked: one file a source of prompts.
//!
//! A manifest writes [`Prompts`]: a few keys, of which one names a source. Checked, they are a
//! [`Source`]; read, with the file that it may name, they are [`Asks`]: for each request its prompt
//! and how long its answer is to be. The same text and the same files are the same asks everywhere,
//! and [`Asks::sha256`] is their name. How they are asked, over which route and how tokens are
//! chosen, is [`Api`], [`Sampling`] and [`Cache`].
//!
//! Exact lengths need no tokenizer: a prompt may be a list of token ids, which a completion takes as
//! it is, without a token more. Which ids are ordinary ones is handed in ([`IdWindow`]).
//!
//! A new source is a file with its `Form`, and its line in the list below. It reads files, and
//! imports no other room but that of the shapes, whose traces hold lengths too.

mod api;
mod asks;
mod dice;
mod file;
mod form;
mod inline;
mod jsonl;
mod length;
mod reading;
mod sampling;
mod sharegpt;
mod synthetic;
mod trace;
mod window;

use std::path::{Path, PathBuf};

use schemars::{JsonSchema, Schema};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

pub use api::{Api, Cache, Keep};
pub use asks::{Answer, Ask, Asks, Fit, Message, Prompt};
pub(crate) use dice::Dice;
use form::Form;
pub use form::{InvalidPrompts, PromptsPart, Unreadable};
pub use length::{LengthDeclaration, LogNormal, Normal, Spread};
pub use sampling::{Sampling, stream_fields};
pub use sharegpt::OutputTokens;
pub use synthetic::{SharedPrefix, SyntheticDeclaration};
pub use window::IdWindow;

use crate::shape::Format;

/// What reading a source needs to know beside itself.
#[derive(Debug, Clone, Copy)]
pub struct Reading<'a> {
    /// The folder that files are relative to.
    pub folder: &'a Path,
    /// The route that the prompts are for.
    pub api: Api,
    /// How long an answer is of which the source says nothing.
    pub max_tokens: u32,
}

/// Makes of the list of sources what a manifest writes and what it means.
macro_rules! sources {
    ($($(#[$what:meta])* $key:ident: $Source:ident($Value:ty),)+) => {
        /// What is asked: `{inline: [What is a REST API?]}`, `{file: prompts.txt}`,
        /// `{jsonl: prompts.jsonl, field: prompt}`, `{sharegpt: sharegpt.json, take: 500}`,
        /// `{synthetic: {input: 256, output: 128}}`, `{trace: traces/conv.jsonl, format: mooncake}`.
        /// Request number `i` sends prompt number `i`, from the beginning again after the last.
        #[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields)]
        #[schemars(transform = one_source)]
        pub struct Prompts {
            $(
                $(#[$what])*
                #[serde(default, skip_serializing_if = "Option::is_none")]
                pub $key: Option<$Value>,
            )+
            /// The field of a line that holds its prompt: a text, a list of token ids, or the
            /// messages of a chat. Default: `prompt`.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub field: Option<String>,
            /// The field of a line that says how many tokens its answer has; `max_tokens` of the
            /// benchmark counts where there is none.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub output_field: Option<String>,
            /// The digest that the file must have, in hex.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub sha256: Option<String>,
            /// How many of its conversations are taken, drawn with `seed`; default: all, in order.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub take: Option<u32>,
            /// What is drawn is drawn with this: the same seed draws the same. Default: 0.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub seed: Option<u64>,
            /// Prompts of more tokens than this are left out, as the server counts them; those of a trace
            /// are cut.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub max_input: Option<u32>,
            /// `from-dataset`: each answer is as long as the one in the file, as the server counts
            /// its tokens.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub output_tokens: Option<OutputTokens>,
            /// How the file of a trace is to be read.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub format: Option<Format>,
            /// Answers of a trace that have more tokens than this are cut.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub max_output: Option<u32>,
        }

        /// A source that can be read.
        #[derive(Debug, Clone, PartialEq)]
        pub enum Source {
            $($(#[$what])* $Source($key::$Source),)+
        }

        /// The keys that name a source, with those that may go with each, and an example.
        const FORMS: &[(&str, &[&str], &str)] = &[
            $((stringify!($key), <$key::$Source as Form>::WITH, <$key::$Source as Form>::EXAMPLE),)+
        ];

        impl Source {
            /// Reads it, with the file that it names.
            ///
            /// # Errors
            ///
            /// Fails at the first thing in a file that is no prompt, and names its line.
            pub fn read(&self, reading: &Reading<'_>) -> Result<Asks, Unreadable> {
                match self {
                    $(Self::$Source(source) => source.read(reading),)+
                }
            }

            /// The file that it is read from, as it was written.
            pub fn file(&self) -> Option<&Path> {
                match self {
                    $(Self::$Source(source) => source.file(),)+
                }
            }

            /// The key that names it.
            pub fn key(&self) -> &'static str {
                match self {
                    $(Self::$Source(_) => stringify!($key),)+
                }
            }

            /// Whether its prompts can be asked over this route.
            pub fn suits(&self, api: Api) -> bool {
                match self {
                    $(Self::$Source(source) => source.suits(api),)+
                }
            }
        }

        impl Prompts {
            /// The sources that are named, each with what it means or with why it means nothing.
            fn named(&self) -> Vec<(&'static str, Result<Source, Vec<InvalidPrompts>>)> {
                let made = [
                    $((
                        stringify!($key),
                        self.$key
                            .as_ref()
                            .map(|value| $key::$Source::check(value, self).map(Source::$Source)),
                    ),)+
                ];
                made.into_iter()
                    .filter_map(|(key, source)| Some((key, source?)))
                    .collect()
            }
        }
    };
}

sources! {
    /// They stand in the manifest.
    inline: Inline(Vec<String>),
    /// A prompt a line, in a file that lies relative to the manifest; blank lines are passed over.
    file: File(PathBuf),
    /// A JSON object a line, in a file that lies relative to the manifest.
    jsonl: Jsonl(PathBuf),
    /// Conversations in the form of ShareGPT, in a file that lies relative to the manifest: what is
    /// asked first in each is a prompt.
    sharegpt: Sharegpt(PathBuf),
    /// Lists of token ids that are drawn, each of exactly as many as is said, for completions.
    synthetic: Synthetic(SyntheticDeclaration),
    /// Lists of token ids that are drawn, as long as the prompts of a trace, whose file lies relative to
    /// the manifest, for completions; where it names blocks, equal blocks are equal ids.
    trace: Trace(PathBuf),
}

impl Prompts {
    /// The source that they mean.
    ///
    /// # Errors
    ///
    /// Fails with everything that is wrong with them.
    pub fn meant(&self) -> Result<Source, Vec<InvalidPrompts>> {
        let mut named = self.named();
        match (named.pop(), named.pop()) {
            (None, _) => Err(vec![InvalidPrompts::new(
                PromptsPart::Whole,
                "`prompts` does not say what is asked",
                format!("write one of {}", examples()),
            )]),
            (Some((last, _)), Some((other, _))) => Err(vec![InvalidPrompts::new(
                PromptsPart::key(&[last]),
                format!("`{other}` and `{last}` are two sources of prompts"),
                format!("write one of {}", examples()),
            )]),
            (Some((key, source)), None) => {
                let foreign = self.foreign(key);
                match source {
                    Ok(source) if foreign.is_empty() => Ok(source),
                    Ok(_) => Err(foreign),
                    Err(wrong) => Err([foreign, wrong].concat()),
                }
            }
        }
    }

    /// The keys that do not go with the one that names the source.
    fn foreign(&self, source: &'static str) -> Vec<InvalidPrompts> {
        let with = FORMS.iter().find(|(key, ..)| *key == source);
        let (with, example) = with.map_or((&[][..], ""), |(_, with, example)| (*with, *example));
        let given = given(self).into_iter();
        given
            .filter(|key| *key != source && !with.contains(key))
            .map(|key| {
                let title = format!("`{source}` takes no `{key}`");
                let hint = match with {
                    [] => format!("write it alone, as in `{example}`"),
                    with => format!("beside it may stand {}", quoted(with)),
                };
                InvalidPrompts::new(PromptsPart::key(&[key]), title, hint)
            })
            .collect()
    }
}

/// The keys that are given beside a source.
fn given(prompts: &Prompts) -> Vec<&'static str> {
    let all = [
        ("field", prompts.field.is_some()),
        ("output_field", prompts.output_field.is_some()),
        ("sha256", prompts.sha256.is_some()),
        ("take", prompts.take.is_some()),
        ("seed", prompts.seed.is_some()),
        ("max_input", prompts.max_input.is_some()),
        ("output_tokens", prompts.output_tokens.is_some()),
        ("format", prompts.format.is_some()),
        ("max_output", prompts.max_output.is_some()),
    ];
    let given = all.into_iter().filter(|(_, is_given)| *is_given);
    given.map(|(key, _)| key).collect()
}

fn quoted(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
    quoted.join(", ")
}

fn examples() -> String {
    let examples: Vec<&str> = FORMS.iter().map(|(.., example)| *example).collect();
    quoted(&examples)
}

/// Adds to the schema that there is one source, with what may go with it.
fn one_source(schema: &mut Schema) {
    let keys = schema.get_mut("properties").and_then(Value::as_object_mut);
    for key in keys.into_iter().flat_map(Map::values_mut) {
        if let Some(types) = key.get("type").and_then(Value::as_array) {
            // What may be left out is not written as null.
            let only = types.iter().find(|it| *it != "null").cloned();
            key["type"] = only.unwrap_or_default();
        }
        if key["format"] == "uint32" {
            key["minimum"] = json!(1);
        }
    }
    let one = |(key, with, _): &(&str, &[&str], &str)| {
        let keys: Vec<&str> = [&[*key], *with].concat();
        json!({"required": [key], "propertyNames": {"enum": keys}})
    };
    let all: Vec<_> = FORMS.iter().map(one).collect();
    schema.insert("oneOf".to_owned(), all.into());
}

#[cfg(test)]
pub(crate) mod known;
#[cfg(test)]
mod tests;
