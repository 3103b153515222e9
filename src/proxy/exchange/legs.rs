//! What an exchange is made of: backends that are claimed, sent to, given up, and answered from.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::Method;
use hyper::header::HeaderValue;
use hyper::http::request::Parts;

use super::sent::{Flaw, Shortcoming};
use crate::proxy::answer::Answer;
use crate::proxy::attempt::{Failure, Reply, attempt};
use crate::proxy::backend::{Backend, count};
use crate::proxy::error::ApiError;
use crate::proxy::fleet::Fleet;
use crate::proxy::outbound::{Leg, Outbound};
use crate::proxy::part::Part;
use crate::proxy::policy::Charge;
use crate::proxy::pool::Pool;
use crate::proxy::queue::{self, Unplaced, Wait};
use crate::proxy::record::Record;
use crate::proxy::request_view::RequestView;
use crate::proxy::retry::Retries;
use crate::proxy::seldom::seldom;
use crate::proxy::suspicion::Suspicion;
use crate::proxy::upload::Received;

/// A part of a request is sent so often at most.
const ATTEMPTS: u32 = 2;

/// A request on its way.
#[derive(Debug)]
pub(super) struct Legs<'a> {
    pub(super) pool: &'a Arc<Pool>,
    retries: &'a Arc<Retries>,
    fleet: Arc<Fleet>,
    outbound: Outbound<'a>,
    pub(super) record: &'a mut Record,
    suspicion: Option<Suspicion>,
    /// For what somebody is looked for now.
    part: Part,
    /// Who was asked in vain for that, and how often it was sent to somebody who may have read it.
    asked: Asked,
    /// The same, of another part.
    asked_before: Asked,
    /// What it has waited so far for a place.
    wait: Wait,
}

/// What a request is, for who sends a part of it when the request itself is over.
#[derive(Debug, Clone)]
pub(super) struct Origin<'a> {
    pub(super) pool: &'a Arc<Pool>,
    pub(super) retries: &'a Arc<Retries>,
    pub(super) head: &'a Parts,
    pub(super) id: &'a HeaderValue,
    pub(super) client: &'a HeaderValue,
    pub(super) body: Bytes,
}

/// Who was asked for a part of a request.
#[derive(Debug, Default)]
struct Asked {
    /// In vain.
    tried: Vec<Arc<Backend>>,
    /// So often was it sent.
    sent: u32,
}

impl<'a> Legs<'a> {
    /// A request that was sent nowhere yet.
    pub(super) fn new(
        pool: &'a Arc<Pool>,
        retries: &'a Arc<Retries>,
        fleet: Arc<Fleet>,
        outbound: Outbound<'a>,
        record: &'a mut Record,
    ) -> Self {
        Self {
            pool,
            retries,
            fleet,
            suspicion: Suspicion::of(retries, &outbound, record.began()),
            outbound,
            record,
            part: Part::default(),
            asked: Asked::default(),
            asked_before: Asked::default(),
            wait: Wait::default(),
        }
    }

    /// Looks for somebody to do this from now on, before anybody was asked for anything.
    pub(super) fn is_for(&mut self, part: Part) {
        self.part = part;
        self.wait = Wait::for_part(part);
    }

    /// The first backend for it, if it is to have one.
    pub(super) async fn begin(&mut self) -> Result<Charge, ApiError> {
        if let Some(objection) = self.objection().await {
            return Err(objection);
        }
        self.retries.budget.deposit();
        match self.claim_if_nobody_waits() {
            Some(charge) => Ok(charge),
            None => self.wait().await,
        }
    }

    /// Why the request gets no server, where it or its like was in flight at a death.
    async fn objection(&mut self) -> Option<ApiError> {
        let (suspicion, fleet) = (self.suspicion.as_mut()?, &self.fleet);
        if !suspicion.may_be_objected_to() {
            return None;
        }
        seldom(suspicion.objection(|| fleet.can_spare_one())).await
    }

    /// Looks for somebody to do another part of it from now on.
    pub(super) fn turn_to(&mut self, part: Part) {
        if self.part != part {
            std::mem::swap(&mut self.asked, &mut self.asked_before);
            self.part = part;
            self.wait = Wait::of_one_under_way(part);
        }
    }

    /// Takes a second attempt from what was earned, if it is enough.
    pub(super) fn may_spend(&self) -> bool {
        self.retries.budget.withdraw()
    }

