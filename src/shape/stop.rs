//! When a load ends: by its requests, by time, or because nothing can be learned of it any more.

use std::time::Duration;

use super::form::{InvalidLoad, LoadPart};
use super::guard::{Ended, Guard, Stopped};
use super::{Load, Requests};
use crate::quantity::Seconds;

/// What a load says of its end, without a clock of its own.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Bounds {
    /// How many are sent, where that is counted.
    pub(super) requests: Option<u32>,
    /// How long it goes on at least, however many have been sent.
    pub(super) min: Option<Seconds>,
    /// How long it goes on at most.
    pub(super) max: Option<Seconds>,
    /// The same, where it is what was asked for.
    pub(super) duration: Option<Seconds>,
}

impl Bounds {
    /// The keys that say it.
    pub(super) const KEYS: [&'static str; 4] = ["requests", "duration", "min", "max"];

    /// What is written, of a load with so many in flight.
    pub(super) fn check(load: &Load, width: u32) -> Result<Self, InvalidLoad> {
        for (key, time) in [
            ("duration", load.duration),
            ("min", load.min),
            ("max", load.max),
        ] {
            if time.is_some_and(|time| time.get() <= 0.0) {
                let message = format!("`{key}` must be more than 0");
                let hint = "it is a time, as in `30s` or `5m`";
                return Err(InvalidLoad::new(LoadPart::Value(key), message, hint));
            }
        }
        contradiction(load)?;
        Ok(Self {
            requests: load.requests.map(|requests| requests.of(width)),
            min: load.min,
            max: load.max,
            duration: load.duration,
        })
    }

    /// Puts it into what is written.
    pub(super) fn write(self, load: &mut Load) {
        load.requests = self.requests.map(Requests::All);
        load.duration = self.duration;
        load.min = self.min;
        load.max = self.max;
    }

    /// How long it goes on at most.
    pub(super) fn longest(&self) -> Option<Duration> {
        self.max.or(self.duration).map(Seconds::duration)
    }

    /// Whether time has a say in it.
    pub(super) fn is_timed(&self) -> bool {
        self.min.is_some() || self.longest().is_some()
    }

    /// `x 160`, `60 s`: how much of a load there is, for a table.
    pub(super) fn label(&self) -> String {
        let requests = self.requests.map(|requests| format!(" x {requests}"));
        let time = self.duration.map(|time| format!(" for {} s", time.get()));
        requests.unwrap_or_default() + &time.unwrap_or_default()
    }
}

fn contradiction(load: &Load) -> Result<(), InvalidLoad> {
    let wrong =
        |key, message: &str, hint: &str| Err(InvalidLoad::new(LoadPart::Key(key), message, hint));
    match (load.duration, load.min, load.max) {
        (Some(_), Some(_), _) => wrong(
            "min",
            "`duration` and `min` are two lengths of one load",
            "write `duration` alone, or `requests` with `min` and `max`",
        ),
        (Some(_), _, Some(_)) => wrong(
            "max",
            "`duration` and `max` both say when it ends",
            "write `duration` alone, or `requests` with `min` and `max`",
        ),
        (None, Some(min), Some(max)) if min.get() > max.get() => wrong(
            "min",
            "`min` is longer than `max`",
            "it goes on for at least `min` and for at most `max`",
        ),
        (None, Some(_), None | Some(_)) if load.requests.is_none() => wrong(
            "min",
            "`min` needs `requests`, which it goes on beyond",
            "write `duration` for a load that is bounded by time alone",
        ),
        (None | Some(_), None | Some(_), None | Some(_)) => Ok(()),
    }
}

/// When a load ends: asked before each request, and told of each that has ended.
#[derive(Debug)]
pub struct Stop {
    /// How many are sent, where that is counted.
    pub requests: Option<u32>,
    /// How long it goes on at least.
    pub min: Duration,
    /// How long it goes on at most.
    pub max: Option<Duration>,
    guard: Guard,
    stopped: Option<Stopped>,
}

impl Stop {
    /// As these bounds have it, guarded against what teaches nothing.
    pub(super) fn new(bounds: &Bounds, guard: Guard) -> Self {
        Self {
            requests: bounds.requests,
            min: bounds.min.map(Seconds::duration).unwrap_or_default(),
            max: bounds.longest(),
            guard,
            stopped: None,
        }
    }

    /// After so many requests, and never before.
    pub fn after(requests: u32) -> Self {
        let bounds = Bounds {
            requests: Some(requests),
            ..Bounds::default()
        };
        Self::new(&bounds, Guard::default())
    }

    /// Whether one more is sent at a moment, after so many.
    pub fn admits(&self, sent: u32, at: Duration) -> bool {
        let are_all = self.requests.is_some_and(|requests| sent >= requests) && at >= self.min;
        let is_over = self.max.is_some_and(|max| at >= max);
        self.stopped.is_none() && !are_all && !is_over
    }

    /// Takes note of what is in flight when one is sent.
    pub fn sent(&mut self, at: Duration, in_flight: u32) {
        self.guard.sent(at, in_flight);
    }

    /// Takes note of a request that has ended.
    pub fn ended(&mut self, at: Duration, ended: Ended) {
        let stopped = self.guard.ended(at, ended);
        self.stopped = self.stopped.take().or(stopped);
    }

    /// Why it was stopped before its end, if it was.
    pub fn stopped(self) -> Option<Stopped> {
        self.stopped
    }
}
