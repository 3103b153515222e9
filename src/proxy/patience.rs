//! A bound on waiting for a backend.

use std::pin::Pin;
use std::task::Context;
use std::time::Duration;

use tokio::time::{Instant, Sleep};

/// Whoever waits looks up so often: somebody may have found the backend gone meanwhile.
const LOOKS_UP: Duration = Duration::from_secs(5);

/// Bounds a wait for a backend. Time in which nobody waited for it, because the client was slow to
/// send or to take, does not count.
#[derive(Debug)]
pub(super) struct Patience {
    bound: Duration,
    waiting_since: Option<Instant>,
    alarm: Option<Pin<Box<Sleep>>>,
}

/// What became of a wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Waited {
    /// Not too long yet.
    On,
    /// Not too long, and for long enough to look whether it is worth it.
    LookUp,
    /// Too long.
    Over,
}

impl Patience {
    /// For so long at a time.
    pub(super) fn new(bound: Duration) -> Self {
        Self {
            bound,
            waiting_since: None,
            alarm: None,
        }
    }

    /// How long is too long.
    pub(super) fn bound(&self) -> Duration {
        self.bound
    }

    /// Something came, or nothing is waited for.
    pub(super) fn rest(&mut self) {
        self.waiting_since = None;
    }

    /// Nothing came yet. The alarm is moved only when it goes off, so a token costs no timer.
    pub(super) fn wait(&mut self, cx: &mut Context<'_>) -> Waited {
        let since = *self.waiting_since.get_or_insert_with(Instant::now);
        let end = since + self.bound;
        let soon = self.bound.min(LOOKS_UP);
        let alarm = self
            .alarm
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(soon)));
        let mut waited = Waited::On;
        while alarm.as_mut().poll(cx).is_ready() {
            let now = Instant::now();
            if now >= end {
                return Waited::Over;
            }
            alarm.as_mut().reset(end.min(now + LOOKS_UP));
            waited = Waited::LookUp;
        }
        waited
    }
}