    /// A backend that was not tried yet, with the request counted in there.
    pub(super) fn claim(&self) -> Option<Charge> {
        choose(&self.fleet, &self.outbound, self.part, &self.asked.tried)
    }

    /// The same, unless others wait for it: nobody overtakes them.
    pub(super) fn claim_if_nobody_waits(&self) -> Option<Charge> {
        let is_free = self.pool.queue.is_empty_for(self.part);
        is_free.then(|| self.claim()).flatten()
    }

    /// The same for another part of it.
    pub(super) fn claim_for(&self, part: Part) -> Option<Charge> {
        let is_free = self.pool.queue.is_empty_for(part);
        let claim = || choose(&self.fleet, &self.outbound, part, &self.asked.tried);
        is_free.then(claim).flatten()
    }

    /// The same by the configuration as it is now, and never this backend.
    pub(super) fn claim_besides(&mut self, other: &Arc<Backend>) -> Option<Charge> {
        self.fleet = self.pool.fleet();
        if !self.pool.queue.is_empty_for(self.part) {
            return None;
        }
        let tried = self.asked.tried.iter().chain([other]);
        let tried: Vec<_> = tried.cloned().collect();
        choose(&self.fleet, &self.outbound, self.part, &tried)
    }

    /// Whether a backend can do one part of it, and somebody else the other.
    pub(super) fn can_share_with(&self, reader: &Backend) -> bool {
        let mut writers = self.fleet.ready_for(Part::Decode);
        reader.spec.role.prefills() && writers.any(|it| it.id != reader.id)
    }

    /// Whether somebody else is ready to do this part of it.
    pub(super) fn has_other_than(&self, backend: &Backend) -> bool {
        let mut others = self.fleet.ready_for(self.part);
        others.any(|it| it.id != backend.id)
    }

    /// Whether what a backend has computed can be fetched from it still.
    pub(super) fn has_still(&self, backend: &Backend) -> bool {
        self.pool.now().has_still(backend)
    }

    /// How long a prompt is at least that one instance reads for another, in tokens.
    pub(super) fn least_shared(&self) -> u64 {
        self.fleet.least_shared
    }

    /// How much of its prompt has been read already by the one that would do all of it: from 0 to 1.
    pub(super) fn part_read(&self) -> f64 {
        let outbound = &self.outbound;
        let view = RequestView::new(&outbound.head.headers, outbound.held());
        self.fleet.part_read(&view.for_part(Part::Alone))
    }

    /// How long a backend holds what it has computed.
    pub(super) fn lease(&self) -> Duration {
        self.fleet.bounds.lease
    }

    /// Waits until a backend is ready and has room for the request. What it was sent to in vain may be
    /// ready again.
    pub(super) async fn wait(&mut self) -> Result<Charge, ApiError> {
        let (outbound, record) = (&self.outbound, &mut *self.record);
        record.begins_to_wait();
        let part = self.part;
        let choose = |fleet: &Fleet| choose(fleet, outbound, part, &[]);
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
    pub(super) fn send(
        &mut self,
        backend: &Arc<Backend>,
    ) -> impl Future<Output = Result<Reply, Failure>> {
        self.count_attempt(backend);
        let (bounds, sent) = (self.fleet.bounds, &mut self.asked.sent);
        attempt(backend, bounds, &mut self.outbound, sent, self.record)
    }

    /// Sends a backend a part of the request, under a name of its own.
    pub(super) async fn send_part(
        &mut self,
        backend: &Arc<Backend>,
        id: &HeaderValue,
        body: Bytes,
        leg: Leg,
    ) -> Result<Reply, Failure> {
        self.count_attempt(backend);
        let mut outbound = Outbound {
            head: self.outbound.head,
            id,
            client: self.outbound.client,
            body: Received::Whole(body),
            leg: Some(leg),
        };
        let (bounds, sent) = (self.fleet.bounds, &mut self.asked.sent);
        attempt(backend, bounds, &mut outbound, sent, self.record).await
    }

    /// By what a part of the request is known: two are never alike, as an engine may have both. The client's
    /// own name is for the first `unnamed` of them that are sent.
    pub(super) fn id_of_part(&self, word: &str, unnamed: u32) -> HeaderValue {
        let own = self.outbound.id;
        let number = self.asked.sent + 1;
        if number <= unnamed {
            return own.clone();
        }
        let name = [own.as_bytes(), format!("-{word}{number}").as_bytes()].concat();
        HeaderValue::from_bytes(&name).unwrap_or_else(|_| own.clone())
    }

    /// What of it another task needs to ask for it.
    pub(super) fn origin(&self) -> Origin<'a> {
        Origin {
            pool: self.pool,
            retries: self.retries,
            head: self.outbound.head,
            id: self.outbound.id,
            client: self.outbound.client,
            body: self.body().cloned().unwrap_or_default(),
        }
    }

