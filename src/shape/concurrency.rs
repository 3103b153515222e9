//! A closed loop: so many requests in flight, and another as soon as one of them has ended.
//!
//! It is what so many users do who wait for each answer. What it cannot show is a queue: a server
//! that slows down is asked less.

use super::form::{Answers, Form, InvalidLoad, LoadPart, at_least_one};
use super::guard::Guard;
use super::pacing::Closed;
use super::stop::Bounds;
use super::{Class, Load, Schedule, Several, Stop};

/// So many requests in flight, until so many have been sent, or for so long.
#[derive(Debug, Clone, PartialEq)]
pub struct Concurrency {
    width: u32,
    bounds: Bounds,
}

impl Form for Concurrency {
    type Value = Several<u32>;
    const WITH: &'static [&'static str] = &Bounds::KEYS;
    const NEEDS: &'static [&'static str] = &["requests", "duration"];
    const EXAMPLE: &'static str = "{concurrency: 16, requests: 160}";

    fn check(width: Several<u32>, load: &Load) -> Result<Self, InvalidLoad> {
        let width = at_least_one("concurrency", width.one("concurrency")?, " in flight")?;
        let bounds = Bounds::check(load, width)?;
        if let Some(requests) = bounds.requests {
            at_least_one("requests", requests, " in all")?;
            if requests < width {
                return Err(InvalidLoad::new(
                    LoadPart::Value("requests"),
                    format!("{requests} requests are never {width} in flight"),
                    format!("`requests` must be at least `concurrency`, {width}"),
                ));
            }
        }
        Ok(Self { width, bounds })
    }

    fn written(&self) -> Load {
        let mut load = Load {
            concurrency: Some(Several::One(self.width)),
            ..Load::default()
        };
        self.bounds.write(&mut load);
        load
    }
}

impl Answers for Concurrency {
    fn label(&self) -> String {
        format!("concurrency {}{}", self.width, self.bounds.label())
    }

    /// One in flight is alone, however it is written.
    fn class(&self) -> Class {
        match self.width {
            1 => Class::Alone,
            width => Class::Closed { width },
        }
    }

    fn schedule(&self) -> Schedule {
        Closed::schedule(self.width, Stop::new(&self.bounds, Guard::default()))
    }

    fn is_timed(&self) -> bool {
        self.bounds.is_timed()
    }
}
