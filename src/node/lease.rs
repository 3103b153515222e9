//! A script that is held, is told every few seconds that its holder lives, and answers each time.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::held::Held;

/// How often a holder shows life.
const BEAT: Duration = Duration::from_secs(3);

/// For how long an answer is good: the script waits for the next beat longer than that.
const FRESH: Duration = Duration::from_secs(10);

/// How long a script may be without a beat, in seconds: so long the slowest link may be busy with
/// something else. What its holder vanished from is free within half a minute.
pub const LEASE: u64 = 25;

/// What a script that is held has shown of late.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shown {
    /// It has answered a beat of this moment.
    Alive(Instant),
    Ended,
}

/// A held script that is shown life until this is dropped, and shows that it still holds. Clones are
/// one.
#[derive(Debug, Clone)]
pub struct Lease {
    asking: mpsc::Sender<Ask>,
    shown: watch::Receiver<Shown>,
}

#[derive(Debug)]
enum Ask {
    Beat,
    Release(oneshot::Sender<()>),
}

/// What a lease that is lost is told by: others may have had it since.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lapsed;

impl Lease {
    /// Keeps a script that answers each line with itself.
    pub fn over(held: Held) -> Self {
        let (asking, asked) = mpsc::channel(8);
        let (sender, shown) = watch::channel(Shown::Alive(Instant::now()));
        let beating = Beating {
            held,
            shown: sender,
            sent: VecDeque::new(),
            count: 0,
        };
        tokio::spawn(beating.until_released(asked));
        Self { asking, shown }
    }

    /// Returns once the script has shown that it holds, at once where it did so a moment ago.
    ///
    /// # Errors
    ///
    /// When it does not any more, or shows nothing for longer than it may hold without a beat.
    pub async fn confirm(&self) -> Result<(), Lapsed> {
        let now = Instant::now();
        let is_fresh = |shown: &Shown| match shown {
            Shown::Alive(at) => now.saturating_duration_since(*at) < FRESH,
            Shown::Ended => true,
        };
        let mut shown = self.shown.clone();
        if !is_fresh(&shown.borrow()) && self.asking.send(Ask::Beat).await.is_err() {
            return Err(Lapsed);
        }
        let fresh = timeout(Duration::from_secs(LEASE), shown.wait_for(is_fresh)).await;
        match fresh {
            Ok(Ok(shown)) if *shown != Shown::Ended => Ok(()),
            _ => Err(Lapsed),
        }
    }

    /// Lets the script go and waits for its end.
    pub async fn release(self) {
        let (done, ended) = oneshot::channel();
        if self.asking.send(Ask::Release(done)).await.is_ok() {
            let _ = ended.await;
        }
    }
}

/// A script, and the beats that it has not answered.
struct Beating {
    held: Held,
    shown: watch::Sender<Shown>,
    sent: VecDeque<(u64, Instant)>,
    count: u64,
}

impl Beating {
    async fn until_released(mut self, mut asked: mpsc::Receiver<Ask>) {
        let mut ticks = interval(BEAT);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => self.beat(),
                ask = asked.recv() => match ask {
                    Some(Ask::Beat) => self.beat(),
                    Some(Ask::Release(done)) => {
                        // The connection may be gone; with it goes what was held in any case.
                        let _ = self.held.release().await;
                        let _ = done.send(());
                        return;
                    }
                    None => return,
                },
                line = self.held.next_line() => {
                    let Some(line) = line else {
                        self.shown.send_replace(Shown::Ended);
                        return;
                    };
                    self.hear(&line);
                }
            }
        }
    }

    fn beat(&mut self) {
        self.count += 1;
        // One that does not get through is not waited for: the next may.
        if self.held.say(&format!("{}\n", self.count)) {
            self.sent.push_back((self.count, Instant::now()));
        }
    }

    fn hear(&mut self, line: &str) {
        let Ok(number) = line.parse::<u64>() else {
            return;
        };
        while let Some((sent, at)) = self.sent.front().copied()
            && sent <= number
        {
            self.sent.pop_front();
            self.shown.send_replace(Shown::Alive(at));
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{advance, pause, resume};

    use super::*;
    use crate::node::Command;
    use crate::node::tests::here;

    /// Lets so much time go by that no answer is fresh.
    async fn wait() {
        pause();
        advance(FRESH).await;
        resume();
    }

    #[tokio::test]
    async fn a_script_that_answers_holds_and_one_that_has_ended_does_not() {
        let echo = "read -r first; echo \"$first\"; while read -r beat && [ \"$beat\" -lt 3 ]; do echo \"$beat\"; done";
        let held = here().hold(&Command::script(echo)).await.unwrap();
        let lease = Lease::over(held);
        assert_eq!(lease.confirm().await, Ok(()));
        wait().await;
        assert_eq!(lease.confirm().await, Ok(()), "it is asked anew");
        // Whatever it answered before, its end is what counts.
        while lease.confirm().await.is_ok() {
            wait().await;
        }
        assert_eq!(lease.confirm().await, Err(Lapsed));
        lease.release().await;
    }

    #[tokio::test]
    async fn what_is_released_has_ended_before_that_returns() {
        let folder = tempfile::tempdir().unwrap();
        let mark = folder.path().join("ended");
        let script = format!("cat; : >{}", mark.display());
        let held = here().hold(&Command::script(script)).await.unwrap();
        let lease = Lease::over(held);
        lease.clone().release().await;
        assert!(mark.exists());
        wait().await;
        assert_eq!(lease.confirm().await, Err(Lapsed));
    }
}