    /// All of its body, where it is held.
    pub(super) fn body(&self) -> Option<&Bytes> {
        self.outbound.held()
    }

    /// Its path, where something is posted to it.
    pub(super) fn path_of_post(&self) -> Option<&'a str> {
        let head = self.outbound.head;
        (head.method == Method::POST).then(|| head.uri.path())
    }

    fn count_attempt(&self, backend: &Backend) {
        let tally = &backend.tally;
        count(match self.asked.tried.last() {
            None => &tally.first,
            Some(_) => &tally.elsewhere,
        });
    }

    /// Takes a backend out that could not be reached, and returns another. A request that had its turn
    /// does not wait behind others for that.
    pub(super) async fn pass_over(
        &mut self,
        unreachable: Charge,
        why: &str,
    ) -> Result<Charge, ApiError> {
        self.is_unreachable(&unreachable, why);
        drop(unreachable);
        match self.claim() {
            Some(other) => Ok(other),
            None if self.asked.sent > 0 => Err(self.nobody()),
            None => self.wait().await,
        }
    }

    /// Takes a backend out that could not be reached.
    pub(super) fn is_unreachable(&mut self, unreachable: &Charge, why: &str) {
        let backend = &unreachable.claim;
        count(&backend.tally.unreachable);
        backend.eject(why);
        self.gives_up(backend);
    }

    /// Whether what one backend did not serve may be sent to another, or again. If not: whether the client
    /// may send the request again, where that is known.
    pub(super) async fn may_go_on(&mut self, flaw: &Flaw) -> Result<(), Option<bool>> {
        let (first, why) = (&flaw.charge.claim, flaw.why);
        if why == Shortcoming::Failed {
            self.note_failure(first);
            if !self.was_outlived_by(first).await {
                return Err(Some(false));
            }
        }
        if !self.may_be_sent_again() {
            return Err((why == Shortcoming::Failed).then_some(false));
        }
        self.gives_up(first);
        Ok(())
    }

    /// Whether it was not sent too often, and can be sent again: all of it is held.
    pub(super) fn may_be_sent_again(&self) -> bool {
        self.asked.sent < ATTEMPTS && self.body().is_some()
    }

    /// Does not claim this one again.
    pub(super) fn gives_up(&mut self, backend: &Arc<Backend>) {
        self.asked.tried.push(Arc::clone(backend));
    }

    /// Puts a failure on the record of a backend, and leaves that out if it has too many. What fails at
    /// two backends is the request's own fault, and on no record.
    pub(super) fn note_failure(&self, backend: &Backend) {
        let print = self.suspicion.as_ref().map(Suspicion::print);
        match self.asked.tried.last() {
            Some(first) if self.asked.sent > 1 => first.history.forget(print),
            _ => {
                backend.history.failed(print);
                self.fleet.set_aside_if_outlier(backend);
            }
        }
        // A probe decides whether it is taken out, as a request alone can make a server break off.
        backend.suspect();
    }

    /// Whether a backend lives on that failed this request.
    async fn was_outlived_by(&mut self, backend: &Arc<Backend>) -> bool {
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
            decoding: None,
        }
    }

    /// Why there is nobody to claim.
    fn nobody(&self) -> ApiError {
        if let Some(last) = self.asked.tried.last() {
            // Why, is for those who run it: an address may be in it.
            let why = format!("{} cannot be reached", last.spec.name);
            return ApiError::upstream_unreachable(why);
        }
        let changed = || "no instance was ready; one has become so just now".to_owned();
        ApiError::no_ready_instance(self.pool.why_not_ready().unwrap_or_else(changed))
    }
}

fn choose(
    fleet: &Fleet,
    outbound: &Outbound<'_>,
    part: Part,
    tried: &[Arc<Backend>],
) -> Option<Charge> {
    let view = RequestView::new(&outbound.head.headers, outbound.held());
    fleet.claim(&view.for_part(part), tried)
}
