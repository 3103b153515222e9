//! What requests ask, one by one.

use std::borrow::Cow;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::json;
use sha2::{Digest, Sha256};

use super::IdWindow;
use super::synthetic::Drawn;
use super::trace::Replayed;
use crate::hex::hex;

/// What one request asks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ask {
    /// Its prompt.
    pub prompt: Prompt,
    /// How long the answer is to be.
    pub answer: Answer,
    /// Which of the prefixes the prompt begins with, where it shares one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<u32>,
}

/// A prompt, as it is sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Prompt {
    /// A text; in a chat it is what the user says.
    Text(String),
    /// Token ids, for completions.
    Ids(Vec<u32>),
    /// The messages of a chat.
    Messages(Vec<Message>),
}

/// One message of a chat.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Who says it: `system`, `user`, `assistant`.
    pub role: String,
    /// What is said.
    pub content: String,
}

/// How long an answer is to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// So many tokens.
    Tokens(u32),
    /// As many tokens as the server makes of this text; it is asked before anything is measured.
    LikeText(String),
}

/// What a run asks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Asks {
    /// The key that names their source: `inline`.
    kind: String,
    sha256: String,
    made: Made,
    /// What has to be counted by the server before they are asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    fit: Option<Fit>,
}

/// Which of the asks are asked, once the server has counted their tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fit {
    /// The first so many of those that fit; nothing where all are taken.
    pub take: Option<usize>,
    /// As many tokens as a prompt may have.
    pub max_input: Option<u32>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Made {
    /// One after the other, and from the beginning again.
    Listed(#[serde(with = "shared")] Arc<[Ask]>),
    /// Each request has one of its own.
    Drawn(Drawn),
    /// Each request has one of its own, as long as that of a trace.
    Replayed(Replayed),
}

impl Asks {
    /// Prompts that are there, in their order.
    pub(super) fn listed(kind: &str, asks: Vec<Ask>, max_tokens: u32) -> Self {
        Self {
            kind: kind.to_owned(),
            sha256: digest(&asks, max_tokens),
            made: Made::Listed(asks.into()),
            fit: None,
        }
    }

    /// Prompts that are drawn, one for each request.
    pub(super) fn drawn(kind: &str, drawn: Drawn) -> Self {
        Self {
            kind: kind.to_owned(),
            sha256: drawn.digest(),
            made: Made::Drawn(drawn),
            fit: None,
        }
    }

    /// Prompts as long as those of a trace, and that share what those shared.
    pub(super) fn replayed(replayed: Replayed) -> Self {
        Self {
            kind: "trace".to_owned(),
            sha256: replayed.digest(),
            made: Made::Replayed(replayed),
            fit: None,
        }
    }

    /// The same, of which only some are asked.
    pub(super) fn yet_to_fit(mut self, fit: Fit) -> Self {
        let what = json!([self.sha256, fit.take, fit.max_input]);
        self.sha256 = hex(&Sha256::digest(what.to_string()));
        self.fit = Some(fit);
        self
    }

    /// The same, with ids out of this window where ids are drawn.
    #[must_use]
    pub fn out_of(mut self, window: IdWindow) -> Self {
        match &mut self.made {
            Made::Listed(_) => {}
            Made::Drawn(drawn) => {
                drawn.window = window;
                self.sha256 = drawn.digest();
            }
            Made::Replayed(replayed) => {
                replayed.window = window;
                self.sha256 = replayed.digest();
            }
        }
        self
    }

    /// What request `index` asks.
    pub fn of(&self, index: u32) -> Cow<'_, Ask> {
        match &self.made {
            Made::Listed(asks) => Cow::Borrowed(&asks[index as usize % asks.len()]),
            Made::Drawn(drawn) => Cow::Owned(drawn.ask(index)),
            Made::Replayed(replayed) => Cow::Owned(replayed.ask(index)),
        }
    }

    /// What warm-up request `index` asks: the prompts of the measurement where there is a list of
    /// them, and others of the same sort where each request has its own, so that a cache is not
    /// filled with what is measured.
    pub fn of_warm_up(&self, index: u32) -> Cow<'_, Ask> {
        self.of(self.index_of_warm_up(index))
    }

    /// Which request of the measurement would ask what warm-up request `index` asks.
    pub fn index_of_warm_up(&self, index: u32) -> u32 {
        match &self.made {
            Made::Listed(_) => index,
            Made::Drawn(_) | Made::Replayed(_) => u32::MAX - index,
        }
    }

    /// Which of the prompts request `index` sends: those of one number are the same prompt.
    pub fn number(&self, index: u32) -> u32 {
        match &self.made {
            Made::Listed(asks) => (index as usize % asks.len()) as u32,
            Made::Drawn(_) | Made::Replayed(_) => index,
        }
    }

    /// How many prompts there are; nothing where each request has its own.
    pub fn count(&self) -> Option<usize> {
        match &self.made {
            Made::Listed(asks) => Some(asks.len()),
            Made::Drawn(_) | Made::Replayed(_) => None,
        }
    }

    /// The key that names their source.
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// The digest of all of them, in order; of what is drawn, that of all that it is drawn from.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// The tokens of the longest answer that is asked, as far as that is known.
    pub fn longest_answer(&self) -> u32 {
        match &self.made {
            Made::Listed(asks) => asks.iter().filter_map(Ask::tokens).max().unwrap_or(1),
            Made::Drawn(drawn) => drawn.output.most(),
            Made::Replayed(replayed) => replayed.longest_answer(),
        }
    }

    /// Whether all answers are to have the same length.
    pub fn are_answers_equal(&self) -> bool {
        match &self.made {
            Made::Listed(asks) => {
                let first = asks.first().and_then(Ask::tokens);
                first.is_some() && asks.iter().all(|ask| ask.tokens() == first)
            }
            Made::Drawn(drawn) => drawn.output.least() == drawn.output.most(),
            Made::Replayed(replayed) => replayed.are_answers_equal(),
        }
    }

    /// As many tokens as a prompt and its answer have together at most, where that is known.
    pub fn longest(&self) -> Option<u32> {
        match &self.made {
            Made::Listed(asks) => {
                let long = |ask: &Ask| match &ask.prompt {
                    Prompt::Ids(ids) => Some(u32::try_from(ids.len()).ok()? + ask.tokens()?),
                    Prompt::Text(_) | Prompt::Messages(_) => None,
                };
                asks.iter().filter_map(long).max()
            }
            Made::Drawn(drawn) => Some(drawn.input.most().saturating_add(drawn.output.most())),
            Made::Replayed(replayed) => replayed.longest(),
        }
    }

    /// How many tokens of a prompt are shared with others of its group, where any are.
    pub fn shared_prefix(&self) -> Option<u32> {
        match &self.made {
            Made::Listed(_) => None,
            Made::Drawn(drawn) => Some(drawn.prefix?.tokens),
            Made::Replayed(replayed) => replayed.shared_prefix(),
        }
    }

    /// What the server has to count before they are asked: all candidates, and how to choose.
    pub fn unfitted(&self) -> Option<(Fit, &[Ask])> {
        match &self.made {
            Made::Listed(asks) => Some((self.fit?, asks)),
            Made::Drawn(_) | Made::Replayed(_) => None,
        }
    }

    /// The same, with what was chosen of them.
    #[must_use]
    pub fn fitted(&self, chosen: Vec<Ask>) -> Self {
        Self {
            made: Made::Listed(chosen.into()),
            fit: None,
            ..self.clone()
        }
    }
}

