//! The proxy's own counts, in Prometheus' text form.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hyper::header::{self, HeaderValue};
use hyper::{Response, StatusCode};

use super::backend::Backend;
use super::body::Outgoing;
use super::control::{BackendState, Requests};
use super::error::json_response;
use super::pool::Pool;

/// The page.
pub(super) fn page(pool: &Pool, requests: Requests) -> Response<Outgoing> {
    let text = text(&pool.backends(), requests);
    let mut response = json_response(StatusCode::OK, text.into());
    let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

fn text(backends: &[Arc<Backend>], requests: Requests) -> String {
    let mut page = Page::default();
    page.family("replica_proxy_requests_total", "counter", "Ended requests.");
    for (outcome, count) in [
        ("ok", requests.ok),
        ("failed", requests.failed),
        ("cut", requests.cut),
    ] {
        page.sample(&format!("outcome=\"{outcome}\""), count);
    }
    page.family("replica_proxy_in_flight", "gauge", "Requests in flight.");
    page.each(backends, Backend::in_flight);
    page.family("replica_proxy_ready", "gauge", "Whether requests go there.");
    page.each(backends, |b| u64::from(b.state() == BackendState::Ready));
    for (name, help, counter) in COUNTERS {
        page.family(name, "counter", help);
        page.each(backends, |b| counter(b).load(Ordering::Relaxed));
    }
    page.family(
        "replica_proxy_answers_total",
        "counter",
        "Answers, by class.",
    );
    for backend in backends {
        for (class, count) in backend.tally.answered.iter().enumerate().skip(2) {
            let labels = format!("{},class=\"{class}xx\"", instance(backend));
            page.sample(&labels, count.load(Ordering::Relaxed));
        }
    }
    page.text
}

type Counter = (&'static str, &'static str, fn(&Backend) -> &AtomicU64);

const COUNTERS: [Counter; 4] = [
    (
        "replica_proxy_attempts_total",
        "Requests sent there, or tried to.",
        |b| &b.tally.attempts,
    ),
    (
        "replica_proxy_unreachable_total",
        "Attempts of which no byte was sent.",
        |b| &b.tally.unreachable,
    ),
    (
        "replica_proxy_broken_total",
        "Answers that broke off or never began.",
        |b| &b.tally.broken,
    ),
    (
        "replica_proxy_resent_total",
        "Requests sent again, as their reused connection was closed.",
        |b| &b.tally.resent,
    ),
];

#[derive(Default)]
struct Page {
    text: String,
    family: &'static str,
}

impl Page {
    fn family(&mut self, name: &'static str, kind: &str, help: &str) {
        self.family = name;
        let _ = write!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }

    fn sample(&mut self, labels: &str, value: u64) {
        let _ = writeln!(self.text, "{}{{{labels}}} {value}", self.family);
    }

    fn each(&mut self, backends: &[Arc<Backend>], value: impl Fn(&Backend) -> u64) {
        for backend in backends {
            self.sample(&instance(backend), value(backend));
        }
    }
}

fn instance(backend: &Backend) -> String {
    let name = backend.spec.name.replace('\\', r"\\").replace('"', r#"\""#);
    format!("instance=\"{name}\"")
}
