//! Environment values as a manifest gives them: plain, or taken from the environment of whoever
//! runs `replica`, and then secret.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::written::AS_WRITTEN;

/// The value of an environment variable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EnvValue {
    /// As it stands in the manifest.
    Plain(String),
    /// What this variable of the caller holds when the process is started. It is a secret: it is
    /// never in a plan, a log, a mark, an argument list, or a result.
    FromEnv(String),
}

impl EnvValue {
    /// The variable of the caller that holds it, where it is a secret.
    pub fn source(&self) -> Option<&str> {
        match self {
            EnvValue::Plain(_) => None,
            EnvValue::FromEnv(name) => Some(name),
        }
    }
}

impl Serialize for EnvValue {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        match self {
            EnvValue::Plain(text) => out.serialize_str(text),
            EnvValue::FromEnv(name) => {
                let mut map = out.serialize_map(Some(1))?;
                map.serialize_entry("from_env", name)?;
                map.end()
            }
        }
    }
}

impl<'de> Deserialize<'de> for EnvValue {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        struct Text;

        impl<'de> Visitor<'de> for Text {
            type Value = EnvValue;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a text, a number, or `{from_env: NAME}`")
            }

            fn visit_str<E>(self, text: &str) -> Result<EnvValue, E> {
                Ok(EnvValue::Plain(text.to_owned()))
            }

            fn visit_i64<E>(self, number: i64) -> Result<EnvValue, E> {
                Ok(EnvValue::Plain(number.to_string()))
            }

            fn visit_u64<E>(self, number: u64) -> Result<EnvValue, E> {
                Ok(EnvValue::Plain(number.to_string()))
            }

            fn visit_f64<E>(self, number: f64) -> Result<EnvValue, E> {
                Ok(EnvValue::Plain(number.to_string()))
            }

            fn visit_newtype_struct<D: Deserializer<'de>>(
                self,
                input: D,
            ) -> Result<EnvValue, D::Error> {
                input.deserialize_any(self)
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<EnvValue, A::Error> {
                let Some((key, name)) = map.next_entry::<String, String>()? else {
                    return Err(serde::de::Error::custom("expected `{from_env: NAME}`"));
                };
                if key != "from_env" || map.next_entry::<String, String>()?.is_some() {
                    return Err(serde::de::Error::custom(
                        "the only key here is `from_env`, as in `{from_env: HF_TOKEN}`",
                    ));
                }
                Ok(EnvValue::FromEnv(name))
            }
        }

        input.deserialize_newtype_struct(AS_WRITTEN, Text)
    }
}

impl JsonSchema for EnvValue {
    fn schema_name() -> Cow<'static, str> {
        "EnvValue".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "The value of a variable, or `{from_env: NAME}` for a secret of the caller's environment.",
            "anyOf": [
                {"type": ["string", "number"]},
                {
                    "type": "object",
                    "properties": {"from_env": {
                        "type": "string",
                        "description": "The variable of your environment that holds it.",
                    }},
                    "required": ["from_env"],
                    "additionalProperties": false
                }
            ]
        })
    }
}
