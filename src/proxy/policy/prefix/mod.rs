//! The instance that has most likely read the beginning of the prompt already.
//!
//! What each backend was sent is remembered as hashes of blocks, at the moment at which it is chosen: so
//! requests with one beginning that come all at once go together. What its own cache does is not asked.
//! A backend is one epoch of an instance, and nothing is remembered of another, whose cache is empty.
//!
//! Two things draw a request: having read it, and being idle. To have read all of it is worth `window`
//! requests in flight, and to have read a part of it that part of them. vLLM's production stack weighs a
//! match against the load in the same way, in units of the mean load (its `loadaware` routing); in units of
//! requests the load is bounded whatever is asked: nobody has more than `window` above the least, as in
//! sglang's proposal to keep affinity within a window (sgl-project/sglang#32195). And who has read nothing
//! is chosen by its load alone (sgl-project/sglang#14305: by its memory alone, an instance drowns beside
//! idle ones). A match that is small next to its prompt, such as a greeting that all share, outweighs no
//! request.
//!
//! Where one instance reads prompts for another, who writes answers is chosen by load alone. It is remembered
//! all the same what that one has fetched: it may have so much of the next turn of a conversation that it
//! need not be read by another.

mod chain;
mod recent;

use std::collections::BTreeMap;
use std::hash::RandomState;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use schemars::JsonSchema;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};

use super::{Charge, Policy, Ready, crowd};
use crate::proxy::backend::{Backend, BackendId};
use crate::proxy::part::Part;
use crate::proxy::request_view::RequestView;
use chain::BLOCK;
pub(super) use chain::chain;
pub(super) use recent::Recent;

/// The most blocks that may be remembered of an instance: about 200 MB of them.
const MOST_BLOCKS: u32 = 4 * 1024 * 1024;

/// About so many tokens are in the bytes of a block.
const TOKENS_OF_A_BLOCK: u64 = 64;

/// As many blocks are remembered of an instance that does not say what it holds.
const UNKNOWN_ROOM: u32 = 8192;

/// How much is remembered, and how much load it outweighs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PrefixSettings {
    /// How many requests in flight it is worth to have read a whole prompt: none is chosen that has more
    /// than so many above the least. With 0 only the load counts; up to 10,000.
    #[serde(deserialize_with = "window")]
    #[schemars(range(max = 10_000))]
    pub window: u32,
    /// How many blocks of 256 bytes, about 64 tokens each, are remembered of an instance, up to 4,194,304.
    /// Without it as many as its cache has room for, as vLLM says it in its metrics; of an instance that
    /// does not say it 8192, about 500,000 tokens.
    #[serde(deserialize_with = "blocks", skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 4_194_304))]
    pub blocks: Option<NonZeroU32>,
}

impl Default for PrefixSettings {
    fn default() -> Self {
        Self {
            window: 8,
            blocks: None,
        }
    }
}

fn window<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    let window = u32::deserialize(deserializer)?;
    if window <= 10_000 {
        return Ok(window);
    }
    Err(Error::custom(format!(
        "`window` must be up to 10,000 requests, and is {window}"
    )))
}

fn blocks<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<NonZeroU32>, D::Error> {
    let Some(blocks) = Option::<NonZeroU32>::deserialize(deserializer)? else {
        return Ok(None);
    };
    if blocks.get() <= MOST_BLOCKS {
        return Ok(Some(blocks));
    }
    Err(Error::custom(format!(
        "`blocks` must be from 1 to {MOST_BLOCKS}, and is {blocks}"
    )))
}

/// Remembers what each backend was sent.
#[derive(Debug)]
pub(in crate::proxy) struct Prefix {
    window: f64,
    blocks: Option<NonZeroU32>,
    turn: AtomicUsize,
    /// Of its own for each process: nobody can make prompts that meet by their hashes.
    hashes: RandomState,
    /// Under a lock from the look to the choice, so that who comes next sees what was chosen. What takes
    /// long, the hashes, is made before.
    sent: Mutex<Sent>,
}

/// What each was sent.
type Sent = BTreeMap<BackendId, Recent>;

impl Prefix {
    /// With nothing remembered.
    pub(in crate::proxy) fn new(settings: &PrefixSettings) -> Self {
        Self {
            window: settings.window.into(),
            blocks: settings.blocks,
            turn: AtomicUsize::default(),
            hashes: RandomState::new(),
            sent: Mutex::default(),
        }
    }
}

