//! An open loop whose rate goes from one to another, evenly.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::arrivals::Intensity;
use super::form::{Answers, Form, InvalidLoad, LoadPart};
use super::rate::Traffic;
use super::{Class, Load, Schedule};
use crate::quantity::{Rate, Seconds};

/// From where to where a rate goes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Ends {
    /// The rate at the beginning.
    pub from: Rate,
    /// The rate at the end.
    pub to: Rate,
}

/// A rate that goes from one to another in so much time.
#[derive(Debug, Clone, PartialEq)]
pub struct Ramp {
    ends: Ends,
    over: Seconds,
    traffic: Traffic,
}

impl Ramp {
    fn mean(&self) -> f64 {
        f64::midpoint(self.ends.from.per_s(), self.ends.to.per_s())
    }
}

impl Form for Ramp {
    type Value = Ends;
    const WITH: &'static [&'static str] = &["arrivals", "duration", "max_in_flight", "seed"];
    const NEEDS: &'static [&'static str] = &["duration"];
    const EXAMPLE: &'static str = "{ramp: {from: 1/s, to: 10/s}, duration: 2m}";

    fn check(ends: Ends, load: &Load) -> Result<Self, InvalidLoad> {
        let traffic = Traffic::check(load)?;
        let Some(over) = load.duration else {
            return Err(InvalidLoad::new(
                LoadPart::Key("ramp"),
                "`ramp` needs `duration`",
                format!("it is how long the way takes, as in `{}`", Self::EXAMPLE),
            ));
        };
        Ok(Self {
            ends,
            over,
            traffic,
        })
    }

    fn written(&self) -> Load {
        let mut load = Load {
            ramp: Some(self.ends),
            ..Load::default()
        };
        self.traffic.write(&mut load);
        load
    }
}

impl Answers for Ramp {
    fn label(&self) -> String {
        let Ends { from, to } = self.ends;
        format!("ramp {from} to {to}{}", self.traffic.bounds.label())
    }

    fn class(&self) -> Class {
        Class::Open { per_s: self.mean() }
    }

    fn schedule(&self) -> Schedule {
        let intensity = Intensity::Ramp {
            from: self.ends.from.per_s(),
            to: self.ends.to.per_s(),
            over: self.over.get(),
        };
        self.traffic.schedule(intensity, self.mean())
    }

    fn is_timed(&self) -> bool {
        true
    }
}
