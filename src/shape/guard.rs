//! What ends a load before its end: failures, and an open load that the servers fall behind.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// So many have to fail before a load is stopped for it.
const FAILED: u32 = 10;

/// The share of failures, of those that have ended, at which a load is stopped.
const FAILED_SHARE: f64 = 0.1;

/// Nothing is said of an open load that has not gone on for as long.
const LEAST: Duration = Duration::from_secs(30);

/// What is longer ago says nothing of now.
const WINDOW: Duration = Duration::from_secs(120);

/// A request waits for long if it waits as long as this for the first of its answer, in seconds.
const LONG_WAIT_S: f64 = 2.5;

/// What is to be known of a request that has ended.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ended {
    /// Whether it was answered whole.
    pub is_ok: bool,
    /// From the moment that was meant for it until its answer began.
    pub waited: Option<Duration>,
}

/// Why a load was stopped before its end.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "why", rename_all = "snake_case")]
pub enum Stopped {
    /// Too many had failed.
    Errors {
        /// When, in seconds since the first sending.
        at_s: f64,
        /// How many had failed.
        failed: u32,
        /// Of how many that had ended.
        ended: u32,
    },
    /// More came than were served: what was in flight grew, and waits with it.
    OverSaturated {
        /// When, in seconds since the first sending.
        at_s: f64,
        /// By how many what was in flight grew in a second.
        in_flight_per_s: f64,
        /// By how much the wait for the first of an answer grew in a second, in milliseconds.
        wait_ms_per_s: f64,
    },
}

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Errors {
                at_s,
                failed,
                ended,
            } => write!(
                f,
                "stopped after {at_s:.0} s: {failed} of {ended} requests had failed"
            ),
            Self::OverSaturated {
                at_s,
                in_flight_per_s,
                ..
            } => write!(
                f,
                "stopped after {at_s:.0} s: more came than were served, {in_flight_per_s:.2} a second"
            ),
        }
    }
}

/// Watches a load.
#[derive(Debug, Default)]
pub(super) struct Guard {
    failed: u32,
    ended: u32,
    saturation: Option<Saturation>,
}

impl Guard {
    /// One that watches for servers that fall behind, too: they can where requests come by the clock.
    pub(super) fn of_open_load() -> Self {
        Self {
            saturation: Some(Saturation::default()),
            ..Self::default()
        }
    }

    pub(super) fn sent(&mut self, at: Duration, in_flight: u32) {
        if let Some(saturation) = &mut self.saturation {
            saturation.in_flight.add(at, in_flight.into());
        }
    }

    pub(super) fn ended(&mut self, at: Duration, ended: Ended) -> Option<Stopped> {
        self.ended += 1;
        self.failed += u32::from(!ended.is_ok);
        let share = f64::from(self.failed) / f64::from(self.ended);
        if self.failed >= FAILED && share > FAILED_SHARE {
            return Some(Stopped::Errors {
                at_s: at.as_secs_f64(),
                failed: self.failed,
                ended: self.ended,
            });
        }
        let saturation = self.saturation.as_mut()?;
        if let Some(waited) = ended.waited {
            saturation.waits.add(at, waited.as_secs_f64());
        }
        saturation.stops(at)
    }
}

/// Whether servers fall behind: both what is in flight and the wait for the first of an answer grow,
/// each beyond what chance would have of it (95 %), and most waits are long. GuideLLM's detector of
/// over-saturation decides by the same two slopes.
#[derive(Debug, Default)]
struct Saturation {
    in_flight: Trend,
    waits: Trend,
}

impl Saturation {
    fn stops(&mut self, at: Duration) -> Option<Stopped> {
        if at < LEAST {
            return None;
        }
        let long = self.waits.share_above(LONG_WAIT_S);
        if long < 0.5 {
            return None;
        }
        let in_flight = self.in_flight.surely_grows()?;
        let wait = self.waits.surely_grows()?;
        Some(Stopped::OverSaturated {
            at_s: at.as_secs_f64(),
            in_flight_per_s: in_flight,
            wait_ms_per_s: wait * 1000.0,
        })
    }
}

/// Values over time, of the last while.
#[derive(Debug, Default)]
struct Trend(VecDeque<(f64, f64)>);

impl Trend {
    fn add(&mut self, at: Duration, value: f64) {
        let at = at.as_secs_f64();
        self.0.push_back((at, value));
        let from = at - WINDOW.as_secs_f64();
        while self.0.front().is_some_and(|(at, _)| *at < from) {
            self.0.pop_front();
        }
    }

    fn share_above(&self, limit: f64) -> f64 {
        let above = self.0.iter().filter(|(_, value)| *value > limit).count();
        above as f64 / self.0.len().max(1) as f64
    }

