//! A bound on a wait that can be switched off.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer, Error, Visitor};
use serde::{Serialize, Serializer};

use super::{NUMBER_AS_WRITTEN, Seconds};

const OFF: &str = "off";

/// A length of time, or `off`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum SecondsOrOff {
    /// So long.
    Seconds(Seconds),
    /// Not at all.
    Off,
}

impl SecondsOrOff {
    /// The length of time, where there is one.
    pub fn seconds(self) -> Option<Seconds> {
        match self {
            Self::Seconds(seconds) => Some(seconds),
            Self::Off => None,
        }
    }
}

impl Serialize for SecondsOrOff {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Seconds(seconds) => seconds.serialize(out),
            Self::Off => out.serialize_str(OFF),
        }
    }
}

struct Written;

impl<'de> Visitor<'de> for Written {
    type Value = SecondsOrOff;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("`off`, or a duration, as in `120`, `120s`, `2m` or `1h30m`")
    }

    fn visit_bool<E: Error>(self, is_on: bool) -> Result<SecondsOrOff, E> {
        // What YAML 1.1 makes of `off`.
        if is_on {
            return Err(E::invalid_value(serde::de::Unexpected::Bool(true), &self));
        }
        Ok(SecondsOrOff::Off)
    }

    fn visit_u64<E: Error>(self, seconds: u64) -> Result<SecondsOrOff, E> {
        self.visit_str(&seconds.to_string())
    }

    fn visit_i64<E: Error>(self, seconds: i64) -> Result<SecondsOrOff, E> {
        self.visit_str(&seconds.to_string())
    }

    fn visit_f64<E: Error>(self, seconds: f64) -> Result<SecondsOrOff, E> {
        self.visit_str(&seconds.to_string())
    }

    /// A number as it was written.
    fn visit_bytes<E: Error>(self, text: &[u8]) -> Result<SecondsOrOff, E> {
        self.visit_str(str::from_utf8(text).map_err(E::custom)?)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<SecondsOrOff, E> {
        if text == OFF {
            return Ok(SecondsOrOff::Off);
        }
        let seconds = text.parse::<Seconds>();
        seconds
            .map(SecondsOrOff::Seconds)
            .map_err(|error| E::custom(format!("{error}; or `{OFF}`")))
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(
        self,
        input: D,
    ) -> Result<SecondsOrOff, D::Error> {
        // Whoever has a value for whatever is asked is asked for what there is.
        input.deserialize_any(self)
    }
}

impl<'de> Deserialize<'de> for SecondsOrOff {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        input.deserialize_newtype_struct(NUMBER_AS_WRITTEN, Written)
    }
}

impl JsonSchema for SecondsOrOff {
    fn schema_name() -> Cow<'static, str> {
        "DurationOrOff".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let seconds = generator.subschema_for::<Seconds>();
        json_schema!({"anyOf": [{"const": OFF}, seconds]})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_read_as_it_is_written() {
        let read = |text: &str| serde_json::from_str::<SecondsOrOff>(text);
        assert_eq!(read("\"off\"").unwrap(), SecondsOrOff::Off);
        assert_eq!(read("false").unwrap(), SecondsOrOff::Off);
        let seconds = |it: &str| read(it).unwrap().seconds().unwrap().get();
        assert_eq!((seconds("30"), seconds("\"2m\"")), (30.0, 120.0));
        for wrong in ["true", "\"on\"", "-1", "null"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
        let wrong = read("\"on\"").unwrap_err().to_string();
        assert!(wrong.contains("or `off`"), "{wrong}");
        let off = serde_json::to_string(&SecondsOrOff::Off).unwrap();
        assert_eq!(off, "\"off\"");
    }
}
