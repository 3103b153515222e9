//! The values of arguments as a manifest gives them: what each means, and how its numbers were
//! written.
//!
//! What is compared is the meaning, so `0.3` and `0.30` are one value. What a command line is given
//! is the text: nobody but vLLM knows whether `2.10` is a number to it.

use std::borrow::Cow;
use std::fmt;

use indexmap::IndexMap;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::{Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Number, Value};

use crate::written::NUMBER_AS_WRITTEN;

/// The value of an argument. It is serialised as what it means.
#[derive(Debug, Clone, PartialEq)]
pub enum Argument {
    /// Nothing.
    Null,
    /// A switch.
    Bool(bool),
    /// A number.
    Number(WrittenNumber),
    /// A text.
    Text(String),
    /// A list.
    List(Vec<Argument>),
    /// A map, in the order in which it was written.
    Map(IndexMap<String, Argument>),
}

/// A number and the text by which it was written, which is decimal.
#[derive(Debug, Clone, PartialEq)]
pub struct WrittenNumber {
    text: String,
    meaning: Number,
}

impl WrittenNumber {
    /// Reads a decimal text. Nothing is returned for what no number can hold.
    fn read(text: &str) -> Option<Self> {
        let whole = || text.parse::<i64>().ok().map(Number::from);
        let large = || text.parse::<u64>().ok().map(Number::from);
        let broken = || Number::from_f64(text.parse().ok()?);
        Some(Self {
            meaning: whole().or_else(large).or_else(broken)?,
            text: text.to_owned(),
        })
    }

    /// The text, where JSON writes numbers in this way too, else what it means.
    fn json(&self) -> String {
        let is_json = serde_json::from_str::<Number>(&self.text).is_ok();
        if is_json {
            self.text.clone()
        } else {
            self.meaning.to_string()
        }
    }
}

impl From<Number> for WrittenNumber {
    fn from(meaning: Number) -> Self {
        Self {
            text: meaning.to_string(),
            meaning,
        }
    }
}

impl Argument {
    /// What it means, however it was written.
    pub fn meaning(&self) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::Bool(value) => (*value).into(),
            Self::Number(number) => number.meaning.clone().into(),
            Self::Text(text) => text.clone().into(),
            Self::List(items) => items.iter().map(Self::meaning).collect(),
            Self::Map(entries) => {
                let entries = entries.iter();
                entries
                    .map(|(key, value)| (key.clone(), value.meaning()))
                    .collect()
            }
        }
    }

    /// One word of a command line: the text of a text and of a number, and JSON for all else.
    pub(super) fn word(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Number(number) => number.text.clone(),
            other => other.json(),
        }
    }

    /// JSON, with its numbers as they were written as far as JSON has them so.
    pub(super) fn json(&self) -> String {
        match self {
            Self::Number(number) => number.json(),
            Self::List(items) => {
                let items: Vec<_> = items.iter().map(Self::json).collect();
                format!("[{}]", items.join(","))
            }
            Self::Map(entries) => {
                let entry = |(key, value): (&String, &Self)| {
                    format!("{}:{}", Value::from(key.as_str()), value.json())
                };
                let entries: Vec<_> = entries.iter().map(entry).collect();
                format!("{{{}}}", entries.join(","))
            }
            Self::Null | Self::Bool(_) | Self::Text(_) => self.meaning().to_string(),
        }
    }
}

impl Serialize for Argument {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        self.meaning().serialize(out)
    }
}

struct Any;

impl<'de> Visitor<'de> for Any {
    type Value = Argument;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_unit<E>(self) -> Result<Argument, E> {
        Ok(Argument::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Argument, E> {
        Ok(Argument::Bool(value))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Argument, E> {
        Ok(Argument::Number(Number::from(number).into()))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Argument, E> {
        Ok(Argument::Number(Number::from(number).into()))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Argument, E> {
        let number = Number::from_f64(number).ok_or_else(|| no_number(&number.to_string()))?;
        Ok(Argument::Number(number.into()))
    }

    /// A number as it was written.
    fn visit_bytes<E: Error>(self, text: &[u8]) -> Result<Argument, E> {
        let text = str::from_utf8(text).map_err(E::custom)?;
        let number = WrittenNumber::read(text).ok_or_else(|| no_number(text))?;
        Ok(Argument::Number(number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Argument, E> {
        Ok(Argument::Text(text.to_owned()))
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, input: D) -> Result<Argument, D::Error> {
        input.deserialize_any(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Argument, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element()? {
            items.push(item);
        }
        Ok(Argument::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Argument, A::Error> {
        let mut entries = IndexMap::new();
        while let Some((key, value)) = map.next_entry()? {
            entries.insert(key, value);
        }
        Ok(Argument::Map(entries))
    }
}

fn no_number<E: Error>(text: &str) -> E {
    E::custom(format!("`{text}` is no number that an argument can have"))
}

impl<'de> Deserialize<'de> for Argument {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        input.deserialize_newtype_struct(NUMBER_AS_WRITTEN, Any)
    }
}

impl JsonSchema for Argument {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Argument".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        true.into()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn written(text: &str) -> Argument {
        Argument::Number(WrittenNumber::read(text).unwrap())
    }

    #[test]
    fn a_number_keeps_its_text_and_means_what_it_did() {
        for (text, meaning) in [
            ("0.30", json!(0.3)),
            ("1e-3", json!(0.001)),
            ("007", json!(7)),
            ("+7", json!(7)),
            (".5", json!(0.5)),
            ("18446744073709551615", json!(u64::MAX)),
            (
                "123456789012345678901234567890",
                json!(1.234_567_890_123_456_8e29),
            ),
        ] {
            assert_eq!(written(text).word(), text);
            assert_eq!(written(text).meaning(), meaning, "{text}");
            assert_eq!(json!(written(text)), meaning);
        }
        assert_eq!(WrittenNumber::read("1e999"), None);
        assert_eq!(WrittenNumber::read(".inf"), None);
    }

    #[test]
    fn in_json_a_number_is_written_as_json_has_it() {
        let list = |texts: &[&str]| Argument::List(texts.iter().copied().map(written).collect());
        assert_eq!(list(&["0.30", "1e-3", "-2.0"]).json(), "[0.30,1e-3,-2.0]");
        assert_eq!(list(&["007", "+7", ".5"]).json(), "[7,7,0.5]");
        let map = Argument::Map([("a\"".to_owned(), written("1.50"))].into_iter().collect());
        assert_eq!(map.word(), r#"{"a\"":1.50}"#);
    }

    #[test]
    fn whatever_has_no_text_is_read_all_the_same() {
        let value = json!({"a": [1, -2, 0.5, "x", null, true], "b": {}});
        let argument: Argument = serde_json::from_value(value.clone()).unwrap();
        assert_eq!(argument.meaning(), value);
        assert_eq!(argument.json(), value.to_string());
    }
}
