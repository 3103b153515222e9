//! What is noted of one request from its head to its end: for the ledger, for the counts, for the access
//! log, and for the client itself.
//!
//! It goes with the request and is told of whatever happens to it. Dropped, wherever that is, it is
//! the end of the request.

use std::sync::Arc;
use std::time::Duration;

use hyper::header::{HeaderMap, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Method, Response, StatusCode};
use tokio::time::Instant;

use super::access_log::{AccessLog, Line};
use super::backend::Backend;
use super::body::Outgoing;
use super::counts::PathLabel;
use super::error::ApiError;
use super::headers;
use super::requests::Outcome;
use super::route::Front;
use super::server_timing::{self, SERVER_TIMING};
use super::upload::Came;

/// One request.
#[derive(Debug)]
pub(super) struct Record {
    front: Arc<Front>,
    path: PathLabel,
    began: Instant,
    /// How long it has waited for a backend, where it had to, and since when it does.
    waited: Option<Duration>,
    waiting_since: Option<Instant>,
    /// When it went out to a backend for the last time.
    sent: Option<Instant>,
    attempts: u32,
    instance: Option<Arc<Backend>>,
    /// Who had a part in it before, where it was to be shared.
    prefill: Option<Box<Prefill>>,
    received: Came,
    error: Option<&'static str>,
    status: Option<StatusCode>,
    is_stream: bool,
    first_byte: Option<Duration>,
    written: u64,
    outcome: Outcome,
    /// When it was over, where that is known better than by when this is dropped.
    ended: Option<Instant>,
    /// Whether it asks for a page of the proxy's own: the ledger is about the others.
    is_page: bool,
    /// Whether the client is told who answered, and how long that took.
    is_told: bool,
    /// What only the access log wants to know.
    line: Option<Box<Wanted>>,
}

/// What is known of the reading of a prompt for another instance.
#[derive(Debug)]
struct Prefill {
    by: ReadBy,
    took: Duration,
}

/// Who has read a prompt for another instance.
#[derive(Debug)]
enum ReadBy {
    Another(Arc<Backend>),
    /// Nobody: the one that answers has done all of it, though another was to have a part in it.
    Nobody,
    /// Nobody, for this reason.
    WhoAnswers(Unshared),
}

/// Why one instance was not to read a prompt for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unshared {
    /// It is too short.
    Short,
    /// So much of it was read already that the rest is.
    Cached,
}

impl Unshared {
    fn name(self) -> &'static str {
        match self {
            Self::Short => "short",
            Self::Cached => "cached",
        }
    }
}

/// What the access log wants to know of a request beside what is counted.
#[derive(Debug)]
struct Wanted {
    log: Arc<AccessLog>,
    time: jiff::Timestamp,
    client: HeaderValue,
    method: Method,
    path: String,
    id: Option<HeaderValue>,
}

impl Prefill {
    fn name(&self) -> &str {
        match &self.by {
            ReadBy::Another(it) => &it.spec.name,
            ReadBy::Nobody => "none",
            ReadBy::WhoAnswers(why) => why.name(),
        }
    }

    /// It, as the head of an answer says it.
    fn label(&self) -> HeaderValue {
        match &self.by {
            ReadBy::Another(it) => it.label.clone(),
            ReadBy::Nobody => HeaderValue::from_static("none"),
            ReadBy::WhoAnswers(why) => HeaderValue::from_static(why.name()),
        }
    }
}

impl Record {
    /// Begins with the head of a request.
    pub(super) fn begin(front: &Arc<Front>, head: &Parts, client: &HeaderValue) -> Self {
        let path = head.uri.path();
        let fleet = front.pool.now();
        let telling = &fleet.telling;
        let wanted = |log| {
            Box::new(Wanted {
                log: Arc::clone(log),
                time: jiff::Timestamp::now(),
                client: client.clone(),
                method: head.method.clone(),
                path: path.to_owned(),
                id: None,
            })
        };
        Self {
            front: Arc::clone(front),
            path: PathLabel::of(path),
            began: Instant::now(),
            waited: None,
            waiting_since: None,
            sent: None,
            attempts: 0,
            instance: None,
            prefill: None,
            received: Came::All(0),
            error: None,
            status: None,
            is_stream: false,
            first_byte: None,
            written: 0,
            outcome: Outcome::Cut,
            ended: None,
            is_page: false,
            is_told: telling.headers,
            line: telling.access_log.as_ref().map(wanted),
        }
    }

    /// When it came.
    pub(super) fn began(&self) -> Instant {
        self.began
    }

    /// Notes by which name the request is known.
    pub(super) fn named(&mut self, id: &HeaderValue) {
        if let Some(wanted) = &mut self.line {
            wanted.id = Some(id.clone());
        }
    }

    /// Notes how much of the body came, or will have come.
    pub(super) fn received(&mut self, came: Came) {
        self.received = came;
    }

    /// Notes that it waits for a backend from now on.
    pub(super) fn begins_to_wait(&mut self) {
        self.waiting_since = Some(Instant::now());
    }

    /// Notes that it does not any more.
    pub(super) fn has_waited(&mut self) {
        if let Some(since) = self.waiting_since.take() {
            self.waited = Some(self.waited.unwrap_or_default() + since.elapsed());
        }
    }

