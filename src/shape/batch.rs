//! All requests at once: every connection is open before the first is sent.

use super::form::{Answers, Form, InvalidLoad, at_least_one};
use super::pacing::Closed;
use super::{Class, Load, Schedule, Stop};

/// So many requests, all in flight together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    requests: u32,
}

impl Form for Batch {
    type Value = u32;
    const WITH: &'static [&'static str] = &[];
    const NEEDS: &'static [&'static str] = &[];
    const EXAMPLE: &'static str = "{batch: 8}";

    fn check(requests: u32, _: &Load) -> Result<Self, InvalidLoad> {
        let requests = at_least_one("batch", requests, "")?;
        Ok(Self { requests })
    }

    fn written(&self) -> Load {
        Load {
            batch: Some(self.requests),
            ..Load::default()
        }
    }
}

impl Answers for Batch {
    fn label(&self) -> String {
        format!("batch {}", self.requests)
    }

    fn class(&self) -> Class {
        Class::Together {
            requests: self.requests,
        }
    }

    fn schedule(&self) -> Schedule {
        Closed::schedule(self.requests, Stop::after(self.requests))
    }
}
