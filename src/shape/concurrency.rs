//! A closed loop: so many requests in flight, and another as soon as one of them has ended.
//!
//! It is what so many users do who wait for each answer. What it cannot show is a queue: a server
//! that slows down is asked less.

use super::form::{Answers, Form, InvalidLoad, LoadPart, at_least_one};
use super::pacing::Closed;
use super::{Class, Load, Schedule};

/// So many requests in flight, until so many have been sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Concurrency {
    width: u32,
    requests: u32,
}

impl Form for Concurrency {
    type Value = u32;
    const WITH: &'static [&'static str] = &["requests"];
    const EXAMPLE: &'static str = "{concurrency: 16, requests: 160}";

    fn check(width: u32, load: &Load) -> Result<Self, InvalidLoad> {
        let width = at_least_one("concurrency", width, " in flight")?;
        let Some(requests) = load.requests else {
            return Err(InvalidLoad::new(
                LoadPart::Key("concurrency"),
                "`concurrency` needs `requests`: how many are sent in all",
                format!("ten for each in flight, as in `{}`", Self::EXAMPLE),
            ));
        };
        let requests = at_least_one("requests", requests, " in all")?;
        if requests < width {
            return Err(InvalidLoad::new(
                LoadPart::Value("requests"),
                format!("{requests} requests are never {width} in flight"),
                format!("`requests` must be at least `concurrency`, {width}"),
            ));
        }
        Ok(Self { width, requests })
    }

    fn written(&self) -> Load {
        Load {
            concurrency: Some(self.width),
            requests: Some(self.requests),
            ..Load::default()
        }
    }
}

impl Answers for Concurrency {
    fn label(&self) -> String {
        format!("concurrency {} x {}", self.width, self.requests)
    }

    /// One in flight is alone, however it is written.
    fn class(&self) -> Class {
        match self.width {
            1 => Class::Alone,
            width => Class::Closed { width },
        }
    }

    fn schedule(&self) -> Schedule {
        Closed::schedule(self.width, self.requests)
    }
}
