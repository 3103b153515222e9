//! One instance answers: it reads the prompt and writes the answer.
//!
//! # What is sent twice, and what never is
//!
//! A completion changes nothing, but it costs a GPU, and some requests kill the server that gets
//! them. So a request of which a byte was sent goes to a second backend only
//!
//! - where the first says that it has too much to do (429, 503), or does not take its own key (401),
//!   as somebody else answers there, or
//! - where the first failed it before anything of an answer was passed on (its connection broke, it
//!   answered 500, the first event of its stream is an error), and a look at that server *after* the
//!   failure has seen it alive;
//!
//! and then once, and within a budget for all. What fails as its server dies gets no second one.
//!
//! One case is different. A server may close an idle connection at the very moment at which a
//! request goes out on it (uvicorn does after 5 s). The request was then written, nothing will ever
//! answer, and it was almost surely never read. RFC 9112 section 9.3.1 lets a client send such a
//! request again if it is idempotent, or if it knows that the server did not process it. The proxy
//! takes it for known under four conditions: the connection was reused, not one byte came back, it
//! closed (and did not just stay silent), and this is the first time. The copy goes to the same
//! backend on a new connection, and both are one attempt.

use std::sync::Arc;

use hyper::StatusCode;

use super::legs::Legs;
use crate::proxy::answer::Answer;
use crate::proxy::attempt::{Failure, Reply};
use crate::proxy::backend::{Backend, count};
use crate::proxy::error::ApiError;
use crate::proxy::policy::Charge;
use crate::proxy::seldom::seldom;

/// A request is sent so often at most.
const ATTEMPTS: u32 = 2;

/// Why an answer is not the one that a client should get.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shortcoming {
    /// Its backend has too much to do.
    Busy,
    /// Its backend, or the engine of that, failed.
    Failed,
    /// Whoever gave it does not take the backend's own key: it is somebody else.
    Stranger,
}

/// What came of sending a request to one backend.
#[allow(
    clippy::large_enum_variant,
    reason = "each request is over once, and has no room made for it"
)]
enum Step {
    /// It goes to this one.
    On(Charge),
    /// It goes nowhere else. Without an end, the client broke off.
    Over(Option<Result<Answer, ApiError>>),
}

/// Sends a request to one backend after another until one has it, and returns its answer.
pub(super) async fn run(legs: &mut Legs<'_>) -> Option<Result<Answer, ApiError>> {
    if let Some(objection) = legs.objection().await {
        return Some(Err(objection));
    }
    legs.earns();
    let mut charge = match legs.claim_if_nobody_waits() {
        Some(charge) => charge,
        None => match legs.wait().await {
            Ok(charge) => charge,
            Err(error) => return Some(Err(error)),
        },
    };
    loop {
        match step(legs, charge).await {
            Step::On(other) => charge = other,
            Step::Over(end) => return end,
        }
    }
}

async fn step(legs: &mut Legs<'_>, charge: Charge) -> Step {
    let claim = &charge.claim;
    let error = match legs.send(claim).await {
        Ok(reply) => return judge(legs, reply, charge).await,
        Err(Failure::Untouched(why)) => return seldom(pass_over(legs, charge, &why)).await,
        Err(Failure::Cut) => return Step::Over(None),
        Err(Failure::Exhausted(why)) => ApiError::proxy_exhausted(why),
        Err(Failure::Silent(why)) => {
            legs.note_failure(claim);
            ApiError::upstream_timeout(format!("{} is silent: {why}", claim.spec.name))
        }
        Err(Failure::Broken(why)) => {
            count(&claim.tally.broken);
            match seldom(another(legs, claim, Shortcoming::Failed)).await {
                Ok(other) => return Step::On(other),
                Err(should_retry) => {
                    let why = format!("{} broke off: {why}", claim.spec.name);
                    ApiError::upstream_broken(why).retried(should_retry)
                }
            }
        }
    };
    Step::Over(Some(Err(error)))
}

/// Whether an answer is passed on, or another backend asked.
async fn judge(legs: &mut Legs<'_>, reply: Reply, charge: Charge) -> Step {
    let claim = &charge.claim;
    let Some(why) = shortcoming(&reply, claim) else {
        return Step::Over(Some(Ok(legs.answer(reply, charge, None))));
    };
    if why == Shortcoming::Stranger {
        claim.suspect();
    }
    match seldom(another(legs, claim, why)).await {
        Ok(other) => Step::On(other),
        Err(_) if why == Shortcoming::Stranger => {
            let why = format!("{} does not take its own key", claim.spec.name);
            Step::Over(Some(Err(ApiError::upstream_broken(why))))
        }
        Err(should_retry) => {
            // What is passed on speaks for itself, unless it must not be asked again.
            let should_retry = should_retry.filter(|may| !may);
            Step::Over(Some(Ok(legs.answer(reply, charge, should_retry))))
        }
    }
}

/// Takes a backend out that could not be reached, and goes on to the next. A request that had its turn
/// does not wait behind others for that.
async fn pass_over(legs: &mut Legs<'_>, unreachable: Charge, why: &str) -> Step {
    let backend = &unreachable.claim;
    count(&backend.tally.unreachable);
    backend.eject(why);
    legs.gives_up(backend);
    drop(unreachable);
    let is_second = legs.sent() > 0;
    let other = match legs.claim() {
        Some(other) => Ok(other),
        None if is_second => Err(legs.nobody()),
        None => legs.wait().await,
    };
    match other {
        Ok(other) => Step::On(other),
        Err(error) => Step::Over(Some(Err(error))),
    }
}

/// Another backend for what one did not serve. If there is none: whether the client may send the
/// request again, where that is known.
async fn another(
    legs: &mut Legs<'_>,
    first: &Arc<Backend>,
    why: Shortcoming,
) -> Result<Charge, Option<bool>> {
    if why == Shortcoming::Failed {
        legs.note_failure(first);
        if !legs.was_outlived_by(first).await {
            return Err(Some(false));
        }
    }
    if legs.sent() >= ATTEMPTS || !legs.is_held() {
        return Err((why == Shortcoming::Failed).then_some(false));
    }
    legs.gives_up(first);
    let other = legs.claim_if_nobody_waits();
    let other = other.filter(|_| legs.may_spend());
    other.ok_or((why == Shortcoming::Failed).then_some(true))
}

fn shortcoming(reply: &Reply, backend: &Backend) -> Option<Shortcoming> {
    if reply.beginning.events.has_error() {
        return Some(Shortcoming::Failed);
    }
    match reply.head.status {
        StatusCode::UNAUTHORIZED if backend.authorization.is_some() => Some(Shortcoming::Stranger),
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => Some(Shortcoming::Busy),
        StatusCode::INTERNAL_SERVER_ERROR
        | StatusCode::BAD_GATEWAY
        | StatusCode::GATEWAY_TIMEOUT => Some(Shortcoming::Failed),
        _ => None,
    }
}
