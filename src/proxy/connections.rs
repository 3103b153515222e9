//! The idle connections to one backend, kept for the next request.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::upstream::Connection;

/// How long an idle connection is trusted. uvicorn, and so vLLM, closes at 5 s: a request that is
/// sent at that moment is lost, so the proxy gives a connection up well before.
const TRUSTED: Duration = Duration::from_secs(3);

/// Connections on which an answer ended cleanly, the most recent last.
#[derive(Debug, Default)]
pub(super) struct Connections {
    idle: Mutex<Vec<Idle>>,
}

#[derive(Debug)]
struct Idle {
    since: Instant,
    connection: Connection,
}

impl Connections {
    /// A connection that can be used at once.
    pub(super) fn take(&self) -> Option<Connection> {
        let mut idle = self.idle.lock().expect("nothing panics under this lock");
        drop_untrusted(&mut idle);
        // The most recent ones are the warmest, and the rest may age away.
        let at = idle.iter().rposition(|idle| idle.connection.is_ready())?;
        Some(idle.remove(at).connection)
    }

    /// Keeps a connection whose exchange is over.
    pub(super) fn put(&self, connection: Connection) {
        let since = Instant::now();
        self.idle
            .lock()
            .expect("nothing panics under this lock")
            .push(Idle { since, connection });
    }

    /// Closes those that were idle for too long.
    pub(super) fn sweep(&self) {
        drop_untrusted(&mut self.idle.lock().expect("nothing panics under this lock"));
    }

    /// Closes them all.
    pub(super) fn clear(&self) {
        self.idle
            .lock()
            .expect("nothing panics under this lock")
            .clear();
    }
}

fn drop_untrusted(idle: &mut Vec<Idle>) {
    idle.retain(|idle| idle.since.elapsed() < TRUSTED && !idle.connection.is_closed());
}
