//! Laws of all policies, and simulations: no sockets, a time of their own, a seed, and engines that are
//! much simplified.

mod bounded_sessions;
mod death_spiral;
mod engine;
mod hit_rate;
mod hotspot;
mod restarted;

use bytes::Bytes;
use hyper::header::{HeaderMap, HeaderName};

use super::*;
use crate::plan::Role;
use crate::proxy::control;

/// Backends that were seen.
pub(super) struct Fleet(Vec<Arc<Backend>>);

fn backend(place: usize) -> Arc<Backend> {
    let spec = control::Backend {
        name: place.to_string(),
        authority: "127.0.0.1:1".to_owned(),
        role: Role::Both,
        nonce: Some(format!("replica-{place}")),
        key: None,
    };
    Arc::new(Backend::new(spec, Arc::default()).unwrap())
}

impl Fleet {
    pub(super) fn of(count: usize) -> Self {
        let backends: Vec<_> = (0..count).map(backend).collect();
        for backend in &backends {
            backend.seen();
        }
        Self(backends)
    }

    /// Puts another epoch in the place of one, which is not seen yet.
    pub(super) fn restart(&mut self, place: usize) {
        self.0[place].drain();
        self.0[place] = backend(place);
    }

    /// A request of somebody else's.
    pub(super) fn occupy(&self, place: usize) -> Claim {
        self.0[place].claim(None).unwrap()
    }

    /// One of them.
    pub(super) fn at(&self, place: usize) -> &Arc<Backend> {
        &self.0[place]
    }

    /// Gives each its weight.
    pub(super) fn weigh(&self, weights: &[u32]) {
        for (backend, weight) in self.0.iter().zip(weights) {
            backend.share.weigh(*weight);
        }
    }

    pub(super) fn choose(&self, policy: &dyn Policy) -> Charge {
        self.choose_for(policy, "{}")
    }

    pub(super) fn choose_for(&self, policy: &dyn Policy, body: &str) -> Charge {
        self.choose_with(policy, &[], body)
    }

    /// How much of a prompt who is chosen next has read.
    pub(super) fn part_read(&self, policy: &dyn Policy, body: &str) -> f64 {
        let (headers, body) = (HeaderMap::new(), Bytes::from(body.to_owned()));
        let view = RequestView::new(&headers, Some(&body)).for_part(Part::Alone);
        policy.part_read(&view, &Ready::for_part(&self.0, Part::Alone, &[]))
    }

    /// A choice for a request with such headers and such a body.
    pub(super) fn choose_with(
        &self,
        policy: &dyn Policy,
        headers: &[(&'static str, &str)],
        body: &str,
    ) -> Charge {
        let headers = headers
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()))
            .collect();
        let body = Bytes::from(body.to_owned());
        let view = RequestView::new(&headers, Some(&body));
        policy.choose(&view, &Ready::of(&self.0, &[])).unwrap()
    }

    /// Where the next request goes, which is over at once.
    pub(super) fn pick(&self, policy: &dyn Policy) -> usize {
        self.pick_for(policy, "{}")
    }

    pub(super) fn pick_for(&self, policy: &dyn Policy, body: &str) -> usize {
        self.pick_with(policy, &[], body)
    }

    pub(super) fn pick_with(
        &self,
        policy: &dyn Policy,
        headers: &[(&'static str, &str)],
        body: &str,
    ) -> usize {
        let charge = self.choose_with(policy, headers, body);
        charge.claim.spec.name.parse().unwrap()
    }

    pub(super) fn in_flight(&self) -> Vec<u64> {
        self.0.iter().map(|backend| backend.in_flight()).collect()
    }
}

fn all() -> impl Iterator<Item = PolicySpec> {
    let named = |name: &&str| PolicySpec::named(name).unwrap();
    PolicySpec::NAMES.iter().map(named)
}

#[test]
fn every_policy_is_called_what_it_is_written() {
    for spec in all() {
        let written = json!(spec);
        let name = written.as_str().or_else(|| {
            let with_settings = written.as_object()?;
            with_settings.keys().next().map(String::as_str)
        });
        assert_eq!(name, Some(spec.name()));
        assert_eq!(
            serde_json::from_value::<PolicySpec>(written.clone()).unwrap(),
            spec
        );
    }
    assert_eq!(PolicySpec::named("luck"), None);
}

/// What holds for every policy, whoever chooses at once.
#[test]
fn nobody_is_given_more_than_it_may_have_and_all_that_it_may_is_given() {
    for spec in all() {
        let (fleet, policy) = (Fleet::of(3), spec.build());
        for (place, in_flight) in [2, 5, 1].into_iter().enumerate() {
            fleet.at(place).limit(Some(in_flight));
        }
        let choose = || {
            let headers = HeaderMap::new();
            let view = RequestView::new(&headers, None);
            policy.choose(&view, &Ready::of(&fleet.0, &[]))
        };
        let burst = || (0..20).filter_map(|_| choose()).collect::<Vec<_>>();
        let held: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(burst)).collect();
            threads
                .into_iter()
                .flat_map(|it| it.join().unwrap())
                .collect()
        });
        assert_eq!(fleet.in_flight(), [2, 5, 1], "{spec:?}");
        drop(held);
        assert_eq!(fleet.in_flight(), [0; 3], "{spec:?}");
    }
}

/// What holds for every policy.
#[test]
fn only_who_is_ready_and_untried_is_chosen_and_everything_is_given_back() {
    for spec in all() {
        let (fleet, policy) = (Fleet::of(4), spec.build());
        fleet.0[1].drain();
        fleet.0[2].eject("refused");
        let headers = HeaderMap::new();
        let view = RequestView::new(&headers, None);
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
