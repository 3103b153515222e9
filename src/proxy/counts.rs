//! What is counted of requests, in places that are known before they come: an array and no map, so
//! that nobody waits for anybody.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hyper::StatusCode;

use super::requests::Outcome;

/// The paths that are told apart; all others are `other`. What a client writes never becomes a label.
const ROUTES: [&str; 15] = [
    "/v1/chat/completions",
    "/v1/completions",
    "/v1/responses",
    "/v1/messages",
    "/v1/embeddings",
    "/v1/models",
    "/v1/audio/transcriptions",
    "/v1/audio/translations",
    "/tokenize",
    "/pooling",
    "/score",
    "/rerank",
    "/health",
    "/ready",
    "/metrics",
];

/// The statuses that are told apart; others count with their class.
const CODES: [u16; 19] = [
    200, 400, 401, 403, 404, 405, 408, 413, 415, 422, 429, 500, 501, 502, 503, 504, 529, 204, 307,
];

const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// No answer had begun when the request was over.
const UNANSWERED: &str = "none";

const OUTCOMES: usize = Outcome::ALL.len();
const PLACES: usize = (ROUTES.len() + 1) * (CODES.len() + CLASSES.len() + 1) * OUTCOMES;

/// A path that is told apart, or one of the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PathLabel(usize);

impl PathLabel {
    /// The label of a path.
    pub(super) fn of(path: &str) -> Self {
        let known = ROUTES.iter().position(|route| *route == path);
        Self(known.unwrap_or(ROUTES.len()))
    }

    fn word(self) -> &'static str {
        ROUTES.get(self.0).copied().unwrap_or("other")
    }
}

/// Requests by path, status and outcome.
#[derive(Debug)]
pub(super) struct Answers(Box<[AtomicU64]>);

impl Default for Answers {
    fn default() -> Self {
        Self((0..PLACES).map(|_| AtomicU64::new(0)).collect())
    }
}

/// A count of requests, with what they have in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Count {
    pub(super) route: &'static str,
    pub(super) code: String,
    pub(super) outcome: &'static str,
    pub(super) requests: u64,
}

impl Answers {
    /// Counts a request. One that was not answered has no status.
    pub(super) fn count(&self, route: PathLabel, status: Option<StatusCode>, outcome: Outcome) {
        let place = (route.0 * Self::codes() + code(status)) * OUTCOMES + outcome as usize;
        if let Some(counter) = self.0.get(place) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Whether a request for this path was answered whole with a 200.
    pub(super) fn has_served(&self, path: &str) -> bool {
        let place = (PathLabel::of(path).0 * Self::codes() + code(Some(StatusCode::OK))) * OUTCOMES;
        let counter = self.0.get(place + Outcome::Ok as usize);
        counter.is_some_and(|counter| counter.load(Ordering::Relaxed) > 0)
    }

    /// What was counted, without what never was.
    pub(super) fn read(&self) -> Vec<Count> {
        let counted = self.0.iter().enumerate().filter_map(|(place, counter)| {
            let requests = counter.load(Ordering::Relaxed);
            let (place, outcome) = (place / OUTCOMES, place % OUTCOMES);
            (requests > 0).then(|| Count {
                route: PathLabel(place / Self::codes()).word(),
                code: code_word(place % Self::codes()),
                outcome: Outcome::ALL[outcome].name(),
                requests,
            })
        });
        counted.collect()
    }

    const fn codes() -> usize {
        CODES.len() + CLASSES.len() + 1
    }
}

fn code(status: Option<StatusCode>) -> usize {
    let Some(status) = status else {
        return CODES.len() + CLASSES.len();
    };
    let known = CODES.iter().position(|code| *code == status.as_u16());
    let class = usize::from(status.as_u16() / 100).clamp(1, CLASSES.len()) - 1;
    known.unwrap_or(CODES.len() + class)
}

fn code_word(place: usize) -> String {
    if let Some(code) = CODES.get(place) {
        return code.to_string();
    }
    let class = CLASSES.get(place - CODES.len());
    class.copied().unwrap_or(UNANSWERED).to_owned()
}

/// How long things took, by bounds that are known before.
#[derive(Debug)]
pub(super) struct Times {
    bounds: &'static [f64; BOUNDS.len()],
    buckets: [AtomicU64; BOUNDS.len() + 1],
    microseconds: AtomicU64,
}

/// In seconds: from an answer of the proxy's own to a drain.
const BOUNDS: [f64; 15] = [
    0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0, 600.0,
];

/// In seconds: of what the proxy does by itself, most of which takes less than a millisecond.
const SHORT: [f64; BOUNDS.len()] = [
    0.000_02, 0.000_05, 0.000_1, 0.000_15, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.05,
    0.25, 1.0, 5.0, 30.0,
];

impl Default for Times {
    fn default() -> Self {
        Self::by(&BOUNDS)
    }
}

/// What a [`Times`] has come to.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Distribution {
    pub(super) sum: f64,
    pub(super) count: u64,
    /// The upper bound of each bucket, and how many are in it and in no lower one.
    pub(super) buckets: Vec<(f64, u64)>,
}

