//! The requests of a round, made before they are sent: the thread that sends and stamps writes no
//! bodies, however long their prompts are.
//!
//! As many as fit are made before the round begins, and a thread goes on with the rest while they
//! are sent. What is not there in time is made when it is asked for: it is the same.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::client::Message;
use super::request::{Place, Requests};

/// As many bytes of bodies as wait to be sent.
const MOST_BYTES: usize = 32 << 20;

/// The requests of one round.
pub(super) struct Ahead {
    requests: Requests,
    place: Place,
    shared: Arc<Shared>,
}

struct Shared {
    store: Mutex<Store>,
    changed: Condvar,
    most_bytes: usize,
}

#[derive(Default)]
struct Store {
    made: BTreeMap<u32, Message>,
    bytes: usize,
    /// The next that is to be made; those below it were made or are not wanted any more.
    next: u32,
    end: u32,
    is_over: bool,
}

impl Ahead {
    /// Begins to make the first `count` requests of a round, and returns when those that fit are
    /// there.
    pub(super) fn of(requests: &Requests, place: Place, count: u32) -> Self {
        Self::within(MOST_BYTES, requests, place, count)
    }

    fn within(most_bytes: usize, requests: &Requests, place: Place, count: u32) -> Self {
        let ahead = Self {
            requests: requests.clone(),
            place,
            shared: Arc::new(Shared {
                store: Mutex::new(Store {
                    end: count,
                    ..Store::default()
                }),
                changed: Condvar::new(),
                most_bytes,
            }),
        };
        let (requests, shared) = (requests.clone(), Arc::clone(&ahead.shared));
        let maker = std::thread::Builder::new().name("bodies".to_owned());
        let begun = maker.spawn(move || shared.make(&requests, place));
        if begun.is_ok() {
            ahead.shared.wait_until_filled();
        }
        ahead
    }

    /// Request `index`.
    pub(super) fn take(&self, index: u32) -> Message {
        let made = self.shared.take(index);
        made.unwrap_or_else(|| self.requests.measured(self.place, index))
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        self.shared.lock().is_over = true;
        self.shared.changed.notify_all();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait(&self, is_early: impl Fn(&Store) -> bool) -> MutexGuard<'_, Store> {
        let store = self.lock();
        let waited = self.changed.wait_while(store, |store| is_early(store));
        waited.unwrap_or_else(PoisonError::into_inner)
    }

    fn is_full(&self, store: &Store) -> bool {
        store.bytes >= self.most_bytes
    }

    fn wait_until_filled(&self) {
        drop(self.wait(|it| !it.is_over && it.next < it.end && !self.is_full(it)));
    }

    fn make(&self, requests: &Requests, place: Place) {
        loop {
            let index = {
                let store = self.wait(|it| !it.is_over && self.is_full(it));
                if store.is_over || store.next >= store.end {
                    return;
                }
                store.next
            };
            let message = requests.measured(place, index);
            let mut store = self.lock();
            // It may have been asked for, and made there, meanwhile.
            if store.next == index {
                store.next += 1;
                store.bytes += message.body.len();
                store.made.insert(index, message);
            }
            drop(store);
            self.changed.notify_all();
        }
    }

    fn take(&self, index: u32) -> Option<Message> {
        let mut store = self.lock();
        let made = store.made.remove(&index);
        match &made {
            Some(message) => store.bytes -= message.body.len(),
            None => store.next = store.next.max(index.saturating_add(1)),
        }
        drop(store);
        self.changed.notify_all();
        made
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::scenarios::requests;

    const PLACE: Place = Place { point: 0, round: 2 };

    fn is_the_same(ahead: &Ahead, requests: &Requests, index: u32) {
        let (taken, made) = (ahead.take(index), requests.measured(PLACE, index));
        assert_eq!((taken.id, taken.body), (made.id, made.body));
    }

    #[tokio::test]
    async fn what_is_made_before_is_what_would_be_made_then() {
        let requests = requests().await;
        let ahead = Ahead::of(&requests, PLACE, 20);
        assert_eq!(ahead.shared.lock().made.len(), 20);
        for index in [0, 2, 1, 19, 3] {
            is_the_same(&ahead, &requests, index);
        }
        // More than was foreseen, and again.
        is_the_same(&ahead, &requests, 20);
        is_the_same(&ahead, &requests, 0);
    }

    #[tokio::test]
    async fn no_more_wait_than_fit_and_all_come() {
        let requests = requests().await;
        let lengths = (0..50).map(|index| requests.measured(PLACE, index).body.len());
        let one = lengths.max().unwrap();
        let ahead = Ahead::within(one * 3, &requests, PLACE, 50);
        assert!(ahead.shared.lock().bytes <= one * 4);
        for index in 0..50 {
            is_the_same(&ahead, &requests, index);
            assert!(ahead.shared.lock().bytes <= one * 4);
        }
    }
}
