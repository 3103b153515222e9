//! Conversations in the form of ShareGPT: `[{"conversations": [{"from": "human", "value": …}, …]}]`.
//!
//! As in `vllm bench serve`, what is said first in a conversation is the prompt, and what is said
//! second tells how long the answer is; conversations of one turn are passed over. Tokens are
//! counted by the server that is measured (`POST /tokenize`), before anything is: no tokenizer is
//! needed here.

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::dice::Dice;
use super::form::{Form, InvalidPrompts, PromptsPart, Unreadable, at_least_one};
use super::reading::bytes;
use super::{Answer, Ask, Asks, Fit, Prompt, Prompts, Reading};
use crate::hex::hex;

/// How many candidates are looked at for each that is taken, where the server counts their tokens.
const CANDIDATES: usize = 8;

/// The file, and what is taken of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sharegpt {
    path: PathBuf,
    sha256: Option<String>,
    take: Option<u32>,
    seed: Option<u64>,
    max_input: Option<u32>,
    output: Option<OutputTokens>,
}

/// How long the answers to a data set are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OutputTokens {
    /// As long as the answers in it.
    FromDataset,
}

#[derive(Deserialize)]
struct Conversation {
    #[serde(default, alias = "conversation")]
    conversations: Vec<Turn>,
}

#[derive(Deserialize)]
struct Turn {
    #[serde(default)]
    value: String,
}

impl Form for Sharegpt {
    type Value = PathBuf;
    const WITH: &'static [&'static str] = &["sha256", "take", "seed", "max_input", "output_tokens"];
    const EXAMPLE: &'static str = "{sharegpt: sharegpt.json, take: 500, seed: 1}";

    fn check(path: &PathBuf, with: &Prompts) -> Result<Self, Vec<InvalidPrompts>> {
        let counts = [
            with.take
                .and_then(|take| at_least_one(&["take"], take, "conversations that are taken")),
            with.max_input.and_then(|most| {
                at_least_one(&["max_input"], most, "tokens of the longest prompt")
            }),
        ];
        let is_digest =
            |text: &String| text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let digest = with.sha256.as_ref().filter(|text| !is_digest(text));
        let digest = digest.map(|_| {
            InvalidPrompts::new(
                PromptsPart::value(&["sha256"]),
                "`sha256` is no digest",
                "it has 64 digits of hex, as `sha256sum` prints them",
            )
        });
        let wrong: Vec<_> = counts.into_iter().flatten().chain(digest).collect();
        if !wrong.is_empty() {
            return Err(wrong);
        }
        Ok(Self {
            path: path.clone(),
            sha256: with.sha256.clone(),
            take: with.take,
            seed: with.seed,
            max_input: with.max_input,
            output: with.output_tokens,
        })
    }

    fn read(&self, reading: &Reading<'_>) -> Result<Asks, Unreadable> {
        let bytes = bytes(&self.path, reading)?;
        self.is_the_one(&bytes)?;
        let mut pairs = self.pairs(&bytes)?;
        if self.take.is_some() || self.seed.is_some() {
            Dice::of(self.seed.unwrap_or(0), 0).shuffle(&mut pairs);
        }
        let take = self.take.map(|take| take as usize);
        let is_counted = self.max_input.is_some() || self.output.is_some();
        if let Some(take) = take {
            self.has_as_many(pairs.len(), take)?;
            pairs.truncate(take.saturating_mul(if is_counted { CANDIDATES } else { 1 }));
        }
        let asks = pairs.into_iter().map(|(prompt, answer)| Ask {
            answer: match self.output {
                Some(OutputTokens::FromDataset) => Answer::LikeText(answer),
                None => Answer::Tokens(reading.max_tokens),
            },
            ..Ask::new(Prompt::Text(prompt), reading.max_tokens)
        });
        let asks = Asks::listed("sharegpt", asks.collect(), reading.max_tokens);
        Ok(if is_counted {
            let max_input = self.max_input;
            asks.yet_to_fit(Fit { take, max_input })
        } else {
            asks
        })
    }

    fn file(&self) -> Option<&Path> {
        Some(&self.path)
    }
}

impl Sharegpt {
    fn has_as_many(&self, found: usize, take: usize) -> Result<(), Unreadable> {
        if found >= take {
            return Ok(());
        }
        let name = self.path.display();
        Err(Unreadable::new(
            format!("`{name}` has {found} conversations, and {take} are to be taken"),
            "take fewer, or leave `take` out to take all",
        ))
    }

    fn is_the_one(&self, bytes: &[u8]) -> Result<(), Unreadable> {
        let Some(wanted) = &self.sha256 else {
            return Ok(());
        };
        let found = hex(&Sha256::digest(bytes));
        if found.eq_ignore_ascii_case(wanted) {
            return Ok(());
        }
        Err(Unreadable::new(
            format!("the sha256 of `{}` is {found}", self.path.display()),
            "it is another file than the manifest was written for; fetch that, or write this digest",
        ))
    }

    /// What is asked first in each conversation, and what is answered.
    fn pairs(&self, bytes: &[u8]) -> Result<Vec<(String, String)>, Unreadable> {
        let name = self.path.display();
        let form = "it is a list of {\"conversations\": [{\"from\": \"human\", \"value\": …}, …]}";
        let all: Vec<Conversation> = serde_json::from_slice(bytes).map_err(|error| {
            Unreadable::new(
                format!("`{name}` is not in the form of ShareGPT: {error}"),
                form,
            )
        })?;
        let pairs = all.into_iter().filter_map(|one| {
            let mut turns = one.conversations.into_iter().map(|turn| turn.value);
            let pair = (turns.next()?, turns.next()?);
            let is_said = !pair.0.trim().is_empty() && !pair.1.trim().is_empty();
            is_said.then_some(pair)
        });
        let pairs: Vec<_> = pairs.collect();
        if pairs.is_empty() {
            let what = format!("`{name}` has no conversation with a question and an answer");
            return Err(Unreadable::new(what, form));
        }
        Ok(pairs)
    }
}
