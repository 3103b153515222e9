//! One request, from its last byte in to the first byte out.
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

use super::answer::Answer;
use super::attempt::{Failure, Reply, attempt};
use super::backend::{Backend, count};
use super::error::ApiError;
use super::outbound::Outbound;
use super::poison::Suspicion;
use super::policy::Charge;
use super::pool::{Fleet, Pool};
use super::queue::{self, Unplaced, Wait};
use super::record::Record;
use super::request_view::RequestView;
use super::requests::InFlight;
use super::retry::Retries;
use super::upload::Received;

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

/// An answer that is passed on, from whom, and whether the client may send its request again.
type Answered = (Reply, Charge, Option<bool>);

/// What came of sending a request to one backend.
#[allow(
    clippy::large_enum_variant,
    reason = "each request is over once, and has no room made for it"
)]
enum Step {
    /// It goes to this one.
    On(Charge),
    /// It goes nowhere else. Without an end, the client broke off.
    Over(Option<Result<Answered, ApiError>>),
}

/// A request on its way.
struct Errand<'a> {
    record: &'a mut Record,
    pool: &'a Pool,
    retries: &'a Arc<Retries>,
    fleet: Arc<Fleet>,
    outbound: Outbound,
    suspicion: Option<Suspicion>,
    tried: Vec<Arc<Backend>>,
    /// How often it was sent.
    sent: u32,
    wait: Wait,
}

/// Sends a request to one backend after another until one has it, and returns its answer.
///
/// Nothing is returned when the client broke off.
pub(super) async fn forward(
    pool: &Pool,
    retries: &Arc<Retries>,
    outbound: Outbound,
    outcome: InFlight,
    record: &mut Record,
) -> Option<Result<Answer, ApiError>> {
    let mut errand = Errand {
        record,
        pool,
        retries,
        fleet: pool.fleet(),
        suspicion: Suspicion::of(retries, &outbound),
        outbound,
        tried: Vec::new(),
        sent: 0,
        wait: Wait::default(),
    };
    match errand.run().await? {
        Ok((reply, charge, should_retry)) => Some(Ok(Answer {
            reply,
            charge,
            outcome,
            suspicion: errand.suspicion,
            should_retry,
        })),
        Err(error) => {
            tracing::warn!(why = error.message(), "a request failed");
            outcome.end(error.outcome());
            Some(Err(error))
        }
    }
}

