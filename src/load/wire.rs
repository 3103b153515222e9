//! A TCP stream that remembers when it was read and written.
//!
//! The stamp is taken in the very call that moved the bytes, below everything that parses them: of a
//! write just before it, of a read just after it. A write wakes the receiver, who on a busy machine
//! runs at once and before us; a stamp after it would be late, and every latency too short.
//! hyper hands on one piece of a body before it reads the next, so the last read is the one that
//! delivered the piece at hand.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use tokio::net::TcpStream;

use crate::net::{Tap, Tapped};

/// The clock of one run: monotonic nanoseconds since it began, never 0.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock(Instant);

impl Clock {
    pub(super) fn start() -> Self {
        Self(Instant::now())
    }

    pub(super) fn now(self) -> u64 {
        nanoseconds(self.0.elapsed()).max(1)
    }
}

/// A time since the run began, as stamps have it.
pub(super) fn nanoseconds(since: Duration) -> u64 {
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// When a stream was used; 0 stands for never.
#[derive(Debug, Default)]
pub(super) struct Marks {
    written: AtomicU64,
    read_first: AtomicU64,
    read_last: AtomicU64,
}

impl Marks {
    /// When the last write began, if there was one.
    pub(super) fn written(&self) -> Option<u64> {
        seen(&self.written)
    }

    /// The first read, if there was one.
    pub(super) fn read_first(&self) -> Option<u64> {
        seen(&self.read_first)
    }

    /// The last read, if there was one.
    pub(super) fn read_last(&self) -> Option<u64> {
        seen(&self.read_last)
    }
}

fn seen(mark: &AtomicU64) -> Option<u64> {
    Some(mark.load(Relaxed)).filter(|at| *at > 0)
}

/// What stamps the uses of a stream.
#[derive(Debug)]
pub(super) struct Stamper {
    clock: Clock,
    marks: Arc<Marks>,
}

/// A stream whose uses are stamped, and its stamps.
pub(super) fn wire(stream: TcpStream, clock: Clock) -> (Tapped<Stamper>, Arc<Marks>) {
    let marks = Arc::new(Marks::default());
    let stamper = Stamper {
        clock,
        marks: Arc::clone(&marks),
    };
    (Tapped::new(stream, stamper), marks)
}

impl Tap for Stamper {
    type Moment = u64;

    fn read(&self, _: usize) {
        let now = self.clock.now();
        self.marks.read_last.store(now, Relaxed);
        let first = &self.marks.read_first;
        let _ = first.compare_exchange(0, now, Relaxed, Relaxed);
    }

    fn before_write(&self) -> u64 {
        self.clock.now()
    }

    fn wrote(&self, before: u64, _: usize) {
        self.marks.written.store(before, Relaxed);
    }
}
