//! Requests that were in flight at a server when it died.
//!
//! Some requests kill the server that gets them: vLLM 0.13 ends itself over an unknown
//! `remote_engine_id`, and over any structured output where its dtype does not fit. Sent again, by the
//! proxy or by a client that tries three times, such a request takes a whole fleet down. So what was in
//! flight at a death gets no second server for a while.
//!
//! What is like it may be its like in this, too. After one death, one such request is tried alone: the
//! others wait until its answer has begun, or until it has outlived its server's usual death. After a
//! second death none gets a server. Few are alike in what the model is to read, and most are in their
//! shape: so what is alike in text is tried only after a while, and never where that would risk the last
//! server.
//!
//! Who was in flight at a death is seldom its cause: what was answered before is not suspected, nor is
//! what is like that, and the first answer to its like clears one.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::backend::BackendId;
use super::fingerprint::{Alike, Fingerprint, Fingerprints, Likeness};
use super::outbound::Outbound;

/// How long a request is remembered: clients that try again do so within seconds.
const REMEMBERED: Duration = Duration::from_secs(300);

/// So many are remembered; of more, the oldest are forgotten.
const MOST: usize = 1024;

/// So many that were answered are known.
const ANSWERED: usize = 4096;

/// Of so many is it known what those were like that were answered.
const ANSWERED_ALIKE: usize = 1024;

/// What a request is like is looked for no more often while nobody has died: it costs a look at each of
/// its bytes.
const LEARNED_EVERY: Duration = Duration::from_millis(50);

/// Somebody who looks whether a server died does so for no longer.
const LOOKED: Duration = Duration::from_secs(5);

/// So long after a death nothing is tried that is to be read as what was in flight at it.
const COOLING: Duration = Duration::from_secs(10);

/// After as many deaths nothing is tried any more that is like what was in flight at them.
const PROVEN: u32 = 2;

/// The requests that get no second server.
#[derive(Debug)]
pub(super) struct Poison {
    prints: Fingerprints,
    suspects: Mutex<VecDeque<Suspect>>,
    /// How many there are: nearly always none, which is read without the lock.
    count: AtomicUsize,
    /// Something is known of one.
    settled: Notify,
    /// Those that were answered, the newest of each place.
    answered: Box<[AtomicU64]>,
    answered_alike: Box<[AtomicU64]>,
    made: Instant,
    /// When it was looked for what a request is like, in microseconds since this was made.
    learned: AtomicU64,
    pub(super) refusals: Refusals,
}

/// How many requests got no server.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    /// As they were in flight at a death.
    pub(super) same: AtomicU64,
    /// As they are like one that was.
    pub(super) alike: AtomicU64,
}

#[derive(Debug)]
struct Suspect {
    print: Fingerprint,
    alike: Alike,
    /// What the request is known by that has it, the last one of them.
    of: Fingerprint,
    /// When somebody began to look, or found a server dead, last.
    since: Instant,
    /// So many are looking.
    looking: u32,
    /// So many servers are known to have died with it, and which one last.
    deaths: u32,
    last: Option<BackendId>,
    /// Since when one of its like is tried.
    trial: Option<Instant>,
}

impl Default for Poison {
    fn default() -> Self {
        let places = |many: usize| (0..many).map(|_| AtomicU64::new(0)).collect();
        Self {
            prints: Fingerprints::default(),
            suspects: Mutex::default(),
            count: AtomicUsize::new(0),
            settled: Notify::new(),
            answered: places(ANSWERED),
            answered_alike: places(ANSWERED_ALIKE),
            made: Instant::now(),
            learned: AtomicU64::new(0),
            refusals: Refusals::default(),
        }
    }
}

impl Poison {
    /// What a request with this path and body is known by.
    #[cfg(test)]
    pub(super) fn of(&self, path: &str, body: &[u8]) -> Fingerprint {
        self.prints.of(path, body)
    }

    /// What a request is known by; see [`Fingerprints::of_request`].
    pub(super) fn fingerprint(&self, request: &Outbound<'_>) -> Option<Fingerprint> {
        self.prints.of_request(request)
    }

