//! One backend: its state, its requests in flight, its connections.
//!
//! A `Backend` is one epoch of an instance, known by its nonce where it has one. A restarted instance is another
//! backend with connections of its own, so nothing of the old one can reach the new.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hyper::header::HeaderValue;
use hyper::http::uri::Authority;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use super::account::Account;
use super::beginnings::Beginnings;
use super::connections::Connections;
use super::control::{self, BackendState, BackendStatus};
use super::counts::{Answers, Times};
use super::history::History;
use super::keys::authorization;
use super::leases::Leases;
use super::occupancy::Occupancy;
use super::queue::Queue;
use super::share::Share;
use super::upstream::Connection;

/// Why a backend cannot be served from.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum InvalidBackend {
    #[error("backend `{0}`: the name cannot be sent in a header")]
    Name(String),
    #[error("backend `{name}`: `{authority}` is not `host:port`")]
    Authority { name: String, authority: String },
    #[error("backend `{0}`: the nonce is empty, so nothing could be told apart by it")]
    Nonce(String),
}

/// Whether requests go there, and what the last probe said when it failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Condition {
    pub(super) state: BackendState,
    pub(super) trouble: Option<String>,
}

/// Tells one epoch of an instance from all others that this process has known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct BackendId(u64);

impl BackendId {
    fn next() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// One epoch of an instance.
#[derive(Debug)]
pub(super) struct Backend {
    pub(super) id: BackendId,
    pub(super) spec: control::Backend,
    pub(super) authority: Authority,
    /// The name, as `x-replica-instance` says it.
    pub(super) label: HeaderValue,
    /// What it is shown instead of the client's own key, where it wants one.
    pub(super) authorization: Option<HeaderValue>,
    pub(super) connections: Connections,
    pub(super) tally: Arc<Tally>,
    /// How much of the requests it is to get.
    pub(super) share: Share,
    /// What became of the requests of this epoch.
    pub(super) account: Account,
    /// The tokens that it has still to read and to write, where the policy counts them.
    pub(super) tokens: AtomicU64,
    /// As many tokens as its cache holds, where it says so; 0 where it does not.
    pub(super) cache: AtomicU64,
    /// How it has done lately.
    pub(super) history: History,
    /// What it has computed for others, and holds.
    pub(super) leases: Leases,
    condition: watch::Sender<Condition>,
    /// The state of the condition and the requests in flight, in one: after it was told to drain, no
    /// request can still slip in.
    occupancy: Occupancy,
    suspicion: Notify,
    /// The last look at it.
    looks: watch::Sender<Option<Look>>,
    began: Mutex<Beginnings>,
    /// Shared by all backends of a pool: somebody has no request in flight any more.
    emptied: Arc<Notify>,
    /// The requests that wait for a place at any backend of the pool.
    queue: Arc<Queue>,
}

/// A look at it with a probe.
#[derive(Debug, Clone, Copy)]
struct Look {
    began: Instant,
    is_alive: bool,
}

/// How long somebody waits to know whether it lives on: a request that it failed is waiting too.
const LOOK: Duration = Duration::from_secs(3);

/// What became of the requests sent to an instance, in whichever epoch; `/metrics` shows it.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Attempts, by why they were made: as the first of a request, as another could not be reached,
    /// and again as the reused connection was closed.
    pub(super) first: AtomicU64,
    pub(super) elsewhere: AtomicU64,
    pub(super) resent: AtomicU64,
    pub(super) unreachable: AtomicU64,
    pub(super) broken: AtomicU64,
    /// Heads of answers, and pieces of their bodies: as long as it grows, something comes.
    pub(super) pieces: AtomicU64,
    /// How often it was taken out, by who found it gone.
    pub(super) ejected_by_requests: AtomicU64,
    pub(super) ejected_by_probes: AtomicU64,
    /// Canaries that it was sent, and those that it did not answer in time.
    pub(super) canaries: AtomicU64,
    pub(super) canaries_lost: AtomicU64,
    /// How often it was left out for a while, as it failed more than the others.
    pub(super) left_out: AtomicU64,
    pub(super) answers: Answers,
    /// From the head of a request to the end of its answer.
    pub(super) took: Times,
    /// From the head of a request to the first byte of a stream of events.
    pub(super) first_byte: Times,
}

