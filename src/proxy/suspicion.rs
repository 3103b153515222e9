//! One request that may turn out to kill the server that gets it.

use std::sync::Arc;

use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::backend::{Backend, count};
use super::control::BackendState;
use super::error::ApiError;
use super::fingerprint::{Fingerprint, Likeness};
use super::outbound::Outbound;
use super::poison::Standing;
use super::retry::Retries;

/// What is held against a request, should its server die.
#[derive(Debug)]
pub(super) struct Suspicion {
    retries: Arc<Retries>,
    print: Fingerprint,
    /// What it is like, where that was looked for.
    likeness: Option<Likeness>,
    /// It is the only one of its like that got a server.
    trial: Option<Trial>,
}

impl Suspicion {
    /// Of a request that could be sent twice, and came at this moment.
    pub(super) fn of(
        retries: &Arc<Retries>,
        request: &Outbound<'_>,
        came: Instant,
    ) -> Option<Self> {
        Some(Self {
            print: retries.poison.fingerprint(request)?,
            likeness: retries.poison.likeness(request, came),
            retries: Arc::clone(retries),
            trial: None,
        })
    }

    /// What the request is known by.
    pub(super) fn print(&self) -> Fingerprint {
        self.print
    }

    /// Whether anything is held of anybody: nearly never, and then there is nothing to look for.
    pub(super) fn may_be_objected_to(&self) -> bool {
        self.retries.poison.has_any()
    }

    /// Why it gets no server, where it or its like was in flight at a death. `can_spare_one` says whether a
    /// server is left should it kill one.
    pub(super) async fn objection(&mut self, can_spare_one: impl Fn() -> bool) -> Option<ApiError> {
        let poison = &self.retries.poison;
        if poison.holds(self.print).await {
            count(&poison.refusals.same);
            return Some(ApiError::poison());
        }
        let likeness = self.likeness?;
        match poison.standing_of_like(likeness, can_spare_one).await {
            Standing::Held => {
                count(&poison.refusals.alike);
                Some(ApiError::like_poison())
            }
            Standing::OnTrial => {
                let retries = Arc::clone(&self.retries);
                self.trial = Some(Trial { retries, likeness });
                None
            }
            Standing::Free | Standing::Open(_) => None,
        }
    }

    /// Looks for what it is like, as a backend has failed it.
    pub(super) fn look_closer(&mut self, request: &Outbound<'_>) {
        if self.likeness.is_none() {
            self.likeness = self.retries.poison.likeness_of(request);
        }
    }

    /// Holds it until the backend that has just failed it is seen to live on, and says whether it is.
    /// Whoever asks may go away meanwhile: it is looked all the same.
    pub(super) async fn is_cleared_by(&self, backend: &Arc<Backend>) -> bool {
        self.hold_until_cleared(backend).await.unwrap_or(false)
    }

    /// The same, for who waits for nothing.
    pub(super) fn hold_until_cleared(&self, backend: &Arc<Backend>) -> JoinHandle<bool> {
        let (retries, backend) = (Arc::clone(&self.retries), Arc::clone(backend));
        // Who is stopped on purpose died of nothing that it had: only the very request is held.
        let is_leaving = backend.state() == BackendState::Draining;
        let likeness = self.likeness.filter(|_| !is_leaving);
        let prints = retries.poison.unknown(self.print, likeness);
        for print in &prints {
            retries.poison.suspect(self.print, *print);
        }
        tokio::spawn(async move {
            let lives = backend.is_seen_from_now_on().await;
            for (_, print) in prints {
                retries.poison.settle(print, backend.id, lives);
            }
            lives
        })
    }

    /// Notes that its answer has begun: the next of its like may be tried.
    pub(super) fn has_begun(&mut self) {
        self.trial = None;
    }

    /// Notes that the request was answered.
    pub(super) fn ends(self) {
        self.retries.poison.answered(self.print, self.likeness);
    }
}

/// For as long as this lives, nothing else of its like is tried.
#[derive(Debug)]
struct Trial {
    retries: Arc<Retries>,
    likeness: Likeness,
}

impl Drop for Trial {
    fn drop(&mut self) {
        self.retries.poison.is_over(self.likeness);
    }
}
