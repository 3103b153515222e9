//! The service level objective of a benchmark: by its name, or as it stands.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use crate::name::SloName;
use crate::plan::Slo;

/// An objective: `chat`, or `{ttft: 2s, tpot: 100ms}`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Objective {
    /// One of those under `slos:`.
    Named(SloName),
    /// As it stands.
    Inline(Slo),
}

impl<'de> Deserialize<'de> for Objective {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        struct Either;

        impl<'de> Visitor<'de> for Either {
            type Value = Objective;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name of one of `slos:`, or `{ttft: 2s, tpot: 100ms}`")
            }

            fn visit_str<E: Error>(self, name: &str) -> Result<Objective, E> {
                name.parse().map(Objective::Named).map_err(E::custom)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Objective, A::Error> {
                Slo::deserialize(MapAccessDeserializer::new(map)).map(Objective::Inline)
            }
        }

        input.deserialize_any(Either)
    }
}

impl JsonSchema for Objective {
    fn schema_name() -> Cow<'static, str> {
        "Objective".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let name = generator.subschema_for::<SloName>();
        let slo = generator.subschema_for::<Slo>();
        json_schema!({
            "description": "A service level objective: one of `slos:` by its name, or as it stands.",
            "anyOf": [name, slo]
        })
    }
}
