//! How long tasks of this machine wait for a CPU, as the kernel counts it.

use std::time::Duration;

use super::clock::Clock;
use crate::results::Pressure;

/// Where the kernel tells it.
const FILE: &str = "/proc/pressure/cpu";

/// A moment at which it was read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Waited {
    us: u64,
    at_ns: u64,
}

impl Waited {
    /// What the kernel says now; nothing where it does not count.
    pub(super) fn now(clock: Clock) -> Option<Self> {
        let text = std::fs::read_to_string(FILE).ok()?;
        Some(Self {
            us: total_us(&text)?,
            at_ns: clock.now(),
        })
    }

    /// What the pressure was until a later moment.
    pub(super) fn until(self, later: Self) -> Option<Pressure> {
        let time = Duration::from_nanos(later.at_ns.checked_sub(self.at_ns)?);
        let time_us = u64::try_from(time.as_micros()).ok()?;
        Pressure::over(later.us.checked_sub(self.us)?, time_us)
    }
}

/// The `total=` of the line `some`, in microseconds.
fn total_us(text: &str) -> Option<u64> {
    let some = text.lines().find(|line| line.starts_with("some "))?;
    let total = some.split(' ').find_map(|it| it.strip_prefix("total="))?;
    total.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_count_is_read() {
        let text = "some avg10=12.00 avg60=9.10 avg300=3.00 total=123456\n\
                    full avg10=0.00 avg60=0.00 avg300=0.00 total=7\n";
        assert_eq!(total_us(text), Some(123_456));
        assert_eq!(total_us("full total=7\n"), None);
        assert_eq!(total_us(""), None);
    }

    #[test]
    fn it_is_a_share_of_the_time_between_two_moments() {
        let before = Waited { us: 1000, at_ns: 0 };
        let after = Waited {
            us: 1250,
            at_ns: 1_000_000,
        };
        let share = before.until(after).unwrap().some_share;
        assert!((share - 0.25).abs() < 1e-9);
        assert!(after.until(before).is_none());
    }
}
