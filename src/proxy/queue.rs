//! Requests that wait for a place at an instance.
//!
//! A request waits where each instance that is ready has as many in flight as it may have, and where none
//! is ready: in one line for all instances, as in that of a bank, so that nobody waits for one while
//! another is free. First come, first served: who comes while others wait stands behind them.
//!
//! Whoever frees a place calls the first in the line, and who has taken one calls the next if there is
//! another. So as many are awake as there are places, and nobody is forgotten. What there is to wait for is
//! looked up at each call: who waits follows the configuration and the health of the instances.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::counts::Times;
use super::fleet::Fleet;
use super::part::Part;
use super::policy::Charge;
use super::pool::Pool;

/// The requests that wait, in their order.
#[derive(Debug, Default)]
pub(super) struct Queue {
    line: Mutex<Line>,
    /// How many there are, for who only wants to know whether there is anybody.
    length: AtomicUsize,
    /// How long those waited who do not any more.
    waited: Times,
}

#[derive(Debug, Default)]
struct Line {
    came: u64,
    waiting: BTreeMap<Ticket, Arc<Notify>>,
}

/// A place in the line. Those that wait for somebody who reads prompts for others have a line of their own:
/// no other would ever be free for them. Who had his turn, and was sent to an instance that could not be reached, comes
/// before all who did not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Ticket {
    is_prefill: bool,
    is_new: bool,
    number: u64,
}

/// Why a request has no place, and is not to wait for one any longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unplaced {
    /// As many wait as may.
    #[error(
        "every instance has as many requests as it may have, and {0} wait for them: as many as may"
    )]
    Full(usize),
    /// It has waited for so long.
    #[error("every instance has as many requests as it may have, and none was free within {0:?}")]
    TooLong(Duration),
    #[error("no instance is ready")]
    NoneReady,
}

/// What one request has waited so far.
#[derive(Debug, Default)]
pub(super) struct Wait {
    part: Part,
    began: Option<Instant>,
    /// Since when it has seen no instance that is ready.
    none_since: Option<Instant>,
}

impl Queue {
    /// Whether nobody waits.
    pub(super) fn is_empty(&self) -> bool {
        self.length() == 0
    }

    /// Whether nobody waits for what this part would take.
    pub(super) fn is_empty_for(&self, part: Part) -> bool {
        self.is_empty() || self.line().first(part.is_prefill()).is_none()
    }

    /// How many wait.
    pub(super) fn length(&self) -> usize {
        self.length.load(Ordering::SeqCst)
    }

    /// How long those waited who do not any more.
    pub(super) fn waited(&self) -> &Times {
        &self.waited
    }

    /// Has the first look for a place: one may be free.
    pub(super) fn call_first(&self) {
        if !self.is_empty() {
            let line = self.line();
            let firsts = [false, true].map(|is_prefill| line.first(is_prefill));
            firsts.iter().flatten().for_each(|(_, it)| it.notify_one());
        }
    }

    /// Has everybody look whether there still is something to wait for.
    pub(super) fn call_all(&self) {
        if !self.is_empty() {
            self.line().waiting.values().for_each(|it| it.notify_one());
        }
    }

    /// Puts one more into the line, unless so many are in it who have not had their turn yet.
    fn join(&self, part: Part, is_new: bool, most: usize) -> Option<(Ticket, Arc<Notify>)> {
        let mut line = self.line();
        if is_new && line.waiting.len() >= most {
            return None;
        }
        line.came += 1;
        let ticket = Ticket {
            is_prefill: part.is_prefill(),
            is_new,
            number: line.came,
        };
        let call = Arc::<Notify>::default();
        line.waiting.insert(ticket, Arc::clone(&call));
        self.length.store(line.waiting.len(), Ordering::SeqCst);
        Some((ticket, call))
    }

