//! What requests go by: the backends, the policy that chooses between them, and the bounds on waiting.
//!
//! A fleet does not change. Who changes the configuration puts another in its place, and a request that
//! has the old one finds its backends as they are.

use std::sync::Arc;
use std::time::Duration;

use super::access_log::AccessLog;
use super::backend::{Backend, count};
use super::control::{BackendState, Timeouts};
use super::exchange::Exchange;
use super::history::Rate;
use super::keys::ClientKeys;
use super::nonces::Nonces;
use super::part::Part;
use super::policy::{Charge, Policy, Ready, is_ready};
use super::pool::Refusal;
use super::read_ahead::ReadAhead;
use super::request_view::RequestView;

/// What requests go by.
#[derive(Debug)]
pub(super) struct Fleet {
    pub(super) exchange: Exchange,
    pub(super) policy: Arc<dyn Policy>,
    /// The same for who reads prompts for others. It remembers what those have read and whose turn it is, and
    /// nothing of who writes answers.
    pub(super) policy_of_readers: Arc<dyn Policy>,
    pub(super) client_keys: ClientKeys,
    pub(super) bounds: Bounds,
    /// How many requests may wait for each instance.
    pub(super) waiting: usize,
    /// How many may be in flight at each; nothing for any number.
    pub(super) in_flight: Option<u64>,
    /// The prompts that are read before anybody has room for their answers, whatever the fleet.
    pub(super) ahead: Arc<ReadAhead>,
    /// How long a prompt is at least that one instance reads for another, in tokens.
    pub(super) least_shared: u64,
    /// The members, in the order of the configuration.
    pub(super) backends: Vec<Arc<Backend>>,
    /// What no client is to know, of those too that are leaving.
    pub(super) nonces: Nonces,
    pub(super) telling: Telling,
}

/// What is told of each request, and to whom.
#[derive(Debug, Clone)]
pub(super) struct Telling {
    /// Whether the client is told which instance answered, and how long that took.
    pub(super) headers: bool,
    pub(super) access_log: Option<Arc<AccessLog>>,
}

impl Fleet {
    /// Chooses a backend that is ready and was not tried, and counts the request in. Where none is ready
    /// that has the role for it, any does: each of them can do all of the work.
    pub(super) fn claim(
        &self,
        request: &RequestView<'_>,
        tried: &[Arc<Backend>],
    ) -> Option<Charge> {
        let mut part = request.part();
        if part != Part::Whole && !self.has_ready_for(part) {
            part = Part::Whole;
        }
        let ready = Ready::for_part(&self.backends, part, tried);
        if !request.part().is_prefill() {
            return self.policy.choose(request, &ready);
        }
        let most = self.most_ahead();
        if most.is_some_and(|most| self.ahead.is_full(most)) {
            return None;
        }
        let mut charge = self.policy_of_readers.choose(request, &ready)?;
        if let Some(most) = most {
            // Who came first has the place: it calls the next when it leaves.
            charge.ahead = Some(self.ahead.enter(most)?);
        }
        Some(charge)
    }

    /// How much of its prompt has been read already by the one that would do all of it: from 0 to 1.
    pub(super) fn part_read(&self, request: &RequestView<'_>) -> f64 {
        let ready = Ready::for_part(&self.backends, Part::Alone, &[]);
        self.policy.part_read(request, &ready)
    }

    /// As many prompts are read ahead as there are places at who writes answers; any number, where that has
    /// any, or where nobody writes.
    fn most_ahead(&self) -> Option<u64> {
        let each = self.in_flight?;
        let writers = self.ready_for(Part::Decode).count() as u64;
        (writers > 0).then(|| each.saturating_mul(writers))
    }

    /// The members, in the order of the configuration.
    pub(super) fn members(&self) -> &[Arc<Backend>] {
        &self.backends
    }

    /// Whether anybody is ready who has the role for a part, be there room for another request or not.
    pub(super) fn has_ready_for(&self, part: Part) -> bool {
        self.ready_for(part).next().is_some()
    }

    /// Those that are ready and have the role for a part.
    pub(super) fn ready_for(&self, part: Part) -> impl Iterator<Item = &Arc<Backend>> {
        let members = self.backends.iter();
        members.filter(move |it| part.is_for(it.spec.role) && is_ready(it))
    }

