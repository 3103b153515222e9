//! What one request was seen to do: raw bytes with their stamps become a record.
//!
//! The client keeps bytes and stamps only; everything here is pure and runs after the measurement,
//! so that reading JSON never disturbs a stamp.

use std::time::Duration;

use sha2::{Digest, Sha256};

use super::body::Body;
use super::client::Message;
use super::stream::Stream;
use crate::hex::hex;
use crate::results::{Echo, Record, Stamps, Status};
use crate::shape::Ended;

/// A body longer than this is cut before it is kept as the reason of a failure, in bytes.
const KEPT_BODY: usize = 2048;

/// How an exchange ended, as the socket saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ending {
    /// The answer's body came to its end.
    Complete,
    /// No connection could be made; why.
    NoConnection(String),
    /// The connection broke after it was made; why.
    Broken(String),
    /// The time ran out.
    TimedOut,
    /// It was not sent: so many were in flight as there may be.
    NotSent,
}

/// One request as the socket saw it, all stamps in nanoseconds since the run began.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Raw {
    /// The place in the order of sending, from 0.
    pub(super) index: u32,
    /// The `X-Request-Id` that it carried.
    pub(super) id: String,
    /// Tokens that were asked of the answer, and whether it was to have exactly as many.
    pub(super) asked: u32,
    pub(super) is_exact: bool,
    /// When it was meant to be sent.
    pub(super) planned: u64,
    /// When the work on its connection began, and when the socket was ready.
    pub(super) connect: Option<(u64, Option<u64>)>,
    /// When the write of its last bytes began.
    pub(super) sent: Option<u64>,
    /// When the first byte of the answer was read.
    pub(super) head: Option<u64>,
    /// The HTTP status of the answer.
    pub(super) http_status: Option<u16>,
    /// The `content-type` and the `content-encoding` of the answer.
    pub(super) content: (Option<String>, Option<String>),
    /// Who served it, as the proxy said, or as is known where there is none.
    pub(super) served_by: Option<String>,
    /// Who read its prompt for that one.
    pub(super) prefilled_by: Option<String>,
    /// The body as it was read, each piece with the stamp of its `read()`.
    pub(super) body: Body,
    /// How it ended, and when.
    pub(super) ending: Ending,
    /// When it ended.
    pub(super) ended: u64,
}

impl Raw {
    /// A request that was not sent at the moment that was planned for it.
    pub(super) fn not_sent(message: &Message, planned: u64) -> Self {
        Self {
            index: message.index,
            id: message.id.clone(),
            asked: message.asked,
            is_exact: message.is_exact,
            planned,
            connect: None,
            sent: None,
            head: None,
            http_status: None,
            content: (None, None),
            served_by: None,
            prefilled_by: None,
            body: Body::default(),
            ending: Ending::NotSent,
            ended: planned,
        }
    }

    /// What is to be known of it while others are sent. Whether it is ok is judged later; for now, a
    /// whole answer is enough.
    pub(super) fn glance(&self) -> Ended {
        let begun = self.body.begun();
        let waited = begun.map(|at| Duration::from_nanos(at.saturating_sub(self.planned)));
        Ended {
            is_ok: self.ending == Ending::Complete && self.http_status == Some(200),
            waited,
        }
    }
}

/// The record of what the socket saw. It has the answer's text, to be kept or not.
pub(super) fn read(raw: Raw) -> Record {
    let stream = Stream::read(&raw.body);
    let (status, error) = judge(&raw, &stream);
    let us = |ns: u64| ns / 1000;
    let echo = Echo::of(&raw.id, &stream.ids);
    Record {
        point: 0,
        round: 0,
        index: raw.index,
        id: raw.id,
        instance: raw.served_by,
        prefilled_by: raw.prefilled_by,
        echo,
        status,
        http_status: raw.http_status,
        error,
        stamps: Stamps {
            planned: us(raw.planned),
            connecting: raw.connect.map(|(begun, _)| us(begun)),
            connected: raw.connect.and_then(|(_, ready)| ready).map(us),
            sent: raw.sent.map(us),
            head: raw.head.map(us),
            event: stream.first_event.map(us),
            first: stream.tokens.first().map(|(at, _)| us(*at)),
            last: stream.tokens.last().map(|(at, _)| us(*at)),
            done: stream.done.map(us),
            eof: (raw.ending == Ending::Complete).then(|| us(raw.ended)),
            ended: us(raw.ended),
        },
        n_in: stream.n_in,
        n_out: stream.n_out,
        cached: stream.cached,
        tokens: stream.tokens.iter().map(|(at, n)| (us(*at), *n)).collect(),
        coalesced_events: stream.coalesced,
        tokens_estimated: stream.estimated,
        finish: stream.finish,
        text_sha256: (stream.done.is_some()).then(|| hex(&Sha256::digest(&stream.text))),
        asked: Some(raw.asked),
        prompt_number: None,
        prompt: None,
        answer: Some(stream.text),
    }
}

fn judge(raw: &Raw, stream: &Stream) -> (Status, Option<String>) {
    let failed = |status, why: String| (status, Some(why));
    let broken = match &raw.ending {
        Ending::NoConnection(why) => return failed(Status::Connect, why.clone()),
        Ending::TimedOut => {
            return failed(Status::Timeout, "the time ran out".to_owned());
        }
        Ending::NotSent => {
            let why = "it was not sent: as many were in flight as there may be";
            return failed(Status::Dropped, why.to_owned());
        }
        Ending::Broken(why) => Some(why.as_str()),
        Ending::Complete => None,
    };
    if raw.http_status.is_some_and(|status| status != 200) {
        return failed(Status::HttpError, kept(raw));
    }
    if let Some(failure) = is_no_stream(raw) {
        return failure;
    }
    if let Some(error) = &stream.error {
        return failed(Status::SseError, cut(error));
    }
    if let Some(missing) = stream.missing(broken) {
        return failed(Status::Truncated, missing);
    }
    let asked = u64::from(raw.asked);
    let is_other = |n: &u64| *n > asked || (raw.is_exact && *n < asked);
    match stream.n_out.filter(is_other) {
        Some(n) => failed(
            Status::LengthMismatch,
            format!("{n} tokens instead of {asked}"),
        ),
        None => (Status::Ok, None),
    }
}

/// An answer that is whole and no stream of events as it was asked for: it has no times of tokens.
fn is_no_stream(raw: &Raw) -> Option<(Status, Option<String>)> {
    let (kind, coding) = &raw.content;
    let coding = coding.as_deref().map(str::trim);
    if let Some(coding) = coding.filter(|it| !it.eq_ignore_ascii_case("identity")) {
        let why = format!(
            "the answer is compressed (`content-encoding: {coding}`) though nobody asked for that: \
             its tokens come when a block is full, and no time of theirs is known"
        );
        return Some((Status::Compressed, Some(why)));
    }
    let is_json = kind
        .as_deref()
        .is_some_and(|it| it.trim_start().starts_with("application/json"));
    if !is_json {
        return None;
    }
    let body = kept(raw);
    if body.trim_start().starts_with("{\"error\"") {
        return Some((Status::SseError, Some(body)));
    }
    let why = format!(
        "the answer is one document (`content-type: application/json`) and no stream, though \
         `stream: true` was asked: {}",
        body.chars().take(160).collect::<String>()
    );
    Some((Status::NotStreamed, Some(why)))
}

fn kept(raw: &Raw) -> String {
    cut(&String::from_utf8_lossy(raw.body.bytes()))
}

fn cut(text: &str) -> String {
    let mut end = text.len().min(KEPT_BODY);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}

#[cfg(test)]
mod tests;
