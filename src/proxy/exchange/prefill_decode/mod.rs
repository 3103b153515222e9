//! One instance reads the prompt, and another writes the answer.
//!
//! The one that reads is sent the client's request with a limit of one token, and holds what it has computed
//! (vLLM's NixlConnector). Its answer says where that is, in words that are for the other alone: they are put
//! into the client's request as they are, and the one that gets it fetches what was computed and writes all of
//! the answer, the first token, too. It is chosen only then: whoever was ready before may be gone by now.
//!
//! # Who does all of it
//!
//! What two instances cannot share ([`Split`]) goes to one, and so does what is too short to be worth it, or of
//! which that one has read so much already that the rest is: the next turn of a conversation, where the policy
//! remembers what each was sent. Where nobody is ready who could do the other part, one that is ready does both:
//! any server can. Where nothing is held, the prompt is read again by who answers.
//!
//! # What is sent again
//!
//! The rules are those of [`single`], for each part by itself: once, within the budget, and
//! never after a death. Who could not be reached has fetched nothing, so another is sent to what is held. Who
//! has failed may have fetched a part of it, and may have failed as it is gone: the prompt is read again, which
//! costs little, as it is cached. The same is done where the one that holds it was found gone before, and was
//! asked for it by nobody: vLLM 0.13 ends itself over what it cannot fetch.

mod prefilled;
mod release;
mod split;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::StatusCode;

use super::End;
use super::legs::Legs;
use super::sent::{Flaw, Sent};
use super::single;
use crate::proxy::answer::Answer;
use crate::proxy::attempt::{Failure, Reply};
use crate::proxy::backend::{Backend, count};
use crate::proxy::decoding::Decoding;
use crate::proxy::outbound::{Departure, Leg};
use crate::proxy::part::Part;
use crate::proxy::policy::Charge;
use crate::proxy::read_ahead::Ahead;
use crate::proxy::record::Unshared;
use crate::proxy::usage::{self, Usage};
use prefilled::Prefilled;
use release::Unfetched;
use split::{Path, Split, Whole};

/// As much of an answer is read that the proxy looks into.
const LARGEST: usize = 8 << 20;

/// A request that is shared.
struct Shared<'s> {
    body: &'s Bytes,
    split: &'s Split,
}

/// What is to be done next.
#[allow(
    clippy::large_enum_variant,
    reason = "each is taken apart at once, and has no room made for it"
)]
enum Next<'a> {
    /// This one reads the prompt.
    Prefill(Charge),
    /// Somebody writes the answer to a prompt that was read.
    Decode(Read<'a>),
    /// This one does all of it.
    Alone(Charge),
    /// Nothing.
    Over(End),
}

/// A prompt that was read.
struct Read<'a> {
    by: Arc<Backend>,
    told: Prefilled,
    /// When that was told.
    at: Instant,
    /// What is held of it, until somebody was asked to fetch it.
    held: Option<Unfetched<'a>>,
    /// Its place among those that are read before anybody has room to write, until somebody has.
    ahead: Option<Ahead>,
}

/// Has one backend read the prompt and another write the answer, and returns that.
pub(super) async fn run(legs: &mut Legs<'_>) -> End {
    let path = legs.path_of_post().and_then(Path::of);
    let body = legs.body().cloned().unwrap_or_default();
    let least = legs.least_shared();
    let split = path.map(|path| Split::of(path, &body, least));
    let split = match split {
        Some(Ok(split)) if is_nearly_read(legs, &split, least) => {
            return unsplit(legs, Some(Whole::Cached)).await;
        }
        Some(Ok(split)) => split,
        whole => return unsplit(legs, whole.and_then(Result::err)).await,
    };
    let shared = Shared {
        body: &body,
        split: &split,
    };
    legs.is_for(Part::Prefill);
    let mut next = match legs.begin().await {
        Ok(charge) => Next::Prefill(charge),
        Err(error) => return Some(Err(error)),
    };
    loop {
        next = match next {
            Next::Prefill(charge) => prefill(legs, &shared, charge).await,
            Next::Decode(read) => decode(legs, &shared, read).await,
            Next::Alone(charge) => return alone(legs, charge).await,
            Next::Over(end) => return end,
        }
    }
}

/// Whether less is left to read of a prompt than one instance reads for another, for the one that would do all.
fn is_nearly_read(legs: &Legs<'_>, split: &Split, least: u64) -> bool {
    // Nobody is asked where everything is split: it takes a look at all of the prompt.
    least > 0 && (split.tokens as f64) * (1.0 - legs.part_read()) < least as f64
}

