//! How many a second.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::written::NUMBER_AS_WRITTEN;

/// The units of time that a rate is written by, in seconds.
const UNITS: [(&str, f64); 3] = [("s", 1.0), ("min", 60.0), ("h", 3600.0)];

/// So many in a time, more than none: `2/s`, `30/min`, `0.5/s`. A plain number is one of a second, and
/// it is written as so many a second.
///
/// ```
/// use replica::quantity::Rate;
/// let rate: Rate = "30/min".parse().unwrap();
/// assert_eq!(rate.per_s(), 0.5);
/// assert_eq!(rate.to_string(), "0.5/s");
/// assert!("30/day".parse::<Rate>().is_err());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Rate(f64);

impl Rate {
    /// So many a second, where that is a number above 0.
    pub fn of(per_s: f64) -> Option<Self> {
        (per_s.is_finite() && per_s > 0.0).then_some(Self(per_s))
    }

    /// How many come in a second.
    pub fn per_s(self) -> f64 {
        self.0
    }
}

/// Why a text is no rate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no rate: write so many in a time, above 0, as in 2/s, 0.5/s or 30/min")]
pub struct InvalidRate {
    text: String,
}

impl FromStr for Rate {
    type Err = InvalidRate;

    fn from_str(text: &str) -> Result<Self, InvalidRate> {
        read(text).ok_or_else(|| InvalidRate {
            text: text.to_owned(),
        })
    }
}

fn read(text: &str) -> Option<Rate> {
    let (number, unit) = text.split_once('/').unwrap_or((text, "s"));
    let (_, seconds) = UNITS.iter().find(|(name, _)| *name == unit.trim())?;
    let number = number.trim();
    // Rust also reads `inf` and `nan`, which are words in YAML.
    let is_number = number.starts_with(|c: char| c.is_ascii_digit() || c == '.');
    let number: f64 = is_number.then(|| number.parse().ok()).flatten()?;
    Rate::of(number / seconds)
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/s", self.0)
    }
}

impl Serialize for Rate {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.collect_str(self)
    }
}

struct Written;

impl<'de> Visitor<'de> for Written {
    type Value = Rate;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("so many in a time, as in `2/s` or `30/min`")
    }

    /// A number as it was written.
    fn visit_bytes<E: Error>(self, text: &[u8]) -> Result<Rate, E> {
        self.visit_str(str::from_utf8(text).map_err(E::custom)?)
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Rate, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Rate, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Rate, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, input: D) -> Result<Rate, D::Error> {
        input.deserialize_any(self)
    }
}

impl<'de> Deserialize<'de> for Rate {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        input.deserialize_newtype_struct(NUMBER_AS_WRITTEN, Written)
    }
}

impl JsonSchema for Rate {
    fn schema_name() -> Cow<'static, str> {
        "Rate".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "So many in a time; a plain number is one of a second.",
            "type": ["number", "string"],
            "exclusiveMinimum": 0,
            "pattern": r"^[0-9.]+(e-?[0-9]+)?( */ *(s|min|h))?$",
            "examples": ["2/s", "0.5/s", "30/min"]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_to_write_a_rate_is_read() {
        for (text, per_s) in [
            ("2/s", 2.0),
            ("0.5/s", 0.5),
            ("30/min", 0.5),
            ("30 / min", 0.5),
            ("7200/h", 2.0),
            ("0.2", 0.2),
        ] {
            assert_eq!(text.parse(), Ok(Rate(per_s)), "{text}");
        }
    }

    #[test]
    fn what_is_no_rate_says_how_one_is_written() {
        for text in [
            "", "2/", "/s", "2/day", "0/s", "0", "-1/s", "inf/s", "nan", "x/s",
        ] {
            let error = text.parse::<Rate>().unwrap_err().to_string();
            assert!(error.contains("as in 2/s, 0.5/s or 30/min"), "{error}");
        }
    }

    #[test]
    fn a_rate_is_written_by_the_second_and_reads_back() {
        for text in ["2/s", "0.3333333333333333/s", "30/min"] {
            let rate: Rate = text.parse().unwrap();
            let json = serde_json::to_string(&rate).unwrap();
            assert_eq!(serde_json::from_str::<Rate>(&json).unwrap(), rate);
        }
        assert_eq!(serde_json::from_str::<Rate>("2").unwrap(), Rate(2.0));
        assert!(serde_json::from_str::<Rate>("-2").is_err());
    }
}
