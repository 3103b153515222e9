//! The instance with the fewest tokens that it still has to read and to write.
//!
//! What a request costs is estimated when it comes: a token for four bytes of its prompt, and as many
//! as it may write. It counts until its answer is over.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Charge, Policy, Ready};
use crate::proxy::backend::BackendId;
use crate::proxy::request_view::RequestView;

/// Bytes of text that are about a token.
const BYTES_A_TOKEN: u64 = 4;

/// A request that does not say how much it wants to read may read so many tokens: vLLM's own default
/// is all that there is room for, which few answers use.
const UNBOUNDED: u64 = 256;

/// Counts tokens, by backend; it has no settings.
#[derive(Debug, Default)]
pub(in crate::proxy) struct OutstandingTokens {
    turn: AtomicUsize,
    outstanding: Mutex<BTreeMap<BackendId, Arc<AtomicU64>>>,
}

impl OutstandingTokens {
    fn outstanding(&self) -> MutexGuard<'_, BTreeMap<BackendId, Arc<AtomicU64>>> {
        self.outstanding
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// The tokens of one request, until it is over.
#[derive(Debug)]
struct Tokens {
    of: Arc<AtomicU64>,
    count: u64,
}

impl Drop for Tokens {
    fn drop(&mut self) {
        self.of.fetch_sub(self.count, Ordering::AcqRel);
    }
}

impl Policy for OutstandingTokens {
    fn choose(&self, request: &RequestView<'_>, ready: &Ready<'_>) -> Option<Charge> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let count = estimated(request);
        // Under the lock, so that nobody chooses by what another is about to add.
        let mut outstanding = self.outstanding();
        let claim = ready.claim_least(turn, |backend, in_flight| {
            let known = outstanding.get(&backend.id);
            let tokens = known.map_or(0, |it| it.load(Ordering::Acquire));
            (tokens, in_flight)
        })?;
        let of = Arc::clone(outstanding.entry(claim.id).or_default());
        of.fetch_add(count, Ordering::AcqRel);
        // Whoever is gone and has nothing left is forgotten.
        let is_there = |id: &BackendId| ready.from(0).any(|backend| backend.id == *id);
        outstanding.retain(|id, tokens| tokens.load(Ordering::Acquire) > 0 || is_there(id));
        Some(Charge::keeping(claim, Tokens { of, count }))
    }
}

/// As many tokens as a request is likely to cost.
fn estimated(request: &RequestView<'_>) -> u64 {
    let read = request.length() / BYTES_A_TOKEN;
    let written = request.keys().max_tokens.unwrap_or(UNBOUNDED);
    read.saturating_add(written).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::policy::tests::Fleet;

    #[test]
    fn one_long_request_weighs_as_much_as_many_short_ones() {
        let (fleet, policy) = (Fleet::of(2), OutstandingTokens::default());
        let ask = |max_tokens: u32| {
            let body = format!("{{\"prompt\":\"p\",\"max_tokens\":{max_tokens}}}");
            fleet.choose_for(&policy, &body)
        };
        let long = ask(4000);
        let short: Vec<_> = (0..10).map(|_| ask(100)).collect();
        assert_eq!(fleet.in_flight(), [1, 10]);
        drop(long);
        let _next = ask(100);
        assert_eq!(fleet.in_flight(), [1, 10]);
        drop(short);
        assert_eq!(policy.outstanding().len(), 2);
        let left: u64 = policy
            .outstanding()
            .values()
            .map(|it| it.load(Ordering::Acquire))
            .sum();
        assert_eq!(left, 107);
    }

    #[test]
    fn a_burst_of_equals_is_even() {
        let (fleet, policy) = (Fleet::of(4), OutstandingTokens::default());
        let _held: Vec<_> = (0..400).map(|_| fleet.choose(&policy)).collect();
        assert_eq!(fleet.in_flight(), [100; 4]);
    }
}
