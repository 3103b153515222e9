//! Any instance, each as likely as its share is large.

use super::{Charge, LOOKS, Policy, Ready};
use crate::proxy::request_view::RequestView;

/// Throws a die for each request; it has no settings.
#[derive(Debug, Default)]
pub(in crate::proxy) struct Random;

impl Policy for Random {
    fn choose(&self, _: &RequestView<'_>, ready: &Ready<'_>) -> Option<Charge> {
        for _ in 0..LOOKS {
            // Who cannot be claimed is not ready any more, and is not drawn again.
            if let Some(claim) = ready.draw(None)?.claim(None) {
                return Some(claim.into());
            }
        }
        None
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

    #[test]
    fn who_is_to_have_more_is_the_more_likely() {
        fastrand::seed(7);
        let fleet = Fleet::of(2);
        fleet.weigh(&[1, 3]);
        let more = (0..4000).filter(|_| fleet.pick(&Random) == 1).count();
        assert!((2900..3100).contains(&more), "{more}");
    }
}
