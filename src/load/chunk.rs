//! One `data:` of a stream: a chunk of a completion or of a chat, as vLLM sends them.

use std::borrow::Cow;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;

/// What matters of a chunk.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Chunk<'a> {
    /// The name of the answer that it is a part of.
    pub(super) id: Option<Cow<'a, str>>,
    /// Whether it carries a choice, and is not a report of `usage` alone.
    pub(super) has_choice: bool,
    /// The text that it adds: may be empty, though a token stands behind it.
    pub(super) text: Cow<'a, str>,
    /// Why the model stopped.
    pub(super) finish: Option<Cow<'a, str>>,
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
    #[serde(borrow)]
    id: Option<Id<'a>>,
    #[serde(borrow, default)]
    choices: Vec<Choice<'a>>,
    usage: Option<Usage>,
    error: Option<Value>,
    #[serde(borrow)]
    object: Option<Text<'a>>,
}

/// A text that is borrowed where it stands in the data as it is.
#[derive(Deserialize)]
#[serde(transparent)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// What names an answer is a text; others number theirs.
#[derive(Deserialize)]
#[serde(untagged)]
enum Id<'a> {
    Name(#[serde(borrow)] Text<'a>),
    Other(IgnoredAny),
}

#[derive(Deserialize)]
struct Choice<'a> {
    #[serde(borrow)]
    text: Option<Text<'a>>,
    #[serde(borrow)]
    delta: Option<Delta<'a>>,
    #[serde(borrow)]
    finish_reason: Option<Text<'a>>,
}

#[derive(Deserialize)]
struct Delta<'a> {
    #[serde(borrow)]
    content: Option<Text<'a>>,
    #[serde(borrow)]
    reasoning_content: Option<Text<'a>>,
    #[serde(borrow)]
    reasoning: Option<Text<'a>>,
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

impl<'a> Chunk<'a> {
    /// Reads the `data` of an event.
    pub(super) fn parse(data: &'a str) -> Result<Self, serde_json::Error> {
        let wire: Wire<'_> = serde_json::from_str(data)?;
        let usage = wire.usage.as_ref();
        let is_error = wire.error.is_some_and(|error| !error.is_null())
            || wire.object.is_some_and(|it| it.0 == "error");
        let cached = usage
            .and_then(|u| u.prompt_tokens_details.as_ref())
            .and_then(|d| d.cached_tokens);
        let mut chunk = Self {
            id: match wire.id {
                Some(Id::Name(Text(id))) => Some(id),
                Some(Id::Other(_)) | None => None,
            },
            n_in: usage.and_then(|u| u.prompt_tokens),
            n_out: usage.and_then(|u| u.completion_tokens),
            cached,
            is_error,
            ..Self::default()
        };
        if let Some(choice) = wire.choices.into_iter().next() {
            chunk.has_choice = true;
            (chunk.text, chunk.finish) = choice.taken();
        }
        Ok(chunk)
    }
}

impl<'a> Choice<'a> {
    /// Its text, and why it ended.
    fn taken(self) -> (Cow<'a, str>, Option<Cow<'a, str>>) {
        let mut content = self.text.map(|it| it.0).unwrap_or_default();
        if let Some(delta) = self.delta {
            let parts = [delta.content, delta.reasoning_content, delta.reasoning];
            for Text(part) in parts.into_iter().flatten() {
                content += part;
            }
            if let Some(calls) = delta.tool_calls.filter(|calls| !calls.is_null()) {
                content += Cow::from(calls.to_string());
            }
        }
        (content, self.finish_reason.map(|it| it.0))
    }
}
