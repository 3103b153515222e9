//! How many requests may be sent a second time: a share of those that come, so that a fleet in trouble
//! is not given more to do. (As in Finagle's `RetryBudget` and linkerd's `retryBudget`.)

use std::sync::atomic::{AtomicU64, Ordering};

/// One of so many requests may be sent twice.
const SHARE: u64 = 5;

/// As many may be at once after a time in which none was, and at the start.
const RESERVE: u64 = 10;

/// What may be spent on second attempts. Each request pays one in, and a second attempt costs as many as
/// come to one.
#[derive(Debug)]
pub(super) struct Budget {
    left: AtomicU64,
    /// How often a second attempt was granted, and how often refused.
    pub(super) granted: AtomicU64,
    pub(super) refused: AtomicU64,
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            left: AtomicU64::new(RESERVE * SHARE),
            granted: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        }
    }
}

impl Budget {
    /// A request came.
    pub(super) fn deposit(&self) {
        // Nearly always it is full, and then nothing is written.
        if self.left.load(Ordering::Relaxed) < RESERVE * SHARE {
            self.left.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Whether one may be sent again.
    pub(super) fn withdraw(&self) -> bool {
        let spent = |left: u64| left.checked_sub(SHARE);
        let withdrawn = self
            .left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, spent);
        let counter = match withdrawn {
            Ok(_) => &self.granted,
            Err(_) => &self.refused,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        withdrawn.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fifth_of_the_requests_is_sent_twice_and_a_few_at_the_start() {
        let budget = Budget::default();
        let mut twice = 0;
        for _ in 0..1000 {
            budget.deposit();
            twice += u64::from(budget.withdraw());
        }
        assert_eq!(twice, RESERVE + 1000 / SHARE - 1);
    }

    #[test]
    fn what_was_not_spent_is_not_saved_up() {
        let budget = Budget::default();
        for _ in 0..1000 {
            budget.deposit();
        }
        let at_once = (0..1000).filter(|_| budget.withdraw()).count();
        assert_eq!(at_once as u64, RESERVE);
    }
}
