//! Quantities as a manifest writes them: plain numbers, or numbers with units.

mod bandwidth;
mod bound;
mod rate;
mod weight;

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use bandwidth::{Bandwidth, InvalidBandwidth};
pub use bound::SecondsOrOff;
pub use rate::{InvalidRate, Rate};
pub use weight::Weight;

use crate::written::{IN_PERCENT, NUMBER_AS_WRITTEN};

/// The units of a time, from the longest, each a fraction of seconds: `300ms` is then 0.3 exactly.
const UNITS: [(&str, f64, f64); 4] = [
    ("h", 3600.0, 1.0),
    ("m", 60.0, 1.0),
    ("s", 1.0, 1.0),
    ("ms", 1.0, 1000.0),
];

/// A length of time, finite and not negative: `120`, `120s`, `2m`, `1h30m`, `500ms`. A plain number
/// is one of seconds, and it is as such that others are told of it.
///
/// ```
/// use replica::quantity::Seconds;
/// let limit: Seconds = "1h30m".parse().unwrap();
/// assert_eq!(limit.get(), 5400.0);
/// assert!("90x".parse::<Seconds>().is_err());
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Seconds(f64);

impl Seconds {
    /// A whole number of seconds.
    pub fn whole(seconds: u32) -> Self {
        Self(seconds.into())
    }

    /// The number of seconds.
    pub fn get(self) -> f64 {
        self.0
    }

    /// The time for a clock. Beyond a century it is for ever, and still fits into every clock.
    pub fn duration(self) -> Duration {
        Duration::from_secs_f64(self.0.min(f64::from(u32::MAX)))
    }

    fn new(seconds: f64, text: &str) -> Result<Self, InvalidSeconds> {
        let why = match seconds {
            _ if seconds.is_nan() => Why::NoTime,
            _ if seconds < 0.0 => Why::Negative,
            _ if seconds.is_infinite() => Why::Endless,
            _ if Duration::try_from_secs_f64(seconds).is_err() => Why::TooLong,
            _ => return Ok(Self(seconds)),
        };
        Err(InvalidSeconds::new(text, why))
    }
}

/// Why a text is no length of time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no duration: {why}")]
pub struct InvalidSeconds {
    text: String,
    why: Why,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
enum Why {
    #[error("write 120, 120s, 2m, 1h30m or 500ms")]
    NoTime,
    #[error("it is less than 0")]
    Negative,
    #[error("it never ends")]
    Endless,
    #[error("no clock counts that far")]
    TooLong,
}

impl InvalidSeconds {
    fn new(text: &str, why: Why) -> Self {
        let text = text.to_owned();
        Self { text, why }
    }
}

impl FromStr for Seconds {
    type Err = InvalidSeconds;

    fn from_str(text: &str) -> Result<Self, InvalidSeconds> {
        let seconds = plain(text).or_else(|| with_units(text));
        let seconds = seconds.ok_or_else(|| InvalidSeconds::new(text, Why::NoTime))?;
        Self::new(seconds, text)
    }
}

/// Reads a number without a unit, as YAML writes it.
fn plain(text: &str) -> Option<f64> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    if unsigned.eq_ignore_ascii_case(".inf") {
        let is_negative = text.starts_with('-');
        return Some(if is_negative {
            f64::NEG_INFINITY
        } else {
            f64::INFINITY
        });
    }
    // Rust also reads `inf`, `nan` and `infinity`, which are words in YAML.
    let is_number = unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.');
    is_number.then(|| text.parse().ok()).flatten()
}

/// Reads numbers with units, the longest unit first and each at most once.
fn with_units(text: &str) -> Option<f64> {
    let mut rest = text;
    let mut units = UNITS.iter();
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, behind) = rest.split_at(digits);
        let length = behind.find(|c: char| !c.is_ascii_alphabetic());
        let (name, behind) = behind.split_at(length.unwrap_or(behind.len()));
        let (_, many, of) = units.find(|(unit, ..)| *unit == name)?;
        let number: f64 = number.parse().ok()?;
        seconds += number * many / of;
        rest = behind;
    }
    (!text.is_empty()).then_some(seconds)
}

impl Serialize for Seconds {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        if self.0.fract() == 0.0 {
            out.serialize_u64(self.0 as u64)
        } else {
            out.serialize_f64(self.0)
        }
    }
}

struct Written;

impl<'de> Visitor<'de> for Written {
    type Value = Seconds;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a duration, as in `120`, `120s`, `2m` or `1h30m`")
    }

    fn visit_u64<E: Error>(self, seconds: u64) -> Result<Seconds, E> {
        self.visit_str(&seconds.to_string())
    }

    fn visit_i64<E: Error>(self, seconds: i64) -> Result<Seconds, E> {
        self.visit_str(&seconds.to_string())
    }

    fn visit_f64<E: Error>(self, seconds: f64) -> Result<Seconds, E> {
        Seconds::new(seconds, &seconds.to_string()).map_err(E::custom)
    }

    /// A number as it was written.
    fn visit_bytes<E: Error>(self, text: &[u8]) -> Result<Seconds, E> {
        self.visit_str(str::from_utf8(text).map_err(E::custom)?)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Seconds, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, input: D) -> Result<Seconds, D::Error> {
        // Whoever has a value for whatever is asked is asked for a number.
        input.deserialize_f64(self)
    }
}

impl<'de> Deserialize<'de> for Seconds {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        input.deserialize_newtype_struct(NUMBER_AS_WRITTEN, Written)
    }
}

