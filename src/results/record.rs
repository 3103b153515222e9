//! One request, as it is kept: a line of the `.requests.jsonl`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::hex::hex;
use crate::prompts::{Message, Prompt};

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
    /// It was not sent: an open load had as many in flight as it may have.
    Dropped,
    /// The answer was compressed: its tokens come when a block of the compressor is full.
    Compressed,
    /// The answer came as one document and not as a stream.
    NotStreamed,
}

impl Status {
    /// The word that results use for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::HttpError => "http_error",
            Self::SseError => "sse_error",
            Self::Truncated => "truncated",
            Self::Timeout => "timeout",
            Self::Connect => "connect",
            Self::LengthMismatch => "length_mismatch",
            Self::Dropped => "dropped",
            Self::Compressed => "compressed",
            Self::NotStreamed => "not_streamed",
        }
    }
}

/// The id of an answer beside that of its request. vLLM makes it of the `X-Request-Id` that it was sent:
/// `cmpl-ID`, `chatcmpl-ID`. Others make one up, and so may what stands before a server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Echo {
    /// It is made of the request's own.
    Own,
    /// It is another; this one.
    Other(String),
}

impl Echo {
    /// What the ids that the events of an answer bear say to the id of the request.
    pub(crate) fn of(own: &str, seen: &[String]) -> Option<Self> {
        let other = seen.iter().find(|id| !is_made_of(id, own));
        let other = other.map(|id| Self::Other(id.clone()));
        other.or_else(|| (!seen.is_empty()).then_some(Self::Own))
    }
}

/// Whether an answer's id is made of a request's: `cmpl-ID`, or that with something behind it.
fn is_made_of(answer: &str, request: &str) -> bool {
    let behind = answer.split_once(request).map(|(_, behind)| behind);
    behind.is_some_and(|it| it.is_empty() || it.starts_with('-'))
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
    /// The load of the result that it belongs to, from 0.
    #[serde(default)]
    pub point: u32,
    /// The round of that load, from 0.
    #[serde(default)]
    pub round: u32,
    /// The place in the order of sending, from 0 in each round.
    pub index: u32,
    /// The `X-Request-Id` that it carried.
    pub id: String,
    /// The instance that served it, where that is known.
    pub instance: Option<String>,
    /// The instance that read its prompt for the one that served it, where the two are not one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefilled_by: Option<String>,
    /// Whose id the answer bears, where it bears one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub echo: Option<Echo>,
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
    /// Whether the stream had no continuous usage, so that one event was taken as one token.
    pub tokens_estimated: bool,
    /// Why the model stopped.
    pub finish: Option<String>,
    /// The digest of the text, to compare answers without keeping them.
    pub text_sha256: Option<String>,
    /// Tokens that were asked of the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked: Option<u32>,
    /// Which of the prompts it sent, from 0: requests of one number sent the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt_number: Option<u32>,
    /// Its prompt, where the benchmark keeps answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt: Option<KeptPrompt>,
    /// The text of the answer as far as it came, where the benchmark keeps answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<String>,
}

/// A prompt as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum KeptPrompt {
    /// A text.
    Text(String),
    /// The messages of a chat.
    Messages(Vec<Message>),
    /// Token ids: they are told apart, and not kept.
    Ids {
        /// How many they are.
        tokens: usize,
        /// The digest of their list in JSON.
        sha256: String,
    },
}

impl From<&Prompt> for KeptPrompt {
    fn from(prompt: &Prompt) -> Self {
        match prompt {
            Prompt::Text(text) => Self::Text(text.clone()),
            Prompt::Messages(messages) => Self::Messages(messages.clone()),
            Prompt::Ids(ids) => {
                let list = serde_json::to_string(ids).expect("numbers are JSON");
                Self::Ids {
                    tokens: ids.len(),
                    sha256: hex(&Sha256::digest(list)),
                }
            }
        }
    }
}

impl Record {
    /// Whether it counts for latencies and throughput.
    pub fn is_ok(&self) -> bool {
        self.status == Status::Ok
    }

    /// Whether the whole of an answer came, as long as was asked or not.
    pub fn has_whole_answer(&self) -> bool {
        matches!(self.status, Status::Ok | Status::LengthMismatch)
    }

