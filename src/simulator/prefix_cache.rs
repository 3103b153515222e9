//! The KV cache: blocks, who holds them, which prefixes they keep, and what is really in them.
//!
//! As in vLLM, a full block is known by the hash of everything up to its end, so sequences that
//! start alike share blocks; a block that nobody holds stays known until its space is wanted, the
//! least recently used one first.
//!
//! A block has a number, and a trace of what was written into it: for each token one number that
//! depends on it and on all before it. What is known about a block and what is in it differ only
//! where another engine's block was fetched that held something else.

use std::collections::{BTreeMap, HashMap, VecDeque};

use super::text::{Token, fingerprint, mix};

/// What a block holds: the hash of its tokens and all before them.
pub(super) type BlockHash = u64;

/// A block's number; as in vLLM they start at 1.
pub(super) type BlockId = u32;

/// What another engine's cache holds at some places: up to which token, and its trace there.
pub(super) type Marks = [(usize, u64)];

/// The blocks of one engine.
#[derive(Debug)]
pub(super) struct BlockPool {
    size: usize,
    total: usize,
    sharing: bool,
    /// How many blocks were ever used: all after them hold nothing.
    used: usize,
    /// Blocks that were let go and are known by nothing, the oldest first.
    blank: VecDeque<BlockId>,
    known: HashMap<BlockHash, Known>,
    /// Known blocks that nobody holds, by the time they were let go.
    idle: BTreeMap<u64, BlockHash>,
    /// The trace of each block that was ever used, by its number less one; it stays until the block
    /// is written anew.
    traces: Vec<Vec<u64>>,
    clock: u64,
}

#[derive(Debug, Clone, Copy)]
struct Known {
    block: BlockId,
    holders: Holders,
}

#[derive(Debug, Clone, Copy)]
enum Holders {
    Some(usize),
    None { since: u64 },
}

/// The blocks that one sequence holds.
#[derive(Debug, Default)]
pub(super) struct Held {
    /// In the order of the tokens; with the hash by which it is known, unless it is the sequence's
    /// own: not full yet, or a copy of a known one.
    blocks: Vec<(BlockId, Option<BlockHash>)>,
    /// How many tokens are written.
    written: usize,
    /// The hash of the tokens that should be written, by which blocks are known.
    hash: BlockHash,
    /// The same without the salt, which says who shares a block and not what is in it.
    meant: u64,
    /// The trace of what is written: what is meant, unless something else was fetched.
    trace: u64,
}

impl Held {
    /// Nothing held, for a sequence whose hashes start with `salt`.
    pub(super) fn salted(salt: Option<&str>) -> Self {
        let start = salt.map_or(0, |salt| fingerprint(salt.bytes().map(u64::from)));
        Self {
            hash: start,
            ..Self::default()
        }
    }

    /// The numbers of the blocks.
    pub(super) fn ids(&self) -> Vec<BlockId> {
        self.blocks.iter().map(|(block, _)| *block).collect()
    }

    /// What decides an answer, given what is in the cache: `seed`, unless that is not what should
    /// be there.
    pub(super) fn tainted(&self, seed: u64) -> u64 {
        if self.trace == self.meant {
            seed
        } else {
            mix(seed, self.trace)
        }
    }
}

impl BlockPool {
    /// `total` blank blocks of `size` tokens. Without `sharing` no prefix is ever found.
    pub(super) fn new(total: usize, size: usize, sharing: bool) -> Self {
        Self {
            size,
            total,
            sharing,
            used: 0,
            blank: VecDeque::new(),
            known: HashMap::new(),
            idle: BTreeMap::new(),
            traces: Vec::new(),
            clock: 0,
        }
    }

    /// The share of blocks that somebody holds.
    pub(super) fn usage(&self) -> f64 {
        if self.total == 0 {
            0.0
        } else {
            1.0 - self.free() as f64 / self.total as f64
        }
    }

    fn free(&self) -> usize {
        self.total - self.used + self.blank.len() + self.idle.len()
    }

    /// Takes the known blocks that `tokens` starts with, and returns how many tokens they hold. The
    /// last token is never among them: it must be computed to know what follows.
    pub(super) fn take_prefix(&mut self, held: &mut Held, tokens: &[Token]) -> usize {
        if !self.sharing {
            return 0;
        }
        let whole = tokens.len().saturating_sub(1) / self.size;
        for block in tokens.chunks_exact(self.size).take(whole) {
            let hash = extend(held.hash, block);
            let Some(id) = self.hold(hash) else {
                break;
            };
            held.blocks.push((id, Some(hash)));
            held.hash = hash;
            held.meant = extend(held.meant, block);
            held.trace = self.trace_at(id, self.size - 1);
            held.written += self.size;
        }
        held.written
    }

