//! An open loop: requests come by the clock, whatever is in flight.
//!
//! It is what many users do who do not know of each other. A server that slows down is asked as much
//! as before, so that a queue shows; what is late is late by the moment that was planned.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::arrivals::{Arrivals, Gaps, Intensity, Moments};
use super::form::{Answers, Form, InvalidLoad, LoadPart};
use super::guard::Guard;
use super::pacing::{Open, ahead_of};
use super::several::Item;
use super::stop::Bounds;
use super::{Class, Load, Requests, Schedule, Several, Stop};
use crate::quantity;
use crate::written::NUMBER_AS_WRITTEN;

/// So many requests a second, for so long.
#[derive(Debug, Clone, PartialEq)]
pub struct Rate {
    rate: quantity::Rate,
    traffic: Traffic,
}

impl Form for Rate {
    type Value = Several<Pace>;
    const WITH: &'static [&'static str] = &[
        "arrivals",
        "requests",
        "duration",
        "min",
        "max",
        "max_in_flight",
        "seed",
    ];
    const NEEDS: &'static [&'static str] = &["requests", "duration"];
    const EXAMPLE: &'static str = "{rate: 2/s, duration: 5m}";

    fn check(pace: Several<Pace>, load: &Load) -> Result<Self, InvalidLoad> {
        let Pace::Rate(rate) = pace.one("rate")? else {
            return Err(InvalidLoad::new(
                LoadPart::Value("rate"),
                "`search` is no rate that can be sent",
                "write one, as in `2/s`",
            ));
        };
        let traffic = Traffic::check(load)?;
        Ok(Self { rate, traffic })
    }

    fn written(&self) -> Load {
        let mut load = Load {
            rate: Some(Several::One(Pace::Rate(self.rate))),
            ..Load::default()
        };
        self.traffic.write(&mut load);
        load
    }
}

impl Answers for Rate {
    fn label(&self) -> String {
        format!("rate {}{}", self.rate, self.traffic.bounds.label())
    }

    fn class(&self) -> Class {
        Class::Open {
            per_s: self.rate.per_s(),
        }
    }

    fn schedule(&self) -> Schedule {
        let per_s = self.rate.per_s();
        self.traffic.schedule(Intensity::Steady(per_s), per_s)
    }

    fn is_timed(&self) -> bool {
        true
    }
}

/// How an open load arrives, and when it ends.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Traffic {
    pub(super) bounds: Bounds,
    arrivals: Option<Arrivals>,
    seed: Option<u64>,
    max_in_flight: Option<u32>,
}

impl Traffic {
    pub(super) fn check(load: &Load) -> Result<Self, InvalidLoad> {
        let wrong = |key, message: &str, hint: &str| {
            Err(InvalidLoad::new(LoadPart::Value(key), message, hint))
        };
        match load.requests {
            Some(Requests::Each(_)) => {
                return wrong(
                    "requests",
                    "`requests` counts those in flight, and an open load has any number of them",
                    "write how many there are in all, or `duration`",
                );
            }
            Some(Requests::All(0)) => {
                return wrong(
                    "requests",
                    "`requests` must be 1 or more",
                    "it is the number of requests in all",
                );
            }
            Some(Requests::All(_)) | None => {}
        }
        if let Some(Arrivals::Gamma(shape)) = load.arrivals
            && !(0.01..=100.0).contains(&shape)
        {
            return wrong(
                "arrivals",
                "`gamma` must be from 0.01 to 100",
                "below 1 requests come in bursts, 1 is `poisson`, above they are more regular",
            );
        }
        if load.max_in_flight == Some(0) {
            return wrong(
                "max_in_flight",
                "`max_in_flight` must be 1 or more",
                "what would be more is not sent, and counted as dropped; leave it out to send all",
            );
        }
        Ok(Self {
            bounds: Bounds::check(load, 1)?,
            arrivals: load.arrivals,
            seed: load.seed,
            max_in_flight: load.max_in_flight,
        })
    }

    pub(super) fn write(&self, load: &mut Load) {
        self.bounds.write(load);
        load.arrivals = self.arrivals;
        load.seed = self.seed;
        load.max_in_flight = self.max_in_flight;
    }

    /// The schedule of arrivals of an intensity, of which the mean is so many a second.
    pub(super) fn schedule(&self, intensity: Intensity, mean: f64) -> Schedule {
        let gaps = Gaps::new(self.arrivals.unwrap_or_default(), self.seed.unwrap_or(0));
        let longest = self.bounds.longest();
        let in_time = longest.map(|time| (mean * time.as_secs_f64()).round().max(1.0) as u32);
        let counted = self.bounds.requests;
        Schedule {
            pacing: Box::new(Open(Moments::new(gaps, intensity))),
            stop: Stop::new(&self.bounds, Guard::of_open_load()),
            in_flight: self.max_in_flight,
            ahead: ahead_of(mean),
            likely: counted.into_iter().chain(in_time).min(),
        }
    }
}

/// What stands behind `rate`: a rate, or that it is looked for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Pace {
    /// So many a second.
    Rate(quantity::Rate),
    /// The highest that meets what is asked of it.
    Search,
}

/// The word for a rate that is looked for.
const SEARCH: &str = "search";

impl Item for Pace {
    const WHAT: &'static str = "so many in a time, as in `2/s`, or `search`";

    fn read(text: &str) -> Option<Self> {
        match text {
            SEARCH => Some(Self::Search),
            text => text.parse().ok().map(Self::Rate),
        }
    }
}

impl Serialize for Pace {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Rate(rate) => rate.serialize(out),
            Self::Search => out.serialize_str(SEARCH),
        }
    }
}

struct Written;

impl<'de> Visitor<'de> for Written {
    type Value = Pace;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("so many in a time, as in `2/s` or `30/min`")
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Pace, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Pace, E> {
        self.visit_str(&number.to_string())
    }

    /// A number as it was written.
    fn visit_bytes<E: Error>(self, text: &[u8]) -> Result<Pace, E> {
        self.visit_str(str::from_utf8(text).map_err(E::custom)?)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Pace, E> {
        let rate = text.parse::<quantity::Rate>().map_err(E::custom)?;
        Ok(Pace::Rate(rate))
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, input: D) -> Result<Pace, D::Error> {
        input.deserialize_any(self)
    }
}

/// Within a list, where nothing is looked for.
impl<'de> Deserialize<'de> for Pace {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        input.deserialize_newtype_struct(NUMBER_AS_WRITTEN, Written)
    }
}

impl JsonSchema for Pace {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Pace".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let rate = generator.subschema_for::<quantity::Rate>();
        json_schema!({"anyOf": [rate, {"const": SEARCH}]})
    }
}