    /// `t_first − t_sent`, in ms.
    pub fn ttft_ms(&self) -> Option<f64> {
        span_ms(self.stamps.sent, self.stamps.first)
    }

    /// `(t_last − t_first) / (n − 1)`, in ms; a single token has none.
    pub fn tpot_ms(&self) -> Option<f64> {
        let gaps = self.n_out?.checked_sub(1).filter(|gaps| *gaps > 0)?;
        Some(span_ms(self.stamps.first, self.stamps.last)? / gaps as f64)
    }

    /// `t_last − t_sent`, in ms.
    pub fn e2el_ms(&self) -> Option<f64> {
        span_ms(self.stamps.sent, self.stamps.last)
    }

    /// `t_eof − t_planned`, in ms.
    pub fn response_ms(&self) -> Option<f64> {
        span_ms(Some(self.stamps.planned), self.stamps.eof)
    }

    /// `t_sent − t_planned`, in ms: how late it was sent.
    pub fn lag_ms(&self) -> Option<f64> {
        span_ms(Some(self.stamps.planned), self.stamps.sent)
    }

    /// How long its connection took, in ms; no latency contains it.
    pub fn connect_ms(&self) -> Option<f64> {
        span_ms(self.stamps.connecting, self.stamps.connected)
    }

    /// The gaps between token events, in ms: `icl`.
    pub fn icl_ms(&self) -> Vec<f64> {
        self.gaps().map(|(gap, _)| gap).collect()
    }

    /// The gaps between tokens, in ms: each gap between events that brought `Δn` tokens
    /// counts `Δn` times as `gap/Δn`, so that they sum to `t_last − t_first`. Tokens that came with
    /// the first event have no gap: see [`Record::first_chunk_tokens`].
    pub fn itl_ms(&self) -> Vec<f64> {
        self.gaps()
            .flat_map(|(gap, n)| (0..n).map(move |_| gap / n as f64))
            .collect()
    }

    /// The events that brought tokens, and the reads that brought these events: events of one read
    /// share its stamp.
    pub fn events_and_reads(&self) -> (usize, usize) {
        let events = self.tokens.len();
        let reads = self.tokens.chunk_by(|(a, _), (b, _)| a == b).count();
        (events, reads)
    }

    /// The share by which its TPOT, and the time between its tokens, fall short because its first
    /// read brought several events: `(k − 1)/(m − 1)`, with `k` of its `m` events in that read. The
    /// first token is then stamped when the `k`-th had come. Bursts of equal size, `B` of them, lose
    /// about one in `B`; an answer in one read loses all. An event of several tokens is no such read.
    pub fn tpot_lost(&self) -> f64 {
        let first = self.tokens.first().map(|(at, _)| *at);
        let together = self.tokens.iter().take_while(|(at, _)| Some(*at) == first);
        let (k, m) = (together.count(), self.tokens.len());
        match m {
            0 | 1 => 0.0,
            _ => (k - 1) as f64 / (m - 1) as f64,
        }
    }

    /// Whether all of its several token events came in one read.
    pub fn is_in_one_read(&self) -> bool {
        let (events, reads) = self.events_and_reads();
        events > 1 && reads == 1
    }

    /// How many tokens the first event brought.
    pub fn first_chunk_tokens(&self) -> u64 {
        self.tokens.first().map_or(0, |(_, n)| *n)
    }

    /// Tokens for each second from sending to the last of them: what one user saw.
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

/// How many requests each instance read the prompt of for another.
pub(crate) fn prefilled<'a>(
    records: impl IntoIterator<Item = &'a Record>,
) -> BTreeMap<&'a str, u64> {
    let mut prefilled = BTreeMap::new();
    for name in records
        .into_iter()
        .filter_map(|it| it.prefilled_by.as_deref())
    {
        *prefilled.entry(name).or_default() += 1;
    }
    prefilled
}

/// Requests by the instance that served them, in the order of their names; those of which nobody
/// says it are left out.
pub(crate) fn by_instance<'a>(
    records: impl IntoIterator<Item = &'a Record>,
) -> BTreeMap<&'a str, Vec<&'a Record>> {
    let mut served: BTreeMap<&str, Vec<&Record>> = BTreeMap::new();
    for record in records {
        if let Some(instance) = &record.instance {
            served.entry(instance).or_default().push(record);
        }
    }
    served
}
