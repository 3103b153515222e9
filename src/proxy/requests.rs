//! How each request ended, counted once.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use hyper::StatusCode;

use super::control::Requests;

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Answered whole, and with no error.
    Ok,
    /// Answered with a 4xx, by an instance or by the proxy: it is the client's to mend.
    ClientError,
    /// No request that can be read.
    Malformed,
    /// Answered with a 429: more came than is served.
    Overloaded,
    /// Answered with a 5xx by an instance.
    ServerError,
    /// Answered with a 200 by an instance, and with an error in it: an event of its stream, or its body.
    ErrorEvent,
    /// An instance broke off, was silent for too long, or answered with what is no answer.
    Broken,
    /// Answered with a 5xx of the proxy's own: no instance had it.
    ProxyError,
    /// Given up by its client: what nothing else is known of, as hyper drops everything that belongs to
    /// a connection when its client goes away, whatever the phase.
    Cut,
}

impl Outcome {
    /// All of them, in the order in which they are counted.
    pub(super) const ALL: [Self; 9] = [
        Self::Ok,
        Self::ClientError,
        Self::Malformed,
        Self::Overloaded,
        Self::ServerError,
        Self::ErrorEvent,
        Self::Broken,
        Self::ProxyError,
        Self::Cut,
    ];

    /// What an instance's answer comes to that is passed on whole.
    pub(super) fn of_answer(status: StatusCode) -> Self {
        match status {
            StatusCode::TOO_MANY_REQUESTS => Self::Overloaded,
            status if status.is_server_error() => Self::ServerError,
            status if status.is_client_error() => Self::ClientError,
            _ => Self::Ok,
        }
    }

    /// What an answer of the proxy's own comes to.
    pub(super) fn of_own(status: StatusCode) -> Self {
        match Self::of_answer(status) {
            Self::ServerError => Self::ProxyError,
            other => other,
        }
    }

    /// Its name among the metrics.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::ClientError => "client_error",
            Self::Malformed => "malformed",
            Self::Overloaded => "overloaded",
            Self::ServerError => "server_error",
            Self::ErrorEvent => "error_event",
            Self::Broken => "broken",
            Self::ProxyError => "proxy_error",
            Self::Cut => "cut",
        }
    }
}

/// Counts the ends of requests.
#[derive(Debug, Default)]
pub(super) struct Ledger([AtomicU64; Outcome::ALL.len()]);

impl Ledger {
    /// Counts the end of one request.
    pub(super) fn count(&self, outcome: Outcome) {
        self.0[outcome as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// The counts so far, by their names.
    pub(super) fn counts(&self) -> BTreeMap<String, u64> {
        let counts = Outcome::ALL.iter();
        counts
            .map(|it| (it.name().to_owned(), self.ended(*it)))
            .collect()
    }

    /// Adds what another proxy has counted, but for what it had counted `before`. A kind of end that is not
    /// known here is left out.
    pub(super) fn add_since(&self, counts: &BTreeMap<String, u64>, before: &BTreeMap<String, u64>) {
        for outcome in Outcome::ALL {
            let of = |counts: &BTreeMap<String, u64>| counts.get(outcome.name()).copied();
            let count = of(counts).unwrap_or_default();
            let count = count.saturating_sub(of(before).unwrap_or_default());
            self.0[outcome as usize].fetch_add(count, Ordering::Relaxed);
        }
    }

    /// How many requests ended so.
    pub(super) fn ended(&self, outcome: Outcome) -> u64 {
        self.0[outcome as usize].load(Ordering::Relaxed)
    }

    /// The counts so far, as whoever runs the proxy wants to know them: whether it served.
    pub(super) fn read(&self) -> Requests {
        let sum = |outcomes: &[Outcome]| outcomes.iter().map(|it| self.ended(*it)).sum();
        Requests {
            ok: sum(&[Outcome::Ok]),
            refused: sum(&[Outcome::ClientError, Outcome::Malformed]),
            failed: sum(&[
                Outcome::Overloaded,
                Outcome::ServerError,
                Outcome::ErrorEvent,
                Outcome::Broken,
                Outcome::ProxyError,
            ]),
            cut: sum(&[Outcome::Cut]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_end_is_of_one_kind() {
        let ledger = Ledger::default();
        for outcome in Outcome::ALL {
            ledger.count(outcome);
        }
        ledger.count(Outcome::Cut);
        let counts = Outcome::ALL.map(|outcome| ledger.ended(outcome));
        assert_eq!(counts, [1, 1, 1, 1, 1, 1, 1, 1, 2]);
        let ends = Requests {
            ok: 1,
            refused: 2,
            failed: 5,
            cut: 2,
        };
        assert_eq!(ledger.read(), ends);
    }

    #[test]
    fn an_answer_is_judged_by_its_status() {
        let of = |status| Outcome::of_answer(StatusCode::from_u16(status).unwrap());
        assert_eq!(of(200), Outcome::Ok);
        assert_eq!(of(307), Outcome::Ok);
        assert_eq!(of(404), Outcome::ClientError);
        assert_eq!(of(429), Outcome::Overloaded);
        assert_eq!(of(503), Outcome::ServerError);
    }
}