/// Has one do all of it, as it cannot be split, or is not to be.
async fn unsplit(legs: &mut Legs<'_>, why: Option<Whole>) -> End {
    match why {
        Some(Whole::Asked) => count(&legs.pool.handoffs.bypassed),
        Some(Whole::Short) => {
            count(&legs.pool.handoffs.short);
            legs.record.is_read_by_who_answers(Unshared::Short);
        }
        Some(Whole::Cached) => {
            count(&legs.pool.handoffs.cached);
            legs.record.is_read_by_who_answers(Unshared::Cached);
        }
        // Another path has no prompt that anybody could read for another.
        None => {}
    }
    legs.is_for(Part::Alone);
    single::run(legs).await
}

/// Has one that is ready do all of it, as nobody is who could do the other part.
async fn alone(legs: &mut Legs<'_>, mut charge: Charge) -> End {
    charge.ahead = None;
    count(&legs.pool.handoffs.collapsed);
    legs.record.was_read(None, Duration::ZERO);
    legs.is_for(Part::Alone);
    single::go(legs, charge).await
}

async fn prefill<'a>(legs: &mut Legs<'a>, shared: &Shared<'_>, charge: Charge) -> Next<'a> {
    if !legs.can_share_with(&charge.claim) {
        return Next::Alone(charge);
    }
    let began = Instant::now();
    let id = legs.id_of_part("p", 0);
    let leg = Leg {
        is_read: true,
        ..Leg::default()
    };
    let sent = legs.send_part(&charge.claim, &id, shared.split.prefill(), leg);
    let sent = whole(sent.await, &charge.claim).await;
    match Sent::of(legs, sent, charge) {
        Sent::Answered(reply, charge) if reply.head.status == StatusCode::OK => {
            Next::Decode(take_in(legs, shared.split, reply, charge, began))
        }
        Sent::Answered(refusal, charge) => Next::Over(Some(Ok(legs.answer(refusal, charge, None)))),
        Sent::Unreachable(charge, why) => match legs.pass_over(charge, &why).await {
            Ok(other) => Next::Prefill(other),
            Err(error) => Next::Over(Some(Err(error))),
        },
        Sent::Flawed(flaw) => elsewhere(legs, flaw).await,
        Sent::Over(end) => Next::Over(end),
    }
}

/// The same answer with all of its body, where it is no stream.
async fn whole(sent: Result<Reply, Failure>, backend: &Backend) -> Result<Reply, Failure> {
    let mut reply = sent?;
    if reply.head.status == StatusCode::OK && !reply.head.is_stream {
        reply.read(backend, LARGEST).await?;
    }
    Ok(reply)
}

/// Takes in what was computed.
fn take_in<'a>(
    legs: &mut Legs<'a>,
    split: &Split,
    reply: Reply,
    mut charge: Charge,
    began: Instant,
) -> Read<'a> {
    let at = Instant::now();
    let ahead = charge.ahead.take();
    let by = Arc::clone(&charge.claim);
    let is_whole = reply.connection.is_at_end();
    let told = is_whole.then(|| Prefilled::of(&reply.beginning.data));
    let told = told.unwrap_or_default();
    let held = told.params.clone();
    // Before it has nothing in flight any more, which would end a drain.
    let held = held.map(|params| Unfetched::of(legs, &by, split, params));
    if held.is_none() {
        legs.pool.handoffs.is_missing(&by.spec.name);
    }
    by.history.answered();
    by.keep(reply.connection, at.into());
    drop(charge);
    legs.record.was_read(Some(&by), at - began);
    Read {
        by,
        told,
        at,
        held,
        ahead,
    }
}

/// Another backend for what one that was to read the prompt did not serve; one that writes answers, where no
/// other reads prompts.
async fn elsewhere<'a>(legs: &mut Legs<'a>, flaw: Flaw) -> Next<'a> {
    if let Err(should_retry) = legs.may_go_on(&flaw).await {
        return Next::Over(Some(flaw.end(legs, should_retry)));
    }
    let other = legs.claim_if_nobody_waits();
    let other = other.or_else(|| legs.claim_for(Part::Alone));
    match other.filter(|_| legs.may_spend()) {
        Some(other) => Next::Prefill(other),
        None => Next::Over(Some(flaw.end_alone(legs))),
    }
}

