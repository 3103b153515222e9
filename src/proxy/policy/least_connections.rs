//! The instance with the fewest requests in flight.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::{Charge, Policy, Ready, crowd};
use crate::proxy::request_view::RequestView;

/// Compares requests in flight, which are counted to the last byte of the answer, for the shares that
/// instances are to have, and gives equals their turns: without the turns an idle fleet would send
/// everything to its first instance.
#[derive(Debug, Default)]
pub(in crate::proxy) struct LeastConnections {
    turn: AtomicUsize,
}

impl Policy for LeastConnections {
    fn choose(&self, _: &RequestView<'_>, ready: &Ready<'_>) -> Option<Charge> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let claim = ready.claim_least(turn, crowd)?;
        Some(claim.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::policy::tests::Fleet;

    #[test]
    fn the_least_loaded_is_picked_whatever_the_turn() {
        let (fleet, policy) = (Fleet::of(3), LeastConnections::default());
        let _busy = [0, 0, 0, 2, 2].map(|place| fleet.occupy(place));
        for _ in 0..10 {
            assert_eq!(fleet.pick(&policy), 1);
        }
    }

    #[test]
    fn equals_take_turns() {
        let (fleet, policy) = (Fleet::of(3), LeastConnections::default());
        let mut seen = [0; 3];
        for _ in 0..9 {
            seen[fleet.pick(&policy)] += 1;
        }
        assert_eq!(seen, [3, 3, 3]);
    }

    #[test]
    fn who_is_to_have_more_has_more_in_flight() {
        let (fleet, policy) = (Fleet::of(3), LeastConnections::default());
        fleet.weigh(&[1, 2, 3]);
        let _held: Vec<_> = (0..60).map(|_| fleet.choose(&policy)).collect();
        assert_eq!(fleet.in_flight(), [10, 20, 30]);
    }

    #[test]
    fn those_of_equals_who_are_left_take_turns_evenly() {
        let (fleet, policy) = (Fleet::of(3), LeastConnections::default());
        let _busy = fleet.occupy(1);
        let mut seen = [0; 3];
        for _ in 0..10 {
            seen[fleet.pick(&policy)] += 1;
        }
        assert_eq!(seen, [5, 0, 5]);
    }

    /// Each is counted in as it is chosen: no two of those who choose at once see the same idle one.
    #[test]
    fn a_burst_from_all_sides_is_spread_evenly() {
        let (fleet, policy) = (Fleet::of(4), LeastConnections::default());
        let burst = || (0..100).map(|_| fleet.choose(&policy)).collect::<Vec<_>>();
        let held: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(burst)).collect();
            threads.into_iter().map(|it| it.join().unwrap()).collect()
        });
        assert_eq!(fleet.in_flight(), [100; 4]);
        drop(held);
        assert_eq!(fleet.in_flight(), [0; 4]);
    }
}
