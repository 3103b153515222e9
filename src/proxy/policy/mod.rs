//! How a backend is chosen: one file a policy, and its line in the list below.
//!
//! A policy sees the request and the backends that it may go to, chooses one and counts the request in
//! there in one step. What it returns is held until the answer is over: so it hears of the end, too.

mod least_connections;
mod outstanding_tokens;
mod random;
mod round_robin;
mod two_choices;

use std::any::Any;
use std::fmt::Debug;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::backend::{Backend, Claim};
use super::control::BackendState;
use super::request_view::RequestView;

/// Makes of the list of policies what a manifest can name, and what it names.
macro_rules! policies {
    ($($(#[$what:meta])* $module:ident::$Policy:ident,)+) => {
        /// The policies a manifest can name.
        #[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
        #[serde(rename_all = "snake_case")]
        pub enum PolicySpec {
            $($(#[$what])* $Policy,)+
        }

        impl PolicySpec {
            /// The policy that it names, with nothing remembered yet.
            pub(super) fn build(&self) -> Arc<dyn Policy> {
                match self {
                    $(Self::$Policy => Arc::<$module::$Policy>::default(),)+
                }
            }
        }
    };
}

policies! {
    /// Each instance in turn.
    #[default]
    round_robin::RoundRobin,
    /// The instance with the fewest requests in flight; the first of equals in turn.
    least_connections::LeastConnections,
    /// Of two that are drawn, the one with fewer requests in flight.
    two_choices::TwoChoices,
    /// The instance with the fewest tokens still to be read and written, by the length of prompts and
    /// `max_tokens`.
    outstanding_tokens::OutstandingTokens,
    /// Any instance, all alike likely.
    random::Random,
}

/// Chooses a backend for a request.
pub(super) trait Policy: Debug + Send + Sync {
    /// Chooses one of these and counts the request in there; nothing if there is none. Where it is no
    /// longer as it was when it was looked at, another look is taken.
    fn choose(&self, request: &RequestView<'_>, ready: &Ready<'_>) -> Option<Charge>;
}

/// The backends that a request may go to.
#[derive(Debug)]
pub(super) struct Ready<'a>(Vec<&'a Arc<Backend>>);

impl<'a> Ready<'a> {
    /// Those of a fleet that are ready and were not tried.
    pub(super) fn of(fleet: &'a [Arc<Backend>], tried: &[Arc<Backend>]) -> Self {
        let was_tried = |backend: &Arc<Backend>| tried.iter().any(|it| Arc::ptr_eq(it, backend));
        let ready = fleet.iter().filter(|it| it.state() == BackendState::Ready);
        Self(ready.filter(|backend| !was_tried(backend)).collect())
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All of them, from the one on whose turn it is.
    pub(super) fn from(&self, turn: usize) -> impl Iterator<Item = &'a Arc<Backend>> {
        let (before, after) = self.0.split_at(turn % self.len().max(1));
        after.iter().chain(before).copied()
    }

    /// One of them.
    pub(super) fn at(&self, place: usize) -> &'a Arc<Backend> {
        self.0[place]
    }

    /// Claims the one with the least of something, the first of equals from this turn on. `load` says
    /// how much it has, with as many requests in flight as stand beside it.
    pub(super) fn claim_least<L: PartialOrd>(
        &self,
        turn: usize,
        load: impl Fn(&Backend, u64) -> L,
    ) -> Option<Claim> {
        // Whoever took the place in between has changed the count: then there is a new least.
        for _ in 0..LOOKS {
            let mut least: Option<(L, u64, &Arc<Backend>)> = None;
            for backend in self.from(turn) {
                let in_flight = backend.in_flight();
                let own = load(backend, in_flight);
                if least.as_ref().is_none_or(|(other, ..)| own < *other) {
                    least = Some((own, in_flight, backend));
                }
            }
            let (_, in_flight, backend) = least?;
            if let Some(claim) = backend.claim(Some(in_flight)) {
                return Some(claim);
            }
        }
        self.from(turn).find_map(|backend| backend.claim(None))
    }
}

/// Among so many who choose at once somebody got his way each time.
const LOOKS: usize = 64;

/// A request at its backend: counted in there, and whatever the policy keeps for it, until it is
/// dropped.
#[derive(Debug)]
pub(super) struct Charge {
    pub(super) claim: Claim,
    _kept: Option<Box<dyn Kept>>,
}

/// What a policy keeps for a request; its drop is the end of the request.
pub(super) trait Kept: Any + Debug + Send + Sync {}

impl<T: Any + Debug + Send + Sync> Kept for T {}

impl Charge {
    /// The same, with something that is dropped with it.
    pub(super) fn keeping(claim: Claim, kept: impl Kept) -> Self {
        Self {
            claim,
            _kept: Some(Box::new(kept)),
        }
    }
}

impl From<Claim> for Charge {
    fn from(claim: Claim) -> Self {
        Self { claim, _kept: None }
    }
}

#[cfg(test)]
mod tests;
