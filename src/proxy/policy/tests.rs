use bytes::Bytes;

use super::*;
use crate::proxy::control;

/// Backends that were seen.
pub(super) struct Fleet(Vec<Arc<Backend>>);

impl Fleet {
    pub(super) fn of(count: usize) -> Self {
        let backend = |place: usize| {
            let spec = control::Backend {
                name: place.to_string(),
                authority: "127.0.0.1:1".to_owned(),
                nonce: Some(format!("replica-{place}")),
                key: None,
            };
            let backend = Arc::new(Backend::new(spec, Arc::default()).unwrap());
            backend.seen();
            backend
        };
        Self((0..count).map(backend).collect())
    }

    /// A request of somebody else's.
    pub(super) fn occupy(&self, place: usize) -> Claim {
        self.0[place].claim(None).unwrap()
    }

    pub(super) fn choose(&self, policy: &dyn Policy) -> Charge {
        self.choose_for(policy, "{}")
    }

    pub(super) fn choose_for(&self, policy: &dyn Policy, body: &str) -> Charge {
        let body = Bytes::from(body.to_owned());
        let view = RequestView::new(Some(&body));
        policy.choose(&view, &Ready::of(&self.0, &[])).unwrap()
    }

    /// Where the next request goes, which is over at once.
    pub(super) fn pick(&self, policy: &dyn Policy) -> usize {
        self.choose(policy).claim.spec.name.parse().unwrap()
    }

    pub(super) fn in_flight(&self) -> Vec<u64> {
        self.0.iter().map(|backend| backend.in_flight()).collect()
    }
}

const ALL: [PolicySpec; 5] = [
    PolicySpec::RoundRobin,
    PolicySpec::LeastConnections,
    PolicySpec::TwoChoices,
    PolicySpec::OutstandingTokens,
    PolicySpec::Random,
];

/// What holds for every policy.
#[test]
fn only_who_is_ready_and_untried_is_chosen_and_everything_is_given_back() {
    for spec in ALL {
        let (fleet, policy) = (Fleet::of(4), spec.build());
        fleet.0[1].drain();
        fleet.0[2].eject("refused");
        let view = RequestView::new(None);
        let ready = Ready::of(&fleet.0, &fleet.0[..1]);
        let held: Vec<_> = (0..20).map(|_| policy.choose(&view, &ready)).collect();
        assert_eq!(fleet.in_flight(), [0, 0, 0, 20], "{spec:?}");
        // Between the look and the choice it was told to drain.
        fleet.0[3].drain();
        assert!(policy.choose(&view, &ready).is_none(), "{spec:?}");
        assert!(
            policy
                .choose(&view, &Ready::of(&fleet.0, &fleet.0[..1]))
                .is_none()
        );
        drop(held);
        assert_eq!(fleet.in_flight(), [0; 4], "{spec:?}");
    }
}
