//! Each instance in turn.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::{Candidate, Policy};

/// Counts the turns; it has no settings.
#[derive(Debug, Default)]
pub struct RoundRobin {
    turn: AtomicUsize,
}

impl Policy for RoundRobin {
    fn pick(&self, ready: &[Candidate]) -> Option<usize> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        turn.checked_rem(ready.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::policy::idle_candidates;

    #[test]
    fn every_instance_has_its_turn() {
        let policy = RoundRobin::default();
        let picks: Vec<_> = (0..6)
            .map(|_| policy.pick(&idle_candidates(3)).unwrap())
            .collect();
        assert_eq!(picks, [0, 1, 2, 0, 1, 2]);
    }

    #[test]
    fn load_does_not_matter() {
        let policy = RoundRobin::default();
        let loaded = [Candidate { in_flight: 900 }, Candidate { in_flight: 0 }];
        assert_eq!(policy.pick(&loaded), Some(0));
        assert_eq!(policy.pick(&loaded), Some(1));
    }

    #[test]
    fn nobody_ready_is_nobody_picked() {
        assert_eq!(RoundRobin::default().pick(&[]), None);
    }
}
