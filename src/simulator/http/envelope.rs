//! The JSON of completions and chat completions, key for key as captured from 0.13.0.
//!
//! Responses are built from values; the chunks of a stream, of which there are many, are written.

use bytes::Bytes;
use serde_json::{Value, json};

use super::logprobs;
use super::pieces::{End, Piece};
use super::request::Job;

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Completion,
    Chat,
}

/// What is the same in everything said about one request.
#[derive(Debug, Clone)]
pub(super) struct Envelope {
    pub(super) kind: Kind,
    pub(super) id: String,
    pub(super) created: i64,
    pub(super) model: String,
    /// Whether the usage says how much of the prompt was known.
    pub(super) tells_cached: bool,
}

/// How many tokens there were.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Usage {
    pub(super) prompt: usize,
    pub(super) completion: usize,
    /// How much of the prompt was known.
    pub(super) cached: usize,
}

impl Usage {
    fn total(self) -> usize {
        self.prompt + self.completion
    }

    fn value(self) -> Value {
        json!({
            "prompt_tokens": self.prompt,
            "total_tokens": self.total(),
            "completion_tokens": self.completion,
            "prompt_tokens_details": self.details(),
        })
    }

    /// As in vLLM, nothing known is nothing said.
    fn details(self) -> Option<Value> {
        (self.cached > 0).then(|| json!({"cached_tokens": self.cached}))
    }

    /// Without what is null: as in the last chunk, and in every chunk of a chat.
    fn short(self) -> String {
        let Self {
            prompt, completion, ..
        } = self;
        let total = self.total();
        let details = self.details().map_or_else(String::new, |details| {
            format!(r#","prompt_tokens_details":{details}"#)
        });
        format!(
            r#"{{"prompt_tokens":{prompt},"total_tokens":{total},"completion_tokens":{completion}{details}}}"#
        )
    }
}

impl Envelope {
    /// A whole response; `choices` hold each choice's text and end, `kept` says where its blocks are.
    pub(super) fn response(
        &self,
        job: &Job,
        choices: &[Piece],
        usage: Usage,
        kept: Option<&Value>,
    ) -> Value {
        let usage = self.told(usage);
        match self.kind {
            Kind::Completion => self.completion(job, choices, usage, kept),
            Kind::Chat => self.chat(job, choices, usage, kept),
        }
    }

    fn told(&self, usage: Usage) -> Usage {
        let cached = if self.tells_cached { usage.cached } else { 0 };
        Usage { cached, ..usage }
    }

    fn completion(
        &self,
        job: &Job,
        choices: &[Piece],
        usage: Usage,
        kept: Option<&Value>,
    ) -> Value {
        let choices = choices.iter().map(|choice| {
            let prompt = choice.index / job.choices_per_prompt;
            let echoed = job.echo.as_ref().map_or("", |echo| echo[prompt].as_str());
            let end = ending(choice);
            json!({
                "index": choice.index,
                "text": format!("{echoed}{}", choice.text),
                "logprobs": logprobs::of(self.kind, choice, job.logprobs),
                "finish_reason": end.finish_reason,
                "stop_reason": end.stop_reason,
                "token_ids": job.return_token_ids.then_some(&choice.tokens),
                "prompt_logprobs": null,
                "prompt_token_ids": job.return_token_ids.then_some(&job.prompts[prompt]),
            })
        });
        json!({
            "id": self.id,
            "object": "text_completion",
            "created": self.created,
            "model": self.model,
            "choices": choices.collect::<Vec<_>>(),
            "service_tier": null,
            "system_fingerprint": null,
            "usage": usage.value(),
            "kv_transfer_params": kept,
        })
    }

    fn chat(&self, job: &Job, choices: &[Piece], usage: Usage, kept: Option<&Value>) -> Value {
        let choices = choices.iter().map(|choice| {
            let end = ending(choice);
            json!({
                "index": choice.index,
                "message": {
                    "role": "assistant",
                    "content": choice.text,
                    "refusal": null,
                    "annotations": null,
                    "audio": null,
                    "function_call": null,
                    "tool_calls": [],
                    "reasoning": null,
                    "reasoning_content": null,
                },
                "logprobs": logprobs::of(self.kind, choice, job.logprobs),
                "finish_reason": end.finish_reason,
                "stop_reason": end.stop_reason,
                "token_ids": job.return_token_ids.then_some(&choice.tokens),
            })
        });
        json!({
            "id": self.id,
            "object": "chat.completion",
            "created": self.created,
            "model": self.model,
            "choices": choices.collect::<Vec<_>>(),
            "service_tier": null,
            "system_fingerprint": null,
            "usage": usage.value(),
            "prompt_logprobs": null,
            "prompt_token_ids": job.return_token_ids.then_some(&job.prompts[0]),
            "kv_transfer_params": kept,
        })
    }

