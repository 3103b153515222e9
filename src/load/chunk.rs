//! One `data:` of a stream: a chunk of a completion or of a chat, as vLLM sends them.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::Value;

/// What matters of a chunk.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Chunk {
    /// The name of the answer that it is a part of.
    pub(super) id: Option<String>,
    /// Whether it carries a choice, and is not a report of `usage` alone.
    pub(super) has_choice: bool,
    /// The text that it adds: may be empty, though a token stands behind it.
    pub(super) text: String,
    /// Why the model stopped.
    pub(super) finish: Option<String>,
    /// Tokens of the prompt.
    pub(super) n_in: Option<u64>,
    /// Tokens of the answer so far.
    pub(super) n_out: Option<u64>,
    /// Prompt tokens out of a prefix cache.
    pub(super) cached: Option<u64>,
    /// Whether it is an error with a stream around it.
    pub(super) is_error: bool,
}

#[derive(Deserialize)]
struct Wire<'a> {
    id: Option<Value>,
    #[serde(default)]
    choices: Vec<Choice>,
    usage: Option<Usage>,
    error: Option<Value>,
    #[serde(borrow)]
    object: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct Choice {
    text: Option<String>,
    delta: Option<Delta>,
    finish_reason: Option<String>,
}

#[derive(Deserialize)]
struct Delta {
    content: Option<String>,
    reasoning_content: Option<String>,
    reasoning: Option<String>,
    tool_calls: Option<Value>,
}

#[derive(Deserialize)]
struct Usage {
    prompt_tokens: Option<u64>,
    completion_tokens: Option<u64>,
    prompt_tokens_details: Option<Details>,
}

#[derive(Deserialize)]
struct Details {
    cached_tokens: Option<u64>,
}

impl Chunk {
    /// Reads the `data` of an event.
    pub(super) fn parse(data: &str) -> Result<Self, serde_json::Error> {
        let wire: Wire<'_> = serde_json::from_str(data)?;
        let usage = wire.usage.as_ref();
        let choice = wire.choices.first();
        Ok(Self {
            id: match wire.id {
                Some(Value::String(id)) => Some(id),
                _ => None,
            },
            has_choice: choice.is_some(),
            text: choice.map(Choice::content).unwrap_or_default(),
            finish: choice.and_then(|c| c.finish_reason.clone()),
            n_in: usage.and_then(|u| u.prompt_tokens),
            n_out: usage.and_then(|u| u.completion_tokens),
            cached: usage
                .and_then(|u| u.prompt_tokens_details.as_ref())
                .and_then(|d| d.cached_tokens),
            is_error: wire.error.is_some_and(|error| !error.is_null())
                || wire.object.as_deref() == Some("error"),
        })
    }
}

impl Choice {
    fn content(&self) -> String {
        let mut content = self.text.clone().unwrap_or_default();
        if let Some(delta) = &self.delta {
            for part in [&delta.content, &delta.reasoning_content, &delta.reasoning] {
                content.push_str(part.as_deref().unwrap_or_default());
            }
            if let Some(calls) = delta.tool_calls.as_ref().filter(|calls| !calls.is_null()) {
                content.push_str(&calls.to_string());
            }
        }
        content
    }
}