impl Times {
    fn by(bounds: &'static [f64; BOUNDS.len()]) -> Self {
        Self {
            bounds,
            buckets: Default::default(),
            microseconds: AtomicU64::default(),
        }
    }

    /// Of what mostly takes less than a millisecond.
    pub(super) fn short() -> Self {
        Self::by(&SHORT)
    }

    /// Notes one more.
    pub(super) fn observe(&self, took: Duration) {
        let seconds = took.as_secs_f64();
        let bucket = self.bounds.iter().position(|bound| seconds <= *bound);
        self.buckets[bucket.unwrap_or(self.bounds.len())].fetch_add(1, Ordering::Relaxed);
        let took = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.microseconds.fetch_add(took, Ordering::Relaxed);
    }

    /// What it has come to.
    pub(super) fn read(&self) -> Distribution {
        let counts = self.buckets.iter().map(|it| it.load(Ordering::Relaxed));
        let bounds = self.bounds.iter().copied().chain([f64::INFINITY]);
        let buckets: Vec<_> = bounds.zip(counts).collect();
        Distribution {
            sum: self.microseconds.load(Ordering::Relaxed) as f64 / 1e6,
            count: buckets.iter().map(|(_, count)| count).sum(),
            buckets,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_request_has_a_place_and_none_makes_a_label() {
        let answers = Answers::default();
        let status = |code| StatusCode::from_u16(code).ok();
        for (path, status, outcome) in [
            ("/v1/completions", status(200), Outcome::Ok),
            ("/v1/completions", status(200), Outcome::Ok),
            ("/v1/completions", status(200), Outcome::Cut),
            ("/v1/x\"} 1", status(418), Outcome::Ok),
            ("/v1/x", status(999), Outcome::Broken),
            ("/metrics", None, Outcome::Cut),
        ] {
            answers.count(PathLabel::of(path), status, outcome);
        }
        let counted = answers.read().into_iter();
        let lines: Vec<_> = counted
            .map(|it| format!("{} {} {} {}", it.route, it.code, it.outcome, it.requests))
            .collect();
        let expected = [
            "/v1/completions 200 ok 2",
            "/v1/completions 200 cut 1",
            "/metrics none cut 1",
            "other 4xx ok 1",
            "other 5xx broken 1",
        ];
        assert_eq!(lines, expected);
    }

    #[test]
    fn times_fall_between_their_bounds() {
        let times = Times::default();
        for milliseconds in [1, 3, 5, 700_000] {
            times.observe(Duration::from_millis(milliseconds));
        }
        let read = times.read();
        assert_eq!((read.count, read.sum), (4, 700.009));
        let filled: Vec<_> = read.buckets.into_iter().filter(|(_, n)| *n > 0).collect();
        assert_eq!(filled, [(0.001, 1), (0.005, 2), (f64::INFINITY, 1)]);
    }
}
