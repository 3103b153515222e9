//! A timer that is on time: the kernel wakes the thread at the moment itself.
//!
//! A runtime's own timers count in whole milliseconds and round up, so that what was planned for a
//! moment was sent one to two of them after it. This one is a file that becomes readable when its
//! moment has come; the runtime waits for it as for any socket, and nothing spins.

use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::io::Errno;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use tokio::io::unix::AsyncFd;

/// A timer of one waiter.
#[derive(Debug)]
pub(super) struct Timer(AsyncFd<OwnedFd>);

impl Timer {
    /// A timer on the runtime that asks; nothing where the system gives none.
    #[expect(
        deprecated,
        reason = "its heir is unsafe; what that asks for, an owned file that stays the same, is given"
    )]
    pub(super) fn new() -> Option<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let file = timerfd_create(TimerfdClockId::Monotonic, flags).ok()?;
        AsyncFd::new(file).ok().map(Self)
    }

    /// Waits for so long, and for no less.
    pub(super) async fn wait(&self, time: Duration) {
        if time.is_zero() {
            return;
        }
        if self.expires_in(time).is_err() || self.has_expired().await.is_err() {
            tokio::time::sleep(time).await;
        }
    }

    fn expires_in(&self, time: Duration) -> Result<(), Errno> {
        let nothing = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        let once = Itimerspec {
            it_interval: nothing,
            it_value: time.try_into().map_err(|_| Errno::OVERFLOW)?,
        };
        timerfd_settime(self.0.get_ref(), TimerfdTimerFlags::empty(), &once).map(drop)
    }

    /// It is readable once its moment has come; to set it anew empties it.
    async fn has_expired(&self) -> std::io::Result<()> {
        loop {
            let mut ready = self.0.readable().await?;
            let count = ready.try_io(|file| Ok(rustix::io::read(file, &mut [0_u8; 8])?));
            match count {
                Ok(read) => return read.map(drop),
                Err(_would_block) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[tokio::test]
    async fn it_waits_no_less_than_it_was_asked_and_can_be_asked_again() {
        let timer = Timer::new().unwrap();
        for micros in [0, 1, 300, 2500, 40] {
            let time = Duration::from_micros(micros);
            let began = Instant::now();
            timer.wait(time).await;
            assert!(began.elapsed() >= time);
        }
    }

    #[tokio::test]
    async fn a_wait_that_was_given_up_shortens_no_other() {
        let timer = Timer::new().unwrap();
        let short = Duration::from_millis(2);
        tokio::select! {
            biased;
            () = timer.wait(short) => panic!("it was not polled again"),
            () = std::future::ready(()) => {}
        }
        tokio::time::sleep(short * 2).await;
        let (time, began) = (Duration::from_millis(10), Instant::now());
        timer.wait(time).await;
        assert!(began.elapsed() >= time);
    }
}
