//! How much of the requests a backend is to get beside the others.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// Who begins slowly has its whole share after so long; HAProxy's `slowstart` does the same.
const SLOW_START: Duration = Duration::from_secs(10);

/// The part of its share with which it begins.
const AT_FIRST: f64 = 0.1;

/// Nobody has seen it among the others yet.
const NEW: u64 = 0;

/// It has its whole share. Any other number is the moment from which it grows.
const WHOLE: u64 = u64::MAX;

/// The share of one backend: its weight, or less for a while after it became ready.
#[derive(Debug)]
pub(super) struct Share {
    weight: AtomicU32,
    pace: AtomicU64,
    made: Instant,
}

impl Default for Share {
    fn default() -> Self {
        Self {
            weight: AtomicU32::new(1),
            pace: AtomicU64::new(NEW),
            made: Instant::now(),
        }
    }
}

impl Share {
    /// Has it get so many times as much as one of weight 1.
    pub(super) fn weigh(&self, weight: u32) {
        self.weight.store(weight.max(1), Ordering::Relaxed);
    }

    /// Notes that it has become ready.
    pub(super) fn renew(&self) {
        self.pace.store(NEW, Ordering::Release);
    }

    /// Whether nobody has said yet how it begins.
    pub(super) fn is_new(&self) -> bool {
        self.pace.load(Ordering::Acquire) == NEW
    }

    /// Says how one that is new begins: slowly, or with its whole share.
    pub(super) fn begin(&self, slowly: bool) {
        let pace = if slowly { self.age() } else { WHOLE };
        // Who said it first is right.
        let _ = self
            .pace
            .compare_exchange(NEW, pace, Ordering::AcqRel, Ordering::Acquire);
    }

    /// What it is now. The clock is read only while it grows.
    pub(super) fn now(&self) -> f64 {
        let weight = f64::from(self.weight.load(Ordering::Relaxed));
        let pace = self.pace.load(Ordering::Acquire);
        if pace == NEW || pace == WHOLE {
            return weight;
        }
        let grown = self.age().saturating_sub(pace) as f64 / SLOW_START.as_nanos() as f64;
        if grown >= 1.0 {
            let _ = self
                .pace
                .compare_exchange(pace, WHOLE, Ordering::AcqRel, Ordering::Acquire);
            return weight;
        }
        weight * (AT_FIRST + (1.0 - AT_FIRST) * grown)
    }

    /// Nanoseconds since it was made, and at least one: nothing is [`NEW`].
    fn age(&self) -> u64 {
        let age = self.made.elapsed().as_nanos();
        u64::try_from(age).unwrap_or(WHOLE - 1).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_begins_slowly_grows_from_a_tenth_to_its_weight() {
        let share = Share::default();
        share.weigh(2);
        assert!(share.is_new());
        share.begin(true);
        let mut seen = Vec::new();
        for _ in 0..4 {
            seen.push((share.now() * 1000.0).round() / 1000.0);
            tokio::time::advance(SLOW_START / 2).await;
        }
        assert_eq!(seen, [0.2, 1.1, 2.0, 2.0]);
        share.renew();
        share.begin(false);
        share.begin(true);
        assert!(share.now() > 1.9, "the first word counts");
    }
}
