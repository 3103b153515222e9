//! How each request ended, counted once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::control::Requests;

/// Counts the ends of requests.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    ok: AtomicU64,
    failed: AtomicU64,
    cut: AtomicU64,
}

impl Ledger {
    /// Opens the account of one request.
    pub(super) fn open(self: &Arc<Self>) -> InFlight {
        InFlight {
            ledger: Arc::clone(self),
            verdict: Verdict::Cut,
        }
    }

    /// The counts so far.
    pub(super) fn read(&self) -> Requests {
        Requests {
            ok: self.ok.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
            cut: self.cut.load(Ordering::Relaxed),
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Verdict {
    Ok,
    Failed,
    Cut,
}

/// One request whose end is not known yet. Dropped without a verdict it was cut: hyper drops
/// everything that belongs to a connection when its client goes away, whatever the phase.
#[derive(Debug)]
pub(super) struct InFlight {
    ledger: Arc<Ledger>,
    verdict: Verdict,
}

impl InFlight {
    /// Notes that it was answered to the end.
    pub(super) fn ok(mut self) {
        self.verdict = Verdict::Ok;
    }

    /// Notes that the proxy failed it, or that its stream broke.
    pub(super) fn fail(mut self) {
        self.verdict = Verdict::Failed;
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let count = match self.verdict {
            Verdict::Ok => &self.ledger.ok,
            Verdict::Failed => &self.ledger.failed,
            Verdict::Cut => &self.ledger.cut,
        };
        count.fetch_add(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_request_ends_once() {
        let ledger = Arc::new(Ledger::default());
        ledger.open().ok();
        ledger.open().fail();
        drop(ledger.open());
        let ends = Requests {
            ok: 1,
            failed: 1,
            cut: 1,
        };
        assert_eq!(ledger.read(), ends);
    }
}