    /// The first event of a chat's choice, which has no text yet. Nothing for a completion.
    pub(super) fn opening(&self, job: &Job, index: usize, usage: Option<Usage>) -> Option<Bytes> {
        let delta = r#"{"role":"assistant","content":"","reasoning_content":null}"#;
        let choice =
            format!(r#"{{"index":{index},"delta":{delta},"logprobs":null,"finish_reason":null}}"#);
        let usage = usage.map_or_else(String::new, |usage| {
            format!(r#","usage":{}"#, usage.short())
        });
        let ids = json!(job.return_token_ids.then_some(&job.prompts[0]));
        let rest = format!(r#"{usage},"prompt_token_ids":{ids}"#);
        (self.kind == Kind::Chat).then(|| self.event(&choice, &rest))
    }

    /// The event for a piece; `first` when it is its choice's first.
    pub(super) fn chunk(
        &self,
        job: &Job,
        piece: &Piece,
        first: bool,
        usage: Option<Usage>,
    ) -> Bytes {
        match self.kind {
            Kind::Completion => self.completion_chunk(job, piece, first, usage),
            Kind::Chat => self.chat_chunk(job, piece, usage),
        }
    }

    fn completion_chunk(
        &self,
        job: &Job,
        piece: &Piece,
        first: bool,
        usage: Option<Usage>,
    ) -> Bytes {
        let prompt = piece.index / job.choices_per_prompt;
        let echoed = job
            .echo
            .as_ref()
            .filter(|_| first)
            .map(|echo| format!("{}{}", echo[prompt], piece.text));
        let prompt_ids = (first && job.return_token_ids).then_some(&job.prompts[prompt]);
        let choice = format!(
            r#"{{"index":{},"text":{},"logprobs":{},"finish_reason":{},"stop_reason":{},"prompt_token_ids":{},"token_ids":{}}}"#,
            piece.index,
            quoted(echoed.as_deref().unwrap_or(&piece.text)),
            logprobs::of(self.kind, piece, job.logprobs),
            finish_reason(piece),
            piece
                .end
                .as_ref()
                .map_or(&Value::Null, |end| &end.stop_reason),
            json!(prompt_ids),
            token_ids(job, piece),
        );
        let usage = usage.map_or(Value::Null, Usage::value);
        self.event(&choice, &format!(r#","usage":{usage}"#))
    }

    fn chat_chunk(&self, job: &Job, piece: &Piece, usage: Option<Usage>) -> Bytes {
        // The stop reason is only set where there is one to tell: in the last chunk.
        let stop = piece
            .end
            .as_ref()
            .map(|end| format!(r#","stop_reason":{}"#, end.stop_reason));
        let choice = format!(
            r#"{{"index":{},"delta":{{"content":{},"reasoning_content":null}},"logprobs":{},"finish_reason":{}{},"token_ids":{}}}"#,
            piece.index,
            quoted(&piece.text),
            logprobs::of(self.kind, piece, job.logprobs),
            finish_reason(piece),
            stop.unwrap_or_default(),
            token_ids(job, piece),
        );
        let usage = usage.map_or_else(String::new, |usage| {
            format!(r#","usage":{}"#, usage.short())
        });
        self.event(&choice, &usage)
    }

    /// The event that closes a stream with the usage.
    pub(super) fn closing(&self, usage: Usage) -> Bytes {
        self.event("", &format!(r#","usage":{}"#, self.told(usage).short()))
    }

    fn event(&self, choice: &str, rest: &str) -> Bytes {
        let object = match self.kind {
            Kind::Completion => "text_completion",
            Kind::Chat => "chat.completion.chunk",
        };
        let (id, model) = (quoted(&self.id), quoted(&self.model));
        let created = self.created;
        format!(
            "data: {{\"id\":{id},\"object\":\"{object}\",\"created\":{created},\"model\":{model},\
             \"choices\":[{choice}]{rest}}}\n\n"
        )
        .into()
    }
}

fn ending(choice: &Piece) -> &End {
    choice
        .end
        .as_ref()
        .expect("a response is made when all choices have ended")
}

fn finish_reason(piece: &Piece) -> String {
    piece.end.as_ref().map_or_else(
        || "null".to_owned(),
        |end| format!("\"{}\"", end.finish_reason),
    )
}

fn token_ids(job: &Job, piece: &Piece) -> Value {
    json!(job.return_token_ids.then_some(&piece.tokens))
}

fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}
