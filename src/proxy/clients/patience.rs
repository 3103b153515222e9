//! Bounds on waiting for a client, without a timer for every wait: an alarm is moved only when it goes
//! off, or would go off too late, so a token or a request costs none.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

/// Wakes a task at a moment that moves on as long as something happens.
#[derive(Debug, Default)]
pub(in crate::proxy) struct Alarm(Option<Pin<Box<Sleep>>>);

impl Alarm {
    /// Whether the moment is past; the task is woken when it is.
    pub(in crate::proxy) fn is_past(&mut self, end: Instant, cx: &mut Context<'_>) -> bool {
        let alarm = self
            .0
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(end)));
        if end < alarm.deadline() {
            alarm.as_mut().reset(end);
        }
        while alarm.as_mut().poll(cx).is_ready() {
            if Instant::now() >= end {
                return true;
            }
            alarm.as_mut().reset(end);
        }
        false
    }

    /// Has the task woken within so long, whatever happens: it then looks at what it waits for.
    pub(in crate::proxy) fn wakes_within(&mut self, bound: Duration, cx: &mut Context<'_>) {
        let alarm = self
            .0
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(bound)));
        while alarm.as_mut().poll(cx).is_ready() {
            alarm.as_mut().reset(Instant::now() + bound);
        }
    }
}

/// Bounds a wait for a client. Time in which nobody waited does not count.
#[derive(Debug)]
pub(in crate::proxy) struct Patience {
    bound: Duration,
    waiting_since: Option<Instant>,
    alarm: Alarm,
}

impl Patience {
    /// Waits for so long at most.
    pub(in crate::proxy) fn new(bound: Duration) -> Self {
        Self {
            bound,
            waiting_since: None,
            alarm: Alarm::default(),
        }
    }

    /// How long is too long.
    pub(in crate::proxy) fn bound(&self) -> Duration {
        self.bound
    }

    /// Something came.
    pub(in crate::proxy) fn rest(&mut self) {
        self.waiting_since = None;
    }

    /// Nothing came yet: whether that has been so for too long.
    pub(in crate::proxy) fn is_over(&mut self, cx: &mut Context<'_>) -> bool {
        let since = *self.waiting_since.get_or_insert_with(Instant::now);
        self.alarm.is_past(since + self.bound, cx)
    }

    /// The same poll, with its waiting bounded: nothing where it has waited for too long.
    pub(in crate::proxy) fn bounds<T>(
        &mut self,
        polled: Poll<T>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<T>> {
        match polled {
            Poll::Ready(came) => {
                self.rest();
                Poll::Ready(Some(came))
            }
            Poll::Pending if self.is_over(cx) => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn only_the_time_counts_in_which_somebody_waited() {
        let mut patience = Patience::new(Duration::from_secs(10));
        let began = Instant::now();
        let mut over = async || {
            poll_fn(|cx| patience.bounds(Poll::<()>::Pending, cx)).await;
            let waited = began.elapsed();
            patience.rest();
            waited
        };
        assert_eq!(over().await.as_secs(), 10);
        tokio::time::advance(Duration::from_secs(100)).await;
        assert_eq!(over().await.as_secs(), 120);
    }

    #[tokio::test(start_paused = true)]
    async fn an_alarm_moves_both_ways() {
        let mut alarm = Alarm::default();
        let began = Instant::now();
        let mut at = async |seconds| {
            let end = began + Duration::from_secs(seconds);
            let rings = |alarm: &mut Alarm, cx: &mut Context<'_>| {
                if alarm.is_past(end, cx) {
                    Poll::Ready(began.elapsed().as_secs())
                } else {
                    Poll::Pending
                }
            };
            let short = Duration::from_secs(5);
            let ringing = poll_fn(|cx| rings(&mut alarm, cx));
            tokio::time::timeout(short, ringing).await.ok()
        };
        assert_eq!(at(300).await, None);
        assert_eq!(at(7).await, Some(7));
        assert_eq!(at(11).await, Some(11));
    }
}
