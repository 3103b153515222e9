//! What one request was seen to do: raw bytes with their stamps become a record.
//!
//! The client keeps bytes and stamps only; everything here is pure and runs after the measurement,
//! so that reading JSON never disturbs a stamp.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sha2::Digest;

use super::stream::Stream;

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
}

/// One request as the socket saw it, all stamps in nanoseconds since the run began.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Raw {
    /// The place in the order of sending, from 0.
    pub(super) index: u32,
    /// The `X-Request-Id` that it carried.
    pub(super) id: String,
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
    /// Who served it, as the proxy said, or as is known where there is none.
    pub(super) served_by: Option<String>,
    /// The body as it was read, each piece with the stamp of its `read()`.
    pub(super) body: Vec<(u64, Bytes)>,
    /// How it ended, and when.
    pub(super) ending: Ending,
    /// When it ended.
    pub(super) ended: u64,
}

/// What became of a request. All but `ok` are failures: they never enter a latency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Every token came, and the stream ended as it should.
    Ok,
    /// The answer's HTTP status was not 200.
    HttpError,
    /// The stream carried an error.
    SseError,
    /// The stream ended before its `finish_reason` or its `[DONE]`.
    Truncated,
    /// The time ran out.
    Timeout,
    /// No connection could be made.
    Connect,
    /// The stream was whole, but not as long as was asked.
    LengthMismatch,
}

impl Status {
    /// Returns the word that results use for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::HttpError => "http_error",
            Self::SseError => "sse_error",
            Self::Truncated => "truncated",
            Self::Timeout => "timeout",
            Self::Connect => "connect",
            Self::LengthMismatch => "length_mismatch",
        }
    }
}

/// The moments of a request, in microseconds since the run began, each taken at the `read()` or
/// `write()` that it names: `planned ≤ connected ≤ sent ≤ head ≤ event ≤ first ≤ last ≤ done ≤ eof`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamps {
    /// When it was meant to be sent; a closed loop means it when the request before it ended.
    pub planned: u64,
    /// When its connection was begun: before `planned`, where connections are opened ahead.
    pub connecting: Option<u64>,
    /// When its socket was ready.
    pub connected: Option<u64>,
    /// When its last bytes were handed to the kernel: the zero of TTFT and E2EL.
    pub sent: Option<u64>,
    /// The first byte of the answer.
    pub head: Option<u64>,
    /// The first event of any kind.
    pub event: Option<u64>,
    /// The first token.
    pub first: Option<u64>,
    /// The last token.
    pub last: Option<u64>,
    /// `[DONE]`.
    pub done: Option<u64>,
    /// The end of the answer.
    pub eof: Option<u64>,
    /// When it was over, whichever way it ended.
    pub ended: u64,
}

/// One request: a line of the `.requests.jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The place in the order of sending, from 0.
    pub index: u32,
    /// The `X-Request-Id` that it carried.
    pub id: String,
    /// The instance that served it, where that is known.
    pub instance: Option<String>,
    /// What became of it.
    pub status: Status,
    /// The HTTP status of the answer.
    pub http_status: Option<u16>,
    /// The reason of a failure: the body as it came, or what the socket said.
    pub error: Option<String>,
    /// Its moments.
    pub stamps: Stamps,
    /// Tokens of the prompt, as the server counted.
    pub n_in: Option<u64>,
    /// Tokens of the answer, as the server counted in its last `usage`.
    pub n_out: Option<u64>,
    /// Prompt tokens that came out of a prefix cache, where the server says so.
    pub cached: Option<u64>,
    /// Every event that carried tokens: its moment in microseconds, and how many.
    pub tokens: Vec<(u64, u64)>,
    /// Events that arrived in the same read as the one before them.
    pub coalesced_events: u32,
    /// Says that the stream had no continuous usage, so that one event was taken as one token.
    pub tokens_estimated: bool,
    /// Why the model stopped.
    pub finish: Option<String>,
    /// The digest of the text, to compare answers without keeping them.
    pub text_sha256: Option<String>,
}

impl Record {
    /// Returns the record of what the socket saw, for a request of so many tokens.
    pub(super) fn read(raw: Raw, asked: u32) -> Self {
        let stream = Stream::read(&raw.body);
        let (status, error) = judge(&raw, &stream, asked);
        let us = |ns: u64| ns / 1000;
        Self {
            index: raw.index,
            id: raw.id,
            instance: raw.served_by,
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
            text_sha256: (stream.done.is_some()).then(|| hex(&stream.text.finalize())),
        }
    }