    /// What a request is like, whether or not that is known of others.
    pub(super) fn likeness_of(&self, request: &Outbound<'_>) -> Option<Likeness> {
        self.prints.likeness_of_request(request)
    }

    /// Whether any print is remembered.
    pub(super) fn has_any(&self) -> bool {
        self.count.load(Ordering::Acquire) > 0
    }

    /// How many prints are remembered.
    pub(super) fn remembered(&self) -> u64 {
        self.retain(|suspect| suspect.since.elapsed() < REMEMBERED);
        self.count.load(Ordering::Acquire) as u64
    }

    /// What a request is like that came at this moment, if that is to be known: always after a death, and
    /// before one often enough to know what is answered day by day.
    pub(super) fn likeness(&self, request: &Outbound<'_>, came: Instant) -> Option<Likeness> {
        let is_wanted = self.count.load(Ordering::Acquire) > 0 || self.learns_again(came);
        is_wanted.then(|| self.prints.likeness_of_request(request))?
    }

    fn learns_again(&self, now: Instant) -> bool {
        let now = now.saturating_duration_since(self.made).as_micros();
        let now = u64::try_from(now).unwrap_or(u64::MAX);
        let last = self.learned.load(Ordering::Relaxed);
        let is_due = last == 0 || u128::from(now - last.min(now)) >= LEARNED_EVERY.as_micros();
        if is_due {
            self.learned.store(now.max(1), Ordering::Relaxed);
        }
        is_due
    }

    /// Notes a print of a request, itself known by `of`, that was in flight at a server that may have
    /// died.
    pub(super) fn suspect(&self, of: Fingerprint, (alike, print): (Alike, Fingerprint)) {
        let mut suspects = self.suspects();
        match suspects.iter_mut().find(|it| it.print == print) {
            Some(known) => {
                known.looking += 1;
                known.since = Instant::now();
                known.of = of;
            }
            None => suspects.push_back(Suspect {
                looking: 1,
                ..Suspect::new(of, alike, print)
            }),
        }
        if suspects.len() > MOST {
            suspects.pop_front();
        }
        self.count.store(suspects.len(), Ordering::Release);
    }

    /// Notes whether the server of a request lives: if so, it did not die of it.
    pub(super) fn settle(&self, print: Fingerprint, server: BackendId, lives: bool) {
        if lives {
            self.clear(print);
        } else if let Some(known) = self.suspects().iter_mut().find(|it| it.print == print) {
            known.died(server);
        }
        self.settled.notify_waiters();
    }

    /// Notes that a request was answered.
    pub(super) fn answered(&self, print: Fingerprint, likeness: Option<Likeness>) {
        place(&self.answered, print).store(print.get(), Ordering::Relaxed);
        for (_, print) in likeness.into_iter().flat_map(Likeness::prints) {
            place(&self.answered_alike, print).store(print.get(), Ordering::Relaxed);
        }
        if self.count.load(Ordering::Acquire) > 0 {
            self.clear(print);
            for (_, print) in likeness.into_iter().flat_map(Likeness::prints) {
                self.clear(print);
            }
            self.settled.notify_waiters();
        }
    }

    /// Those of its prints that nothing speaks for: none of one that was answered before.
    pub(super) fn unknown(
        &self,
        print: Fingerprint,
        likeness: Option<Likeness>,
    ) -> Vec<(Alike, Fingerprint)> {
        let is_known = |known: &[AtomicU64], print: Fingerprint| {
            place(known, print).load(Ordering::Relaxed) == print.get()
        };
        if is_known(&self.answered, print) {
            return Vec::new();
        }
        let alike = likeness.into_iter().flat_map(Likeness::prints);
        let unknown = alike.filter(|(_, print)| !is_known(&self.answered_alike, *print));
        std::iter::once((Alike::Wholly, print))
            .chain(unknown)
            .collect()
    }

    /// Whether a request is to get no server. Where somebody is just looking whether its server has
    /// died, that is waited for.
    pub(super) async fn holds(&self, print: Fingerprint) -> bool {
        let standing = self.once_seen(|| {
            self.standing(&[print], |suspects| {
                let is_suspected = suspects.next().is_some();
                Standing::of(is_suspected)
            })
        });
        standing.await == Standing::Held
    }