async fn decode<'a>(legs: &mut Legs<'a>, shared: &Shared<'_>, mut read: Read<'a>) -> Next<'a> {
    legs.turn_to(Part::Decode);
    loop {
        let charge = match legs.claim_besides(&read.by) {
            Some(charge) => charge,
            None => match legs.wait().await {
                Ok(charge) => charge,
                Err(error) => return Next::Over(Some(Err(error))),
            },
        };
        read.ahead = None;
        if read.is_lost(legs) {
            read.held = None;
            match reader(legs, &read.by).await {
                Some(other) => return Next::Prefill(other),
                None => legs.turn_to(Part::Decode),
            }
        }
        let has_own = charge.claim.id == read.by.id;
        if let Some(held) = read.held.take_if(|_| has_own) {
            // It has no need to fetch it.
            held.settle();
            count(&legs.pool.handoffs.collapsed);
        }
        let sent = send(legs, shared, &charge.claim, &mut read).await;
        match Sent::of(legs, sent, charge) {
            Sent::Answered(reply, charge) => {
                return Next::Over(Some(Ok(answer(legs, shared, reply, charge, read))));
            }
            Sent::Unreachable(charge, why) => legs.is_unreachable(&charge, &why),
            Sent::Flawed(flaw) => return again(legs, flaw, &read.by).await,
            Sent::Over(end) => return Next::Over(end),
        }
    }
}

/// Asks a backend for the answer, and says where it finds what was computed.
async fn send(
    legs: &mut Legs<'_>,
    shared: &Shared<'_>,
    backend: &Arc<Backend>,
    read: &mut Read<'_>,
) -> Result<Reply, Failure> {
    let id = legs.id_of_part("d", 1);
    let Some(held) = &mut read.held else {
        legs.record.was_read(None, Duration::ZERO);
        let body = shared.body.clone();
        return legs.send_part(backend, &id, body, Leg::default()).await;
    };
    let [before, rest] = split::decode(shared.body, held.params());
    let departure = Arc::<Departure>::default();
    held.departs(&departure);
    let leg = Leg {
        before,
        is_read: shared.split.tells_usage,
        departure: Some(Arc::clone(&departure)),
    };
    let sent = legs.send_part(backend, &id, rest, leg).await;
    if let Some(began) = departure.began() {
        count(&legs.pool.handoffs.handed_over);
        legs.pool.handoffs.took.observe(began - read.at);
    }
    if shared.split.tells_usage {
        return whole(sent, backend).await;
    }
    sent
}

/// The answer as the client gets it.
fn answer(
    legs: &mut Legs<'_>,
    shared: &Shared<'_>,
    mut reply: Reply,
    charge: Charge,
    read: Read<'_>,
) -> Answer {
    let Some(held) = read.held else {
        return legs.answer(reply, charge, None);
    };
    let lease = held.settle();
    let (is_stream, has_event) = (reply.head.is_stream, reply.beginning.events.has_event());
    let lease = lease.filter(|_| is_stream && !has_event);
    let is_told = shared.split.tells_usage && reply.head.status == StatusCode::OK;
    let mut usage = None;
    if is_told && is_stream {
        usage = Some(Usage::with(read.told.cached));
    } else if is_told && reply.connection.is_at_end() {
        let cached = read.told.cached.as_deref();
        if let Some(corrected) = usage::corrected(&reply.beginning.data, cached) {
            reply.replace_body(corrected.into());
        }
    }
    let has_more = lease.is_some() || usage.is_some();
    let mut answer = legs.answer(reply, charge, None);
    answer.decoding = has_more.then(|| Box::new(Decoding::new(lease, usage)));
    answer
}

/// Has the prompt read again for what one that was to write the answer did not serve; or else what the client
/// gets.
async fn again<'a>(legs: &mut Legs<'a>, flaw: Flaw, by: &Arc<Backend>) -> Next<'a> {
    if let Err(should_retry) = legs.may_go_on(&flaw).await {
        return Next::Over(Some(flaw.end(legs, should_retry)));
    }
    let other = reader(legs, by).await;
    match other.filter(|_| legs.may_spend()) {
        Some(other) => {
            count(&legs.pool.handoffs.read_again);
            Next::Prefill(other)
        }
        None => Next::Over(Some(flaw.end_alone(legs))),
    }
}

/// Another backend that reads a prompt which was read, or the same where there is no other and it lives on; or
/// one that writes answers, which does all of it. Nothing where it was read twice.
async fn reader(legs: &mut Legs<'_>, by: &Arc<Backend>) -> Option<Charge> {
    legs.turn_to(Part::Prefill);
    if !legs.may_be_sent_again() {
        return None;
    }
    // Who is not seen to live on is not asked again: it may still pass for ready.
    if legs.has_other_than(by) || !by.is_seen_from_now_on().await {
        legs.gives_up(by);
    }
    let other = legs.claim_if_nobody_waits();
    other.or_else(|| legs.claim_for(Part::Alone))
}

impl Read<'_> {
    /// Whether what was computed is held no longer.
    fn is_lost(&self, legs: &Legs<'_>) -> bool {
        let held = self.held.as_ref();
        held.is_some_and(|held| held.is_over() || !legs.has_still(&self.by))
    }
}
