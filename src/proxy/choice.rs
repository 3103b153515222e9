//! Which instance a proxy would choose, without a proxy: for who plays through what servers will do.
//!
//! The policies are those of the proxy. What is in flight is what was chosen and was not let go of.

use std::sync::Arc;

use bytes::Bytes;
use hyper::header::HeaderMap;

use super::backend::Backend;
use super::control;
use super::exchange::Exchange;
pub(crate) use super::part::Part;
use super::policy::{Charge, Policy, PolicySpec, Ready};
pub(crate) use super::read_ahead::Ahead;
use super::read_ahead::ReadAhead;
use super::request_view::RequestView;
use crate::plan::Role;

/// Whether a policy looks at what is asked.
pub(crate) fn reads_what_is_asked(policy: &PolicySpec) -> bool {
    match policy {
        PolicySpec::RoundRobin
        | PolicySpec::LeastConnections
        | PolicySpec::TwoChoices
        | PolicySpec::Random => false,
        PolicySpec::OutstandingTokens | PolicySpec::Session(_) | PolicySpec::Prefix(_) => true,
    }
}

/// An instance that can be chosen.
#[derive(Debug, Clone)]
pub(crate) struct Candidate {
    pub(crate) name: String,
    pub(crate) role: Role,
    pub(crate) weight: u32,
    /// In flight there at most.
    pub(crate) most: Option<u64>,
}

/// A policy, and the instances that it chooses among: all are ready, and stay so.
#[derive(Debug)]
pub(crate) struct Choices {
    backends: Vec<Arc<Backend>>,
    exchange: Exchange,
    policy: Arc<dyn Policy>,
    policy_of_readers: Arc<dyn Policy>,
    ahead: Arc<ReadAhead>,
    /// As many prompts are read ahead at most.
    most_ahead: Option<u64>,
}

/// A request at the instance that was chosen for it; it is in flight there until this is dropped.
#[derive(Debug)]
pub(crate) struct Chosen {
    /// The place among the candidates.
    pub(crate) place: usize,
    charge: Charge,
}

impl Chosen {
    /// Lets go of the instance, and keeps the place among the prompts that are read ahead.
    pub(crate) fn ahead(mut self) -> Option<Ahead> {
        self.charge.ahead.take()
    }
}

impl Choices {
    /// A proxy's choices among these. Nothing where one has a name that no proxy can be told.
    pub(crate) fn of(policy: &PolicySpec, among: &[Candidate]) -> Option<Self> {
        let backends = among.iter().map(backend).collect::<Option<Vec<_>>>()?;
        let writers = among.iter().filter(|it| it.role.decodes());
        let places: Option<u64> = writers.map(|it| it.most).sum();
        Some(Self {
            exchange: Exchange::of(among.iter().map(|it| it.role)),
            policy: policy.build(),
            policy_of_readers: policy.build(),
            ahead: ReadAhead::before(&Arc::default()),
            most_ahead: places.filter(|places| *places > 0),
            backends,
        })
    }

    /// Whether one instance reads prompts and another writes the answers.
    pub(crate) fn splits(&self) -> bool {
        self.exchange == Exchange::PrefillDecode
    }

    /// Whether somebody else can go on with what this one has read.
    pub(crate) fn can_share_with(&self, reader: usize) -> bool {
        let is_writer = |it: &Arc<Backend>| Part::Decode.is_for(it.spec.role);
        let mut others = self.backends.iter().enumerate();
        self.backends[reader].spec.role.prefills()
            && others.any(|(place, it)| place != reader && is_writer(it))
    }

    /// How much of its prompt has been read already by the one that would do all of it: from 0 to 1.
    pub(crate) fn part_read(&self, body: &Bytes) -> f64 {
        let headers = HeaderMap::new();
        let view = RequestView::new(&headers, Some(body)).for_part(Part::Alone);
        let ready = Ready::for_part(&self.backends, Part::Alone, &[]);
        self.policy.part_read(&view, &ready)
    }

    /// Chooses an instance for a part of a request with this body, and never this one; nothing where none
    /// has room.
    pub(crate) fn choose(
        &self,
        part: Part,
        body: &Bytes,
        besides: Option<usize>,
    ) -> Option<Chosen> {
        let headers = HeaderMap::new();
        let view = RequestView::new(&headers, Some(body)).for_part(part);
        let has_role = self.backends.iter().any(|it| part.is_for(it.spec.role));
        let among = if has_role { part } else { Part::Whole };
        let besides = besides.map_or(&[][..], |place| &self.backends[place..=place]);
        let ready = Ready::for_part(&self.backends, among, besides);
        let policy = if part.is_prefill() {
            &self.policy_of_readers
        } else {
            &self.policy
        };
        let most = self.most_ahead.filter(|_| part.is_prefill());
        if most.is_some_and(|most| self.ahead.is_full(most)) {
            return None;
        }
        let mut charge = policy.choose(&view, &ready)?;
        charge.ahead = most.and_then(|most| self.ahead.enter(most));
        let mut places = self.backends.iter();
        Some(Chosen {
            place: places.position(|it| it.id == charge.claim.id)?,
            charge,
        })
    }
}

/// One that is ready, and begins with its whole share.
fn backend(candidate: &Candidate) -> Option<Arc<Backend>> {
    let spec = control::Backend {
        name: candidate.name.clone(),
        authority: "127.0.0.1:1".to_owned(),
        role: candidate.role,
        nonce: None,
        key: None,
    };
    let backend = Backend::new(spec, Arc::default()).ok()?;
    backend.share.weigh(candidate.weight);
    backend.share.begin(false);
    backend.limit(candidate.most);
    backend.seen();
    Some(Arc::new(backend))
}