/// Counts one more.
pub(super) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl Backend {
    /// Makes a backend that was not seen yet.
    pub(super) fn new(
        spec: control::Backend,
        emptied: Arc<Notify>,
    ) -> Result<Self, InvalidBackend> {
        let label = HeaderValue::from_str(&spec.name)
            .map_err(|_| InvalidBackend::Name(spec.name.clone()))?;
        let authority = spec
            .authority
            .parse::<Authority>()
            .ok()
            .filter(|authority| authority.port_u16().is_some_and(|port| port != 0))
            .ok_or_else(|| InvalidBackend::Authority {
                name: spec.name.clone(),
                authority: spec.authority.clone(),
            })?;
        if spec.nonce.as_deref() == Some("") {
            return Err(InvalidBackend::Nonce(spec.name));
        }
        Ok(Self {
            id: BackendId::next(),
            authorization: authorization(&spec),
            spec,
            authority,
            label,
            connections: Connections::default(),
            tally: Arc::default(),
            share: Share::default(),
            account: Account::default(),
            tokens: AtomicU64::default(),
            cache: AtomicU64::default(),
            history: History::default(),
            leases: Leases::default(),
            condition: watch::Sender::new(Condition {
                state: BackendState::Pending,
                trouble: None,
            }),
            occupancy: Occupancy::default(),
            suspicion: Notify::new(),
            looks: watch::Sender::default(),
            began: Mutex::default(),
            emptied,
            queue: Arc::default(),
        })
    }

    /// The same, for which requests wait in this queue.
    pub(super) fn waited_for_in(mut self, queue: Arc<Queue>) -> Self {
        self.queue = queue;
        self
    }

    /// The same, counting on from an earlier epoch.
    pub(super) fn counting_on(mut self, tally: Arc<Tally>) -> Self {
        self.tally = tally;
        self
    }

    /// Which start of which instance it is.
    pub(super) fn start(&self) -> (&str, Option<&str>) {
        (&self.spec.name, self.spec.nonce.as_deref())
    }

    /// Whether requests go there.
    pub(super) fn state(&self) -> BackendState {
        self.occupancy.read().0
    }

    /// Whether it was taken out: what is in flight there has little to wait for.
    pub(super) fn is_out(&self) -> bool {
        self.state() == BackendState::Ejected
    }

    /// The state and the trouble.
    pub(super) fn condition(&self) -> Condition {
        self.condition.borrow().clone()
    }

    /// A view of the condition that tells of changes.
    pub(super) fn watch(&self) -> watch::Receiver<Condition> {
        self.condition.subscribe()
    }

    /// How many requests are in flight there.
    pub(super) fn in_flight(&self) -> u64 {
        self.occupancy.read().1
    }

    /// How much would be lost if it were stopped: requests in flight there, and what it holds for others.
    pub(super) fn unfinished(&self) -> u64 {
        self.in_flight() + self.leases.count()
    }

    /// Tells who waits for that, where nothing is left.
    pub(super) fn tell_if_finished(&self) {
        if self.unfinished() == 0 {
            self.emptied.notify_waiters();
        }
    }

    /// What the control socket says of it.
    pub(super) fn status(&self) -> BackendStatus {
        let Condition { state, mut trouble } = self.condition();
        if self.history.is_aside() {
            let often =
                "it has failed more of its requests than the others, and is left out for a while";
            trouble.get_or_insert_with(|| often.to_owned());
        }
        BackendStatus {
            state,
            in_flight: self.unfinished(),
            trouble,
        }
    }

    /// Has no more than so many requests in flight from now on, but for those that are; nothing for any
    /// number.
    pub(super) fn limit(&self, in_flight: Option<u64>) {
        self.occupancy.limit(in_flight);
    }

    /// Whether another request may go there now.
    pub(super) fn has_room(&self) -> bool {
        self.occupancy.has_room()
    }

    /// Counts a request in, if requests go there, there is room for it and, where a number is given, so
    /// many are in flight there still. It counts itself out when the claim is dropped.
    pub(super) fn claim(self: &Arc<Self>, among: Option<u64>) -> Option<Claim> {
        self.occupancy.enter(among).then(|| self.counted())
    }

    fn counted(self: &Arc<Self>) -> Claim {
        let place = self.began().note();
        Claim {
            backend: Arc::clone(self),
            place,
        }
    }

    /// When the oldest request began that is in flight there.
    pub(super) fn oldest(&self) -> Option<Instant> {
        self.began().oldest()
    }

    fn began(&self) -> MutexGuard<'_, Beginnings> {
        self.began.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a connection for the next request that is idle since this moment. What drains is about to be
    /// stopped: a connection left there would only be in the way.
    pub(super) fn keep(&self, connection: Box<Connection>, since: Instant) {
        if self.state() == BackendState::Ready && connection.is_reusable() {
            self.connections.put(connection, since);
        }
    }

    /// Sends no new request there from now on.
    pub(super) fn drain(&self) {
        self.change(|condition| {
            condition.state = BackendState::Draining;
            condition.trouble = None;
        });
    }

    /// Ends a drain: it serves again once it is seen.
    pub(super) fn readmit(&self) {
        self.change(|condition| {
            if condition.state == BackendState::Draining {
                condition.state = BackendState::Pending;
            }
        });
    }

    /// Notes that a probe saw it, with its nonce where it has one.
    pub(super) fn seen(&self) {
        let changed = self.change_unless_draining(|condition| {
            condition.state = BackendState::Ready;
            condition.trouble = None;
        });
        if changed {
            tracing::info!(backend = %self.spec.name, "ready");
        }
    }

    /// Notes a failure that does not take it out.
    pub(super) fn trouble(&self, why: &str) {
        self.change_unless_draining(|condition| condition.trouble = Some(why.to_owned()));
    }

    /// Takes it out, as a request found it gone, and asks for a probe.
    pub(super) fn eject(&self, why: &str) {
        self.take_out(why, &self.tally.ejected_by_requests);
        self.suspect();
    }

    /// Takes it out until a probe sees it again. What was never in stays pending.
    pub(super) fn eject_as_probed(&self, why: &str) {
        self.take_out(why, &self.tally.ejected_by_probes);
    }

    fn take_out(&self, why: &str, ejections: &AtomicU64) {
        let changed = self.change_unless_draining(|condition| {
            if condition.state == BackendState::Ready {
                condition.state = BackendState::Ejected;
                count(ejections);
            }
            condition.trouble = Some(why.to_owned());
        });
        if changed {
            tracing::warn!(backend = %self.spec.name, why, "not serving");
        }
        self.connections.clear();
    }

    /// Asks for a probe now: something happened that a probe can explain.
    pub(super) fn suspect(&self) {
        self.suspicion.notify_one();
    }

    /// Waits until somebody is suspicious.
    pub(super) async fn suspected(&self) {
        self.suspicion.notified().await;
    }

    /// Notes what a look came to that began at a moment.
    pub(super) fn looked(&self, began: Instant, is_alive: bool) {
        self.looks.send_replace(Some(Look { began, is_alive }));
    }

    /// Whether a look that begins only now sees it alive. Who is silent is not seen, and at who drains
    /// nobody looks.
    pub(super) async fn is_seen_from_now_on(&self) -> bool {
        if self.state() == BackendState::Draining {
            return false;
        }
        let now = Instant::now();
        let mut looks = self.looks.subscribe();
        self.suspect();
        let look = looks.wait_for(|look| look.is_some_and(|look| look.began >= now));
        let look = tokio::time::timeout(LOOK, look).await;
        look.is_ok_and(|look| look.is_ok_and(|look| look.is_some_and(|it| it.is_alive)))
    }

    /// Health has no say over a drain: only the one who asked for it ends it.
    fn change_unless_draining(&self, change: impl FnOnce(&mut Condition)) -> bool {
        self.change(|condition| {
            if condition.state != BackendState::Draining {
                change(condition);
            }
        })
    }

    fn change(&self, change: impl FnOnce(&mut Condition)) -> bool {
        let mut turned = None;
        let changed = self.condition.send_if_modified(|condition| {
            let before = condition.clone();
            change(condition);
            if condition.state == BackendState::Ready && before.state != BackendState::Ready {
                // Before anybody sees that it is ready.
                self.share.renew();
            }
            self.occupancy.turn(condition.state);
            turned = (condition.state != before.state).then_some(condition.state);
            *condition != before
        });
        match turned {
            // Who takes the first of its places calls the next.
            Some(BackendState::Ready) => self.queue.call_first(),
            Some(_) => self.queue.call_all(),
            None => {}
        }
        changed
    }
}

