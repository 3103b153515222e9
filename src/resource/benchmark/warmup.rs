//! How a benchmark warms what it measures: `2`, or `{per_instance: 2, until_stable: 5%, max: 10}`.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use crate::plan::WarmWhen;
use crate::quantity::Percent;

/// What every instance answers before anything is measured.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct WarmupDeclaration {
    /// Requests, at least.
    pub per_instance: u32,
    /// By how much two in a row may differ.
    pub until_stable: Percent,
    /// Requests, at most.
    pub max: u32,
}

/// The same, written out.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct WrittenOut {
    /// Requests that every instance answers at least, one after another.
    #[serde(default = "per_instance")]
    per_instance: u32,
    /// It goes on until two requests in a row take as long as each other, but for this share.
    #[serde(default = "until_stable")]
    until_stable: Percent,
    /// As many requests as there are at most until then. As many as `per_instance` are just those.
    #[serde(default)]
    #[schemars(range(min = 1))]
    max: Option<u32>,
}

fn per_instance() -> u32 {
    2
}

fn until_stable() -> Percent {
    Percent::whole(5)
}

impl WarmupDeclaration {
    /// So many requests at least, and more where they still differ.
    pub fn requests(per_instance: u32) -> Self {
        Self {
            per_instance,
            until_stable: until_stable(),
            max: WarmWhen::default().max.max(per_instance),
        }
    }

    /// When an instance counts as warm.
    pub fn warm_when(self) -> WarmWhen {
        WarmWhen {
            within: self.until_stable.share(),
            max: self.max,
        }
    }
}

impl Default for WarmupDeclaration {
    fn default() -> Self {
        Self::requests(per_instance())
    }
}

impl<'de> Deserialize<'de> for WarmupDeclaration {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        struct Either;

        impl<'de> Visitor<'de> for Either {
            type Value = WarmupDeclaration;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(
                    "a number of requests, or `{per_instance: 2, until_stable: 5%, max: 10}`",
                )
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<WarmupDeclaration, E> {
                let number = u32::try_from(number).map_err(E::custom)?;
                Ok(WarmupDeclaration::requests(number))
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<WarmupDeclaration, E> {
                let number = u32::try_from(number);
                let number =
                    number.map_err(|_| E::custom(format!("{number:?} is no number of requests")));
                number.map(WarmupDeclaration::requests)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<WarmupDeclaration, A::Error> {
                let written = WrittenOut::deserialize(MapAccessDeserializer::new(map))?;
                let default = WarmupDeclaration::requests(written.per_instance);
                Ok(WarmupDeclaration {
                    until_stable: written.until_stable,
                    max: written.max.unwrap_or(default.max),
                    ..default
                })
            }
        }

        // Whoever has a value for whatever is asked is asked for a number.
        input.deserialize_u64(Either)
    }
}

impl JsonSchema for WarmupDeclaration {
    fn schema_name() -> Cow<'static, str> {
        "Warmup".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let written_out = WrittenOut::json_schema(generator);
        json_schema!({
            "description": "Requests that every instance answers before anything is measured.",
            "anyOf": [{"type": "integer", "minimum": 0}, written_out],
            "examples": [2, {"per_instance": 2, "until_stable": "5%", "max": 10}]
        })
    }
}
