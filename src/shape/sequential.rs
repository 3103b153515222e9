//! One request after another: each is sent when the one before it has ended.

use super::form::{Answers, Form, InvalidLoad, at_least_one};
use super::pacing::Closed;
use super::{Class, Load, Schedule, Stop};

/// So many requests, one after another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sequential {
    requests: u32,
}

impl Form for Sequential {
    type Value = u32;
    const WITH: &'static [&'static str] = &[];
    const NEEDS: &'static [&'static str] = &[];
    const EXAMPLE: &'static str = "{sequential: 1}";

    fn check(requests: u32, _: &Load) -> Result<Self, InvalidLoad> {
        let requests = at_least_one("sequential", requests, "")?;
        Ok(Self { requests })
    }

    fn written(&self) -> Load {
        Load {
            sequential: Some(self.requests),
            ..Load::default()
        }
    }
}

impl Answers for Sequential {
    fn label(&self) -> String {
        format!("sequential {}", self.requests)
    }

    fn class(&self) -> Class {
        Class::Alone
    }

    fn schedule(&self) -> Schedule {
        Closed::schedule(1, Stop::after(self.requests))
    }
}
