//! Of two instances that are drawn, the one with fewer requests in flight (Mitzenmacher, "The Power of
//! Two Choices in Randomized Load Balancing", 2001): nearly as even as the least of all, and nobody
//! who comes back is overrun by everybody at once.

use super::{Charge, Policy, Ready};
use crate::proxy::request_view::RequestView;

/// Draws two for each request; it has no settings.
#[derive(Debug, Default)]
pub(in crate::proxy) struct TwoChoices;

impl Policy for TwoChoices {
    fn choose(&self, _: &RequestView<'_>, ready: &Ready<'_>) -> Option<Charge> {
        if ready.is_empty() {
            return None;
        }
        let one = fastrand::usize(..ready.len());
        // Another one, where there is another.
        let away = fastrand::usize(..ready.len().max(2) - 1) + 1;
        let other = (one + away) % ready.len();
        let (one, other) = (ready.at(one), ready.at(other));
        let (less, more) = if other.in_flight() < one.in_flight() {
            (other, one)
        } else {
            (one, other)
        };
        let claim = less.claim(None).or_else(|| more.claim(None));
        let any = || ready.from(0).find_map(|backend| backend.claim(None));
        Some(claim.or_else(any)?.into())
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
    fn the_only_one_is_chosen() {
        assert_eq!(Fleet::of(1).pick(&TwoChoices), 0);
    }
}
