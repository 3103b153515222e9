//! The state of a backend and its requests in flight, as one number: both are read, and one changed
//! by the other, without a lock.
//!
//! Reads and changes stand in one order with those of how many wait ([`Ordering::SeqCst`]): who leaves
//! sees who waits, or who waits sees that somebody left.

use std::sync::atomic::{AtomicU64, Ordering};

use super::control::BackendState;

/// The state takes the two highest bits, the count the rest.
const COUNT: u64 = u64::MAX >> 2;

/// Whether requests go to a backend, how many are in flight there, and how many may be.
#[derive(Debug)]
pub(super) struct Occupancy {
    both: AtomicU64,
    cap: AtomicU64,
}

impl Default for Occupancy {
    fn default() -> Self {
        Self {
            both: AtomicU64::default(),
            cap: AtomicU64::new(u64::MAX),
        }
    }
}

impl Occupancy {
    /// Both, at one moment.
    pub(super) fn read(&self) -> (BackendState, u64) {
        parts(self.both.load(Ordering::SeqCst))
    }

    /// Lets so many in from now on, whoever is in already; nothing for any number.
    pub(super) fn limit(&self, cap: Option<u64>) {
        self.cap.store(cap.unwrap_or(u64::MAX), Ordering::SeqCst);
    }

    /// Whether one more may enter.
    pub(super) fn has_room(&self) -> bool {
        let (state, count) = self.read();
        state == BackendState::Ready && count < self.cap()
    }

    fn cap(&self) -> u64 {
        self.cap.load(Ordering::SeqCst)
    }

    /// Changes the state, whatever the count is.
    pub(super) fn turn(&self, state: BackendState) {
        let turned = |both| Some(both & COUNT | bits(state));
        let _ = self
            .both
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, turned);
    }

    /// Counts one more, where requests go there, there is room for it and, if a number is given, that is
    /// still the count.
    pub(super) fn enter(&self, among: Option<u64>) -> bool {
        let cap = self.cap();
        let entered = |both| match parts(both) {
            (BackendState::Ready, count) if count < cap && among.is_none_or(|it| it == count) => {
                Some(both + 1)
            }
            _ => None,
        };
        let entered = self
            .both
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, entered);
        entered.is_ok()
    }

    /// Counts one less: whether it was the last.
    pub(super) fn leave(&self) -> bool {
        self.both.fetch_sub(1, Ordering::SeqCst) & COUNT == 1
    }
}

fn bits(state: BackendState) -> u64 {
    let bits: u64 = match state {
        BackendState::Pending => 0,
        BackendState::Ready => 1,
        BackendState::Draining => 2,
        BackendState::Ejected => 3,
    };
    bits << 62
}

fn parts(both: u64) -> (BackendState, u64) {
    let state = match both >> 62 {
        0 => BackendState::Pending,
        1 => BackendState::Ready,
        2 => BackendState::Draining,
        _ => BackendState::Ejected,
    };
    (state, both & COUNT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_enters_what_is_not_ready_or_has_changed() {
        let occupancy = Occupancy::default();
        assert!(!occupancy.enter(None));
        occupancy.turn(BackendState::Ready);
        assert!(occupancy.enter(None) && occupancy.enter(Some(1)) && !occupancy.enter(Some(1)));
        assert_eq!(occupancy.read(), (BackendState::Ready, 2));
        occupancy.turn(BackendState::Draining);
        assert!(!occupancy.enter(None) && !occupancy.enter(Some(2)));
        assert_eq!(occupancy.read(), (BackendState::Draining, 2));
        assert!(!occupancy.leave() && occupancy.leave());
        assert_eq!(occupancy.read(), (BackendState::Draining, 0));
    }

    #[test]
    fn as_many_enter_as_there_is_room_for_and_nobody_has_to_leave() {
        let occupancy = Occupancy::default();
        occupancy.turn(BackendState::Ready);
        occupancy.limit(Some(2));
        let enter = || occupancy.enter(None);
        assert!(enter() && enter() && !enter() && !occupancy.has_room());
        occupancy.limit(Some(1));
        assert!(!occupancy.leave() && !enter() && !occupancy.has_room());
        assert!(occupancy.leave() && occupancy.has_room() && enter());
        occupancy.limit(None);
        assert!(enter() && enter());
    }

    #[test]
    fn every_state_is_read_as_it_was_written() {
        let occupancy = Occupancy::default();
        for state in [
            BackendState::Ready,
            BackendState::Ejected,
            BackendState::Draining,
            BackendState::Pending,
        ] {
            occupancy.turn(state);
            assert_eq!(occupancy.read(), (state, 0));
        }
    }
}
