//! /v1/completions, /v1/chat/completions and /tokenize: what asks the model.

use std::future::poll_fn;
use std::sync::Arc;

use bytes::Bytes;
use hyper::{HeaderMap, StatusCode};
use jiff::Timestamp;
use serde_json::json;

use super::envelope::{Envelope, Kind, Usage};
use super::errors::Failure;
use super::handover;
use super::pieces::{Broken, Piece, Pieces};
use super::request::{Body, Job};
use super::stream::Events;
use super::{Answer, Counted, Server};
use crate::simulator::engine::Power;
use crate::simulator::text;

/// What a client sent.
pub(super) struct Sent<'a> {
    pub(super) path: &'a str,
    pub(super) headers: &'a HeaderMap,
    pub(super) body: &'a Bytes,
}

impl Sent<'_> {
    /// A header as text.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    fn read(&self) -> Result<Body, Failure> {
        let media_type = self
            .header("content-type")
            .unwrap_or_default()
            .split(';')
            .next()
            .unwrap_or_default();
        if !media_type.eq_ignore_ascii_case("application/json") {
            return Err(Failure::unsupported_media_type());
        }
        let value: serde_json::Value = serde_json::from_slice(self.body)
            .map_err(|error| Failure::invalid_json(self.path, &error))?;
        serde_json::from_value(value)
            .map_err(|error| Failure::invalid_value(self.path, &error.to_string()))
    }
}

/// Answers a completion of either kind.
pub(super) async fn generate(
    server: &Arc<Server>,
    kind: Kind,
    sent: &Sent<'_>,
) -> Result<Answer, Failure> {
    let body = sent.read()?;
    body.validate(sent.path)?;
    server.check_model(body.model.as_deref())?;
    if server.engine.power() == Power::Dead {
        return Err(Failure::engine_dead());
    }
    let mut job = match kind {
        Kind::Completion => body.completion(server.limits.max_model_len)?,
        Kind::Chat => body.chat(server.limits.max_model_len)?,
    };
    let envelope = Envelope {
        kind,
        id: request_id(kind, sent.header("x-request-id")),
        created: Timestamp::now().as_second(),
        model: server.answering_name(),
        tells_cached: server.options.enable_prompt_tokens_details,
    };
    handover::instruct(server, &body, &envelope, &mut job);
    let counted = Counted::on(server);
    let generation = server.engine.generate(job.works.iter().cloned());
    if server.is_poisoned_by(&job) {
        server.engine.switch(Power::Dead);
    }
    let pieces = Pieces::new(
        generation,
        &job,
        if job.stream {
            server.options.stream_interval
        } else {
            1
        },
    );
    if job.stream {
        return Ok(Answer::Events(Box::new(Events::new(
            envelope, job, pieces, counted,
        ))));
    }
    let (choices, usage) = whole(&job, pieces).await?;
    let kept = handover::object(server, &job, &choices);
    Ok(Answer::json(
        StatusCode::OK,
        &envelope.response(&job, &choices, usage, kept.as_ref()),
    ))
}

/// Waits for all choices to end.
async fn whole(job: &Job, mut pieces: Pieces) -> Result<(Vec<Piece>, Usage), Failure> {
    let mut choices: Vec<_> = (0..job.works.len())
        .map(|index| Piece {
            index,
            ..Piece::default()
        })
        .collect();
    loop {
        let more =
            poll_fn(|context| pieces.poll_next(context))
                .await
                .map_err(|broken| match broken {
                    Broken::EngineDead => Failure::engine_dead(),
                    Broken::LoadFailed => Failure::load_failed(),
                })?;
        if more.is_empty() {
            break;
        }
        for piece in more {
            let choice = &mut choices[piece.index];
            choice.text.push_str(&piece.text);
            choice.tokens.extend(piece.tokens);
            choice.end = choice.end.take().or(piece.end);
            choice.cached = piece.cached;
            choice.kept = choice.kept.take().or(piece.kept);
        }
    }
    let prompt = job.prompts.iter().map(Vec::len).sum();
    let usage = Usage {
        prompt,
        completion: choices.iter().map(|choice| choice.tokens.len()).sum(),
        cached: choices.last().map_or(0, |choice| choice.cached),
    };
    Ok((choices, usage))
}

fn request_id(kind: Kind, given: Option<&str>) -> String {
    let id = given.map_or_else(|| format!("{:016x}", fastrand::u64(..)), str::to_owned);
    match kind {
        Kind::Completion => format!("cmpl-{id}"),
        Kind::Chat => format!("chatcmpl-{id}"),
    }
}

/// Answers /tokenize.
pub(super) fn tokenize(server: &Server, sent: &Sent<'_>) -> Result<Answer, Failure> {
    let body = sent.read()?;
    server.check_model(body.model.as_deref())?;
    let tokens = body.tokens();
    let answer = json!({
        "count": tokens.len(),
        "max_model_len": server.limits.max_model_len,
        "tokens": tokens,
        "token_strs": null,
    });
    Ok(Answer::json(StatusCode::OK, &answer))
}

/// Answers /detokenize.
pub(super) fn detokenize(sent: &Sent<'_>) -> Result<Answer, Failure> {
    let tokens: Detokenize = serde_json::from_slice(sent.body)
        .map_err(|error| Failure::invalid_json(sent.path, &error))?;
    Ok(Answer::json(
        StatusCode::OK,
        &json!({"prompt": text::decode(&tokens.tokens)}),
    ))
}

#[derive(serde::Deserialize)]
struct Detokenize {
    tokens: Vec<text::Token>,
}
