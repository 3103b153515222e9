//! Requests that were in flight at a server when it died.
//!
//! Some requests kill the server that gets them: vLLM 0.13 ends itself over an unknown
//! `remote_engine_id`, and over any structured output where its dtype does not fit. Sent again, by the
//! proxy or by a client that tries three times, such a request takes a whole fleet down. So what was in
//! flight at a death gets no second server for a while.
//!
//! Who was in flight at a death is seldom its cause: a request that was answered before, with the same
//! bytes, is not suspected, and the first answer to its like clears one.

use std::collections::VecDeque;
use std::hash::{BuildHasher, Hasher};
use std::num::NonZeroU64;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use foldhash::quality::RandomState;
use hyper::Method;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::backend::Backend;
use super::outbound::Outbound;
use super::retry::Retries;
use super::upload::Received;

/// How long a request is remembered: clients that try again do so within seconds.
const REMEMBERED: Duration = Duration::from_secs(300);

/// So many are remembered; of more, the oldest are forgotten.
const MOST: usize = 1024;

/// So many that were answered are known.
const ANSWERED: usize = 4096;

/// Of a longer body only both ends are hashed: long prompts begin alike, and seldom end so.
const HASHED_WHOLE: usize = 64 * 1024;

/// Somebody who looks whether a server died does so for no longer.
const LOOKED: Duration = Duration::from_secs(5);

/// What tells a request from others: its path and its body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fingerprint(NonZeroU64);

/// The requests that get no second server.
#[derive(Debug)]
pub(super) struct Poison {
    hasher: RandomState,
    suspects: Mutex<VecDeque<Suspect>>,
    /// How many there are: nearly always none, which is read without the lock.
    count: AtomicUsize,
    /// Something is known of one.
    settled: Notify,
    /// Those that were answered, the newest of each place.
    answered: Box<[AtomicU64]>,
}

#[derive(Debug)]
struct Suspect {
    since: Instant,
    print: Fingerprint,
    /// Whether its server is known to have died, and nobody is looking any more.
    is_settled: bool,
}

impl Default for Poison {
    fn default() -> Self {
        Self {
            hasher: RandomState::default(),
            suspects: Mutex::default(),
            count: AtomicUsize::new(0),
            settled: Notify::new(),
            answered: (0..ANSWERED).map(|_| AtomicU64::new(0)).collect(),
        }
    }
}

impl Poison {
    /// What a request is known by. What has no body asks for nothing that could kill a server; of one
    /// that is not held, nothing is known.
    pub(super) fn fingerprint(&self, request: &Outbound<'_>) -> Option<Fingerprint> {
        match &request.body {
            Received::Whole(body) if request.method() == Method::POST && !body.is_empty() => {
                Some(self.of(request.head.uri.path(), body))
            }
            _ => None,
        }
    }

    /// What a request with this path and body is known by.
    pub(super) fn of(&self, path: &str, body: &[u8]) -> Fingerprint {
        let mut hasher = self.hasher.build_hasher();
        hasher.write(path.as_bytes());
        hasher.write_usize(body.len());
        if body.len() <= HASHED_WHOLE {
            hasher.write(body);
        } else {
            hasher.write(&body[..HASHED_WHOLE / 2]);
            hasher.write(&body[body.len() - HASHED_WHOLE / 2..]);
        }
        Fingerprint(NonZeroU64::new(hasher.finish()).unwrap_or(NonZeroU64::MIN))
    }

    /// Notes that a request was in flight at a server that may have died.
    pub(super) fn suspect(&self, print: Fingerprint) {
        if self.place(print).load(Ordering::Relaxed) == print.0.get() {
            return;
        }
        let mut suspects = self.suspects();
        let since = Instant::now();
        suspects.push_back(Suspect {
            since,
            print,
            is_settled: false,
        });
        if suspects.len() > MOST {
            suspects.pop_front();
        }
        self.count.store(suspects.len(), Ordering::Release);
    }

    /// Notes whether the server of a request lives: if so, it did not die of it.
    pub(super) fn settle(&self, print: Fingerprint, lives: bool) {
        if lives {
            self.clear(print);
        } else {
            let mut suspects = self.suspects();
            let known = suspects.iter_mut().filter(|it| it.print == print);
            known.for_each(|it| it.is_settled = true);
        }
        self.settled.notify_waiters();
    }

    /// Notes that a request was answered.
    pub(super) fn answered(&self, print: Fingerprint) {
        self.place(print).store(print.0.get(), Ordering::Relaxed);
        if self.count.load(Ordering::Acquire) > 0 {
            self.clear(print);
        }
    }

    /// Whether a request is to get no server. Where somebody is just looking whether its server has
    /// died, that is waited for.
    pub(super) async fn holds(&self, print: Fingerprint) -> bool {
        while self.count.load(Ordering::Acquire) > 0 {
            let mut settled = std::pin::pin!(self.settled.notified());
            settled.as_mut().enable();
            match self.standing(print) {
                Standing::Unknown => return false,
                Standing::Poison => return true,
                Standing::Open(since) => {
                    let _ = tokio::time::timeout_at(since + LOOKED, settled).await;
                }
            }
        }
        false
    }

    fn standing(&self, print: Fingerprint) -> Standing {
        self.retain(|suspect| suspect.since.elapsed() < REMEMBERED);
        let suspects = self.suspects();
        let own = || suspects.iter().filter(|it| it.print == print);
        match own().find(|it| !it.is_known()) {
            Some(open) => Standing::Open(open.since),
            None if own().next().is_some() => Standing::Poison,
            None => Standing::Unknown,
        }
    }

