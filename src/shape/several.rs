//! One value or several: `8`, `[1, 2, 4, 8]`.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{DeserializeOwned, Error, SeqAccess, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::form::{InvalidLoad, LoadPart};
use crate::written::NUMBER_AS_WRITTEN;

/// One value, or a list of them: a load for each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Several<T> {
    /// One.
    One(T),
    /// A list, however long.
    List(Vec<T>),
}

/// What there may be several of.
pub trait Item: DeserializeOwned + Serialize {
    /// What one is, for whoever wrote something else.
    const WHAT: &'static str;

    /// Reads one as it is written.
    fn read(text: &str) -> Option<Self>;
}

impl Item for u32 {
    const WHAT: &'static str = "a whole number, 1 or more";

    fn read(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

impl<T> Several<T> {
    /// The only one, of a load that is one.
    pub(super) fn one(self, key: &'static str) -> Result<T, InvalidLoad> {
        match self {
            Self::One(one) => Ok(one),
            Self::List(_) => Err(InvalidLoad::new(
                LoadPart::Value(key),
                format!("a list of `{key}` is several loads"),
                "write one",
            )),
        }
    }
}

impl<T: Serialize> Serialize for Several<T> {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::One(one) => one.serialize(out),
            Self::List(list) => list.serialize(out),
        }
    }
}

struct Written<T>(PhantomData<T>);

impl<'de, T: Item> Visitor<'de> for Written<T> {
    type Value = Several<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, or a list of such", T::WHAT)
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Several<T>, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Several<T>, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Several<T>, E> {
        self.visit_str(&number.to_string())
    }

    /// A number as it was written.
    fn visit_bytes<E: Error>(self, text: &[u8]) -> Result<Several<T>, E> {
        self.visit_str(str::from_utf8(text).map_err(E::custom)?)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Several<T>, E> {
        let one = T::read(text).map(Several::One);
        one.ok_or_else(|| E::invalid_type(Unexpected::Str(text), &self))
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, input: D) -> Result<Several<T>, D::Error> {
        input.deserialize_any(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Several<T>, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Several::List(list))
    }
}

impl<'de, T: Item> Deserialize<'de> for Several<T> {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        input.deserialize_newtype_struct(NUMBER_AS_WRITTEN, Written(PhantomData))
    }
}

impl<T: JsonSchema> JsonSchema for Several<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("Several{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let one = generator.subschema_for::<T>();
        json_schema!({"anyOf": [one, {"type": "array", "items": one, "minItems": 1}]})
    }
}
