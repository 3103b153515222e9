//! What a client's connection is about: whether a request is being answered on it.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use atomic_waker::AtomicWaker;
use tokio::time::Instant;

use super::room::Seat;

/// A beginning or an end, as it is counted among the turns.
const TURN: u64 = 1 << 32;

/// Shared by whoever reads and writes a connection, and by whoever answers on it.
#[derive(Debug)]
pub(in crate::proxy) struct Standing {
    /// How many requests are being answered (HTTP/2 has many at once) in the lower half; in the upper,
    /// how many began or ended.
    turns: AtomicU64,
    came: Instant,
    /// When the last request ended, in microseconds from when the client came.
    free_since: AtomicU64,
    /// Whether something is to be written that the client does not take yet.
    is_writing: AtomicBool,
    /// What it was told from outside.
    told: AtomicU8,
    /// Who hears of that: the one task that answers on it.
    hearer: AtomicWaker,
    /// Whether an answer broke off whose end nothing tells but that of the connection.
    is_cut_short: AtomicBool,
}

/// Why a connection is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::proxy) enum Told {
    /// Another is more urgent: once it is idle, it goes.
    Leave = 1,
    /// The proxy stops: it goes when what is being answered is over.
    Stop = 2,
}

impl Default for Standing {
    fn default() -> Self {
        Self {
            turns: AtomicU64::new(0),
            came: Instant::now(),
            free_since: AtomicU64::new(0),
            is_writing: AtomicBool::new(false),
            told: AtomicU8::new(0),
            hearer: AtomicWaker::new(),
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

    /// Has the connection end.
    pub(in crate::proxy) fn tell(&self, told: Told) {
        self.told.fetch_max(told as u8, Ordering::AcqRel);
        self.hearer.wake();
    }

    /// What it was told, if anything.
    pub(super) fn heard(&self) -> Option<Told> {
        match self.told.load(Ordering::Acquire) {
            0 => None,
            1 => Some(Told::Leave),
            _ => Some(Told::Stop),
        }
    }

    /// Waits until it is told something. It is looked at each time that anything comes on the connection,
    /// so it takes no lock.
    pub(in crate::proxy) async fn told(&self) -> Told {
        poll_fn(|cx| {
            if self.heard().is_none() {
                self.hearer.register(cx.waker());
            }
            self.heard().map_or(Poll::Pending, Poll::Ready)
        })
        .await
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
        self.turns.fetch_add(TURN + 1, Ordering::AcqRel);
        Asked {
            standing: Arc::clone(self),
            seat: None,
            ended: None,
        }
    }

    /// Whether a request is being answered.
    pub(in crate::proxy) fn is_asked(&self) -> bool {
        self.turn().is_asked()
    }

    /// Waits until it has been asked nothing for so long.
    pub(in crate::proxy) async fn is_free_for(&self, long: Duration) {
        loop {
            let since = if self.is_asked() {
                Instant::now()
            } else {
                self.free_since()
            };
            let end = since + long;
            if end <= Instant::now() {
                return;
            }
            tokio::time::sleep_until(end).await;
        }
    }

    /// Counts the beginnings and ends of requests.
    pub(super) fn turn(&self) -> Turn {
        Turn(self.turns.load(Ordering::Acquire))
    }
}

/// A moment between two requests, or within some.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Turn(u64);

impl Turn {
    /// Whether a request was being answered.
    pub(super) fn is_asked(self) -> bool {
        !self.0.is_multiple_of(TURN)
    }
}

/// A request that is being answered.
#[derive(Debug)]
pub(in crate::proxy) struct Asked {
    standing: Arc<Standing>,
    seat: Option<Seat>,
    /// When it was over, where that is known better than by when this is dropped.
    ended: Option<Instant>,
}

impl Asked {
    /// The same, with the room that it takes beside the others of its connection.
    pub(in crate::proxy) fn seated(mut self, seat: Option<Seat>) -> Self {
        self.seat = seat;
        self
    }

    /// Notes when it is over.
    pub(super) fn ends(&mut self, when: Instant) {
        self.ended = Some(when);
    }

    /// Has the end of the connection look like none of a whole answer.
    pub(super) fn cut_short(&self) {
        self.standing.is_cut_short.store(true, Ordering::Release);
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        let Standing {
            turns,
            came,
            free_since,
            ..
        } = &*self.standing;
        let ended = self.ended.unwrap_or_else(Instant::now);
        let since = ended.saturating_duration_since(*came).as_micros();
        let since = u64::try_from(since).unwrap_or(u64::MAX);
        free_since.store(since, Ordering::Release);
        turns.fetch_add(TURN - 1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_asked_while_one_request_of_many_is_answered() {
        let standing = Arc::new(Standing::default());
        let mut before = standing.turn();
        assert!(!before.is_asked());
        let (first, second) = (standing.ask(), standing.ask());
        for (request, is_asked) in [(first, true), (second, false)] {
            drop(request);
            let turn = standing.turn();
            assert_eq!(turn.is_asked(), is_asked);
            assert_ne!(turn, before, "what came meanwhile is of another request");
            before = turn;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn only_the_time_counts_in_which_nothing_was_asked() {
        let standing = Arc::new(Standing::default());
        let began = Instant::now();
        let asked = standing.ask();
        let free = tokio::spawn({
            let standing = Arc::clone(&standing);
            async move {
                standing.is_free_for(Duration::from_secs(300)).await;
                began.elapsed().as_secs()
            }
        });
        tokio::time::sleep(Duration::from_secs(1000)).await;
        drop(asked);
        assert_eq!(free.await.unwrap(), 1300);
    }
}