impl JsonSchema for Seconds {
    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A length of time: a number of seconds, or a text with units.",
            "type": ["number", "string"],
            "minimum": 0,
            "pattern": r"^[0-9.]+$|^([0-9.]+(h|m|s|ms))+$",
            "examples": [120, "120s", "2m", "1h30m", "500ms"]
        })
    }
}

/// A share, written in percent: `5%`.
///
/// ```
/// use replica::quantity::Percent;
/// let margin: Percent = "2.5%".parse().unwrap();
/// assert_eq!(margin.share(), 0.025);
/// assert!("0.025".parse::<Percent>().is_err());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Percent(f64);

impl Percent {
    /// A whole number of hundredths.
    pub fn whole(percent: u32) -> Self {
        Self(percent.into())
    }

    /// The share: 5 % is 0.05.
    pub fn share(self) -> f64 {
        self.0 / 100.0
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", self.0)
    }
}

/// Why a text is no share.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no share: write it in percent, as in 5% or 99.9%")]
pub struct InvalidPercent(String);

impl FromStr for Percent {
    type Err = InvalidPercent;

    fn from_str(text: &str) -> Result<Self, InvalidPercent> {
        let number = text.strip_suffix('%').map(str::trim_end);
        let is_number = |it: &&str| it.starts_with(|c: char| c.is_ascii_digit() || c == '.');
        let percent = number.filter(is_number).and_then(|it| it.parse().ok());
        let finite = percent.filter(|it: &f64| it.is_finite());
        finite
            .map(Self)
            .ok_or_else(|| InvalidPercent(text.to_owned()))
    }
}

impl Serialize for Percent {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Percent {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        input.deserialize_newtype_struct(IN_PERCENT, InPercent)
    }
}

struct InPercent;

impl<'de> Visitor<'de> for InPercent {
    type Value = Percent;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a share in percent, as in `5%`")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Percent, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_f64<E: Error>(self, percent: f64) -> Result<Percent, E> {
        Ok(Percent(percent))
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, input: D) -> Result<Percent, D::Error> {
        input.deserialize_str(self)
    }
}

impl JsonSchema for Percent {
    fn schema_name() -> Cow<'static, str> {
        "Percent".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A share, written in percent.",
            "type": "string",
            "pattern": r"^[0-9.]+ ?%$",
            "examples": ["5%", "99.9%"]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(text: &str) -> Result<f64, String> {
        let read = text.parse::<Seconds>();
        read.map(Seconds::get).map_err(|error| error.to_string())
    }

    #[test]
    fn every_way_to_write_a_duration_is_read() {
        for (text, meaning) in [
            ("120", 120.0),
            ("0", 0.0),
            ("0.5", 0.5),
            ("1e3", 1000.0),
            ("120s", 120.0),
            ("2m", 120.0),
            ("1h30m", 5400.0),
            ("1h0.5s", 3600.5),
            ("500ms", 0.5),
            ("300ms", 0.3),
            ("1.5h", 5400.0),
            ("1m1s1ms", 61.001),
        ] {
            assert_eq!(seconds(text), Ok(meaning), "{text}");
        }
    }

    #[test]
    fn what_is_none_is_told_from_what_is_out_of_bounds() {
        for text in [
            "", "x", "120x", "s", "1h 30m", "30m1h", "1m1m", "1h30", "2min", "inf", "nan", ".nan",
            "1_000", "1.2.3s", "-2m", ".",
        ] {
            let error = seconds(text).unwrap_err();
            assert!(error.contains("write 120, 120s"), "{text}: {error}");
        }
        assert_eq!(
            seconds("-5").unwrap_err(),
            "`-5` is no duration: it is less than 0"
        );
        assert_eq!(
            seconds("-.inf").unwrap_err(),
            "`-.inf` is no duration: it is less than 0"
        );
        assert_eq!(
            seconds(".inf").unwrap_err(),
            "`.inf` is no duration: it never ends"
        );
        assert_eq!(
            seconds("1e999").unwrap_err(),
            "`1e999` is no duration: it never ends"
        );
        assert_eq!(
            seconds("1e30").unwrap_err(),
            "`1e30` is no duration: no clock counts that far"
        );
    }

    #[test]
    fn any_duration_fits_into_a_clock() {
        let longest: Seconds = "1e19".parse().unwrap();
        assert!(
            std::time::Instant::now()
                .checked_add(longest.duration())
                .is_some()
        );
        assert_eq!(Seconds::whole(15).duration(), Duration::from_secs(15));
    }

    #[test]
    fn a_share_is_written_in_percent() {
        let share = |text: &str| text.parse::<Percent>().map(Percent::share).ok();
        for (text, meaning) in [("5%", 0.05), ("99.9%", 0.999), ("0%", 0.0), ("150 %", 1.5)] {
            assert!((share(text).unwrap() - meaning).abs() < 1e-12, "{text}");
        }
        for text in ["5", "", "%", "x%", "-5%", "inf%", "nan%", "5%%"] {
            assert_eq!(share(text), None, "{text}");
        }
        let json = serde_json::json!(Percent::whole(5));
        assert_eq!(json, "5%");
        assert_eq!(
            serde_json::from_value::<Percent>(json).unwrap(),
            Percent::whole(5)
        );
    }

    #[test]
    fn in_json_it_is_a_number_of_seconds() {
        let json = |text: &str| serde_json::json!(text.parse::<Seconds>().unwrap()).to_string();
        assert_eq!(json("2m"), "120");
        assert_eq!(json("500ms"), "0.5");
        let read: Seconds = serde_json::from_str("120").unwrap();
        assert_eq!(read, Seconds::whole(120));
        assert!(serde_json::from_str::<Seconds>("-1").is_err());
    }
}
