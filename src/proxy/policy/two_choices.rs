//! Of two instances that are drawn, the one with fewer requests in flight (Mitzenmacher, "The Power of
//! Two Choices in Randomized Load Balancing", 2001): nearly as even as the least of all, and nobody
//! who comes back is overrun by everybody at once.

use super::{Charge, LOOKS, Policy, Ready, crowd};
use crate::proxy::request_view::RequestView;

/// Draws two for each request; it has no settings.
#[derive(Debug, Default)]
pub(in crate::proxy) struct TwoChoices;

impl Policy for TwoChoices {
    fn choose(&self, _: &RequestView<'_>, ready: &Ready<'_>) -> Option<Charge> {
        for _ in 0..LOOKS {
            let one = ready.draw(None)?;
            // The only one is its own other.
            let other = ready.draw(Some(one.id)).unwrap_or(one);
            let is_less = crowd(other, other.in_flight()) < crowd(one, one.in_flight());
            let less = if is_less { other } else { one };
            // Who cannot be claimed is not ready any more, and is not drawn again.
            if let Some(claim) = less.claim(None) {
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
    fn a_burst_is_nearly_even() {
        fastrand::seed(7);
        let fleet = Fleet::of(8);
        let _held: Vec<_> = (0..800).map(|_| fleet.choose(&TwoChoices)).collect();
        let in_flight = fleet.in_flight();
        assert!(
            in_flight.iter().all(|it| (97..=103).contains(it)),
            "{in_flight:?}"
        );
    }

    #[test]
    fn who_comes_back_idle_gets_its_share_and_a_little_more() {
        fastrand::seed(7);
        let fleet = Fleet::of(4);
        let _busy: Vec<_> = (0..150).map(|it| fleet.occupy(1 + it % 3)).collect();
        let picks = (0..1000).filter(|_| fleet.pick(&TwoChoices) == 0).count();
        assert!(
            (450..550).contains(&picks),
            "{picks}: half of all draws have it"
        );
    }

    #[test]
    fn who_is_to_have_more_has_more_in_flight() {
        fastrand::seed(7);
        let fleet = Fleet::of(3);
        fleet.weigh(&[1, 1, 2]);
        let _held: Vec<_> = (0..400).map(|_| fleet.choose(&TwoChoices)).collect();
        let in_flight = fleet.in_flight();
        assert!((180..=220).contains(&in_flight[2]), "{in_flight:?}");
    }

    #[test]
    fn the_only_one_is_chosen() {
        assert_eq!(Fleet::of(1).pick(&TwoChoices), 0);
    }
}
