//! What a scheduler does about other engines' blocks, and about its own that others fetch.
//!
//! A sequence whose blocks are to be fetched takes room for its whole prompt when its turn comes,
//! waits outside the running set until they are there, and then takes a seat with one token left to
//! compute: the last of its prompt, which says what follows.

use std::time::Duration;

use super::{Finish, Output, Scheduler, Sequence, SequenceId};
use crate::simulator::kv::params::{Keep, Remote};
use crate::simulator::kv::pull::{Outcome, Pull};
use crate::simulator::kv::settings::FailurePolicy;
use crate::simulator::prefix_cache::{BlockId, Held};
use crate::simulator::stats::FinishReason;
use crate::simulator::text;

/// How far a sequence is with another engine's blocks.
#[derive(Debug, Default)]
pub(super) enum Arrival {
    /// Nothing is to be fetched.
    #[default]
    None,
    /// Nothing was fetched yet.
    Wanted(Remote),
    /// They are on their way.
    Coming,
    /// They are here.
    Come,
}

impl Arrival {
    /// Of a sequence that is new.
    pub(super) fn of(remote: Option<Remote>) -> Self {
        remote.map_or(Self::None, Self::Wanted)
    }
}

impl Scheduler {
    /// Takes room for the whole prompt of a sequence and orders its blocks. False, and nothing
    /// changed, when there is no room.
    pub(super) fn order_blocks(&mut self, sequence: &mut Sequence, remote: Remote) -> bool {
        let here = self.pool.take_prefix(&mut sequence.held, &sequence.tokens);
        let whole = sequence.tokens.len();
        if !self.pool.reserve(&mut sequence.held, whole) {
            sequence.let_go(&mut self.pool);
            sequence.arrival = Arrival::Wanted(remote);
            return false;
        }
        sequence.computed = here;
        sequence.arrival = Arrival::Coming;
        if self.limits.prefix_caching {
            self.stats.prefix_queries += whole as u64;
            self.stats.prefix_hits += here as u64;
        }
        let tokens = Some(here..whole);
        self.pulls.push((sequence.work.id, Pull { remote, tokens }));
        true
    }

    /// What is to be fetched from other engines since this was last asked.
    pub(in crate::simulator) fn take_pulls(&mut self) -> Vec<(SequenceId, Pull)> {
        std::mem::take(&mut self.pulls)
    }

    /// Has another engine told that nobody wants its blocks any more: who asked for them has gone
    /// before they were ordered.
    pub(super) fn decline(&mut self, id: SequenceId, remote: Remote) {
        let tokens = None;
        self.pulls.push((id, Pull { remote, tokens }));
    }

    /// What came of fetching; returns the end of a sequence that fails by it.
    pub(in crate::simulator) fn pulled(
        &mut self,
        id: SequenceId,
        outcome: Outcome,
        policy: FailurePolicy,
    ) -> Option<Output> {
        self.stats.nixl.count(&outcome);
        let is_it = |sequence: &Sequence| sequence.work.id == id;
        // Gone in the meantime, and its room with it.
        let at = self.waiting.iter().position(is_it)?;
        match outcome {
            Outcome::Fetched { marks, .. } => {
                let sequence = &mut self.waiting[at];
                sequence.arrive(&mut self.pool, &marks);
                None
            }
            Outcome::Lost if policy == FailurePolicy::Recompute => {
                let sequence = &mut self.waiting[at];
                sequence.let_go(&mut self.pool);
                None
            }
            Outcome::Lost => {
                let mut sequence = self.waiting.remove(at)?;
                sequence.let_go(&mut self.pool);
                self.stats.ended[FinishReason::Error as usize] += 1;
                Some(Output {
                    id,
                    token: text::END,
                    finish: Some(Finish::Error),
                    cached: 0,
                    kept: None,
                })
            }
            Outcome::Told | Outcome::NotTold | Outcome::Fatal(_) => None,
        }
    }

    /// Counts, for a sequence that takes a seat, what came from another engine.
    pub(super) fn note_external(&mut self, sequence: &Sequence) {
        if self.limits.connects {
            self.stats.external_queries += sequence.tokens.len() as u64;
            self.stats.external_hits += sequence.external as u64;
        }
    }

    /// Keeps the blocks of a sequence that has ended, and returns which they are.
    pub(super) fn keep(&mut self, held: Held, keep: Keep, now: Duration) -> Vec<BlockId> {
        let ids = held.ids();
        let until = now + keep.lease;
        if let Some(before) = self.leases.keep(keep.request, held, until) {
            self.pool.release(before);
        }
        ids
    }

    /// What is in some blocks, up to some place in each.
    pub(in crate::simulator) fn read(&self, places: &[(BlockId, usize)]) -> Vec<u64> {
        let traces = places
            .iter()
            .map(|(block, offset)| self.pool.trace_at(*block, *offset));
        traces.collect()
    }

    /// Frees what another engine has fetched; false when nothing was kept under that name, as when
    /// it had expired.
    pub(in crate::simulator) fn fetched(&mut self, request: &str) -> bool {
        let Some(held) = self.leases.take(request) else {
            return false;
        };
        self.pool.release(held);
        true
    }

    /// Frees what nobody has fetched in time, and returns whose that was.
    pub(in crate::simulator) fn expire(&mut self, now: Duration) -> Vec<String> {
        let mut requests = Vec::new();
        for (request, held) in self.leases.take_expired(now) {
            self.pool.release(held);
            self.stats.nixl.expired += 1;
            requests.push(request);
        }
        requests
    }

    /// When something that is kept expires next.
    pub(in crate::simulator) fn next_expiry(&self) -> Option<Duration> {
        self.leases.next_end()
    }
}
