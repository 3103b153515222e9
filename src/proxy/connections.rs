//! The idle connections to one backend, kept for the next request.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use tokio::time::Instant;

use super::upstream::Connection;
use super::workers;

/// How long an idle connection is trusted. uvicorn, and so vLLM, closes at 5 s: a request that is
/// sent at that moment is lost, so the proxy gives a connection up well before.
const TRUSTED: Duration = Duration::from_secs(3);

/// What a worker has not needed for so long, another may have.
const SPARE: Duration = Duration::from_millis(100);

/// Connections on which an answer ended cleanly, the most recent last. Each worker keeps its own, as it
/// is that worker who is woken by what comes on them.
#[derive(Debug, Default)]
pub(super) struct Connections([Mutex<VecDeque<Idle>>; workers::MOST + 1]);

#[derive(Debug)]
struct Idle {
    since: Instant,
    connection: Box<Connection>,
}

impl Idle {
    fn is_trusted(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.since) < TRUSTED
    }

    fn is_spare(&self, now: Instant) -> bool {
        (SPARE..TRUSTED).contains(&now.saturating_duration_since(self.since))
    }
}

impl Connections {
    /// A connection that can be used at once.
    pub(super) fn take(&self, now: Instant) -> Option<Box<Connection>> {
        self.take_own(now).or_else(|| self.take_spare(now))
    }

    /// The most recent ones are the warmest, and the rest age away: behind the first that is too old
    /// there are only older ones, so that it costs the same however many there are.
    fn take_own(&self, now: Instant) -> Option<Box<Connection>> {
        let mut idle = self.of(workers::here());
        loop {
            let last = idle.pop_back()?;
            if !last.is_trusted(now) {
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

    /// One that another worker has not needed for a while: a new one would have to be proved first.
    fn take_spare(&self, now: Instant) -> Option<Box<Connection>> {
        let others = (0..self.0.len()).filter(|it| *it != workers::here());
        let spare = others.filter_map(|other| self.first_spare_of(other, now));
        let mut usable = spare.filter(|it| it.is_reusable());
        usable.find_map(|it| it.moved_here().ok())
    }

    fn first_spare_of(&self, worker: usize, now: Instant) -> Option<Box<Connection>> {
        let mut idle = self.of(worker);
        let has_spare = idle.front().is_some_and(|it| it.is_spare(now));
        let first = has_spare.then(|| idle.pop_front()).flatten();
        first.map(|it| it.connection)
    }

    /// Keeps a connection whose exchange is over since this moment.
    pub(super) fn put(&self, connection: Box<Connection>, since: Instant) {
        let idle = Idle { since, connection };
        self.of(workers::here()).push_back(idle);
    }

    /// Closes those that were idle for too long, or that the backend has closed.
    pub(super) fn sweep(&self) {
        let now = Instant::now();
        for worker in 0..self.0.len() {
            self.of(worker)
                .retain(|idle| idle.is_trusted(now) && idle.connection.is_reusable());
        }
    }

    /// Closes them all.
    pub(super) fn clear(&self) {
        for worker in 0..self.0.len() {
            self.of(worker).clear();
        }
    }

    fn of(&self, worker: usize) -> MutexGuard<'_, VecDeque<Idle>> {
        self.0[worker]
            .lock()
            .expect("nothing panics under this lock")
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    /// A connection that another worker put there so long ago, and its other end.
    async fn put_by_another(connections: &Connections, ago: Duration) -> TcpStream {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let connection = Connection::open(&address, Duration::from_secs(60)).await;
        let since = Instant::now().checked_sub(ago).unwrap();
        connections.of(3).push_back(Idle {
            since,
            connection: connection.unwrap(),
        });
        listener.accept().await.unwrap().0
    }

    #[tokio::test]
    async fn only_what_another_worker_has_to_spare_is_taken_of_it() {
        let connections = Connections::default();
        let _old = put_by_another(&connections, Duration::from_secs(60)).await;
        assert!(connections.take(Instant::now()).is_none());
        connections.clear();
        // It may be needed there at any moment.
        let _warm = put_by_another(&connections, Duration::ZERO).await;
        connections.of(3)[0].since += Duration::from_secs(60);
        assert!(connections.take(Instant::now()).is_none());
        connections.clear();
        let _spare = put_by_another(&connections, Duration::from_secs(1)).await;
        assert!(connections.take(Instant::now()).is_some());
        assert!(connections.take(Instant::now()).is_none());
    }
}
