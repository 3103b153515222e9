//! The KV cache: blocks, who holds them, and which prefixes they keep.
//!
//! As in vLLM, a full block is known by the hash of everything up to its end, so sequences that
//! start alike share blocks; a block that nobody holds stays known until its space is wanted, the
//! least recently used one first.

use std::collections::{BTreeMap, HashMap};

use super::text::{Token, fingerprint, mix};

/// What a block holds: the hash of its tokens and all before them.
pub(super) type BlockHash = u64;

/// The blocks of one engine.
#[derive(Debug)]
pub(super) struct BlockPool {
    size: usize,
    total: usize,
    sharing: bool,
    /// Blocks that hold nothing.
    blank: usize,
    known: HashMap<BlockHash, Holders>,
    /// Known blocks that nobody holds, by the time they were let go.
    idle: BTreeMap<u64, BlockHash>,
    clock: u64,
}

#[derive(Debug, Clone, Copy)]
enum Holders {
    Some(usize),
    None { since: u64 },
}

/// The blocks that one sequence holds.
#[derive(Debug, Default)]
pub(super) struct Held {
    /// Known blocks, from the first token on.
    shared: Vec<BlockHash>,
    /// Blocks that are its own: not full yet, or a copy of a known one.
    own: usize,
    /// The hash up to the end of the last full block, and how many blocks that is.
    chain: BlockHash,
    full: usize,
}

impl Held {
    /// Nothing held, for a sequence whose hashes start with `salt`.
    pub(super) fn salted(salt: Option<&str>) -> Self {
        Self {
            chain: salt.map_or(0, |salt| fingerprint(salt.bytes().map(u64::from))),
            ..Self::default()
        }
    }

    fn count(&self) -> usize {
        self.shared.len() + self.own
    }
}

impl BlockPool {
    /// `total` blank blocks of `size` tokens. Without `sharing` no prefix is ever found.
    pub(super) fn new(total: usize, size: usize, sharing: bool) -> Self {
        Self {
            size,
            total,
            sharing,
            blank: total,
            known: HashMap::new(),
            idle: BTreeMap::new(),
            clock: 0,
        }
    }

    /// The share of blocks that somebody holds.
    pub(super) fn usage(&self) -> f64 {
        let free = self.blank + self.idle.len();
        if self.total == 0 {
            0.0
        } else {
            1.0 - free as f64 / self.total as f64
        }
    }

    /// Takes the known blocks that `tokens` starts with, and returns how many tokens they hold. The
    /// last token is never among them: it must be computed to know what follows.
    pub(super) fn take_prefix(&mut self, held: &mut Held, tokens: &[Token]) -> usize {
        if !self.sharing {
            return 0;
        }
        let whole = tokens.len().saturating_sub(1) / self.size;
        for block in tokens.chunks_exact(self.size).take(whole) {
            let hash = extend(held.chain, block);
            if !self.hold(hash) {
                break;
            }
            held.shared.push(hash);
            held.chain = hash;
            held.full += 1;
        }
        held.full * self.size
    }

    /// Takes as many blocks as `tokens` tokens need. False, and nothing taken, when there are too few.
    pub(super) fn reserve(&mut self, held: &mut Held, tokens: usize) -> bool {
        let missing = tokens.div_ceil(self.size).saturating_sub(held.count());
        if missing > self.blank + self.idle.len() {
            return false;
        }
        for _ in 0..missing {
            self.take_blank();
        }
        held.own += missing;
        true
    }

    /// Makes the blocks that `computed`, the tokens computed so far, fills known.
    pub(super) fn publish(&mut self, held: &mut Held, computed: &[Token]) {
        if !self.sharing {
            return;
        }
        for block in computed.chunks_exact(self.size).skip(held.full) {
            held.chain = extend(held.chain, block);
            held.full += 1;
            // A known one is not replaced: this sequence keeps its own copy, as in vLLM.
            if held.own > 0 && !self.known.contains_key(&held.chain) {
                self.known.insert(held.chain, Holders::Some(1));
                held.shared.push(held.chain);
                held.own -= 1;
            }
        }
    }

    /// Lets everything go.
    pub(super) fn release(&mut self, held: Held) {
        self.blank += held.own;
        // The end of a prefix is wanted less often than its start, so it is let go first.
        for hash in held.shared.into_iter().rev() {
            self.let_go(hash);
        }
    }

    fn hold(&mut self, hash: BlockHash) -> bool {
        match self.known.get_mut(&hash) {
            None => return false,
            Some(Holders::Some(count)) => *count += 1,
            Some(idle @ Holders::None { .. }) => {
                if let Holders::None { since } = *idle {
                    self.idle.remove(&since);
                }
                *idle = Holders::Some(1);
            }
        }
        true
    }

    fn let_go(&mut self, hash: BlockHash) {
        let Some(holders) = self.known.get_mut(&hash) else {
            return;
        };
        match *holders {
            Holders::Some(count) if count > 1 => *holders = Holders::Some(count - 1),
            _ => {
                self.clock += 1;
                *holders = Holders::None { since: self.clock };
                self.idle.insert(self.clock, hash);
            }
        }
    }

    fn take_blank(&mut self) {
        if self.blank > 0 {
            self.blank -= 1;
        } else if let Some((_, hash)) = self.idle.pop_first() {
            self.known.remove(&hash);
        }
    }
}

fn extend(chain: BlockHash, block: &[Token]) -> BlockHash {
    mix(
        chain,
        fingerprint(block.iter().map(|token| u64::from(*token))),
    )
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
        pool.publish(&mut held, tokens);
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
}