    /// Takes as many blocks as `tokens` tokens need. False, and nothing taken, when there are too few.
    pub(super) fn reserve(&mut self, held: &mut Held, tokens: usize) -> bool {
        let missing = tokens.div_ceil(self.size).saturating_sub(held.blocks.len());
        if missing > self.free() {
            return false;
        }
        let taken = (0..missing).filter_map(|_| self.take_blank());
        held.blocks.extend(taken.map(|block| (block, None)));
        true
    }

    /// Writes what was computed, `computed` being all tokens so far, and makes the blocks that they
    /// fill known.
    pub(super) fn write(&mut self, held: &mut Held, computed: &[Token]) {
        for token in computed.iter().skip(held.written) {
            let (at, offset) = (held.written / self.size, held.written % self.size);
            held.hash = mix(held.hash, u64::from(*token));
            held.meant = mix(held.meant, u64::from(*token));
            held.trace = mix(held.trace, u64::from(*token));
            held.written += 1;
            let Some((block, known)) = held.blocks.get_mut(at) else {
                return;
            };
            let trace = &mut self.traces[*block as usize - 1];
            trace.truncate(offset);
            trace.push(held.trace);
            // A known one is not replaced: this sequence keeps its own copy, as in vLLM.
            if self.sharing && offset + 1 == self.size && !self.known.contains_key(&held.hash) {
                let holders = Holders::Some(1);
                let block = *block;
                self.known.insert(held.hash, Known { block, holders });
                *known = Some(held.hash);
            }
        }
    }

    /// Writes what was fetched from another engine's cache, `tokens` being all that should be in
    /// it. What its marks say was there decides what is here from now on.
    pub(super) fn receive(&mut self, held: &mut Held, tokens: &[Token], marks: &Marks) {
        let mut meant = held.meant;
        let traces: Vec<_> = tokens[held.written..]
            .iter()
            .map(|token| {
                meant = mix(meant, u64::from(*token));
                meant
            })
            .collect();
        let is_as_it_should_be = |(end, trace): &(usize, u64)| {
            let at = end.checked_sub(held.written + 1);
            at.and_then(|at| traces.get(at)) == Some(trace)
        };
        if !marks.iter().all(is_as_it_should_be) {
            held.trace = fingerprint(marks.iter().map(|(_, trace)| *trace));
        }
        self.write(held, tokens);
    }

    /// The trace of what a block holds up to and with its token at `offset`; 0 where nothing was
    /// written.
    pub(super) fn trace_at(&self, block: BlockId, offset: usize) -> u64 {
        let trace = (block as usize)
            .checked_sub(1)
            .and_then(|at| self.traces.get(at));
        let mark = trace.and_then(|trace| trace.get(offset));
        mark.copied().unwrap_or_default()
    }

    /// Lets everything go.
    pub(super) fn release(&mut self, held: Held) {
        // The end of a prefix is wanted less often than its start, so it is let go first.
        for (block, known) in held.blocks.into_iter().rev() {
            match known {
                Some(hash) => self.let_go(hash),
                None => self.blank.push_back(block),
            }
        }
    }

    fn hold(&mut self, hash: BlockHash) -> Option<BlockId> {
        let known = self.known.get_mut(&hash)?;
        match &mut known.holders {
            Holders::Some(count) => *count += 1,
            Holders::None { since } => {
                self.idle.remove(since);
                known.holders = Holders::Some(1);
            }
        }
        Some(known.block)
    }

    fn let_go(&mut self, hash: BlockHash) {
        let Some(known) = self.known.get_mut(&hash) else {
            return;
        };
        match known.holders {
            Holders::Some(count) if count > 1 => known.holders = Holders::Some(count - 1),
            _ => {
                self.clock += 1;
                known.holders = Holders::None { since: self.clock };
                self.idle.insert(self.clock, hash);
            }
        }
    }

    fn take_blank(&mut self) -> Option<BlockId> {
        if self.used < self.total {
            self.used += 1;
            self.traces.push(Vec::new());
            return BlockId::try_from(self.used).ok();
        }
        self.blank.pop_front().or_else(|| {
            let (_, hash) = self.idle.pop_first()?;
            Some(self.known.remove(&hash)?.block)
        })
    }
}

