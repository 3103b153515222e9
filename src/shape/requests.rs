//! How many requests there are: `160`, or `10x` for ten of each that is in flight.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Error, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::written::NUMBER_AS_WRITTEN;

/// How many requests there are in all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Requests {
    /// So many: `160`.
    All(u32),
    /// So many for each that is in flight: `10x`.
    Each(u32),
}

impl Requests {
    /// How many there are, with so many in flight.
    pub fn of(self, width: u32) -> u32 {
        match self {
            Self::All(requests) => requests,
            Self::Each(times) => times.saturating_mul(width),
        }
    }

    fn read(text: &str) -> Option<Self> {
        match text.strip_suffix('x') {
            Some(times) => times.parse().ok().map(Self::Each),
            None => text.parse().ok().map(Self::All),
        }
    }
}

impl Serialize for Requests {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::All(requests) => out.serialize_u32(*requests),
            Self::Each(times) => out.collect_str(&format_args!("{times}x")),
        }
    }
}

struct Written;

impl<'de> Visitor<'de> for Written {
    type Value = Requests;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a whole number, 1 or more, or `10x` for ten of each that is in flight")
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Requests, E> {
        self.visit_str(&number.to_string())
    }

    /// A number as it was written.
    fn visit_bytes<E: Error>(self, text: &[u8]) -> Result<Requests, E> {
        self.visit_str(str::from_utf8(text).map_err(E::custom)?)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Requests, E> {
        Requests::read(text).ok_or_else(|| E::invalid_type(Unexpected::Str(text), &self))
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, input: D) -> Result<Requests, D::Error> {
        input.deserialize_any(self)
    }
}

impl<'de> Deserialize<'de> for Requests {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        input.deserialize_newtype_struct(NUMBER_AS_WRITTEN, Written)
    }
}

impl JsonSchema for Requests {
    fn schema_name() -> Cow<'static, str> {
        "Requests".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A number of requests, or so many of each that is in flight.",
            "type": ["integer", "string"],
            "minimum": 1,
            "pattern": "^[1-9][0-9]*x$",
            "examples": [160, "10x"]
        })
    }
}