    fn clear(&self, print: Fingerprint) {
        self.retain(|suspect| suspect.print != print);
    }

    fn place(&self, print: Fingerprint) -> &AtomicU64 {
        &self.answered[print.0.get() as usize % ANSWERED]
    }

    fn retain(&self, keeps: impl Fn(&Suspect) -> bool) {
        let mut suspects = self.suspects();
        suspects.retain(keeps);
        self.count.store(suspects.len(), Ordering::Release);
    }

    fn suspects(&self) -> MutexGuard<'_, VecDeque<Suspect>> {
        self.suspects.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is known of a request.
enum Standing {
    /// Nothing.
    Unknown,
    /// Somebody has been looking since then.
    Open(Instant),
    /// A server has died with it.
    Poison,
}

impl Suspect {
    /// Whether nobody will clear it any more but an answer to its like.
    fn is_known(&self) -> bool {
        self.is_settled || self.since.elapsed() >= LOOKED
    }
}

/// A request that may turn out to be one.
#[derive(Debug)]
pub(super) struct Suspicion {
    retries: Arc<Retries>,
    print: Fingerprint,
}

impl Suspicion {
    /// Of a request that could be sent twice.
    pub(super) fn of(retries: &Arc<Retries>, request: &Outbound<'_>) -> Option<Self> {
        Some(Self {
            print: retries.poison.fingerprint(request)?,
            retries: Arc::clone(retries),
        })
    }

    /// What the request is known by.
    pub(super) fn print(&self) -> Fingerprint {
        self.print
    }

    /// Whether its like was in flight at a death.
    pub(super) async fn is_poison(&self) -> bool {
        let poison = &self.retries.poison;
        poison.count.load(Ordering::Acquire) > 0 && Box::pin(poison.holds(self.print)).await
    }

    /// Holds it until the backend that has just failed it is seen to live on, and says whether it is.
    /// Whoever asks may go away meanwhile: it is looked all the same.
    pub(super) async fn is_cleared_by(&self, backend: &Arc<Backend>) -> bool {
        self.hold_until_cleared(backend).await.unwrap_or(false)
    }

    /// The same, for who waits for nothing.
    pub(super) fn hold_until_cleared(&self, backend: &Arc<Backend>) -> JoinHandle<bool> {
        let (retries, backend, print) =
            (Arc::clone(&self.retries), Arc::clone(backend), self.print);
        retries.poison.suspect(print);
        tokio::spawn(async move {
            let lives = backend.is_seen_from_now_on().await;
            retries.poison.settle(print, lives);
            lives
        })
    }

    /// Notes that the request was answered.
    pub(super) fn ends(self) {
        self.retries.poison.answered(self.print);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_was_in_flight_at_a_death_is_remembered_for_a_while() {
        let poison = Poison::default();
        let (one, other) = (poison.of("/v1/x", b"1"), poison.of("/v1/x", b"2"));
        assert!(!poison.holds(one).await);
        poison.suspect(one);
        poison.settle(one, false);
        assert!(poison.holds(one).await && !poison.holds(other).await);
        tokio::time::advance(REMEMBERED / 2).await;
        assert!(poison.holds(one).await);
        tokio::time::advance(REMEMBERED / 2).await;
        assert!(!poison.holds(one).await);
    }

    #[tokio::test(start_paused = true)]
    async fn who_comes_while_somebody_looks_waits_for_what_is_seen() {
        for lives in [true, false] {
            let poison = Poison::default();
            let print = poison.of("/v1/x", b"1");
            poison.suspect(print);
            let settle = async {
                tokio::time::sleep(Duration::from_secs(1)).await;
                poison.settle(print, lives);
            };
            let (holds, ()) = tokio::join!(poison.holds(print), settle);
            assert_eq!(holds, !lives);
        }
        // The one who looked is gone: then it is not known, and that is no better.
        let poison = Poison::default();
        let print = poison.of("/v1/x", b"1");
        poison.suspect(print);
        assert!(poison.holds(print).await);
    }

    #[tokio::test]
    async fn what_is_answered_is_no_poison() {
        let poison = Poison::default();
        let print = poison.of("/v1/x", b"1");
        poison.suspect(print);
        poison.settle(print, false);
        poison.answered(print);
        assert!(!poison.holds(print).await);
        poison.suspect(print);
        poison.settle(print, false);
        assert!(!poison.holds(print).await, "it was answered before");
    }

    #[tokio::test]
    async fn the_memory_is_bounded() {
        let poison = Poison::default();
        let of = |it: u32| poison.of("/", &it.to_be_bytes());
        let prints: Vec<_> = (0..=MOST as u32).map(of).collect();
        for print in &prints {
            poison.suspect(*print);
            poison.settle(*print, false);
        }
        assert!(!poison.holds(prints[0]).await && poison.holds(prints[MOST]).await);
    }

    #[test]
    fn long_bodies_are_told_apart_by_their_ends_and_lengths() {
        let poison = Poison::default();
        let body = |end: &str, length: usize| [&vec![b'x'; length][..], end.as_bytes()].concat();
        let of = |body: Vec<u8>| poison.of("/v1/completions", &body);
        assert_eq!(of(body("a", 100_000)), of(body("a", 100_000)));
        assert_ne!(of(body("a", 100_000)), of(body("b", 100_000)));
        assert_ne!(of(body("a", 100_000)), of(body("a", 100_001)));
        assert_ne!(poison.of("/a", b"1"), poison.of("/b", b"1"));
    }
}
