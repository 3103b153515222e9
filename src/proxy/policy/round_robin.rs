//! Each instance in turn.
//!
//! With weights the turns are nginx's smooth ones: each has its credit grow by its share, who has most is
//! chosen and pays for all. Of weights 5, 1 and 1 that makes `aabacaa`, and not `aaaaabc`; of equal ones it is
//! plain round robin.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::{Charge, LOOKS, Policy, Ready};
use crate::proxy::backend::{Backend, BackendId};
use crate::proxy::request_view::RequestView;

/// Keeps account of the turns; it has no settings.
#[derive(Debug, Default)]
pub(in crate::proxy) struct RoundRobin {
    /// Under a lock for as long as it takes to look at each instance once.
    credits: Mutex<BTreeMap<BackendId, f64>>,
}

impl Policy for RoundRobin {
    fn choose(&self, _: &RequestView<'_>, ready: &Ready<'_>) -> Option<Charge> {
        let credits = self.credits.lock();
        let mut credits = credits.unwrap_or_else(PoisonError::into_inner);
        if credits.len() > ready.members() {
            credits.retain(|id, _| ready.has_member(*id));
        }
        for _ in 0..LOOKS {
            let (backend, all) = next(&mut credits, ready)?;
            // Who cannot be claimed is not ready any more, and has no turn.
            if let Some(claim) = backend.claim(None) {
                *credits.entry(backend.id).or_default() -= all;
                return Some(claim.into());
            }
        }
        None
    }
}

/// The one on whose turn it is, and what the turn costs it.
fn next<'a>(
    credits: &mut BTreeMap<BackendId, f64>,
    ready: &Ready<'a>,
) -> Option<(&'a Arc<Backend>, f64)> {
    let mut all = 0.0;
    let mut first = None;
    for backend in ready.iter() {
        let share = backend.share.now();
        all += share;
        let credit = credits.entry(backend.id).or_default();
        *credit += share;
        if first.is_none_or(|(_, most)| *credit > most) {
            first = Some((backend, *credit));
        }
    }
    first.map(|(backend, _)| (backend, all))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::policy::tests::Fleet;

    fn picks(fleet: &Fleet, policy: &RoundRobin, count: usize) -> Vec<usize> {
        (0..count).map(|_| fleet.pick(policy)).collect()
    }

    #[test]
    fn every_instance_has_its_turn_whatever_its_load() {
        let (fleet, policy) = (Fleet::of(3), RoundRobin::default());
        let _busy: Vec<_> = (0..90).map(|_| fleet.occupy(0)).collect();
        assert_eq!(picks(&fleet, &policy, 6), [0, 1, 2, 0, 1, 2]);
    }

    #[test]
    fn those_with_more_turns_do_not_have_them_in_a_row() {
        let (fleet, policy) = (Fleet::of(3), RoundRobin::default());
        fleet.weigh(&[5, 1, 1]);
        assert_eq!(picks(&fleet, &policy, 7), [0, 0, 1, 0, 2, 0, 0]);
        assert_eq!(picks(&fleet, &policy, 7), [0, 0, 1, 0, 2, 0, 0]);
    }

    #[test]
    fn the_turns_of_who_is_out_are_shared_evenly() {
        let (fleet, policy) = (Fleet::of(4), RoundRobin::default());
        picks(&fleet, &policy, 6);
        fleet.at(1).eject("refused");
        let mut seen = [0; 4];
        for pick in picks(&fleet, &policy, 300) {
            seen[pick] += 1;
        }
        assert_eq!(seen[1], 0);
        let even = |place: usize| (99..=101).contains(&seen[place]);
        assert!([0, 2, 3].into_iter().all(even), "{seen:?}");
    }

    #[test]
    fn who_left_is_forgotten() {
        let policy = RoundRobin::default();
        for _ in 0..3 {
            picks(&Fleet::of(2), &policy, 4);
        }
        assert!(policy.credits.lock().unwrap().len() <= 4);
    }
}
