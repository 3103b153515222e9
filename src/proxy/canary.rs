//! Finds a server that answers every probe and serves nothing.
//!
//! An engine can hang behind an API server that lives on and says that all is well. What tells is that
//! requests are in flight and not one byte comes of any. That alone may be a long answer that comes in
//! one piece: so a short one is asked for, one token at temperature 0, and only when that does not come
//! either is the server taken out. It comes back when it has answered one. Not every model generates:
//! what is asked is what the server has served before, and where it refuses that, something else.

use std::sync::atomic::Ordering;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::backend::{Backend, count};
use super::counts::Answers;

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
        count(&backend.tally.canaries);
        if !has_answered {
            count(&backend.tally.canaries_lost);
        }
        let pieces = backend.tally.pieces.load(Ordering::Relaxed);
        self.is_stuck = !has_answered && (self.is_stuck || pieces == self.pieces);
        (self.pieces, self.since) = (pieces, Instant::now());
    }

    /// Whether it is known to be stuck.
    pub(super) fn is_stuck(&self) -> bool {
        self.is_stuck
    }
}

/// A short request that a server may be asked.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Question {
    pub(super) path: &'static str,
    pub(super) body: Value,
}

/// What a model of this name is asked.
type Asked = fn(&str) -> Value;

/// What servers are asked, the cheapest first: one token of a model that generates, one vector or one
/// score of one that does not.
const QUESTIONS: [(&str, Asked); 6] = [
    (
        "/v1/completions",
        |model| json!({"model": model, "prompt": "1", "max_tokens": 1, "temperature": 0}),
    ),
    ("/v1/chat/completions", |model| {
        let messages = json!([{"role": "user", "content": "1"}]);
        json!({"model": model, "messages": messages, "max_tokens": 1, "temperature": 0})
    }),
    (
        "/v1/embeddings",
        |model| json!({"model": model, "input": "1"}),
    ),
    ("/pooling", |model| json!({"model": model, "input": "1"})),
    (
        "/score",
        |model| json!({"model": model, "text_1": "1", "text_2": "1"}),
    ),
    (
        "/rerank",
        |model| json!({"model": model, "query": "1", "documents": ["1"]}),
    ),
];

/// What is asked of a server with this list of models, what it has served well before all else; nothing
/// where it has no list. The next is asked where one is refused: a model that does not generate answers
/// at once that it does not, whether or not its engine hangs.
pub(super) fn questions(list: &[u8], served: &Answers) -> Vec<Question> {
    let Some(model) = first_model(list) else {
        return Vec::new();
    };
    let mut questions = QUESTIONS.map(|(path, body)| Question {
        path,
        body: body(&model),
    });
    questions.sort_by_key(|question| !served.has_served(question.path));
    questions.into()
}

/// The first name in a list of models; nothing where it is none.
pub(super) fn first_model(list: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Served {
        data: Vec<Model>,
    }
    #[derive(Deserialize)]
    struct Model {
        id: String,
    }
    let listed: Option<Served> = serde_json::from_slice(list).ok();
    Some(listed?.data.into_iter().next()?.id)
}

/// What came of a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reply {
    /// An answer, or a connection that broke: the next look says what became of the server.
    Some,
    /// That it is not for this server to answer.
    Refused,
    /// Nothing in time.
    Nothing,
}

#[cfg(test)]
mod tests {
    use hyper::StatusCode;

    use super::*;
    use crate::proxy::counts::PathLabel;
    use crate::proxy::requests::Outcome;

    fn paths(list: &str, served: &Answers) -> Vec<&'static str> {
        let questions = questions(list.as_bytes(), served).into_iter();
        questions.map(|question| question.path).collect()
    }

    #[test]
    fn what_a_server_has_served_well_is_asked_first() {
        let list = r#"{"data":[{"id":"m"},{"id":"replica-1"}]}"#;
        let answers = Answers::default();
        let any = paths(list, &answers);
        assert_eq!(any[..2], ["/v1/completions", "/v1/chat/completions"]);
        let count = |path, status| {
            answers.count(
                PathLabel::of(path),
                Some(status),
                Outcome::of_answer(status),
            );
        };
        count("/v1/completions", StatusCode::BAD_REQUEST);
        count("/score", StatusCode::OK);
        assert_eq!(paths(list, &answers)[..2], ["/score", "/v1/completions"]);
        count("/v1/embeddings", StatusCode::OK);
        assert_eq!(paths(list, &answers)[..2], ["/v1/embeddings", "/score"]);
    }

    #[test]
    fn the_first_model_is_asked_and_nobody_where_there_is_none() {
        let asked = questions(br#"{"data":[{"id":"m"},{"id":"n"}]}"#, &Answers::default());
        assert!(asked.iter().all(|question| question.body["model"] == "m"));
        for nothing in ["", "<html>", r#"{"data":[]}"#] {
            assert!(paths(nothing, &Answers::default()).is_empty(), "{nothing}");
        }
    }
}