impl Errand<'_> {
    async fn run(&mut self) -> Option<Result<Answered, ApiError>> {
        if let Some(suspicion) = &self.suspicion
            && suspicion.is_poison().await
        {
            return Some(Err(ApiError::poison()));
        }
        self.retries.budget.deposit();
        let mut charge = match self.choose_unless_waited_for() {
            Some(charge) => charge,
            None => match self.wait().await {
                Ok(charge) => charge,
                Err(error) => return Some(Err(error)),
            },
        };
        loop {
            match self.step(charge).await {
                Step::On(other) => charge = other,
                Step::Over(end) => return end,
            }
        }
    }

    async fn step(&mut self, charge: Charge) -> Step {
        let claim = &charge.claim;
        let bounds = self.fleet.bounds;
        count(match self.tried.last() {
            None => &claim.tally.first,
            Some(_) => &claim.tally.elsewhere,
        });
        let (outbound, sent) = (&mut self.outbound, &mut self.sent);
        let error = match attempt(claim, bounds, outbound, sent, self.record).await {
            Ok(reply) => return self.judge(reply, charge).await,
            Err(Failure::Untouched(why)) => return self.pass_over(charge, &why).await,
            Err(Failure::Cut) => return Step::Over(None),
            Err(Failure::Exhausted(why)) => ApiError::proxy_exhausted(why),
            Err(Failure::Silent(why)) => {
                self.note_failure(claim);
                ApiError::upstream_timeout(format!("{} is silent: {why}", claim.spec.name))
            }
            Err(Failure::Broken(why)) => {
                count(&claim.tally.broken);
                match self.another(claim, Shortcoming::Failed).await {
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
    async fn judge(&mut self, reply: Reply, charge: Charge) -> Step {
        let claim = &charge.claim;
        let Some(why) = shortcoming(&reply, claim) else {
            return Step::Over(Some(Ok((reply, charge, None))));
        };
        if why == Shortcoming::Stranger {
            claim.suspect();
        }
        match self.another(claim, why).await {
            Ok(other) => Step::On(other),
            Err(_) if why == Shortcoming::Stranger => {
                let why = format!("{} does not take its own key", claim.spec.name);
                Step::Over(Some(Err(ApiError::upstream_broken(why))))
            }
            Err(should_retry) => {
                // What is passed on speaks for itself, unless it must not be asked again.
                let should_retry = should_retry.filter(|may| !may);
                Step::Over(Some(Ok((reply, charge, should_retry))))
            }
        }
    }

    /// Takes a backend out that could not be reached, and goes on to the next. A request that had its turn
    /// does not wait behind others for that.
    async fn pass_over(&mut self, unreachable: Charge, why: &str) -> Step {
        count(&unreachable.claim.tally.unreachable);
        unreachable.claim.eject(why);
        self.tried.push(Arc::clone(&unreachable.claim));
        drop(unreachable);
        let is_second = self.sent > 0;
        let other = match self.choose() {
            Some(other) => Ok(other),
            None if is_second => Err(self.nobody()),
            None => self.wait().await,
        };
        match other {
            Ok(other) => Step::On(other),
            Err(error) => Step::Over(Some(Err(error))),
        }
    }

    /// Waits until a backend is ready and has room for it. What it was sent to in vain may be ready again.
    async fn wait(&mut self) -> Result<Charge, ApiError> {
        let (outbound, record) = (&self.outbound, &mut *self.record);
        record.begins_to_wait();
        // Made room for only by who waits.
        let placed = queue::place(self.pool, &mut self.wait, |fleet| {
            choose(fleet, outbound, &[])
        });
        let placed = Box::pin(placed).await;
        record.has_waited();
        match placed {
            Ok((fleet, charge)) => {
                self.fleet = fleet;
                Ok(charge)
            }
            Err(Unplaced::NoneReady) => Err(self.nobody()),
            Err(overloaded) => Err(ApiError::overloaded(overloaded.to_string())),
        }
    }

    /// Another backend for what one did not serve. If there is none: whether the client may send the
    /// request again, where that is known.
    async fn another(
        &mut self,
        first: &Arc<Backend>,
        why: Shortcoming,
    ) -> Result<Charge, Option<bool>> {
        if why == Shortcoming::Failed {
            self.note_failure(first);
            if !self.was_outlived_by(first).await {
                return Err(Some(false));
            }
        }
        let is_held = matches!(self.outbound.body, Received::Whole(_));
        if self.sent >= ATTEMPTS || !is_held {
            return Err((why == Shortcoming::Failed).then_some(false));
        }
        self.tried.push(Arc::clone(first));
        let other = self.choose_unless_waited_for();
        let other = other.filter(|_| self.retries.budget.withdraw());
        other.ok_or((why == Shortcoming::Failed).then_some(true))
    }

    /// Puts a failure on the record of a backend, and leaves that out if it has too many. What fails at
    /// two backends is the request's own fault, and on no record.
    fn note_failure(&self, backend: &Backend) {
        let print = self.suspicion.as_ref().map(Suspicion::print);
        match self.tried.last() {
            Some(first) if self.sent > 1 => first.history.forget(print),
            _ => {
                backend.history.failed(print);
                self.fleet.set_aside_if_outlier(backend);
            }
        }
        // A probe decides whether it is taken out, as a request alone can make a server break off.
        backend.suspect();
    }

    /// Whether a backend lives on that failed this request.
    async fn was_outlived_by(&self, backend: &Arc<Backend>) -> bool {
        match &self.suspicion {
            Some(suspicion) => suspicion.is_cleared_by(backend).await,
            None => backend.is_seen_from_now_on().await,
        }
    }

    fn choose(&self) -> Option<Charge> {
        choose(&self.fleet, &self.outbound, &self.tried)
    }

    /// Nobody overtakes who waits.
    fn choose_unless_waited_for(&self) -> Option<Charge> {
        let is_free = self.pool.queue.is_empty();
        is_free.then(|| self.choose()).flatten()
    }

    fn nobody(&self) -> ApiError {
        if let Some(last) = self.tried.last() {
            // Why, is for those who run it: an address may be in it.
            let why = format!("{} cannot be reached", last.spec.name);
            return ApiError::upstream_unreachable(why);
        }
        let changed = || "no instance was ready; one has become so just now".to_owned();
        ApiError::no_ready_instance(self.pool.why_not_ready().unwrap_or_else(changed))
    }
}

fn choose(fleet: &Fleet, outbound: &Outbound, tried: &[Arc<Backend>]) -> Option<Charge> {
    let body = match &outbound.body {
        Received::Whole(body) => Some(body),
        Received::Large(_) => None,
    };
    fleet.claim(&RequestView::new(&outbound.headers, body), tried)
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
