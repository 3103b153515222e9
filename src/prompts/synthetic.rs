//! Prompts that are drawn: lists of token ids, each of exactly as many as is wanted.
//!
//! A completion takes ids as they are, and adds none of its own, so that `prompt_tokens` of the
//! answer's `usage` is the length that was drawn. The ids are out of a row of ordinary ones; what
//! they say makes no sense, and how fast a server computes it does not hang on that.
//!
//! Request `i` is drawn by itself, from the seed and `i`: runs of different lengths ask the same.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::dice::Dice;
use super::form::{Form, InvalidPrompts, PromptsPart, Unreadable, at_least_one};
use super::length::{Length, LengthDeclaration};
use super::{Api, Ask, Asks, IdWindow, Prompt, Prompts, Reading};
use crate::hex::hex;

/// What is drawn, as a manifest declares it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SyntheticDeclaration {
    /// How many tokens a prompt has, with the prefix that it shares: `256`.
    pub input: LengthDeclaration,
    /// How many tokens an answer has; default: the benchmark's `max_tokens`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<LengthDeclaration>,
    /// What prompts have in common at their beginning: `{tokens: 512, groups: 8}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shared_prefix: Option<SharedPrefix>,
}

/// What prompts have in common: each begins with one of so many prefixes, which one is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SharedPrefix {
    /// How many tokens a prefix has.
    #[schemars(range(min = 1))]
    pub tokens: u32,
    /// How many prefixes there are; default: 1.
    #[serde(default = "one")]
    #[schemars(range(min = 1))]
    pub groups: u32,
}

fn one() -> u32 {
    1
}

/// What is drawn, as it is meant.
#[derive(Debug, Clone, PartialEq)]
pub struct Synthetic {
    input: Length,
    output: Option<Length>,
    prefix: Option<SharedPrefix>,
    seed: u64,
}

/// Everything that a prompt is drawn from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Drawn {
    pub(super) input: Length,
    pub(super) output: Length,
    pub(super) prefix: Option<SharedPrefix>,
    seed: u64,
    pub(super) window: IdWindow,
}

impl Form for Synthetic {
    type Value = SyntheticDeclaration;
    const WITH: &'static [&'static str] = &["seed"];
    const EXAMPLE: &'static str = "{synthetic: {input: 256, output: 128}}";

    fn check(value: &SyntheticDeclaration, with: &Prompts) -> Result<Self, Vec<InvalidPrompts>> {
        let input = value.input.meant(&["synthetic", "input"]);
        let output = value.output.as_ref();
        let output = output.map(|it| it.meant(&["synthetic", "output"]));
        let mut wrong = prefix(value.shared_prefix, input.as_ref().ok());
        match (input, output.transpose()) {
            (Ok(input), Ok(output)) if wrong.is_empty() => Ok(Self {
                input,
                output,
                prefix: value.shared_prefix,
                seed: with.seed.unwrap_or(0),
            }),
            (input, output) => {
                wrong.extend(input.err().into_iter().flatten());
                wrong.extend(output.err().into_iter().flatten());
                Err(wrong)
            }
        }
    }

    fn read(&self, reading: &Reading<'_>) -> Result<Asks, Unreadable> {
        let drawn = Drawn {
            input: self.input,
            output: self.output.unwrap_or(Length::Fixed(reading.max_tokens)),
            prefix: self.prefix,
            seed: self.seed,
            window: IdWindow::safe(None),
        };
        Ok(Asks::drawn("synthetic", drawn))
    }

    fn suits(&self, api: Api) -> bool {
        api == Api::Completions
    }
}

/// What is wrong with a prefix: it is a part of every prompt.
fn prefix(prefix: Option<SharedPrefix>, input: Option<&Length>) -> Vec<InvalidPrompts> {
    let Some(SharedPrefix { tokens, groups }) = prefix else {
        return Vec::new();
    };
    let path = ["synthetic", "shared_prefix"];
    let at = |key| [&path[..], &[key]].concat();
    let counts = [
        at_least_one(&at("tokens"), tokens, "tokens of a prefix"),
        at_least_one(&at("groups"), groups, "prefixes"),
    ];
    let shortest = input.map(|input| input.least());
    let too_long = shortest
        .filter(|shortest| tokens > *shortest)
        .map(|shortest| {
            InvalidPrompts::new(
                PromptsPart::value(&at("tokens")),
                format!("a prompt of {shortest} tokens has no room for a prefix of {tokens}"),
                "`input` is the length of the whole prompt: let it be that long at least",
            )
        });
    counts.into_iter().flatten().chain(too_long).collect()
}

/// What is drawn of a seed, each with dice of its own.
#[derive(Clone, Copy)]
enum Of {
    Request,
    Prefix,
}

impl Drawn {
    /// What request `index` asks.
    pub(super) fn ask(&self, index: u32) -> Ask {
        let mut dice = self.dice(Of::Request, index);
        let length = self.input.draw(&mut dice) as usize;
        let tokens = self.output.draw(&mut dice);
        // Drawn, and not in turn: else they would go in step with a proxy that takes turns.
        let group = self.prefix.map(|prefix| dice.below(prefix.groups));
        let mut ids = Vec::with_capacity(length);
        if let Some((prefix, group)) = self.prefix.zip(group) {
            let mut own = self.dice(Of::Prefix, group);
            ids.extend((0..prefix.tokens).map(|_| self.id(&mut own)));
        }
        ids.extend((ids.len()..length).map(|_| self.id(&mut dice)));
        Ask {
            prefix: group,
            ..Ask::new(Prompt::Ids(ids), tokens)
        }
    }

    fn dice(&self, of: Of, number: u32) -> Dice {
        let kind = match of {
            Of::Request => 0,
            Of::Prefix => 1 << 32,
        };
        Dice::of(self.seed, kind | u64::from(number))
    }

    fn id(&self, dice: &mut Dice) -> u32 {
        self.window.first + dice.below(self.window.count)
    }

    /// The digest of all that a prompt is drawn from.
    pub(super) fn digest(&self) -> String {
        let said = serde_json::to_string(self).expect("lengths are JSON");
        hex(&Sha256::digest(said))
    }
}
