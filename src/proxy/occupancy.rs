//! The state of a backend and its requests in flight, as one number: both are read, and one changed
//! by the other, without a lock.

use std::sync::atomic::{AtomicU64, Ordering};

use super::control::BackendState;

/// The state takes the two highest bits, the count the rest.
const COUNT: u64 = u64::MAX >> 2;

/// Whether requests go to a backend, and how many are in flight there.
#[derive(Debug, Default)]
pub(super) struct Occupancy(AtomicU64);

impl Occupancy {
    /// Both, at one moment.
    pub(super) fn read(&self) -> (BackendState, u64) {
        parts(self.0.load(Ordering::Acquire))
    }

    /// Changes the state, whatever the count is.
    pub(super) fn turn(&self, state: BackendState) {
        let turned = |both| Some(both & COUNT | bits(state));
        let _ = self
            .0
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, turned);
    }

    /// Counts one more, where requests go there and, if a number is given, it is still the count.
    pub(super) fn enter(&self, among: Option<u64>) -> bool {
        let entered = |both| match parts(both) {
            (BackendState::Ready, count) if among.is_none_or(|it| it == count) => Some(both + 1),
            _ => None,
        };
        let entered = self
            .0
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, entered);
        entered.is_ok()
    }

    /// Counts one less: whether it was the last.
    pub(super) fn leave(&self) -> bool {
        self.0.fetch_sub(1, Ordering::AcqRel) & COUNT == 1
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