impl Ask {
    /// A prompt whose answer has so many tokens.
    pub fn new(prompt: Prompt, tokens: u32) -> Self {
        Self {
            prompt,
            answer: Answer::Tokens(tokens),
            prefix: None,
        }
    }

    /// How many tokens it asks for, where that is known yet.
    pub fn tokens(&self) -> Option<u32> {
        match self.answer {
            Answer::Tokens(tokens) => Some(tokens),
            Answer::LikeText(_) => None,
        }
    }
}

/// The digest of asks: of their texts alone where they are no more than that, as it has always been.
fn digest(asks: &[Ask], max_tokens: u32) -> String {
    let text = |ask: &Ask| match &ask.prompt {
        Prompt::Text(text) if ask.tokens() == Some(max_tokens) => Some(text.clone()),
        _ => None,
    };
    let texts: Option<Vec<String>> = asks.iter().map(text).collect();
    let said = match texts {
        Some(texts) => serde_json::to_string(&texts),
        None => serde_json::to_string(asks),
    };
    hex(&Sha256::digest(said.expect("asks are JSON")))
}

/// Lists that are shared and not copied.
pub(super) mod shared {
    use super::{Arc, Deserialize, Deserializer, Serialize, Serializer};

    pub(in crate::prompts) fn serialize<T: Serialize, S: Serializer>(
        list: &Arc<[T]>,
        out: S,
    ) -> Result<S::Ok, S::Error> {
        list.as_ref().serialize(out)
    }

    pub(in crate::prompts) fn deserialize<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
        input: D,
    ) -> Result<Arc<[T]>, D::Error> {
        Ok(Vec::deserialize(input)?.into())
    }
}