fn extend(hash: BlockHash, block: &[Token]) -> BlockHash {
    block
        .iter()
        .fold(hash, |hash, token| mix(hash, u64::from(*token)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prompt(tokens: u32) -> Vec<Token> {
        (0..tokens).collect()
    }

    /// Computes a whole prompt in a sequence of its own; returns it and what was found.
    fn compute(pool: &mut BlockPool, salt: Option<&str>, tokens: &[Token]) -> (Held, usize) {
        let mut held = Held::salted(salt);
        let found = pool.take_prefix(&mut held, tokens);
        assert!(pool.reserve(&mut held, tokens.len()));
        pool.write(&mut held, tokens);
        (held, found)
    }

    #[test]
    fn a_prefix_is_found_block_by_block_and_never_whole() {
        let mut pool = BlockPool::new(64, 16, true);
        let (held, found) = compute(&mut pool, None, &prompt(64));
        assert_eq!(found, 0);
        pool.release(held);
        assert_eq!(compute(&mut pool, None, &prompt(64)).1, 48);
        assert_eq!(compute(&mut pool, None, &prompt(65)).1, 64);
        assert_eq!(compute(&mut pool, None, &prompt(20)).1, 16);
        assert_eq!(compute(&mut pool, None, &prompt(16)).1, 0);
    }

    #[test]
    fn a_salt_keeps_prefixes_apart() {
        let mut pool = BlockPool::new(64, 16, true);
        compute(&mut pool, Some("a"), &prompt(64));
        assert_eq!(compute(&mut pool, Some("b"), &prompt(64)).1, 0);
        assert_eq!(compute(&mut pool, Some("a"), &prompt(64)).1, 48);
    }

    #[test]
    fn nothing_is_found_when_sharing_is_off() {
        let mut pool = BlockPool::new(64, 16, false);
        compute(&mut pool, None, &prompt(64));
        assert_eq!(compute(&mut pool, None, &prompt(64)).1, 0);
    }

    #[test]
    fn space_is_taken_from_what_was_let_go_first_and_refused_when_all_is_held() {
        let mut pool = BlockPool::new(8, 16, true);
        let (old, _) = compute(&mut pool, Some("old"), &prompt(64));
        let (new, _) = compute(&mut pool, Some("new"), &prompt(64));
        assert!((pool.usage() - 1.0).abs() < f64::EPSILON);
        assert!(!pool.reserve(&mut Held::default(), 1));
        pool.release(old);
        pool.release(new);
        let mut third = Held::default();
        assert!(pool.reserve(&mut third, 64));
        assert_eq!(compute(&mut pool, Some("new"), &prompt(64)).1, 48);
        assert_eq!(
            pool.take_prefix(&mut Held::salted(Some("old")), &prompt(64)),
            0
        );
    }

    #[test]
    fn everything_comes_back() {
        let mut pool = BlockPool::new(8, 16, true);
        for salt in ["a", "b", "a", "c"] {
            let (held, _) = compute(&mut pool, Some(salt), &prompt(70));
            pool.release(held);
        }
        assert!(pool.usage().abs() < f64::EPSILON);
    }

    /// What another engine would find of a sequence: its trace at the end of each of its blocks.
    fn marks(pool: &BlockPool, held: &Held, tokens: usize) -> Vec<(usize, u64)> {
        let ids = held.ids().into_iter().enumerate();
        ids.map(|(at, id)| {
            let end = ((at + 1) * 16).min(tokens);
            (end, pool.trace_at(id, (end - 1) % 16))
        })
        .collect()
    }

    #[test]
    fn what_is_fetched_is_as_good_as_what_was_computed() {
        let mut theirs = BlockPool::new(8, 16, true);
        let (there, _) = compute(&mut theirs, Some("theirs"), &prompt(40));
        assert_eq!(there.ids(), [1, 2, 3]);
        let mut ours = BlockPool::new(8, 16, true);
        let mut held = Held::default();
        assert!(ours.reserve(&mut held, 40));
        ours.receive(&mut held, &prompt(40), &marks(&theirs, &there, 40));
        assert_eq!(held.tainted(7), 7);
        ours.release(held);
        assert_eq!(compute(&mut ours, None, &prompt(40)).1, 32);
    }

    #[test]
    fn what_another_prompt_left_taints_the_answer_and_whoever_shares_the_block() {
        let mut theirs = BlockPool::new(8, 16, true);
        let (there, _) = compute(&mut theirs, None, &prompt(41)[1..]);
        let mut ours = BlockPool::new(8, 16, true);
        let mut held = Held::default();
        assert!(ours.reserve(&mut held, 40));
        ours.receive(&mut held, &prompt(40), &marks(&theirs, &there, 40));
        assert_ne!(held.tainted(7), 7);
        ours.release(held);
        let (next, found) = compute(&mut ours, None, &prompt(40));
        assert_eq!(found, 32);
        assert_ne!(next.tainted(7), 7);
    }

    #[test]
    fn a_block_that_was_let_go_keeps_what_is_in_it_until_it_is_written_anew() {
        let mut pool = BlockPool::new(2, 16, false);
        let (held, _) = compute(&mut pool, None, &prompt(20));
        let left = marks(&pool, &held, 20);
        let ids = held.ids();
        pool.release(held);
        assert_eq!(pool.trace_at(ids[0], 15), left[0].1);
        compute(&mut pool, None, &prompt(21)[1..]);
        assert_ne!(pool.trace_at(ids[0], 15), left[0].1);
    }
}
