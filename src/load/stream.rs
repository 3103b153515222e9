//! A body as a stream of completion chunks: when its tokens came, how many, and how it ended.

use std::borrow::Cow;

use super::body::Body;
use super::chunk::Chunk;
use super::sse::Splitter;

/// What a body said, read as a stream of completion chunks.
#[derive(Default)]
pub(super) struct Stream {
    pub(super) first_event: Option<u64>,
    pub(super) tokens: Vec<(u64, u64)>,
    pub(super) done: Option<u64>,
    pub(super) coalesced: u32,
    pub(super) estimated: bool,
    pub(super) n_in: Option<u64>,
    pub(super) n_out: Option<u64>,
    pub(super) cached: Option<u64>,
    pub(super) finish: Option<String>,
    pub(super) error: Option<String>,
    pub(super) text: String,
    /// The names that its events bear, each once: more than two are none of an answer's.
    pub(super) ids: Vec<String>,
}

impl Stream {
    /// Reads a body, each event with the stamp of the read that completed it.
    pub(super) fn read(body: &Body) -> Self {
        let mut stream = Self::default();
        let mut splitter = Splitter::default();
        let mut before = None;
        for (at, bytes) in body.pieces() {
            splitter.push(bytes, |event| {
                stream.coalesced += u32::from(before == Some(at));
                before = Some(at);
                stream.first_event.get_or_insert(at);
                stream.take(at, event.data, event.kind == Some("error"));
            });
        }
        stream
    }

    fn take(&mut self, at: u64, data: &str, is_error: bool) {
        if data.trim() == "[DONE]" {
            self.done.get_or_insert(at);
            return;
        }
        let chunk = match Chunk::parse(data) {
            Ok(chunk) if !is_error => chunk,
            _ => {
                self.error.get_or_insert_with(|| data.to_owned());
                return;
            }
        };
        if chunk.is_error {
            self.error.get_or_insert_with(|| data.to_owned());
        }
        self.count(at, &chunk);
        self.text.push_str(&chunk.text);
        let is_new = |id: &Cow<'_, str>| self.ids.len() < 2 && !self.ids.iter().any(|it| it == id);
        let new = chunk.id.filter(is_new).map(Cow::into_owned);
        self.ids.extend(new);
        self.n_in = chunk.n_in.or(self.n_in);
        self.n_out = chunk.n_out.or(self.n_out);
        self.cached = chunk.cached.or(self.cached);
        let finish = chunk.finish.map(Cow::into_owned);
        self.finish = finish.or(self.finish.take());
    }

    /// A chunk is a token event if the server's running count grew; where there is none, if it
    /// carries text. Chunks without a choice only report.
    fn count(&mut self, at: u64, chunk: &Chunk<'_>) {
        if !chunk.has_choice {
            return;
        }
        let new = match chunk.n_out {
            Some(total) => total.saturating_sub(self.n_out.unwrap_or(0)),
            None => u64::from(!chunk.text.is_empty()),
        };
        if new > 0 {
            self.estimated |= chunk.n_out.is_none();
            self.tokens.push((at, new));
        }
    }

    /// What keeps the stream from being whole, if anything does.
    pub(super) fn missing(&self, broken: Option<&str>) -> Option<String> {
        let lacks = match (&self.finish, self.done) {
            (Some(_), Some(_)) if broken.is_none() => return None,
            (None, _) => "the stream ended before its `finish_reason`",
            (_, None) => "the stream ended before its `[DONE]`",
            _ => "the connection broke after `[DONE]`",
        };
        Some(match broken {
            Some(why) => format!("{lacks}: {why}"),
            None => lacks.to_owned(),
        })
    }
}