    /// How a request stands that is like those that were in flight at deaths. `can_spare_one` says whether
    /// there is a server left should it kill one. What is tried is so until [`Self::is_over`].
    pub(super) async fn standing_of_like(
        &self,
        likeness: Likeness,
        can_spare_one: impl Fn() -> bool,
    ) -> Standing {
        let judge = |suspects: &mut dyn Iterator<Item = &mut Suspect>| {
            let suspects = suspects.filter(|it| !it.has_stood_its_trial());
            let mut suspects: Vec<_> = suspects.collect();
            if suspects.is_empty() {
                return Standing::Free;
            }
            if !suspects.iter().all(|it| it.may_be_tried(&can_spare_one)) {
                return Standing::Held;
            }
            if let Some(since) = suspects.iter().find_map(|it| it.trial) {
                return Standing::Open(since);
            }
            let now = Instant::now();
            for suspect in &mut suspects {
                suspect.trial = Some(now);
            }
            Standing::OnTrial
        };
        let prints = likeness.prints().map(|(_, print)| print);
        self.once_seen(|| self.standing(&prints, judge)).await
    }

    /// Notes that the one that was tried is over, whatever came of it.
    pub(super) fn is_over(&self, likeness: Likeness) {
        let prints = likeness.prints().map(|(_, print)| print);
        let mut suspects = self.suspects();
        for tried in suspects.iter_mut().filter(|it| prints.contains(&it.print)) {
            tried.trial = None;
        }
        drop(suspects);
        self.settled.notify_waiters();
    }

    /// How something stands once nobody looks at it any more.
    async fn once_seen(&self, standing: impl Fn() -> Standing) -> Standing {
        while self.count.load(Ordering::Acquire) > 0 {
            let mut settled = std::pin::pin!(self.settled.notified());
            settled.as_mut().enable();
            match standing() {
                Standing::Open(since) => {
                    let _ = tokio::time::timeout_at(since + LOOKED, settled).await;
                }
                known => return known,
            }
        }
        Standing::Free
    }

    /// How those stand that have one of these prints: open while somebody looks, or else as judged.
    fn standing(
        &self,
        prints: &[Fingerprint],
        judge: impl Fn(&mut dyn Iterator<Item = &mut Suspect>) -> Standing,
    ) -> Standing {
        self.retain(|suspect| suspect.since.elapsed() < REMEMBERED);
        let mut suspects = self.suspects();
        let is_own = |suspect: &Suspect| prints.contains(&suspect.print);
        let open = suspects.iter().find(|it| is_own(it) && it.is_open());
        if let Some(since) = open.map(|it| it.since) {
            return Standing::Open(since);
        }
        judge(&mut suspects.iter_mut().filter(|it| is_own(it)))
    }

    /// Forgets a print; and if it is that of a whole request, what that is like, which is not looked for
    /// in all that are answered.
    fn clear(&self, print: Fingerprint) {
        self.retain(|suspect| suspect.print != print && suspect.of != print);
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

fn place(places: &[AtomicU64], print: Fingerprint) -> &AtomicU64 {
    &places[print.get() as usize % places.len()]
}

/// What is to become of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// Nothing speaks against it.
    Free,
    /// Somebody has been looking since then.
    Open(Instant),
    /// It is the one that is tried.
    OnTrial,
    /// It gets no server.
    Held,
}

impl Standing {
    fn of(is_suspected: bool) -> Self {
        if is_suspected { Self::Held } else { Self::Free }
    }
}

impl Suspect {
    fn new(of: Fingerprint, alike: Alike, print: Fingerprint) -> Self {
        Self {
            print,
            alike,
            of,
            since: Instant::now(),
            looking: 0,
            deaths: 0,
            last: None,
            trial: None,
        }
    }

    /// Whether somebody looks who may still clear it.
    fn is_open(&self) -> bool {
        self.looking > 0 && self.since.elapsed() < LOOKED
    }

    fn died(&mut self, server: BackendId) {
        self.looking = self.looking.saturating_sub(1);
        // Of many that were in flight at one death, each has somebody who looks.
        let is_another = self.last != Some(server) || self.since.elapsed() >= LOOKED;
        self.deaths += u32::from(is_another);
        self.last = Some(server);
        self.since = Instant::now();
    }

