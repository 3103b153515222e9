//! What an exchange is made of: backends that are claimed, sent to, given up, and answered from.

use std::sync::Arc;

use crate::proxy::answer::Answer;
use crate::proxy::attempt::{Failure, Reply, attempt};
use crate::proxy::backend::{Backend, count};
use crate::proxy::error::ApiError;
use crate::proxy::fleet::Fleet;
use crate::proxy::outbound::Outbound;
use crate::proxy::policy::Charge;
use crate::proxy::pool::Pool;
use crate::proxy::queue::{self, Unplaced, Wait};
use crate::proxy::record::Record;
use crate::proxy::request_view::RequestView;
use crate::proxy::retry::Retries;
use crate::proxy::seldom::seldom;
use crate::proxy::suspicion::Suspicion;
use crate::proxy::upload::Received;

/// A request on its way.
#[derive(Debug)]
pub(super) struct Legs<'a> {
    pool: &'a Pool,
    retries: &'a Arc<Retries>,
    fleet: Arc<Fleet>,
    outbound: Outbound<'a>,
    record: &'a mut Record,
    suspicion: Option<Suspicion>,
    /// Who was asked in vain.
    tried: Vec<Arc<Backend>>,
    /// How often it was sent to somebody who may have read it.
    sent: u32,
    /// What it has waited so far for a place.
    wait: Wait,
}

impl<'a> Legs<'a> {
    /// A request that was sent nowhere yet.
    pub(super) fn new(
        pool: &'a Pool,
        retries: &'a Arc<Retries>,
        fleet: Arc<Fleet>,
        outbound: Outbound<'a>,
        record: &'a mut Record,
    ) -> Self {
        Self {
            pool,
            retries,
            fleet,
            suspicion: Suspicion::of(retries, &outbound),
            outbound,
            record,
            tried: Vec::new(),
            sent: 0,
            wait: Wait::default(),
        }
    }

    /// Why the request gets no server, where it or its like was in flight at a death.
    pub(super) async fn objection(&mut self) -> Option<ApiError> {
        let (suspicion, fleet) = (self.suspicion.as_mut()?, &self.fleet);
        if !suspicion.may_be_objected_to() {
            return None;
        }
        seldom(suspicion.objection(|| fleet.can_spare_one())).await
    }

    /// Counts the request among those that earn others a second attempt.
    pub(super) fn earns(&self) {
        self.retries.budget.deposit();
    }

    /// Takes a second attempt from what was earned, if it is enough.
    pub(super) fn may_spend(&self) -> bool {
        self.retries.budget.withdraw()
    }

    /// A backend that was not tried yet, with the request counted in there.
    pub(super) fn claim(&self) -> Option<Charge> {
        choose(&self.fleet, &self.outbound, &self.tried)
    }

    /// The same, unless others wait for it: nobody overtakes them.
    pub(super) fn claim_if_nobody_waits(&self) -> Option<Charge> {
        let is_free = self.pool.queue.is_empty();
        is_free.then(|| self.claim()).flatten()
    }

    /// Waits until a backend is ready and has room for the request. What it was sent to in vain may be
    /// ready again.
    pub(super) async fn wait(&mut self) -> Result<Charge, ApiError> {
        let (outbound, record) = (&self.outbound, &mut *self.record);
        record.begins_to_wait();
        let choose = |fleet: &Fleet| choose(fleet, outbound, &[]);
        // Room is made for it only by who waits.
        let placed = seldom(queue::place(self.pool, &mut self.wait, choose)).await;
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

    /// Sends the request to a backend, and waits for how it is answered.
    pub(super) async fn send(&mut self, backend: &Arc<Backend>) -> Result<Reply, Failure> {
        let tally = &backend.tally;
        count(match self.tried.last() {
            None => &tally.first,
            Some(_) => &tally.elsewhere,
        });
        let (bounds, sent) = (self.fleet.bounds, &mut self.sent);
        attempt(backend, bounds, &mut self.outbound, sent, self.record).await
    }

    /// How often it was sent to somebody who may have read it.
    pub(super) fn sent(&self) -> u32 {
        self.sent
    }

    /// Whether it can be sent again: all of it is held.
    pub(super) fn is_held(&self) -> bool {
        matches!(self.outbound.body, Received::Whole(_))
    }

    /// Does not claim this one again.
    pub(super) fn gives_up(&mut self, backend: &Arc<Backend>) {
        self.tried.push(Arc::clone(backend));
    }

    /// Puts a failure on the record of a backend, and leaves that out if it has too many. What fails at
    /// two backends is the request's own fault, and on no record.
    pub(super) fn note_failure(&self, backend: &Backend) {
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
    pub(super) async fn was_outlived_by(&mut self, backend: &Arc<Backend>) -> bool {
        match &mut self.suspicion {
            Some(suspicion) => {
                suspicion.look_closer(&self.outbound);
                seldom(suspicion.is_cleared_by(backend)).await
            }
            None => seldom(backend.is_seen_from_now_on()).await,
        }
    }

    /// Has the client get this reply. `should_retry` is what it is told of sending its request again.
    pub(super) fn answer(
        &mut self,
        reply: Reply,
        charge: Charge,
        should_retry: Option<bool>,
    ) -> Answer {
        let mut suspicion = self.suspicion.take();
        if let Some(suspicion) = &mut suspicion
            && reply.beginning.events.has_event()
        {
            suspicion.has_begun();
        }
        Answer {
            reply,
            charge,
            suspicion,
            should_retry,
        }
    }

    /// Why there is nobody to claim.
    pub(super) fn nobody(&self) -> ApiError {
        if let Some(last) = self.tried.last() {
            // Why, is for those who run it: an address may be in it.
            let why = format!("{} cannot be reached", last.spec.name);
            return ApiError::upstream_unreachable(why);
        }
        let changed = || "no instance was ready; one has become so just now".to_owned();
        ApiError::no_ready_instance(self.pool.why_not_ready().unwrap_or_else(changed))
    }
}

fn choose(fleet: &Fleet, outbound: &Outbound<'_>, tried: &[Arc<Backend>]) -> Option<Charge> {
    let body = match &outbound.body {
        Received::Whole(body) => Some(body),
        Received::Large(_) => None,
    };
    fleet.claim(&RequestView::new(&outbound.head.headers, body), tried)
}