    /// The slope of a straight line through the values, in units a second, where it is above 0 by more
    /// than chance. Values of one second hang together, so that there are no more independent ones
    /// than seconds.
    fn surely_grows(&self) -> Option<f64> {
        let n = self.0.len() as f64;
        let seconds = self.0.back()?.0 - self.0.front()?.0;
        let freedom = n.min(seconds) - 2.0;
        if freedom < 3.0 {
            return None;
        }
        let mean = |of: fn(&(f64, f64)) -> f64| self.0.iter().map(of).sum::<f64>() / n;
        let (at, value) = (mean(|it| it.0), mean(|it| it.1));
        let sum = |of: &dyn Fn(f64, f64) -> f64| -> f64 {
            self.0.iter().map(|(t, v)| of(t - at, v - value)).sum()
        };
        let (tt, tv) = (sum(&|t, _| t * t), sum(&|t, v| t * v));
        let slope = tv / tt;
        let residual = sum(&|t, v| (v - slope * t).powi(2));
        // The squares thin out with the values that are independent.
        let spread = (residual / n / (tt / n) / freedom).sqrt();
        (slope - student(freedom) * spread > 0.0).then_some(slope)
    }
}

/// The 0.975 quantile of Student's t, by the expansion of Abramowitz and Stegun 26.7.5; three terms
/// are good to 1 % from 4 degrees of freedom.
fn student(freedom: f64) -> f64 {
    let x: f64 = 1.959_964;
    let first = (x.powi(3) + x) / 4.0;
    let second = (5.0 * x.powi(5) + 16.0 * x.powi(3) + 3.0 * x) / 96.0;
    let third = (3.0 * x.powi(7) + 19.0 * x.powi(5) + 17.0 * x.powi(3) - 15.0 * x) / 384.0;
    x + first / freedom + second / freedom.powi(2) + third / freedom.powi(3)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn s(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    fn ended(is_ok: bool, waited: f64) -> Ended {
        Ended {
            is_ok,
            waited: is_ok.then(|| s(waited)),
        }
    }

    #[test]
    fn a_load_of_failures_is_stopped_and_a_few_of_them_stop_nothing() {
        let mut guard = Guard::default();
        let stopped: Vec<_> = (0..20)
            .map(|i| guard.ended(s(f64::from(i)), ended(false, 0.0)))
            .collect();
        assert_eq!(stopped.iter().position(Option::is_some), Some(9));
        assert_eq!(
            stopped[9].unwrap().to_string(),
            "stopped after 9 s: 10 of 10 requests had failed"
        );
        let mut guard = Guard::default();
        let one_in_ten = |i: u32| !i.is_multiple_of(10);
        assert!((1..500).all(|i| guard.ended(s(1.0), ended(one_in_ten(i), 0.1)).is_none()));
    }

    /// What a guard says of 8 requests a second for 100 s, by what is in flight and how long they wait.
    fn watched(in_flight: impl Fn(f64) -> f64, wait: impl Fn(f64) -> f64) -> Option<Stopped> {
        let mut guard = Guard::of_open_load();
        (0..800).find_map(|i| {
            let at = f64::from(i) / 8.0;
            guard.sent(s(at), in_flight(at) as u32);
            guard.ended(s(at), ended(true, wait(at)))
        })
    }

    #[test]
    fn servers_that_fall_behind_are_noticed_as_soon_as_that_can_be_told() {
        let stopped = watched(|t| 4.0 * t, |t| t / 2.0).unwrap();
        let Stopped::OverSaturated {
            at_s,
            in_flight_per_s,
            wait_ms_per_s,
        } = stopped
        else {
            panic!("{stopped:?}");
        };
        assert_eq!(Some(at_s), Some(30.0));
        assert!((in_flight_per_s - 4.0).abs() < 0.1, "{in_flight_per_s}");
        assert!((wait_ms_per_s - 500.0).abs() < 1.0, "{wait_ms_per_s}");
    }

    #[test]
    fn servers_that_keep_up_are_left_alone_however_slow_they_are() {
        let wave = |t: f64| (t / 3.0).sin();
        assert_eq!(watched(|t| 40.0 + 10.0 * wave(t), |t| 5.0 + wave(t)), None);
        // A queue that grows while nobody waits for long is none to speak of.
        assert_eq!(watched(|t| t / 10.0, |t| 0.1 + t / 1000.0), None);
    }

    #[test]
    fn students_t_is_that_of_the_tables() {
        for (freedom, expected) in [(4.0, 2.776), (10.0, 2.228), (28.0, 2.048), (118.0, 1.980)] {
            let t = student(freedom);
            assert!((t / expected - 1.0).abs() < 0.01, "{freedom}: {t}");
        }
    }
}
