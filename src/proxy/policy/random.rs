//! Any instance, all alike likely.

use super::{Candidate, Policy};

/// Throws a die for each request; it has no settings.
#[derive(Debug, Default)]
pub struct Random;

impl Policy for Random {
    fn pick(&self, ready: &[Candidate]) -> Option<usize> {
        (!ready.is_empty()).then(|| fastrand::usize(..ready.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::policy::idle_candidates;

    #[test]
    fn every_instance_is_about_as_likely() {
        fastrand::seed(7);
        let mut seen = [0_u32; 4];
        for _ in 0..4000 {
            seen[Random.pick(&idle_candidates(4)).unwrap()] += 1;
        }
        assert!(
            seen.iter().all(|&picks| (850..1150).contains(&picks)),
            "{seen:?}"
        );
    }

    #[test]
    fn nobody_ready_is_nobody_picked() {
        assert_eq!(Random.pick(&[]), None);
    }
}
