//! The clock of one run.

use std::time::{Duration, Instant};

/// Monotonic nanoseconds since a run began, never 0. No setting of the wall clock moves it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock(Instant);

impl Clock {
    pub(super) fn start() -> Self {
        Self(Instant::now())
    }

    pub(super) fn now(self) -> u64 {
        nanoseconds(self.0.elapsed()).max(1)
    }
}

/// A time since the run began, as stamps have it.
pub(super) fn nanoseconds(since: Duration) -> u64 {
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
