//! What comes of sending a request to a backend.

use hyper::StatusCode;

use super::End;
use super::legs::Legs;
use crate::proxy::answer::Answer;
use crate::proxy::attempt::{Failure, Reply};
use crate::proxy::backend::{Backend, count};
use crate::proxy::error::ApiError;
use crate::proxy::policy::Charge;

/// What came of it.
#[allow(
    clippy::large_enum_variant,
    reason = "each is taken apart at once, and has no room made for it"
)]
pub(super) enum Sent {
    /// An answer that a client may get.
    Answered(Reply, Charge),
    /// Nothing was sent, as the backend cannot be reached.
    Unreachable(Charge, String),
    /// An answer that a client should not get if another backend has a better one; or none.
    Flawed(Flaw),
    /// It goes nowhere else.
    Over(End),
}

/// Why an answer is not the one that a client should get.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shortcoming {
    /// Its backend has too much to do.
    Busy,
    /// Its backend, or the engine of that, failed.
    Failed,
    /// Whoever gave it does not take the backend's own key: it is somebody else.
    Stranger,
}

/// An answer that is not the one that a client should get.
#[derive(Debug)]
pub(super) struct Flaw {
    pub(super) why: Shortcoming,
    pub(super) charge: Charge,
    answer: Result<Reply, String>,
}

impl Sent {
    /// What it comes to that a backend has answered so, or has not.
    pub(super) fn of(legs: &Legs<'_>, sent: Result<Reply, Failure>, charge: Charge) -> Self {
        let claim = &charge.claim;
        let error = match sent {
            Ok(reply) => match Shortcoming::of(&reply, claim) {
                None => return Self::Answered(reply, charge),
                Some(why) => return Self::Flawed(Flaw::of(why, reply, charge)),
            },
            Err(Failure::Untouched(why)) => return Self::Unreachable(charge, why),
            Err(Failure::Broken(why)) => return Self::Flawed(Flaw::broken(why, charge)),
            Err(Failure::Cut) => return Self::Over(None),
            Err(Failure::Exhausted(why)) => ApiError::proxy_exhausted(why),
            Err(Failure::Silent(why)) => {
                legs.note_failure(claim);
                ApiError::upstream_timeout(format!("{} is silent: {why}", claim.spec.name))
            }
        };
        Self::Over(Some(Err(error)))
    }
}

impl Shortcoming {
    fn of(reply: &Reply, backend: &Backend) -> Option<Self> {
        if reply.beginning.events.has_error() {
            return Some(Self::Failed);
        }
        match reply.head.status {
            StatusCode::UNAUTHORIZED if backend.authorization.is_some() => Some(Self::Stranger),
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => Some(Self::Busy),
            StatusCode::INTERNAL_SERVER_ERROR
            | StatusCode::BAD_GATEWAY
            | StatusCode::GATEWAY_TIMEOUT => Some(Self::Failed),
            _ => None,
        }
    }
}

impl Flaw {
    fn of(why: Shortcoming, reply: Reply, charge: Charge) -> Self {
        if why == Shortcoming::Stranger {
            charge.claim.suspect();
        }
        Self {
            why,
            charge,
            answer: Ok(reply),
        }
    }

    /// That of a backend which broke off.
    pub(super) fn broken(why: String, charge: Charge) -> Self {
        count(&charge.claim.tally.broken);
        Self {
            why: Shortcoming::Failed,
            charge,
            answer: Err(why),
        }
    }

    /// What the client gets where there is nobody to ask for a better one.
    pub(super) fn end_alone(self, legs: &mut Legs<'_>) -> Result<Answer, ApiError> {
        let should_retry = (self.why == Shortcoming::Failed).then_some(true);
        self.end(legs, should_retry)
    }

    /// What the client gets where nobody has a better answer. `should_retry` is whether it may send its
    /// request again, where that is known.
    pub(super) fn end(
        self,
        legs: &mut Legs<'_>,
        should_retry: Option<bool>,
    ) -> Result<Answer, ApiError> {
        let name = &self.charge.claim.spec.name;
        let error = match self.answer {
            Ok(_) if self.why == Shortcoming::Stranger => {
                ApiError::upstream_broken(format!("{name} does not take its own key"))
            }
            Ok(reply) => {
                // What is passed on speaks for itself, unless it must not be asked again.
                let should_retry = should_retry.filter(|may| !may);
                return Ok(legs.answer(reply, self.charge, should_retry));
            }
            Err(why) => {
                let why = format!("{name} broke off: {why}");
                ApiError::upstream_broken(why).retried(should_retry)
            }
        };
        Err(error)
    }
}
