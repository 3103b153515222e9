//! The instance with the fewest tokens that it still has to read and to write, for its share.
//!
//! What a request costs is estimated when it comes: a token for four bytes of its prompt, and as many
//! as it may write. It counts until its answer is over.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::{Charge, LOOKS, Policy, Ready};
use crate::proxy::backend::{Backend, Claim};
use crate::proxy::request_view::RequestView;
use crate::proxy::tokens::BYTES_A_TOKEN;

/// A request that does not say how much it wants to read may read so many tokens: vLLM's own default
/// is all that there is room for, which few answers use.
const UNBOUNDED: u64 = 256;

/// More than any request is worth: the count of many has room for them.
const MOST: u64 = 1 << 32;

/// Compares the tokens that each backend has; it has no settings.
#[derive(Debug, Default)]
pub(in crate::proxy) struct OutstandingTokens {
    turn: AtomicUsize,
}

/// The tokens of one request, until it is over.
#[derive(Debug)]
struct Tokens {
    of: Arc<Backend>,
    count: u64,
}

impl Tokens {
    fn of(backend: &Arc<Backend>, count: u64) -> Self {
        backend.tokens.fetch_add(count, Ordering::AcqRel);
        Self {
            of: Arc::clone(backend),
            count,
        }
    }
}

impl Drop for Tokens {
    fn drop(&mut self) {
        self.of.tokens.fetch_sub(self.count, Ordering::AcqRel);
    }
}

impl Policy for OutstandingTokens {
    fn choose(&self, request: &RequestView<'_>, ready: &Ready<'_>) -> Option<Charge> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let count = estimated(request);
        let load = |backend: &Backend, in_flight: u64| {
            let tokens = backend.tokens.load(Ordering::Acquire) + count;
            (tokens as f64 / backend.share.now(), in_flight)
        };
        for _ in 0..LOOKS {
            let (backend, in_flight) = ready.least(turn, &load)?;
            // Counted before it is claimed: who sees the one request more sees its tokens, too, so nobody
            // chooses by what another is about to add.
            let tokens = Tokens::of(backend, count);
            if let Some(claim) = backend.claim(Some(in_flight)) {
                return Some(Charge::keeping(claim, tokens));
            }
        }
        let claim = ready.iter().find_map(|backend| backend.claim(None))?;
        Some(charged(claim, count))
    }
}

fn charged(claim: Claim, count: u64) -> Charge {
    let tokens = Tokens::of(&claim, count);
    Charge::keeping(claim, tokens)
}

/// As many tokens as a request is likely to cost.
fn estimated(request: &RequestView<'_>) -> u64 {
    let read = request.length() / BYTES_A_TOKEN;
    let written = request.keys().max_tokens.unwrap_or(UNBOUNDED);
    read.saturating_add(written).clamp(1, MOST)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::policy::tests::Fleet;

    fn left(fleet: &Fleet) -> Vec<u64> {
        let tokens = |place: usize| fleet.at(place).tokens.load(Ordering::Acquire);
        (0..fleet.in_flight().len()).map(tokens).collect()
    }

    #[test]
    fn one_long_request_weighs_as_much_as_many_short_ones() {
        let (fleet, policy) = (Fleet::of(2), OutstandingTokens::default());
        let ask = |max_tokens: u64| {
            let body = format!("{{\"prompt\":\"p\",\"max_tokens\":{max_tokens}}}");
            fleet.choose_for(&policy, &body)
        };
        let long = ask(4000);
        let short: Vec<_> = (0..10).map(|_| ask(100)).collect();
        assert_eq!(fleet.in_flight(), [1, 10]);
        drop(long);
        let next = ask(100);
        assert_eq!(fleet.in_flight(), [1, 10]);
        drop(short);
        assert_eq!(left(&fleet), [107, 0]);
        drop(next);
        drop(ask(u64::MAX));
        assert_eq!(left(&fleet), [0, 0]);
    }

    #[test]
    fn a_burst_of_equals_from_all_sides_is_even() {
        let (fleet, policy) = (Fleet::of(4), OutstandingTokens::default());
        let burst = || (0..100).map(|_| fleet.choose(&policy)).collect::<Vec<_>>();
        let held: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(burst)).collect();
            threads.into_iter().map(|it| it.join().unwrap()).collect()
        });
        assert_eq!(fleet.in_flight(), [100; 4]);
        drop(held);
        assert_eq!(left(&fleet), [0; 4]);
    }

    #[test]
    fn who_is_to_have_more_has_more_tokens() {
        let (fleet, policy) = (Fleet::of(2), OutstandingTokens::default());
        fleet.weigh(&[1, 3]);
        let _held: Vec<_> = (0..40).map(|_| fleet.choose(&policy)).collect();
        assert_eq!(fleet.in_flight(), [10, 30]);
    }
}
