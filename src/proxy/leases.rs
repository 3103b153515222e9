//! What a prefill instance has computed for another, and holds until that has fetched it.
//!
//! It is nowhere in flight any more, and lost should the instance be stopped: so a drain waits for it, as long
//! as the instance holds it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::backend::Backend;

/// What one backend holds. A place is used again.
#[derive(Debug, Default)]
pub(super) struct Leases(Mutex<Places>);

#[derive(Debug, Default)]
struct Places {
    until: Vec<Option<Instant>>,
    free: Vec<usize>,
}

impl Leases {
    /// How much of it is held still.
    pub(super) fn count(&self) -> u64 {
        let now = Instant::now();
        let places = self.places();
        let held = places.until.iter().flatten().filter(|it| **it > now);
        held.count() as u64
    }

    fn note(&self, until: Instant) -> usize {
        let mut places = self.places();
        if let Some(place) = places.free.pop() {
            places.until[place] = Some(until);
            return place;
        }
        places.until.push(Some(until));
        places.until.len() - 1
    }

    fn forget(&self, place: usize) {
        let mut places = self.places();
        places.until[place] = None;
        places.free.push(place);
    }

    fn places(&self) -> MutexGuard<'_, Places> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What one request has had computed, until it was fetched or nobody is going to: then this is dropped.
#[derive(Debug)]
pub(super) struct Lease {
    pub(super) of: Arc<Backend>,
    until: Instant,
    place: usize,
}

impl Lease {
    /// Notes that a backend holds something for so long.
    pub(super) fn of(backend: &Arc<Backend>, lasts: Duration) -> Self {
        let until = Instant::now() + lasts;
        Self {
            place: backend.leases.note(until),
            of: Arc::clone(backend),
            until,
        }
    }

    /// Whether it is held no longer, whether it was fetched or not.
    pub(super) fn is_over(&self) -> bool {
        Instant::now() >= self.until
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.of.leases.forget(self.place);
        self.of.tell_if_finished();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Role;
    use crate::proxy::control;

    #[tokio::test(start_paused = true)]
    async fn what_was_handed_out_counts_until_it_was_fetched_or_is_forgotten() {
        let spec = control::Backend {
            name: "p".to_owned(),
            authority: "127.0.0.1:1".to_owned(),
            role: Role::Prefill,
            nonce: None,
            key: None,
        };
        let backend = Arc::new(Backend::new(spec, Arc::default()).unwrap());
        let lend = |seconds| Lease::of(&backend, Duration::from_secs(seconds));
        let (first, second) = (lend(60), lend(30));
        assert_eq!((backend.in_flight(), backend.unfinished()), (0, 2));
        drop(first);
        assert_eq!(backend.unfinished(), 1);
        let third = lend(90);
        tokio::time::advance(Duration::from_secs(30)).await;
        assert_eq!(backend.unfinished(), 1);
        assert!(second.is_over() && !third.is_over());
        drop((second, third));
        assert_eq!(backend.unfinished(), 0);
    }
}
