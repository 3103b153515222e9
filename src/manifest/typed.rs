//! A tree read as a type, to the end, whatever is wrong on the way.
//!
//! serde stops at the first mistake. Here each mistake is marked in the tree, a stand-in is read in
//! its place, and reading begins anew, until the whole of it was seen.

use std::ops::Range;

use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, Error, Expected, Unexpected, Visitor,
};
use serde::forward_to_deserialize_any;

use super::access::{Entries, Items, Variant};
use super::fault::{At, Fault};
use super::marks::{Mark, Marks, place};
use super::problem::{MOST_PROBLEMS, Problem};
use super::scalar::{Meaning, Scalar};
use super::stand_in::StandIn;
use super::tree::{Node, Value};
use crate::written::{AS_WRITTEN, NUMBER_AS_WRITTEN};

/// Reads a tree as a type. Every mistake is added to `problems` and marked; the value has stand-ins
/// in the marked places. Nothing is returned where not even that helps.
pub(super) fn read<T: DeserializeOwned>(
    root: &Node,
    marks: &mut Marks,
    problems: &mut Vec<Problem>,
) -> Option<T> {
    while problems.len() < MOST_PROBLEMS {
        let trail = Trail {
            parent: None,
            step: "",
            key: None,
        };
        let reader = Reader {
            node: root,
            trail: &trail,
            marks,
        };
        let fault = match T::deserialize(reader) {
            Ok(value) => return Some(value),
            Err(fault) => fault.at(|| reader.here()),
        };
        let (problem, mark) = fault.explain()?;
        if !marks.add(mark) {
            return None;
        }
        problems.push(problem);
    }
    None
}

/// The way from the root to a value.
pub(super) struct Trail<'a> {
    pub(super) parent: Option<&'a Trail<'a>>,
    pub(super) step: &'a str,
    pub(super) key: Option<&'a Range<usize>>,
}

impl Trail<'_> {
    pub(super) fn path(&self) -> Vec<String> {
        let mut path = self.parent.map(Trail::path).unwrap_or_default();
        if self.parent.is_some() {
            path.push(self.step.to_owned());
        }
        path
    }
}

/// Says that a value is not what was asked for; what it is, the place knows.
fn wrong<'de, V: Visitor<'de>>(visitor: &V) -> Fault {
    Fault::invalid_type(Unexpected::Other(""), visitor as &dyn Expected)
}

/// A value that is read, and the way to it.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a> {
    pub(super) node: &'a Node,
    pub(super) trail: &'a Trail<'a>,
    pub(super) marks: &'a Marks,
}

impl<'a> Reader<'a> {
    pub(super) fn here(&self) -> At {
        let place = place(self.node, self.trail.key);
        At::of(
            self.node,
            Mark::Broken(self.node.id),
            place,
            self.trail.path(),
        )
    }

    /// Reads a value that lies in this one, or its stand-in.
    pub(super) fn child<'de, S: DeserializeSeed<'de>>(
        &self,
        seed: S,
        node: &Node,
        step: &str,
        key: Option<&Range<usize>>,
    ) -> Result<S::Value, Fault> {
        if self.marks.is_broken(node) {
            // Where even a stand-in fails, the mistake goes to the value around it.
            return seed.deserialize(StandIn);
        }
        let trail = Trail {
            parent: Some(self.trail),
            step,
            key,
        };
        let reader = Reader {
            node,
            trail: &trail,
            marks: self.marks,
        };
        seed.deserialize(reader)
            .map_err(|fault| fault.at(|| reader.here()))
    }

    fn scalar(&self) -> Option<&'a Scalar> {
        match &self.node.value {
            Value::Scalar(scalar) => Some(scalar),
            _ => None,
        }
    }
}

impl<'de> Deserializer<'de> for Reader<'_> {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        let scalar = match &self.node.value {
            Value::List(items) => {
                return visitor.visit_seq(Items {
                    list: self,
                    rest: items.iter().enumerate(),
                });
            }
            Value::Map(entries) => return visitor.visit_map(Entries::new(self, entries)),
            Value::Scalar(scalar) => scalar,
        };
        match scalar.meaning {
            Meaning::Empty | Meaning::Null => visitor.visit_unit(),
            Meaning::Bool(value) => visitor.visit_bool(value),
            // The text may be a number of another base, so the meaning counts.
            Meaning::Int(number) => match u64::try_from(number) {
                Ok(number) => visitor.visit_u64(number),
                Err(_) => visitor.visit_i64(number),
            },
            Meaning::Large(number) => visitor.visit_u64(number),
            Meaning::Float(number) => visitor.visit_f64(number),
            Meaning::Text => visitor.visit_str(&scalar.text),
        }
    }

    /// A number is a text where one is wanted, exactly as it was written: `torch: 2.10`.
    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.scalar() {
            Some(scalar) if scalar.is_word() => visitor.visit_str(&scalar.text),
            _ => Err(wrong(&visitor)),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_str(visitor)
    }

    /// `key: null` is no value; a key with nothing after it is more likely an unfinished thought.
    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.scalar().map(|scalar| scalar.meaning) {
            Some(Meaning::Null) => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        match self.scalar() {
            Some(scalar) if name == AS_WRITTEN && scalar.is_word() => {
                visitor.visit_str(&scalar.text)
            }
            Some(scalar) if name == NUMBER_AS_WRITTEN => match scalar.decimal() {
                Some(text) => visitor.visit_bytes(text.as_bytes()),
                None => visitor.visit_newtype_struct(self),
            },
            _ => visitor.visit_newtype_struct(self),
        }
    }

    /// serde would take a list for a struct, by position.
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        match &self.node.value {
            Value::Map(entries) => visitor.visit_map(Entries::new(self, entries)),
            _ => Err(wrong(&visitor)),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        match &self.node.value {
            Value::Scalar(scalar) if scalar.meaning == Meaning::Text => {
                visitor.visit_enum(Variant {
                    reader: self,
                    name: &scalar.text,
                    entry: None,
                })
            }
            Value::Map(entries) if entries.len() == 1 => visitor.visit_enum(Variant {
                reader: self,
                name: &entries[0].key,
                entry: Some(&entries[0]),
            }),
            _ => Err(Fault::no_variant(variants, !self.node.entries().is_empty())),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char bytes byte_buf unit unit_struct
        seq tuple tuple_struct map identifier ignored_any
    }
}

impl Scalar {
    fn is_word(&self) -> bool {
        !matches!(
            self.meaning,
            Meaning::Empty | Meaning::Null | Meaning::Bool(_)
        )
    }
}
