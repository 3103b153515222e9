//! What a client's connection is about: whether a request is being answered on it.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::Version;
use hyper::body::{Body, Frame, SizeHint};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::proxy::body::{Broken, Outgoing};
use crate::proxy::record::Record;

/// Shared by whoever reads and writes a connection, and by whoever answers on it.
#[derive(Debug)]
pub(in crate::proxy) struct Standing {
    /// How often it began or ended to be asked something: odd while a request is being answered.
    turns: AtomicU64,
    came: Instant,
    /// When the last request ended, in microseconds from when the client came.
    free_since: AtomicU64,
    /// Whether something is to be written that the client does not take yet.
    is_writing: AtomicBool,
    is_to_leave: AtomicBool,
    leave: Notify,
    /// Whether an answer broke off whose end nothing tells but that of the connection.
    is_cut_short: AtomicBool,
}

impl Default for Standing {
    fn default() -> Self {
        Self {
            turns: AtomicU64::new(0),
            came: Instant::now(),
            free_since: AtomicU64::new(0),
            is_writing: AtomicBool::new(false),
            is_to_leave: AtomicBool::new(false),
            leave: Notify::new(),
            is_cut_short: AtomicBool::new(false),
        }
    }
}

impl Standing {
    /// Whether nothing is lost when it is closed now.
    pub(in crate::proxy) fn is_idle(&self) -> bool {
        !self.turn().is_asked() && !self.is_writing.load(Ordering::Acquire)
    }

    /// Notes whether the client has taken what was written last.
    pub(super) fn writes(&self, is_writing: bool) {
        self.is_writing.store(is_writing, Ordering::Release);
    }

    /// Has the connection closed, once it is idle: another is more urgent.
    pub(super) fn tell_to_leave(&self) {
        self.is_to_leave.store(true, Ordering::Release);
        self.leave.notify_one();
    }

    /// Whether it was told to.
    pub(super) fn is_to_leave(&self) -> bool {
        self.is_to_leave.load(Ordering::Acquire)
    }

    /// Waits until it is.
    pub(in crate::proxy) async fn told_to_leave(&self) {
        self.leave.notified().await;
    }

    /// Whether its end must not look like that of a whole answer.
    pub(super) fn is_cut_short(&self) -> bool {
        self.is_cut_short.load(Ordering::Acquire)
    }

    /// Since when it has been asked nothing, if it is not being asked something.
    pub(super) fn free_since(&self) -> Instant {
        self.came + Duration::from_micros(self.free_since.load(Ordering::Acquire))
    }

    /// Notes that a request is being answered, for as long as what is returned lives.
    pub(in crate::proxy) fn ask(self: &Arc<Self>) -> Asked {
        self.turns.fetch_add(1, Ordering::AcqRel);
        Asked(Arc::clone(self))
    }

    /// Counts the beginnings and ends of requests.
    pub(super) fn turn(&self) -> Turn {
        Turn(self.turns.load(Ordering::Acquire))
    }
}

/// A moment between two requests, or within one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Turn(u64);

impl Turn {
    /// Whether a request was being answered.
    pub(super) fn is_asked(self) -> bool {
        self.0 % 2 == 1
    }
}

/// A request that is being answered.
#[derive(Debug)]
pub(in crate::proxy) struct Asked(Arc<Standing>);

impl Asked {
    /// An answer's body, to whose end the request lasts. The record hears how it goes. To an HTTP/1.0
    /// client it may end with the connection: then a reset has to say that it broke off.
    pub(in crate::proxy) fn until_over(
        self,
        body: Outgoing,
        version: Version,
        record: Record,
    ) -> During {
        During {
            body,
            version,
            record: Some(record),
            asked: self,
        }
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        let Standing { turns, came, .. } = &*self.0;
        let since = u64::try_from(came.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.0.free_since.store(since, Ordering::Release);
        turns.fetch_add(1, Ordering::AcqRel);
    }
}

/// The body of an answer, and the request that lasts as long.
#[derive(Debug)]
pub(in crate::proxy) struct During {
    body: Outgoing,
    version: Version,
    record: Option<Record>,
    asked: Asked,
}

impl Body for During {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if self.version < Version::HTTP_11 && matches!(polled, Poll::Ready(Some(Err(_)))) {
            self.asked.0.is_cut_short.store(true, Ordering::Release);
        }
        let is_over = self.body.is_end_stream();
        if let Some(record) = &mut self.record {
            match &polled {
                Poll::Ready(Some(Ok(frame))) => {
                    record.passed(frame.data_ref().map_or(0, Bytes::len));
                    if is_over {
                        record.over();
                    }
                }
                Poll::Ready(Some(Err(_))) => record.broke(),
                Poll::Ready(None) => record.over(),
                Poll::Pending => {}
            }
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_lasts_until_its_answer_is_dropped() {
        let standing = Arc::new(Standing::default());
        let idle = standing.turn();
        let answer = During {
            body: Outgoing::own(Bytes::new()),
            version: Version::HTTP_11,
            record: None,
            asked: standing.ask(),
        };
        let busy = standing.turn();
        assert!(!idle.is_asked() && busy.is_asked());
        drop(answer);
        let again = standing.turn();
        assert!(!again.is_asked());
        assert_ne!(again, idle, "what came meanwhile is of another request");
    }
}
