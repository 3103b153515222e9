//! How a backend has done lately: what it failed, of what it was sent.
//!
//! A server that fails at once always has the fewest requests in flight, so that whoever counts those
//! sends it everything. What it failed therefore weighs on it for a while, and what fails it more often
//! than its neighbours takes it out for a while. Only requests count that differ: one that is sent again
//! and again, and fails wherever it goes, says nothing of a server.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::fingerprint::Fingerprint;

/// What lies back so far counts no more.
const WINDOW: Duration = Duration::from_secs(10);

/// As many failures are kept.
const MOST: usize = 64;

/// So many requests must have failed before a rate says something.
const ENOUGH: usize = 5;

/// From this share of failures on a backend is bad, where its neighbours are not half as bad.
const BAD: f64 = 0.5;

/// Who is left out comes back after so long, and after as many times that as it was left out in a row.
const ASIDE: Duration = Duration::from_secs(10);

/// It is left out for no more than so many times that.
const LONGEST: u32 = 6;

/// The failures of one backend, and how many requests it has answered.
#[derive(Debug, Default)]
pub(super) struct History {
    answered: AtomicU64,
    failures: Mutex<VecDeque<Failure>>,
    /// How many failures there are, as far as somebody has looked: nearly always none.
    weight: AtomicU64,
    /// Whether it is left out, as far as somebody has looked, and the whole of that.
    is_aside: AtomicBool,
    aside: Mutex<Aside>,
}

/// When a backend was left out last.
#[derive(Debug, Default, Clone, Copy)]
struct Aside {
    until: Option<Instant>,
    in_a_row: u32,
}

#[derive(Debug, Clone, Copy)]
struct Failure {
    when: Instant,
    print: Option<Fingerprint>,
    /// How many requests had been answered then.
    answered: u64,
}

/// How many of its last requests a backend has failed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Rate {
    pub(super) failed: usize,
    pub(super) of: u64,
}

impl Rate {
    fn share(self) -> f64 {
        if self.of == 0 {
            return 0.0;
        }
        self.failed as f64 / self.of as f64
    }

    /// Nothing was sent, and nothing failed.
    pub(super) const NONE: Self = Self { failed: 0, of: 0 };

    /// Whether one that fares so is to be left out, beside neighbours that fare so.
    pub(super) fn is_outlier_among(self, others: Self) -> bool {
        self.failed >= ENOUGH && self.share() >= BAD && others.share() < self.share() / 2.0
    }

    /// Both together.
    pub(super) fn and(self, other: Self) -> Self {
        Self {
            failed: self.failed + other.failed,
            of: self.of + other.of,
        }
    }
}

impl History {
    /// A request was answered.
    pub(super) fn answered(&self) {
        self.answered.fetch_add(1, Ordering::Relaxed);
    }

    /// A request failed. The same one fails once, however often it comes.
    pub(super) fn failed(&self, print: Option<Fingerprint>) {
        let mut failures = self.failures();
        let is_known = |failure: &Failure| print.is_some() && failure.print == print;
        failures.retain(|failure| failure.is_recent() && !is_known(failure));
        if failures.len() >= MOST {
            failures.pop_front();
        }
        failures.push_back(Failure {
            when: Instant::now(),
            print,
            answered: self.answered.load(Ordering::Relaxed),
        });
        self.weight.store(failures.len() as u64, Ordering::Relaxed);
    }

    /// A request that failed here fails elsewhere too.
    pub(super) fn forget(&self, print: Option<Fingerprint>) {
        let mut failures = self.failures();
        failures.retain(|failure| failure.print != print);
        self.weight.store(failures.len() as u64, Ordering::Relaxed);
    }

    /// How it fares now.
    pub(super) fn rate(&self) -> Rate {
        let failures = self.recent();
        let answered = self.answered.load(Ordering::Relaxed);
        let before = failures.front().map_or(answered, |first| first.answered);
        let failed = failures.len();
        Rate {
            failed,
            of: (answered - before) + failed as u64,
        }
    }

