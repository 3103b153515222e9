//! Bounds on waiting, without a timer for every wait: an alarm is moved only when it goes off, or would
//! go off too late, so a token or a request costs none.

use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::task::unconstrained;
use tokio::time::{Instant, Sleep};

/// Whoever waits for a backend looks up so often: somebody may have found it gone meanwhile.
const LOOKS_UP: Duration = Duration::from_secs(5);

/// Wakes a task at a moment that moves on as long as something happens.
#[derive(Debug, Default)]
pub(super) struct Alarm(Option<Timer>);

#[derive(Debug)]
struct Timer {
    sleep: Pin<Box<Sleep>>,
    /// Where whoever it wakes is: it has a waker of his until it goes off, so nobody else can be there.
    wakes: Option<usize>,
}

impl Timer {
    fn until(end: Instant) -> Self {
        Self {
            sleep: Box::pin(tokio::time::sleep_until(end)),
            wakes: None,
        }
    }

    /// Whether it has gone off; if not, the task is woken when it does. Who knows that already costs no
    /// look at the timer.
    fn has_gone_off(&mut self, cx: &mut Context<'_>) -> bool {
        let asks = cx.waker().data().addr();
        if self.wakes == Some(asks) && !self.sleep.is_elapsed() {
            return false;
        }
        // A task that has used up its turn would be refused without being noted.
        let has_gone_off = pin!(unconstrained(self.sleep.as_mut())).poll(cx).is_ready();
        self.wakes = (!has_gone_off).then_some(asks);
        has_gone_off
    }
}

impl Alarm {
    /// Whether the moment is past; the task is woken when it is.
    pub(super) fn is_past(&mut self, end: Instant, cx: &mut Context<'_>) -> bool {
        while let Some(now) = self.rings(end, None, cx) {
            if now >= end {
                return true;
            }
        }
        false
    }

    /// Has the task woken within so long, whatever happens: it then looks at what it waits for.
    pub(super) fn wakes_within(&mut self, bound: Duration, cx: &mut Context<'_>) {
        let timer = || Timer::until(Instant::now() + bound);
        let timer = self.0.get_or_insert_with(timer);
        while timer.has_gone_off(cx) {
            timer.sleep.as_mut().reset(Instant::now() + bound);
        }
    }

    /// The moment at which it went off, if it did: it was to at `end`, or what is left of an earlier
    /// wait. It is then set anew, for no later than a `step` from now where one is given.
    fn rings(
        &mut self,
        end: Instant,
        step: Option<Duration>,
        cx: &mut Context<'_>,
    ) -> Option<Instant> {
        let next = |now: Instant| step.map_or(end, |step| end.min(now + step));
        let timer = || Timer::until(next(Instant::now()));
        let timer = self.0.get_or_insert_with(timer);
        if end < timer.sleep.deadline() {
            timer.sleep.as_mut().reset(end);
        }
        timer.has_gone_off(cx).then(|| {
            let now = Instant::now();
            timer.sleep.as_mut().reset(next(now));
            now
        })
    }
}

/// Bounds a wait for a client or for a backend. Time in which nobody waited for it does not count: to a
/// client's account is not put what the backend takes, nor the other way round.
#[derive(Debug)]
pub(super) struct Patience {
    bound: Duration,
    waiting_since: Option<Instant>,
    alarm: Alarm,
}

/// What became of a wait for a backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Waited {
    /// Not too long yet.
    On,
    /// Not too long, and for long enough to look whether it is worth it.
    LookUp,
    /// Too long.
    Over,
}

impl Patience {
    /// Waits for so long at most.
    pub(super) fn new(bound: Duration) -> Self {
        Self {
            bound,
            waiting_since: None,
            alarm: Alarm::default(),
        }
    }

    /// How long is too long.
    pub(super) fn bound(&self) -> Duration {
        self.bound
    }

    /// Something else is waited for from this moment on, for so long at most.
    pub(super) fn begin(&mut self, bound: Duration, now: Instant) {
        self.bound = bound;
        self.waiting_since = Some(now);
    }

    /// Something came, or nothing is waited for.
    pub(super) fn rest(&mut self) {
        self.waiting_since = None;
    }

    /// Nothing came yet: whether that has been so for too long.
    pub(super) fn is_over(&mut self, cx: &mut Context<'_>) -> bool {
        let end = self.end();
        self.alarm.is_past(end, cx)
    }

    /// Nothing came yet from a backend.
    pub(super) fn wait(&mut self, cx: &mut Context<'_>) -> Waited {
        let end = self.end();
        let mut waited = Waited::On;
        while let Some(now) = self.alarm.rings(end, Some(LOOKS_UP), cx) {
            if now >= end {
                return Waited::Over;
            }
            waited = Waited::LookUp;
        }
        waited
    }

    fn end(&mut self) -> Instant {
        *self.waiting_since.get_or_insert_with(Instant::now) + self.bound
    }

    /// The same poll, with its waiting bounded: nothing where it has waited for too long.
    pub(super) fn bounds<T>(&mut self, polled: Poll<T>, cx: &mut Context<'_>) -> Poll<Option<T>> {
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
    use std::sync::{Arc, Mutex};

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
    async fn who_waits_for_a_backend_looks_up_and_the_next_wait_is_its_own() {
        let mut patience = Patience::new(Duration::from_secs(12));
        let began = Instant::now();
        let mut next = async |bound: Option<u64>| {
            if let Some(bound) = bound {
                patience.begin(Duration::from_secs(bound), Instant::now());
            }
            let waited = poll_fn(|cx| match patience.wait(cx) {
                Waited::On => Poll::Pending,
                other => Poll::Ready(other),
            });
            (waited.await, began.elapsed().as_secs())
        };
        assert_eq!(next(None).await, (Waited::LookUp, 5));
        assert_eq!(next(Some(2)).await, (Waited::Over, 7));
        assert_eq!(next(Some(11)).await.1, 7, "a look more does no harm");
        assert_eq!(next(None).await, (Waited::LookUp, 12));
        assert_eq!(next(None).await, (Waited::LookUp, 17));
        assert_eq!(next(None).await, (Waited::Over, 18));
    }

    #[tokio::test(start_paused = true)]
    async fn an_alarm_wakes_whoever_asked_last() {
        let alarm = Arc::new(Mutex::new(Alarm::default()));
        let end = Instant::now() + Duration::from_secs(5);
        let waits = |alarm: Arc<Mutex<Alarm>>| {
            poll_fn(move |cx| {
                let is_past = |()| alarm.lock().unwrap().is_past(end, cx);
                // To ask again changes nothing.
                let is_past = [(), ()].map(is_past).contains(&true);
                if is_past {
                    Poll::Ready(Instant::now())
                } else {
                    Poll::Pending
                }
            })
        };
        let within = |bound, waiting| tokio::time::timeout(Duration::from_secs(bound), waiting);
        let first = tokio::spawn(within(1, waits(Arc::clone(&alarm))));
        assert!(first.await.unwrap().is_err());
        let second = tokio::spawn(within(10, waits(alarm)));
        assert_eq!(second.await.unwrap(), Ok(end));
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