    /// Takes one out of the line, and returns whether it was the first.
    fn leave(&self, ticket: Ticket) -> bool {
        let mut line = self.line();
        let is_first = line.is_first(ticket);
        line.waiting.remove(&ticket);
        self.length.store(line.waiting.len(), Ordering::SeqCst);
        is_first
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Line {
    fn is_first(&self, ticket: Ticket) -> bool {
        let first = self.first(ticket.is_prefill);
        first.is_some_and(|(first, _)| *first == ticket)
    }

    /// The first of those that wait for who reads prompts, or of the others.
    fn first(&self, is_prefill: bool) -> Option<(&Ticket, &Arc<Notify>)> {
        let begins = Ticket {
            is_prefill,
            is_new: false,
            number: 0,
        };
        let mut those = self.waiting.range(begins..);
        those.next().filter(|(it, _)| it.is_prefill == is_prefill)
    }
}

/// Waits in the line of a pool until one of its instances is chosen, and returns by which fleet it was.
pub(super) async fn place(
    pool: &Pool,
    wait: &mut Wait,
    choose: impl Fn(&Fleet) -> Option<Charge>,
) -> Result<(Arc<Fleet>, Charge), Unplaced> {
    let mut fleet = pool.fleet();
    let waiting = Waiting::begin(pool, &fleet, wait)?;
    loop {
        if waiting.is_first()
            && let Some(charge) = choose(&fleet)
        {
            return Ok((fleet, charge));
        }
        let end = wait.end(&fleet).ok_or(Unplaced::NoneReady)?;
        if Instant::now() >= end {
            return Err(wait.in_vain(&fleet));
        }
        // Called or not, it looks again.
        let _ = tokio::time::timeout_at(end, waiting.call.notified()).await;
        fleet = pool.fleet();
    }
}

impl Wait {
    /// Waits for a place for this part of a request.
    pub(super) fn for_part(part: Part) -> Self {
        Self {
            part,
            ..Self::default()
        }
    }

    /// The same, of one that had its turn: who is new does not come before it.
    pub(super) fn of_one_under_way(part: Part) -> Self {
        Self {
            began: Some(Instant::now()),
            ..Self::for_part(part)
        }
    }

    /// Until when it is to wait, as things stand; nothing where there is nothing to wait for.
    fn end(&mut self, fleet: &Fleet) -> Option<Instant> {
        if fleet.has_ready() {
            self.none_since = None;
            return self.began.map(|began| began + fleet.bounds.queue);
        }
        let hold = fleet.bounds.hold.filter(|_| !fleet.members().is_empty())?;
        Some(*self.none_since.get_or_insert_with(Instant::now) + hold)
    }

    fn in_vain(&self, fleet: &Fleet) -> Unplaced {
        match self.none_since {
            Some(_) => Unplaced::NoneReady,
            None => Unplaced::TooLong(fleet.bounds.queue),
        }
    }
}

/// One request that waits, for as long as this lives.
struct Waiting<'a> {
    pool: &'a Pool,
    ticket: Ticket,
    call: Arc<Notify>,
    since: Instant,
}

impl<'a> Waiting<'a> {
    fn begin(pool: &'a Pool, fleet: &Fleet, wait: &mut Wait) -> Result<Self, Unplaced> {
        let now = Instant::now();
        let is_new = wait.began.is_none();
        let began = *wait.began.get_or_insert(now);
        let has_reason = wait.end(fleet).is_some();
        // Of an instance that comes and goes, and cannot be reached each time, it has had enough.
        if !has_reason || now > began + fleet.bounds.queue {
            return Err(Unplaced::NoneReady);
        }
        let most = fleet.room_to_wait();
        let joined = pool.queue.join(wait.part, is_new, most);
        let (ticket, call) = joined.ok_or(Unplaced::Full(most))?;
        Ok(Self {
            pool,
            ticket,
            call,
            since: now,
        })
    }

    fn is_first(&self) -> bool {
        self.pool.queue.line().is_first(self.ticket)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let queue = &self.pool.queue;
        queue.waited.observe(self.since.elapsed());
        // Whatever it was called for may be left for the next.
        if queue.leave(self.ticket) && self.pool.fleet().has_room() {
            queue.call_first();
        }
    }
}