    /// Says whether it counts for latencies and throughput.
    pub fn is_ok(&self) -> bool {
        self.status == Status::Ok
    }

    /// Returns `t_first − t_sent`, in ms.
    pub fn ttft_ms(&self) -> Option<f64> {
        span_ms(self.stamps.sent, self.stamps.first)
    }

    /// Returns `(t_last − t_first) / (n − 1)`, in ms; a single token has none.
    pub fn tpot_ms(&self) -> Option<f64> {
        let gaps = self.n_out?.checked_sub(1).filter(|gaps| *gaps > 0)?;
        Some(span_ms(self.stamps.first, self.stamps.last)? / gaps as f64)
    }

    /// Returns `t_last − t_sent`, in ms.
    pub fn e2el_ms(&self) -> Option<f64> {
        span_ms(self.stamps.sent, self.stamps.last)
    }

    /// Returns `t_eof − t_planned`, in ms.
    pub fn response_ms(&self) -> Option<f64> {
        span_ms(Some(self.stamps.planned), self.stamps.eof)
    }

    /// Returns how long its connection took, in ms; no latency contains it.
    pub fn connect_ms(&self) -> Option<f64> {
        span_ms(self.stamps.connecting, self.stamps.connected)
    }

    /// Returns the gaps between token events, in ms: `icl`.
    pub fn icl_ms(&self) -> Vec<f64> {
        self.gaps().map(|(gap, _)| gap).collect()
    }

    /// Returns the gaps between tokens, in ms: each gap between events that brought `Δn` tokens
    /// counts `Δn` times as `gap/Δn`, so that they sum to `t_last − t_first`. Tokens that came with
    /// the first event have no gap: see [`Record::first_chunk_tokens`].
    pub fn itl_ms(&self) -> Vec<f64> {
        self.gaps()
            .flat_map(|(gap, n)| (0..n).map(move |_| gap / n as f64))
            .collect()
    }

    /// Returns how many tokens the first event brought.
    pub fn first_chunk_tokens(&self) -> u64 {
        self.tokens.first().map_or(0, |(_, n)| *n)
    }

    /// Returns tokens for each second from sending to the last of them: what one user saw.
    pub fn tokens_per_s(&self) -> Option<f64> {
        let ms = self.e2el_ms().filter(|ms| *ms > 0.0)?;
        Some(self.n_out? as f64 / ms * 1000.0)
    }

    fn gaps(&self) -> impl Iterator<Item = (f64, u64)> {
        self.tokens
            .windows(2)
            .map(|pair| ((pair[1].0 - pair[0].0) as f64 / 1000.0, pair[1].1))
    }
}

fn span_ms(from: Option<u64>, to: Option<u64>) -> Option<f64> {
    Some((to? as f64 - from? as f64) / 1000.0)
}

fn judge(raw: &Raw, stream: &Stream, asked: u32) -> (Status, Option<String>) {
    let failed = |status, why: String| (status, Some(why));
    let broken = match &raw.ending {
        Ending::NoConnection(why) => return failed(Status::Connect, why.clone()),
        Ending::TimedOut => {
            return failed(Status::Timeout, "the time ran out".to_owned());
        }
        Ending::Broken(why) => Some(why.as_str()),
        Ending::Complete => None,
    };
    if raw.http_status.is_some_and(|status| status != 200) {
        return failed(Status::HttpError, kept(raw));
    }
    if let Some(error) = &stream.error {
        return failed(Status::SseError, cut(error));
    }
    if let Some(missing) = stream.missing(broken) {
        return failed(Status::Truncated, missing);
    }
    match stream.n_out {
        Some(n) if n != u64::from(asked) => failed(
            Status::LengthMismatch,
            format!("{n} tokens instead of {asked}"),
        ),
        _ => (Status::Ok, None),
    }
}

fn kept(raw: &Raw) -> String {
    let body: Vec<u8> = raw
        .body
        .iter()
        .flat_map(|(_, b)| b.iter().copied())
        .collect();
    cut(&String::from_utf8_lossy(&body))
}

fn cut(text: &str) -> String {
    let mut end = text.len().min(KEPT_BODY);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}

/// Returns bytes in hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes every byte");
        text
    })
}

#[cfg(test)]
mod tests;
