//! What became of the requests of one start of an instance.

use std::sync::atomic::{AtomicU64, Ordering};

use super::control::{FormerStart, Requests};
use super::requests::{Ledger, Outcome};

/// Counts the requests that went to one start.
#[derive(Debug, Default)]
pub(super) struct Account {
    ends: Ledger,
    /// Attempts after which the request went to another.
    retried: AtomicU64,
    /// In flight when it was given up, and not waited for.
    abandoned: AtomicU64,
}

impl Account {
    /// Counts the end of a request that it had last.
    pub(super) fn ended(&self, outcome: Outcome) {
        self.ends.count(outcome);
    }

    /// Counts a request that goes to another.
    pub(super) fn goes_elsewhere(&self) {
        self.retried.fetch_add(1, Ordering::Relaxed);
    }

    /// Notes that it is about to be stopped with so many requests in flight.
    pub(super) fn is_abandoned(&self, in_flight: u64) {
        self.abandoned.store(in_flight, Ordering::Relaxed);
    }

    /// All of it, of the start of this name which is known by this text.
    pub(super) fn read(&self, name: &str, start: Option<&str>, in_flight: u64) -> FormerStart {
        let Requests {
            ok,
            refused,
            failed,
            cut,
        } = self.ends.read();
        let own_errors = self.ends.ended(Outcome::ProxyError);
        FormerStart {
            name: name.to_owned(),
            start: start.map(str::to_owned),
            ok,
            refused,
            // The proxy's own were among them.
            failed: failed.saturating_sub(own_errors),
            own_errors,
            cut,
            retried: self.retried.load(Ordering::Relaxed),
            in_flight: in_flight.max(self.abandoned.load(Ordering::Relaxed)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_end_is_told_once() {
        let account = Account::default();
        for outcome in Outcome::ALL {
            account.ended(outcome);
        }
        account.goes_elsewhere();
        account.is_abandoned(3);
        let told = account.read("a", Some("replica-1"), 0);
        let ends = told.ok + told.refused + told.failed + told.own_errors + told.cut;
        assert_eq!(ends, Outcome::ALL.len() as u64);
        assert_eq!((told.failed, told.retried, told.in_flight), (4, 1, 3));
    }
}
