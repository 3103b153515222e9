//! Finds a server that answers every probe and serves nothing.
//!
//! An engine can hang behind an API server that lives on and says that all is well. What tells is that
//! requests are in flight and not one byte comes of any. That alone may be a long answer that comes in
//! one piece: so a short one is asked for, one token at temperature 0, and only when that does not come
//! either is the server taken out. It comes back when it has answered one.

use std::sync::atomic::Ordering;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::backend::Backend;

/// How long nothing comes before somebody is suspicious, and for how long the canary is waited for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Waits {
    pub(super) still: Duration,
    pub(super) answer: Duration,
}

impl Default for Waits {
    fn default() -> Self {
        Self {
            still: Duration::from_secs(15),
            answer: Duration::from_secs(10),
        }
    }
}

/// What is known of whether a backend gets on.
#[derive(Debug)]
pub(super) struct Canary {
    waits: Waits,
    /// How many pieces of answers had come, and when that was so first.
    pieces: u64,
    since: Instant,
    is_stuck: bool,
}

impl Canary {
    /// Nothing is known yet.
    pub(super) fn new(waits: Waits) -> Self {
        Self {
            waits,
            pieces: 0,
            since: Instant::now(),
            is_stuck: false,
        }
    }

    /// Whether it is time to ask for something.
    pub(super) fn is_wanted(&mut self, backend: &Backend) -> bool {
        let pieces = backend.tally.pieces.load(Ordering::Relaxed);
        if backend.in_flight() == 0 || pieces != self.pieces {
            self.pieces = pieces;
            self.since = Instant::now();
        }
        self.is_stuck || self.since.elapsed() >= self.waits.still
    }

    /// For how long the answer is waited for.
    pub(super) fn patience(&self) -> Duration {
        self.waits.answer
    }

    /// Notes whether the backend has answered, with whatever: it is stuck if it has not, and nothing
    /// else came of it meanwhile.
    pub(super) fn note(&mut self, backend: &Backend, has_answered: bool) {
        let pieces = backend.tally.pieces.load(Ordering::Relaxed);
        self.is_stuck = !has_answered && (self.is_stuck || pieces == self.pieces);
        (self.pieces, self.since) = (pieces, Instant::now());
    }

    /// Whether it is known to be stuck.
    pub(super) fn is_stuck(&self) -> bool {
        self.is_stuck
    }
}

/// What is asked for, of a server with this list of models; nothing where it has none.
pub(super) fn question(list: &[u8]) -> Option<Value> {
    #[derive(Deserialize)]
    struct Served {
        data: Vec<Model>,
    }
    #[derive(Deserialize)]
    struct Model {
        id: String,
    }
    let served: Served = serde_json::from_slice(list).ok()?;
    let model = served.data.into_iter().next()?.id;
    Some(json!({"model": model, "prompt": "1", "max_tokens": 1, "temperature": 0}))
}
