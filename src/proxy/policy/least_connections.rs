//! The instance with the fewest requests in flight.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::{Candidate, Policy};

/// Compares requests in flight, which are counted to the last byte of the answer, and gives equals
/// their turns: without the turns an idle fleet would send everything to its first instance.
#[derive(Debug, Default)]
pub struct LeastConnections {
    turn: AtomicUsize,
}

impl Policy for LeastConnections {
    fn pick(&self, ready: &[Candidate]) -> Option<usize> {
        let start = self
            .turn
            .fetch_add(1, Ordering::Relaxed)
            .checked_rem(ready.len())?;
        // `min_by_key` keeps the first of equals, so the walk's start decides between them.
        (start..ready.len())
            .chain(0..start)
            .min_by_key(|&at| ready[at].in_flight)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::policy::idle_candidates;

    #[test]
    fn the_least_loaded_is_picked_whatever_the_turn() {
        let policy = LeastConnections::default();
        let ready = [3, 1, 2].map(|in_flight| Candidate { in_flight });
        for _ in 0..10 {
            assert_eq!(policy.pick(&ready), Some(1));
        }
    }

    #[test]
    fn equals_take_turns() {
        let policy = LeastConnections::default();
        let mut seen = [0; 3];
        for _ in 0..9 {
            seen[policy.pick(&idle_candidates(3)).unwrap()] += 1;
        }
        assert_eq!(seen, [3, 3, 3]);
    }

    #[test]
    fn a_burst_is_spread_evenly_when_each_pick_is_counted() {
        let policy = LeastConnections::default();
        let mut ready = idle_candidates(4);
        for _ in 0..400 {
            let at = policy.pick(&ready).unwrap();
            ready[at].in_flight += 1;
        }
        assert!(ready.iter().all(|candidate| candidate.in_flight == 100));
    }

    #[test]
    fn nobody_ready_is_nobody_picked() {
        assert_eq!(LeastConnections::default().pick(&[]), None);
    }
}