/// One request in flight at a backend, for as long as this lives.
#[derive(Debug)]
pub(super) struct Claim {
    backend: Arc<Backend>,
    place: usize,
}

impl std::ops::Deref for Claim {
    type Target = Arc<Backend>;

    fn deref(&self) -> &Arc<Backend> {
        &self.backend
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let backend = &self.backend;
        backend.began().forget(self.place);
        if backend.occupancy.leave() {
            backend.emptied.notify_waiters();
        }
        backend.queue.call_first();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Role;

    fn spec(name: &str, authority: &str, nonce: &str) -> control::Backend {
        control::Backend {
            name: name.to_owned(),
            authority: authority.to_owned(),
            role: Role::Both,
            nonce: Some(nonce.to_owned()),
            key: None,
        }
    }

    fn backend() -> Arc<Backend> {
        let spec = spec("a", "127.0.0.1:1", "replica-1");
        Arc::new(Backend::new(spec, Arc::default()).unwrap())
    }

    #[test]
    fn health_never_ends_a_drain() {
        let backend = backend();
        backend.drain();
        backend.seen();
        assert_eq!(backend.state(), BackendState::Draining);
        backend.eject("refused");
        assert_eq!(backend.state(), BackendState::Draining);
        backend.readmit();
        assert_eq!(backend.state(), BackendState::Pending);
        backend.seen();
        assert_eq!(backend.state(), BackendState::Ready);
    }

    #[test]
    fn what_was_never_seen_is_not_ejected_but_pending() {
        let backend = backend();
        backend.eject("refused");
        let status = backend.status();
        assert_eq!(status.state, BackendState::Pending);
        assert_eq!(status.trouble.as_deref(), Some("refused"));
    }

    #[test]
    fn claims_count_themselves_out() {
        let backend = backend();
        assert!(backend.claim(None).is_none(), "it was not seen");
        backend.seen();
        let claim = || backend.claim(None).unwrap();
        let mut claims: Vec<_> = (0..3).map(|_| claim()).collect();
        assert_eq!(backend.in_flight(), 3);
        let first = backend.oldest();
        claims.remove(0);
        assert!(backend.oldest() > first, "the next oldest is left");
        claims.push(claim());
        drop(claims);
        assert_eq!((backend.in_flight(), backend.oldest()), (0, None));
    }

    #[test]
    fn nonsense_is_refused_by_name() {
        for (name, authority, nonce) in [
            ("a\n", "h:1", "n"),
            ("a", "no port", "n"),
            ("a", "h", "n"),
            ("a", "h:0", "n"),
            ("a", "h:1", ""),
        ] {
            let refusal = Backend::new(spec(name, authority, nonce), Arc::default());
            assert!(refusal.is_err(), "{name:?} {authority:?} {nonce:?} passed");
        }
    }
}