    /// As many requests more it counts as having in flight.
    pub(super) fn weight(&self) -> u64 {
        if self.weight.load(Ordering::Relaxed) == 0 {
            return 0;
        }
        self.recent().len() as u64
    }

    /// Leaves it out for a while.
    pub(super) fn set_aside(&self) {
        let mut aside = self.aside.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        // Who did well for long enough in between begins anew.
        let again = aside
            .until
            .is_some_and(|until| now < until + ASIDE * LONGEST);
        aside.in_a_row = if again {
            (aside.in_a_row + 1).min(LONGEST)
        } else {
            1
        };
        aside.until = Some(now + ASIDE * aside.in_a_row);
        self.is_aside.store(true, Ordering::Release);
    }

    /// Whether it is left out now.
    pub(super) fn is_aside(&self) -> bool {
        if !self.is_aside.load(Ordering::Acquire) {
            return false;
        }
        let aside = self.aside.lock().unwrap_or_else(PoisonError::into_inner);
        let is_aside = aside.until.is_some_and(|until| Instant::now() < until);
        self.is_aside.store(is_aside, Ordering::Release);
        is_aside
    }

    fn recent(&self) -> MutexGuard<'_, VecDeque<Failure>> {
        let mut failures = self.failures();
        failures.retain(Failure::is_recent);
        self.weight.store(failures.len() as u64, Ordering::Relaxed);
        failures
    }

    fn failures(&self) -> MutexGuard<'_, VecDeque<Failure>> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Failure {
    fn is_recent(&self) -> bool {
        self.when.elapsed() < WINDOW
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::poison::Poison;

    fn prints(many: u32) -> Vec<Option<Fingerprint>> {
        let poison = Poison::default();
        let of = |it: u32| Some(poison.of("/v1/completions", &it.to_be_bytes()));
        (0..many).map(of).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn failures_weigh_for_a_while() {
        let history = History::default();
        for print in prints(3) {
            history.failed(print);
        }
        history.answered();
        assert_eq!(
            (history.weight(), history.rate()),
            (3, Rate { failed: 3, of: 4 })
        );
        tokio::time::advance(WINDOW).await;
        assert_eq!(
            (history.weight(), history.rate()),
            (0, Rate { failed: 0, of: 0 })
        );
    }

    #[tokio::test]
    async fn one_request_fails_once_however_often_it_comes() {
        let history = History::default();
        let print = prints(1)[0];
        for _ in 0..100 {
            history.failed(print);
        }
        assert_eq!(history.rate().failed, 1);
        history.forget(print);
        assert_eq!(history.rate().failed, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_left_out_again_and_again_is_so_for_longer() {
        let history = History::default();
        assert!(!history.is_aside());
        for times in [1, 2, 3] {
            history.set_aside();
            tokio::time::advance(ASIDE * times / 2).await;
            assert!(history.is_aside());
            tokio::time::advance(ASIDE * times / 2).await;
            assert!(!history.is_aside());
        }
        tokio::time::advance(ASIDE * LONGEST).await;
        history.set_aside();
        tokio::time::advance(ASIDE).await;
        assert!(!history.is_aside(), "it did well in between");
    }

    #[test]
    fn who_fails_more_than_the_others_is_an_outlier() {
        let rate = |failed, of| Rate { failed, of };
        assert!(rate(5, 5).is_outlier_among(rate(0, 100)));
        assert!(rate(5, 10).is_outlier_among(rate(20, 100)));
        assert!(!rate(4, 4).is_outlier_among(rate(0, 100)), "too few");
        assert!(!rate(5, 11).is_outlier_among(rate(0, 100)), "more succeed");
        assert!(!rate(9, 10).is_outlier_among(rate(50, 100)), "so do all");
        assert!(
            rate(9, 9).is_outlier_among(rate(0, 0)),
            "nobody else was asked"
        );
    }
}