    /// Notes that it goes out to a backend at this moment.
    pub(super) fn attempts(&mut self, backend: &Arc<Backend>, now: Instant) {
        self.attempts += 1;
        self.sent = Some(now);
        let before = self.instance.replace(Arc::clone(backend));
        if let Some(before) = before.filter(|it| !Arc::ptr_eq(it, backend)) {
            before.account.goes_elsewhere();
        }
    }

    /// Notes who has read the prompt for the one that is to answer, and how long that took; nobody where
    /// one was to, and the one that answers does all of it.
    pub(super) fn was_read(&mut self, by: Option<&Arc<Backend>>, took: Duration) {
        let before = self.prefill.take().map_or(Duration::ZERO, |it| it.took);
        self.prefill = Some(Box::new(Prefill {
            by: by.cloned().map_or(ReadBy::Nobody, ReadBy::Another),
            took: before + took,
        }));
    }

    /// Notes that its prompt is not read by another, and why.
    pub(super) fn is_read_by_who_answers(&mut self, why: Unshared) {
        self.prefill = Some(Box::new(Prefill {
            by: ReadBy::WhoAnswers(why),
            took: Duration::ZERO,
        }));
    }

    /// Notes that it asks for a page of the proxy's own.
    pub(super) fn is_page(&mut self) {
        self.is_page = true;
    }

    /// Notes that the proxy itself answers with an error, which is returned as an answer.
    pub(super) fn refuse(&mut self, error: ApiError, id: &HeaderValue) -> Response<Outgoing> {
        self.error = Some(error.kind());
        self.outcome = error.outcome();
        error.into_response(id)
    }

    /// Says in the head of an instance's answer who gives it, how long the request was here before it
    /// was sent, and how long it took there; unless nobody is to know.
    pub(super) fn tell(&self, headers: &mut HeaderMap) {
        let (Some(backend), Some(sent)) = (&self.instance, self.sent) else {
            return;
        };
        if !self.is_told {
            return;
        }
        headers.insert(headers::INSTANCE, backend.label.clone());
        let here = sent.saturating_duration_since(self.began);
        // What the backend says of itself stays.
        let timing = match self.prefill.as_deref() {
            None => server_timing::told(self.waited, here, None, sent.elapsed()),
            Some(prefill @ Prefill { took, .. }) => {
                headers.insert(headers::PREFILL, prefill.label());
                let here = here.saturating_sub(*took);
                server_timing::told(self.waited, here, Some(*took), sent.elapsed())
            }
        };
        headers.append(SERVER_TIMING, timing);
    }

    /// Notes the head of the answer.
    pub(super) fn answered(&mut self, answer: &Response<Outgoing>) {
        self.status = Some(answer.status());
        self.is_stream = answer.body().is_stream();
        if self.is_page {
            self.outcome = Outcome::of_own(answer.status());
        }
    }

    /// Notes a piece of the answer.
    pub(super) fn passed(&mut self, bytes: usize) {
        self.written += bytes as u64;
        let is_told = self.is_stream || self.line.is_some();
        if is_told && self.first_byte.is_none() {
            // It may have been the last byte as well.
            let now = self.ended.unwrap_or_else(Instant::now);
            self.first_byte = Some(now.saturating_duration_since(self.began));
        }
    }

    /// Notes how it ends, and when.
    pub(super) fn ends(&mut self, outcome: Outcome, when: Instant) {
        self.outcome = outcome;
        self.ended = Some(when);
        if outcome == Outcome::Broken {
            self.error.get_or_insert("upstream_broken");
        }
    }

    fn count(&self, took: Duration) {
        let Some(backend) = &self.instance else {
            let own = &self.front.own;
            return own.count(self.path, self.status, self.outcome);
        };
        backend.account.ended(self.outcome);
        let tally = &backend.tally;
        tally.answers.count(self.path, self.status, self.outcome);
        if self.status.is_some() && !matches!(self.outcome, Outcome::Cut | Outcome::Broken) {
            tally.took.observe(took);
        }
        if let Some(first) = self.first_byte.filter(|_| self.is_stream) {
            tally.first_byte.observe(first);
        }
    }

    fn log(&self, took: Duration) {
        let Some(wanted) = &self.line else { return };
        let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        wanted.log.write(&Line {
            time: wanted.time,
            id: wanted.id.as_ref().map(text),
            client: text(&wanted.client),
            method: wanted.method.as_str(),
            path: &wanted.path,
            status: self.status.map(|status| status.as_u16()),
            instance: self.instance.as_ref().map(|it| it.spec.name.as_str()),
            prefill: self.prefill.as_ref().map(|it| it.name()),
            attempts: self.attempts,
            bytes_in: self.received.read(),
            bytes_out: self.written,
            queued_ms: self.waited.map(milliseconds),
            first_byte_ms: self.first_byte.map(milliseconds),
            total_ms: milliseconds(took),
            outcome: self.outcome.name(),
            error: self.error,
        });
    }
}

/// To a thousandth.
fn milliseconds(took: Duration) -> f64 {
    took.as_micros() as f64 / 1e3
}

impl Drop for Record {
    fn drop(&mut self) {
        // Whoever leaves while it waits does not say so.
        self.has_waited();
        let ended = self.ended.unwrap_or_else(Instant::now);
        let took = ended.saturating_duration_since(self.began);
        if !self.is_page {
            self.front.ledger.count(self.outcome);
        }
        self.count(took);
        self.log(took);
    }
}
