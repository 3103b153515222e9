//! Room for large bodies, used again by the next ones of the same thread. The allocator would give it
//! back to the system after each request, and the kernel clear it anew for each.

use std::cell::RefCell;

/// A thread keeps room for so many bodies.
const MOST: usize = 4;

/// What is larger is given back.
const LARGEST: usize = 1024 * 1024;

thread_local! {
    static FREE: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// Bytes in such room, which is free again when they are dropped.
#[derive(Debug)]
pub(super) struct Reused(Vec<u8>);

impl Reused {
    /// None yet, with room for so many.
    pub(super) fn with_capacity(bytes: usize) -> Self {
        let mut room = FREE.with_borrow_mut(Vec::pop).unwrap_or_default();
        room.reserve(bytes);
        Self(room)
    }

    /// Adds more.
    pub(super) fn extend_from_slice(&mut self, more: &[u8]) {
        self.0.extend_from_slice(more);
    }
}

impl AsRef<[u8]> for Reused {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Reused {
    fn drop(&mut self) {
        let mut room = std::mem::take(&mut self.0);
        room.clear();
        // A thread that ends keeps nothing any more.
        let _ = FREE.try_with(|free| {
            let mut free = free.borrow_mut();
            if free.len() < MOST && (1..=LARGEST).contains(&room.capacity()) {
                free.push(room);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_used_again_and_nothing_of_what_stood_in_it_is_left() {
        let mut first = Reused::with_capacity(100_000);
        first.extend_from_slice(&[1; 1000]);
        let place = first.as_ref().as_ptr();
        drop(first);
        let mut next = Reused::with_capacity(10);
        next.extend_from_slice(b"next");
        assert_eq!(next.as_ref(), b"next");
        assert_eq!(next.as_ref().as_ptr(), place);
    }

    #[test]
    fn little_is_kept() {
        let kept = || FREE.with_borrow(|free| free.iter().map(Vec::capacity).sum::<usize>());
        drop(Reused::with_capacity(LARGEST + 1));
        assert_eq!(kept(), 0);
        drop(
            (0..=MOST)
                .map(|_| Reused::with_capacity(LARGEST))
                .collect::<Vec<_>>(),
        );
        assert_eq!(kept(), MOST * LARGEST);
    }
}
