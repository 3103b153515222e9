//! How much memory is read in a second.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::written::NUMBER_AS_WRITTEN;

/// The units that a bandwidth is written in, in bytes a second.
const UNITS: [(&str, f64); 4] = [
    ("MB/s", 1e6),
    ("GB/s", 1e9),
    ("TB/s", 1e12),
    ("GiB/s", 1_073_741_824.0),
];

/// So many bytes in a second, more than none: `273 GB/s`, `3.35 TB/s`. A plain number is one of GB/s, and
/// it is written as such.
///
/// ```
/// use replica::quantity::Bandwidth;
/// let spark: Bandwidth = "273 GB/s".parse().unwrap();
/// assert_eq!(spark.gb_per_s(), 273.0);
/// assert_eq!("3.35TB/s".parse::<Bandwidth>().unwrap().to_string(), "3350 GB/s");
/// assert!("273 GB".parse::<Bandwidth>().is_err());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bandwidth {
    bytes_per_s: u64,
}

impl Bandwidth {
    /// How many GB (of 10^9 bytes) a second.
    pub fn gb_per_s(self) -> f64 {
        self.bytes_per_s as f64 / 1e9
    }
}

/// Why a text is no bandwidth.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no bandwidth: write bytes in a second, above 0, as in 273 GB/s or 3.35 TB/s")]
pub struct InvalidBandwidth {
    text: String,
}

impl FromStr for Bandwidth {
    type Err = InvalidBandwidth;

    fn from_str(text: &str) -> Result<Self, InvalidBandwidth> {
        read(text).ok_or_else(|| InvalidBandwidth {
            text: text.to_owned(),
        })
    }
}

fn read(text: &str) -> Option<Bandwidth> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.');
    let (number, unit) = text.split_at(end.unwrap_or(text.len()));
    let unit = if end.is_none() { "GB/s" } else { unit.trim() };
    let (_, bytes) = UNITS.iter().find(|(name, _)| *name == unit)?;
    let bytes_per_s = (number.parse::<f64>().ok()? * bytes).round();
    let is_one = bytes_per_s.is_finite() && (1.0..1e18).contains(&bytes_per_s);
    is_one.then_some(Bandwidth {
        bytes_per_s: bytes_per_s as u64,
    })
}

impl fmt::Display for Bandwidth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} GB/s", self.gb_per_s())
    }
}

impl Serialize for Bandwidth {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.collect_str(self)
    }
}

struct Written;

impl<'de> Visitor<'de> for Written {
    type Value = Bandwidth;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bytes in a second, as in `273 GB/s`")
    }

    /// A number as it was written.
    fn visit_bytes<E: Error>(self, text: &[u8]) -> Result<Bandwidth, E> {
        self.visit_str(str::from_utf8(text).map_err(E::custom)?)
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Bandwidth, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Bandwidth, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Bandwidth, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, input: D) -> Result<Bandwidth, D::Error> {
        input.deserialize_any(self)
    }
}

impl<'de> Deserialize<'de> for Bandwidth {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        input.deserialize_newtype_struct(NUMBER_AS_WRITTEN, Written)
    }
}

impl JsonSchema for Bandwidth {
    fn schema_name() -> Cow<'static, str> {
        "Bandwidth".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "Bytes in a second; a plain number is one of GB/s.",
            "type": ["number", "string"],
            "exclusiveMinimum": 0,
            "pattern": r"^[0-9.]+( *(MB|GB|TB|GiB)/s)?$",
            "examples": ["273 GB/s", "3.35 TB/s"]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_to_write_a_bandwidth_is_read() {
        for (text, gb_per_s) in [
            ("273 GB/s", 273.0),
            ("273GB/s", 273.0),
            ("273", 273.0),
            ("3.35 TB/s", 3350.0),
            ("900 MB/s", 0.9),
            ("1000 GiB/s", 1_073.741_824),
        ] {
            let read: Bandwidth = text.parse().unwrap();
            assert!((read.gb_per_s() - gb_per_s).abs() < 1e-6, "{text}");
        }
    }

    #[test]
    fn what_is_no_bandwidth_says_how_one_is_written() {
        for text in [
            "",
            ".",
            "GB/s",
            "273 GB",
            "273 Gb/s",
            "0 GB/s",
            "-1 GB/s",
            "1.2.3 GB/s",
            "inf GB/s",
        ] {
            let error = text.parse::<Bandwidth>().unwrap_err().to_string();
            assert!(error.contains("as in 273 GB/s"), "{error}");
        }
    }

    #[test]
    fn a_bandwidth_is_written_in_gigabytes_and_reads_back() {
        for text in ["273 GB/s", "3.35 TB/s", "1000 GiB/s"] {
            let bandwidth: Bandwidth = text.parse().unwrap();
            let json = serde_json::to_string(&bandwidth).unwrap();
            let again: Bandwidth = serde_json::from_str(&json).unwrap();
            assert_eq!(again, bandwidth);
        }
        let plain: Bandwidth = serde_json::from_str("273").unwrap();
        assert_eq!(plain.to_string(), "273 GB/s");
        assert!(serde_json::from_str::<Bandwidth>("-273").is_err());
    }
}
