//! The idle connections to one backend, kept for the next request.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use super::upstream::Connection;

/// How long an idle connection is trusted. uvicorn, and so vLLM, closes at 5 s: a request that is
/// sent at that moment is lost, so the proxy gives a connection up well before.
const TRUSTED: Duration = Duration::from_secs(3);

/// Connections on which an answer ended cleanly, the most recent last.
#[derive(Debug, Default)]
pub(super) struct Connections {
    idle: Mutex<VecDeque<Idle>>,
}

#[derive(Debug)]
struct Idle {
    since: Instant,
    connection: Box<Connection>,
}

impl Idle {
    fn is_trusted(&self) -> bool {
        self.since.elapsed() < TRUSTED
    }
}

impl Connections {
    /// A connection that can be used at once. The most recent ones are the warmest, and the rest age
    /// away: behind the first that is too old there are only older ones, so that it costs the same
    /// however many there are.
    pub(super) fn take(&self) -> Option<Box<Connection>> {
        let mut idle = self.idle();
        loop {
            let last = idle.pop_back()?;
            if !last.is_trusted() {
                let old = std::mem::take(&mut *idle);
                drop(idle);
                drop(old);
                return None;
            }
            if last.connection.is_reusable() {
                return Some(last.connection);
            }
        }
    }

    /// Keeps a connection whose exchange is over.
    pub(super) fn put(&self, connection: Box<Connection>) {
        let since = Instant::now();
        self.idle().push_back(Idle { since, connection });
    }

    /// Closes those that were idle for too long, or that the backend has closed.
    pub(super) fn sweep(&self) {
        self.idle()
            .retain(|idle| idle.is_trusted() && idle.connection.is_reusable());
    }

    /// Closes them all.
    pub(super) fn clear(&self) {
        self.idle().clear();
    }

    fn idle(&self) -> MutexGuard<'_, VecDeque<Idle>> {
        self.idle.lock().expect("nothing panics under this lock")
    }
}
