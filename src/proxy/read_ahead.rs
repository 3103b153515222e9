//! How many prompts are read before anybody has room to write their answers.
//!
//! What was read is held by who has read it until somebody fetches it, and is forgotten after a while. A reader
//! that goes on while those that write are full fills its memory, and in the end with what is forgotten unfetched.
//! So as many requests are being read, or wait to be written, as there are places at all that write; where any
//! number of requests may be in flight, nothing is counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::queue::Queue;

/// The requests whose prompt is being read, or was and waits for somebody to write the answer.
#[derive(Debug, Default)]
pub(super) struct ReadAhead {
    count: AtomicU64,
    queue: Arc<Queue>,
}

/// One of them, for as long as this lives.
#[derive(Debug)]
pub(crate) struct Ahead(Arc<ReadAhead>);

impl ReadAhead {
    /// Nobody's yet. Who frees a place calls the first of this line.
    pub(super) fn before(queue: &Arc<Queue>) -> Arc<Self> {
        Arc::new(Self {
            count: AtomicU64::default(),
            queue: Arc::clone(queue),
        })
    }

    /// Whether so many are there: whoever leaves calls the next.
    pub(super) fn is_full(&self, most: u64) -> bool {
        self.count.load(Ordering::SeqCst) >= most
    }

    /// One more, unless so many are there.
    pub(super) fn enter(self: &Arc<Self>, most: u64) -> Option<Ahead> {
        let entered = |count| (count < most).then_some(count + 1);
        let entered = self
            .count
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, entered);
        entered.is_ok().then(|| Ahead(Arc::clone(self)))
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        self.0.count.fetch_sub(1, Ordering::SeqCst);
        self.0.queue.call_first();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_are_read_ahead_as_there_is_room_for() {
        let ahead = ReadAhead::before(&Arc::default());
        let (first, second) = (ahead.enter(2).unwrap(), ahead.enter(2).unwrap());
        assert!(ahead.is_full(2) && ahead.enter(2).is_none());
        // Fewer places: who is there stays.
        assert!(ahead.is_full(1) && !ahead.is_full(3));
        drop(first);
        assert!(!ahead.is_full(2) && ahead.is_full(1));
        drop(second);
        assert!(ahead.enter(1).is_some());
    }
}
