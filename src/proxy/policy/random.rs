//! Any instance, all alike likely.

use super::{Charge, Policy, Ready};
use crate::proxy::request_view::RequestView;

/// Throws a die for each request; it has no settings.
#[derive(Debug, Default)]
pub(in crate::proxy) struct Random;

impl Policy for Random {
    fn choose(&self, _: &RequestView<'_>, ready: &Ready<'_>) -> Option<Charge> {
        let turn = fastrand::usize(..ready.len().max(1));
        let claim = ready.from(turn).find_map(|backend| backend.claim(None))?;
        Some(claim.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::policy::tests::Fleet;

    #[test]
    fn every_instance_is_about_as_likely() {
        fastrand::seed(7);
        let fleet = Fleet::of(4);
        let mut seen = [0_u32; 4];
        for _ in 0..4000 {
            seen[fleet.pick(&Random)] += 1;
        }
        assert!(
            seen.iter().all(|&picks| (850..1150).contains(&picks)),
            "{seen:?}"
        );
    }
}
