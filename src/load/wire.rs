//! A TCP stream that remembers when it was read and written.
//!
//! The stamp is taken in the very call that moved the bytes, below everything that parses them: of a
//! write just before it, of a read just after it. A write wakes the receiver, who on a busy machine
//! runs at once and before us; a stamp after it would be late, and every latency too short.
//! hyper hands on one piece of a body before it reads the next, so the last read is the one that
//! delivered the piece at hand.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

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

/// The stream itself.
pub(super) struct Wire {
    stream: TcpStream,
    clock: Clock,
    marks: Arc<Marks>,
}

impl Wire {
    pub(super) fn new(stream: TcpStream, clock: Clock) -> (Self, Arc<Marks>) {
        let marks = Arc::new(Marks::default());
        let wire = Self {
            stream,
            clock,
            marks: Arc::clone(&marks),
        };
        (wire, marks)
    }

    fn wrote(&self, at: u64, result: &Poll<io::Result<usize>>) {
        if matches!(result, Poll::Ready(Ok(n)) if *n > 0) {
            self.marks.written.store(at, Relaxed);
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.stream).poll_read(cx, buf);
        if matches!(result, Poll::Ready(Ok(()))) {
            let now = self.clock.now();
            self.marks.read_last.store(now, Relaxed);
            let first = &self.marks.read_first;
            let _ = first.compare_exchange(0, now, Relaxed, Relaxed);
        }
        result
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let at = self.clock.now();
        let result = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.wrote(at, &result);
        result
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let at = self.clock.now();
        let result = Pin::new(&mut self.stream).poll_write_vectored(cx, bytes);
        self.wrote(at, &result);
        result
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