    fn may_be_tried(&self, can_spare_one: impl Fn() -> bool) -> bool {
        let is_safe = || self.since.elapsed() >= COOLING && can_spare_one();
        self.deaths < PROVEN && (self.alike != Alike::InText || is_safe())
    }

    /// Whether the server of the one that is tried would be dead by now if that killed it.
    fn has_stood_its_trial(&self) -> bool {
        self.trial.is_some_and(|since| since.elapsed() >= LOOKED)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::plan::Role;
    use crate::proxy::backend::Backend;

    /// One that is known by its number, and what its body is like.
    fn request(poison: &Poison, body: &'static str) -> (Fingerprint, Likeness) {
        let body = Bytes::from_static(body.as_bytes());
        let print = poison.of("/v1/x", &body);
        (print, poison.prints.likeness("/v1/x", &body))
    }

    fn server() -> BackendId {
        let spec = crate::proxy::control::Backend {
            name: "a".to_owned(),
            authority: "127.0.0.1:1".to_owned(),
            role: Role::Both,
            nonce: None,
            key: None,
        };
        Backend::new(spec, std::sync::Arc::default()).unwrap().id
    }

    fn kills(poison: &Poison, (print, likeness): (Fingerprint, Likeness)) {
        let server = server();
        for unknown in poison.unknown(print, Some(likeness)) {
            poison.suspect(print, unknown);
            poison.settle(unknown.1, server, false);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_in_flight_at_a_death_is_remembered_for_a_while() {
        let poison = Poison::default();
        let (one, other) = (poison.of("/v1/x", b"1"), poison.of("/v1/x", b"2"));
        assert!(!poison.holds(one).await);
        poison.suspect(one, (Alike::Wholly, one));
        poison.settle(one, server(), false);
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
            poison.suspect(print, (Alike::Wholly, print));
            let settle = async {
                tokio::time::sleep(Duration::from_secs(1)).await;
                poison.settle(print, server(), lives);
            };
            let (holds, ()) = tokio::join!(poison.holds(print), settle);
            assert_eq!(holds, !lives);
        }
        // The one who looked is gone: then it is not known, and that is no better.
        let poison = Poison::default();
        let print = poison.of("/v1/x", b"1");
        poison.suspect(print, (Alike::Wholly, print));
        assert!(poison.holds(print).await);
    }

    #[tokio::test]
    async fn what_is_answered_is_no_poison() {
        for knows_what_it_is_like in [true, false] {
            let poison = Poison::default();
            let (print, likeness) = request(&poison, r#"{"prompt":"p"}"#);
            let in_flight_elsewhere = knows_what_it_is_like.then_some(likeness);
            kills(&poison, (print, likeness));
            assert_eq!(poison.remembered(), 3);
            poison.answered(print, in_flight_elsewhere);
            assert!(!poison.holds(print).await);
            assert_eq!(poison.remembered(), 0, "nor is what it is like");
            kills(&poison, (print, likeness));
            assert_eq!(poison.remembered(), 0, "it was answered before");
        }
        let poison = Poison::default();
        kills(&poison, request(&poison, r#"{"prompt":"p"}"#));
        let (other, _) = request(&poison, r#"{"prompt":"q"}"#);
        poison.answered(other, None);
        assert_eq!(poison.remembered(), 3, "what it is like was not looked for");
    }

    #[tokio::test]
    async fn the_memory_is_bounded() {
        let poison = Poison::default();
        let of = |it: u32| poison.of("/", &it.to_be_bytes());
        let prints: Vec<_> = (0..=MOST as u32).map(of).collect();
        for print in &prints {
            poison.suspect(*print, (Alike::Wholly, *print));
            poison.settle(*print, server(), false);
        }
        assert!(!poison.holds(prints[0]).await && poison.holds(prints[MOST]).await);
        assert_eq!(poison.remembered(), MOST as u64);
    }

    #[tokio::test(start_paused = true)]
    async fn one_of_the_same_text_is_tried_after_a_while_and_none_after_another_death() {
        let poison = Poison::default();
        let likeness = request(&poison, r#"{"prompt":"of id 1"}"#).1;
        kills(&poison, request(&poison, r#"{"prompt":"of id 2"}"#));
        let standing = || poison.standing_of_like(likeness, || true);
        assert_eq!(standing().await, Standing::Held, "so soon");
        tokio::time::advance(COOLING).await;
        assert_eq!(standing().await, Standing::OnTrial);
        poison.is_over(likeness);
        assert_eq!(standing().await, Standing::OnTrial, "nothing came of it");
        kills(&poison, request(&poison, r#"{"prompt":"of id 3"}"#));
        poison.is_over(likeness);
        tokio::time::advance(REMEMBERED / 2).await;
        assert_eq!(standing().await, Standing::Held);
        tokio::time::advance(REMEMBERED / 2).await;
        assert_eq!(standing().await, Standing::Free);
    }

    #[tokio::test(start_paused = true)]
    async fn the_last_server_is_not_risked_for_a_text() {
        let poison = Poison::default();
        let likeness = request(&poison, r#"{"prompt":"of id 1"}"#).1;
        kills(&poison, request(&poison, r#"{"prompt":"of id 2"}"#));
        tokio::time::advance(COOLING).await;
        let standing = poison.standing_of_like(likeness, || false);
        assert_eq!(standing.await, Standing::Held);
    }

    #[tokio::test(start_paused = true)]
    async fn one_of_the_same_shape_is_tried_at_once_and_the_others_wait() {
        let poison = Poison::default();
        let (print, likeness) = request(&poison, r#"{"prompt":"an innocent"}"#);
        kills(&poison, request(&poison, r#"{"prompt":"one that kills"}"#));
        let standing = || poison.standing_of_like(likeness, || false);
        assert_eq!(standing().await, Standing::OnTrial);
        let answer = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            poison.answered(print, Some(likeness));
        };
        let (other, ()) = tokio::join!(standing(), answer);
        assert_eq!(other, Standing::Free);
    }

    #[tokio::test(start_paused = true)]
    async fn who_takes_long_has_not_killed_its_server() {
        let poison = Poison::default();
        let likeness = request(&poison, r#"{"prompt":"an innocent"}"#).1;
        kills(&poison, request(&poison, r#"{"prompt":"one that kills"}"#));
        let standing = || poison.standing_of_like(likeness, || true);
        assert_eq!(standing().await, Standing::OnTrial);
        let begun = Instant::now();
        assert_eq!(standing().await, Standing::Free);
        assert_eq!(begun.elapsed().as_secs(), LOOKED.as_secs());
    }

    #[tokio::test(start_paused = true)]
    async fn a_shape_that_killed_two_is_held() {
        let poison = Poison::default();
        let likeness = request(&poison, r#"{"prompt":"a third"}"#).1;
        kills(&poison, request(&poison, r#"{"prompt":"one"}"#));
        kills(&poison, request(&poison, r#"{"prompt":"another"}"#));
        let standing = poison.standing_of_like(likeness, || true);
        assert_eq!(standing.await, Standing::Held);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_answered_day_by_day_is_not_suspected_with_one_that_kills() {
        let poison = Poison::default();
        let (print, likeness) = request(&poison, r#"{"prompt":"as ever 1"}"#);
        poison.answered(print, Some(likeness));
        kills(&poison, request(&poison, r#"{"prompt":"as ever 2"}"#));
        // Of these the shape is known, and the text is not.
        kills(&poison, request(&poison, r#"{"prompt":"something else"}"#));
        let like_it = request(&poison, r#"{"prompt":"something else 2"}"#).1;
        for (likeness, standing) in [(likeness, Standing::Free), (like_it, Standing::Held)] {
            assert_eq!(poison.standing_of_like(likeness, || true).await, standing);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn many_in_flight_at_one_death_are_one_death() {
        let poison = Poison::default();
        let (server, (print, likeness)) = (server(), request(&poison, r#"{"prompt":"p"}"#));
        for _ in 0..8 {
            poison.suspect(print, (Alike::InText, likeness.text));
        }
        for _ in 0..8 {
            poison.settle(likeness.text, server, false);
        }
        tokio::time::advance(COOLING).await;
        assert_eq!(
            poison.standing_of_like(likeness, || true).await,
            Standing::OnTrial
        );
    }
}