    /// Whether what a backend has computed for others can be fetched from it still: it was not found gone,
    /// and no other process is in its place.
    pub(super) fn has_still(&self, backend: &Backend) -> bool {
        let spec = &backend.spec;
        let is_same = |it: &Backend| it.spec.nonce.is_some() && it.spec.nonce == spec.nonce;
        let mut named = self.backends.iter().filter(|it| it.spec.name == spec.name);
        !backend.is_out() && named.all(|it| it.id == backend.id || is_same(it))
    }

    /// Whether requests go to anybody, be there room for another or not.
    pub(super) fn has_ready(&self) -> bool {
        self.ready() > 0
    }

    /// Whether another request may go to somebody now.
    pub(super) fn has_room(&self) -> bool {
        let ready = Ready::for_part(&self.backends, Part::Whole, &[]);
        ready.iter().next().is_some()
    }

    /// How many requests may wait: so many for each instance that is ready, or for each that may become
    /// it where none is.
    pub(super) fn room_to_wait(&self) -> usize {
        let for_each = match self.ready() {
            0 => self.backends.len(),
            ready => ready,
        };
        self.waiting.saturating_mul(for_each)
    }

    fn ready(&self) -> usize {
        let states = self.backends.iter().map(|it| it.state());
        states.filter(|state| *state == BackendState::Ready).count()
    }

    /// Whether requests still have somewhere to go should one backend die; or there is but one anyhow.
    pub(super) fn can_spare_one(&self) -> bool {
        self.backends.len() == 1 || self.ready() > 1
    }

    /// Leaves a backend out for a while that fails far more than the others; never more than half of all.
    pub(super) fn set_aside_if_outlier(&self, backend: &Backend) {
        let others = self.backends.iter().filter(|it| it.id != backend.id);
        let others = others
            .map(|it| it.history.rate())
            .fold(Rate::NONE, Rate::and);
        let aside = self
            .backends
            .iter()
            .filter(|it| it.history.is_aside())
            .count();
        let rate = backend.history.rate();
        let is_one = rate.is_outlier_among(others) && !backend.history.is_aside();
        if is_one && (aside + 1) * 2 <= self.backends.len() {
            tracing::warn!(backend = %backend.spec.name, ?rate, ?others, "left out for a while");
            count(&backend.tally.left_out);
            backend.history.set_aside();
        }
    }
}

/// The bounds on waiting, ready for use.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    pub(super) connect: Duration,
    pub(super) idle: Duration,
    /// How long the beginning of a stream may be held back; nothing where none is.
    pub(super) gate: Option<Duration>,
    /// For a client to take something; nothing where the configuration does not say.
    pub(super) client: Option<Duration>,
    /// For a place at an instance, where all that are ready have as many requests as they may.
    pub(super) queue: Duration,
    /// For an instance to be ready, where none is; nothing where that is not waited for.
    pub(super) hold: Option<Duration>,
    /// For what a prefill instance has computed to be fetched; after that it holds it no longer.
    pub(super) lease: Duration,
}

/// vLLM 0.13 holds it so long, where it is not told otherwise.
const LEASE: f64 = 480.0;

impl TryFrom<&Timeouts> for Bounds {
    type Error = Refusal;

    fn try_from(timeouts: &Timeouts) -> Result<Self, Refusal> {
        Ok(Self {
            connect: bound("connect", timeouts.connect)?,
            idle: bound("idle", timeouts.idle)?,
            gate: bound_or_off("gate", timeouts.gate)?,
            client: timeouts.client.map(|it| bound("client", it)).transpose()?,
            queue: bound("queue", timeouts.queue)?,
            hold: bound_or_off("hold", timeouts.hold)?,
            lease: bound("lease", timeouts.lease.unwrap_or(LEASE))?,
        })
    }
}

fn bound_or_off(which: &'static str, seconds: f64) -> Result<Option<Duration>, Refusal> {
    match seconds {
        0.0 => Ok(None),
        seconds => bound(which, seconds).map(Some),
    }
}

fn bound(which: &'static str, seconds: f64) -> Result<Duration, Refusal> {
    // A year is for ever, and still fits into every clock.
    let longest = 365.0 * 24.0 * 3600.0;
    Duration::try_from_secs_f64(seconds.min(longest))
        .ok()
        .filter(|bound| !bound.is_zero())
        .ok_or_else(|| Refusal::Timeout {
            which,
            seconds: seconds.to_string(),
        })
}
