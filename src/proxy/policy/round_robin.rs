//! Each instance in turn.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::{Charge, Policy, Ready};
use crate::proxy::request_view::RequestView;

/// Counts the turns; it has no settings.
#[derive(Debug, Default)]
pub(in crate::proxy) struct RoundRobin {
    turn: AtomicUsize,
}

impl Policy for RoundRobin {
    fn choose(&self, _: &RequestView<'_>, ready: &Ready<'_>) -> Option<Charge> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let claim = ready.from(turn).find_map(|backend| backend.claim(None))?;
        Some(claim.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::policy::tests::Fleet;

    #[test]
    fn every_instance_has_its_turn_whatever_its_load() {
        let (fleet, policy) = (Fleet::of(3), RoundRobin::default());
        let _busy: Vec<_> = (0..90).map(|_| fleet.occupy(0)).collect();
        let picks: Vec<_> = (0..6).map(|_| fleet.pick(&policy)).collect();
        assert_eq!(picks, [0, 1, 2, 0, 1, 2]);
    }
}