impl Prefix {
    fn sent(&self) -> MutexGuard<'_, Sent> {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How much each is in the way of a request that begins so: its load, less what it is worth to have
    /// read a part of it.
    fn load(&self, sent: &Sent, chain: &[u64], ready: &Ready<'_>) -> impl Fn(&Backend, u64) -> f64 {
        let worth = self.window / chain.len() as f64;
        let mean = ready.mean_share();
        move |backend, in_flight| {
            let recent = sent.get(&backend.id);
            let read = recent.map_or(0, |recent| recent.matched(chain));
            crowd(backend, in_flight) * mean - worth * read as f64
        }
    }

    /// How many blocks are remembered of a backend.
    fn room(&self, backend: &Backend) -> usize {
        let told = backend.cache.load(Ordering::Relaxed) / TOKENS_OF_A_BLOCK;
        let own = match told {
            0 => UNKNOWN_ROOM,
            told => u32::try_from(told).unwrap_or(u32::MAX).min(MOST_BLOCKS),
        };
        self.blocks.map_or(own, NonZeroU32::get) as usize
    }
}

impl Policy for Prefix {
    fn choose(&self, request: &RequestView<'_>, ready: &Ready<'_>) -> Option<Charge> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let chain = chain(&self.hashes, request.whole());
        if chain.is_empty() {
            return Some(ready.claim_least(turn, crowd)?.into());
        }
        let mut sent = self.sent();
        let claim = match request.part() {
            Part::Decode => ready.claim_least(turn, crowd),
            Part::Whole | Part::Alone | Part::Prefill => {
                ready.claim_least(turn, self.load(&sent, &chain, ready))
            }
        }?;
        if sent.len() >= ready.members() {
            sent.retain(|id, _| ready.has_member(*id));
        }
        let room = self.room(&claim);
        let recent = sent.entry(claim.id);
        let recent = recent.or_insert_with(|| Recent::with_room(room));
        // It has just become known: nearly nothing was sent there.
        if recent.room() != room {
            *recent = Recent::with_room(room);
        }
        recent.send(&chain);
        Some(claim.into())
    }

    fn part_read(&self, request: &RequestView<'_>, ready: &Ready<'_>) -> f64 {
        let keys = request.whole();
        let chain = chain(&self.hashes, keys);
        if chain.is_empty() {
            return 0.0;
        }
        let sent = self.sent();
        let turn = self.turn.load(Ordering::Relaxed);
        let next = ready.least(turn, &self.load(&sent, &chain, ready));
        let recent = next.and_then(|(next, _)| sent.get(&next.id));
        let read = recent.map_or(0, |recent| recent.matched(&chain));
        (read * BLOCK) as f64 / keys.asked().len() as f64
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::proxy::policy::tests::Fleet;

    fn policy(window: u32) -> Prefix {
        Prefix::new(&PrefixSettings {
            window,
            ..PrefixSettings::default()
        })
    }

    /// A prompt that begins with one text of so many blocks, and goes on with another.
    fn asking(beginning: usize, blocks: usize, end: usize) -> String {
        let text = |of: usize, blocks: usize| format!("{of:08} ").repeat(blocks * 256 / 9);
        let prompt = text(beginning, blocks) + &text(end, 2);
        json!({"model": "m", "prompt": prompt}).to_string()
    }

    #[test]
    fn what_begins_alike_goes_together_and_the_rest_is_spread() {
        let (fleet, policy) = (Fleet::of(4), policy(8));
        let at = |beginning, end| fleet.pick_for(&policy, &asking(beginning, 20, end));
        let first: Vec<_> = (0..4).map(|it| at(it, 0)).collect();
        let mut places = first.clone();
        places.sort_unstable();
        assert_eq!(places, [0, 1, 2, 3]);
        for end in 1..9 {
            for (beginning, place) in first.iter().enumerate() {
                assert_eq!(at(beginning, end), *place, "{beginning}");
            }
        }
    }

    #[test]
    fn siblings_that_come_at_once_go_together_within_the_window() {
        let (fleet, policy) = (Fleet::of(4), policy(8));
        let burst = |end| fleet.choose_for(&policy, &asking(1, 100, end));
        let held: Vec<_> = (0..8).map(burst).collect();
        let mut in_flight = fleet.in_flight();
        in_flight.sort_unstable();
        assert_eq!(in_flight, [0, 0, 0, 8]);
        let _more: Vec<_> = (8..40).map(burst).collect();
        let in_flight = fleet.in_flight();
        let (least, most) = (in_flight.iter().min(), in_flight.iter().max());
        assert!(most.unwrap() - least.unwrap() <= 8, "{in_flight:?}");
        drop(held);
    }

    #[test]
    fn a_greeting_that_all_share_outweighs_nobody_in_flight() {
        let (fleet, policy) = (Fleet::of(4), policy(8));
        let greeting = |end: usize| {
            let prompt =
                "You are a helpful assistant. ".repeat(9) + &format!("{end} ").repeat(9000);
            json!({"model": "m", "prompt": prompt}).to_string()
        };
        let _held: Vec<_> = (0..40)
            .map(|it| fleet.choose_for(&policy, &greeting(it)))
            .collect();
        assert_eq!(fleet.in_flight(), [10; 4]);
    }

    /// Weights say who is to have more than whom, and not how much a match is worth.
    #[test]
    fn it_is_the_same_for_weights_that_are_all_large() {
        for weight in [1, 100] {
            let (fleet, policy) = (Fleet::of(2), policy(8));
            fleet.weigh(&[weight, weight]);
            let burst = |end| fleet.choose_for(&policy, &asking(1, 100, end));
            let _held: Vec<_> = (0..30).map(burst).collect();
            let in_flight = fleet.in_flight();
            assert!(in_flight[0].abs_diff(in_flight[1]) <= 8, "{in_flight:?}");
        }
    }

    #[test]
    fn another_epoch_has_read_nothing() {
        let policy = policy(8);
        let (old, new) = (Fleet::of(2), Fleet::of(2));
        let place = old.pick_for(&policy, &asking(1, 20, 0));
        let mut seen = [0; 2];
        // What is in flight holds no place against it: the two begin alike.
        for beginning in 1..=40 {
            let again = new.pick_for(&policy, &asking(beginning, 20, 0));
            seen[again] += 1;
        }
        assert_eq!(seen, [20, 20], "the old one was at {place}");
        assert_eq!(policy.sent.lock().unwrap().len(), 2, "and is forgotten");
    }

    #[test]
    fn it_tells_how_much_of_a_prompt_who_is_chosen_next_has_read() {
        let (fleet, policy) = (Fleet::of(2), policy(8));
        assert!(fleet.part_read(&policy, &asking(1, 20, 0)) < 1e-9);
        let place = fleet.pick_for(&policy, &asking(1, 20, 0));
        let read = fleet.part_read(&policy, &asking(1, 20, 0));
        assert!((0.95..=1.0).contains(&read), "{read}");
        let read = fleet.part_read(&policy, &asking(1, 20, 1));
        assert!((0.85..0.95).contains(&read), "{read}");
        assert!(fleet.part_read(&policy, &asking(2, 20, 0)) < 1e-9);
        // Whoever is overrun is not chosen, and who is has read nothing.
        let _busy: Vec<_> = (0..9).map(|_| fleet.occupy(place)).collect();
        assert!(fleet.part_read(&policy, &asking(1, 20, 0)) < 1e-9);
        assert!(fleet.part_read(&policy, "{}") < 1e-9);
    }

    #[test]
    fn what_has_no_prompt_goes_by_load() {
        let (fleet, policy) = (Fleet::of(3), policy(8));
        let _busy = [0, 2].map(|place| fleet.occupy(place));
        for body in ["{}", "", r#"{"prompt":"short"}"#] {
            assert_eq!(fleet.pick_for(&policy, body), 1, "{body}");
        }
    }

    #[test]
    fn as_much_is_remembered_as_a_backend_holds_unless_it_is_said() {
        let fleet = Fleet::of(1);
        let mut policy = policy(8);
        assert_eq!(policy.room(fleet.at(0)), 8192);
        let beginning = asking(1, 20, 1);
        fleet.pick_for(&policy, &beginning);
        fleet.at(0).cache.store(640, Ordering::Relaxed);
        assert_eq!(policy.room(fleet.at(0)), 10);
        fleet.pick_for(&policy, &beginning);
        let id = fleet.at(0).id;
        assert_eq!(policy.sent.lock().unwrap()[&id].room(), 10);
        fleet.at(0).cache.store(u64::MAX, Ordering::Relaxed);
        assert_eq!(policy.room(fleet.at(0)), MOST_BLOCKS as usize);
        policy.blocks = NonZeroU32::new(7);
        assert_eq!(policy.room(fleet.at(0)), 7);
    }

    #[test]
    fn settings_out_of_bounds_say_what_is_allowed() {
        let read = |settings| serde_json::from_value::<PrefixSettings>(settings);
        assert_eq!(read(json!({})).unwrap(), PrefixSettings::default());
        for (settings, why) in [
            (
                json!({"window": 10_001}),
                "up to 10,000 requests, and is 10001",
            ),
            (
                json!({"blocks": 4_194_305}),
                "from 1 to 4194304, and is 4194305",
            ),
            (json!({"blocks": 0}), "nonzero"),
            (json!({"beta": 1}), "unknown field `beta`"),
        ] {
            let said = read(settings).unwrap_err().to_string();
            assert!(said.contains(why), "{said}");
        }
    }
}
