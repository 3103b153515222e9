//! What one backend has most likely in its prefix cache.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// The blocks that a backend was sent most recently, up to so many.
///
/// A block is known by a hash of itself and of all before it. Of a chain the first block is always the
/// most recent: so what is forgotten is the end of a chain, as in vLLM, and who has a block has all
/// before it.
#[derive(Debug)]
pub(in crate::proxy::policy) struct Recent {
    places: HashMap<u64, u32, BuildHasherDefault<AsItIs>>,
    /// A ring, in which each knows its neighbours; `places` says where a block is.
    ring: Vec<Link>,
    newest: u32,
    capacity: usize,
}

#[derive(Debug, Clone, Copy)]
struct Link {
    block: u64,
    newer: u32,
    older: u32,
}

impl Recent {
    /// Nothing yet, and room for so many blocks, at least one.
    pub(in crate::proxy::policy) fn with_room(capacity: usize) -> Self {
        Self {
            places: HashMap::default(),
            ring: Vec::new(),
            newest: 0,
            capacity: capacity.max(1),
        }
    }

    /// For how many blocks there is room.
    pub(in crate::proxy::policy) fn room(&self) -> usize {
        self.capacity
    }

    /// How many of the first blocks of a chain are there.
    pub(in crate::proxy::policy) fn matched(&self, chain: &[u64]) -> usize {
        chain.partition_point(|block| self.places.contains_key(block))
    }

    /// Notes that a chain is sent.
    pub(in crate::proxy::policy) fn send(&mut self, chain: &[u64]) {
        let fits = chain.len().min(self.capacity);
        for block in chain[..fits].iter().rev() {
            match self.places.get(block) {
                Some(place) => self.renew(*place),
                None => self.add(*block),
            }
        }
    }

    fn add(&mut self, block: u64) {
        let place = self.ring.len() as u32;
        if self.ring.len() < self.capacity {
            // Alone in a ring of its own, until it is put before the others.
            self.ring.push(Link {
                block,
                newer: place,
                older: place,
            });
            if place != self.newest {
                self.put_before_newest(place);
            }
            self.places.insert(block, place);
        } else {
            // The oldest gives its place, which is next to the newest already.
            let oldest = self.ring[self.newest as usize].newer;
            let forgotten = std::mem::replace(&mut self.ring[oldest as usize].block, block);
            self.places.remove(&forgotten);
            self.places.insert(block, oldest);
            self.newest = oldest;
        }
    }

    fn renew(&mut self, place: u32) {
        if place == self.newest {
            return;
        }
        let Link { newer, older, .. } = self.ring[place as usize];
        self.ring[newer as usize].older = older;
        self.ring[older as usize].newer = newer;
        self.put_before_newest(place);
    }

    fn put_before_newest(&mut self, place: u32) {
        let older = self.newest;
        let newer = self.ring[older as usize].newer;
        let link = &mut self.ring[place as usize];
        (link.newer, link.older) = (newer, older);
        self.ring[older as usize].newer = place;
        self.ring[newer as usize].older = place;
        self.newest = place;
    }
}

/// Blocks are hashes already.
#[derive(Debug, Default)]
struct AsItIs(u64);

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A chain of blocks that are numbered from here on.
    fn chain(from: u64, count: u64) -> Vec<u64> {
        (from..from + count).collect()
    }

    #[test]
    fn what_was_sent_is_there_until_the_room_is_needed_and_goes_from_its_end() {
        let mut recent = Recent::with_room(6);
        recent.send(&chain(100, 4));
        assert_eq!(recent.matched(&chain(100, 9)), 4);
        recent.send(&chain(200, 3));
        assert_eq!(recent.matched(&chain(100, 4)), 3);
        assert_eq!(recent.matched(&chain(200, 4)), 3);
        // Who is asked for again stays.
        recent.send(&chain(100, 3));
        recent.send(&chain(300, 2));
        assert_eq!(recent.matched(&chain(100, 4)), 3);
        assert_eq!(recent.matched(&chain(200, 4)), 1);
        assert_eq!(recent.matched(&chain(300, 4)), 2);
    }

    #[test]
    fn of_a_chain_that_is_too_long_the_beginning_is_there() {
        let mut recent = Recent::with_room(3);
        recent.send(&chain(100, 9));
        assert_eq!(recent.matched(&chain(100, 9)), 3);
        recent.send(&[]);
        assert_eq!(recent.matched(&[]), 0);
    }

    /// The same as a list that is sorted anew each time, and no block is ever there without the one
    /// before it.
    #[test]
    fn it_is_a_list_of_the_most_recent() {
        let mut rng = fastrand::Rng::with_seed(7);
        for capacity in [1, 2, 7, 40] {
            let mut recent = Recent::with_room(capacity);
            let mut model: Vec<u64> = Vec::new();
            for _ in 0..500 {
                let sent = chain(rng.u64(0..9) * 100, rng.u64(0..12));
                recent.send(&sent);
                for block in sent.iter().take(capacity).rev() {
                    model.retain(|it| it != block);
                    model.insert(0, *block);
                    model.truncate(capacity);
                }
                assert_eq!(recent.places.len(), model.len());
                assert!(model.iter().all(|it| recent.places.contains_key(it)));
                let has_one_before = |it: &&u64| !it.is_multiple_of(100);
                let is_whole = |it: &u64| recent.places.contains_key(&(it - 1));
                assert!(
                    model.iter().filter(has_one_before).all(is_whole),
                    "{model:?}"
                );
            }
        }
    }
}
