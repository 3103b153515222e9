//! A tree read as a type, to the end, whatever is wrong on the way.
//!
//! serde stops at the first mistake. Here each mistake is marked in the tree, a stand-in is read in
//! its place, and reading begins anew, until the whole of it was seen.

use std::ops::Range;
use std::rc::Rc;

use serde::de::value::StrDeserializer;
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, Error, Expected, IntoDeserializer,
    MapAccess, SeqAccess, Unexpected, VariantAccess, Visitor,
};
use serde::forward_to_deserialize_any;

use super::fault::{At, Fault};
use super::marks::{Mark, Marks, place};
use super::problem::Problem;
use super::scalar::{Meaning, Scalar};
use super::stand_in::StandIn;
use super::suggest::{listed, shown};
use super::tree::{Entry, Node, Value};
use crate::resource::environment::AS_WRITTEN;

/// After so many mistakes nobody reads on.
const MOST_PROBLEMS: usize = 100;

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
struct Trail<'a> {
    parent: Option<&'a Trail<'a>>,
    step: &'a str,
    key: Option<&'a Range<usize>>,
}

impl Trail<'_> {
    fn path(&self) -> Vec<String> {
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

#[derive(Clone, Copy)]
struct Reader<'a> {
    node: &'a Node,
    trail: &'a Trail<'a>,
    marks: &'a Marks,
}

impl<'a> Reader<'a> {
    fn here(&self) -> At {
        let place = place(self.node, self.trail.key);
        At::of(
            self.node,
            Mark::Broken(self.node.id),
            place,
            self.trail.path(),
        )
    }

    /// Reads a value that lies in this one, or its stand-in.
    fn child<'de, S: DeserializeSeed<'de>>(
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
            _ => {
                let several = !self.node.entries().is_empty();
                let exactly = if several { "exactly " } else { "" };
                let one = format!("{exactly}one of {}", listed(variants.iter().copied()));
                Err(Fault::invalid_type(Unexpected::Other(""), &one.as_str()))
            }
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

struct Items<'a> {
    list: Reader<'a>,
    rest: std::iter::Enumerate<std::slice::Iter<'a, Rc<Node>>>,
}

impl<'de> SeqAccess<'de> for Items<'_> {
    type Error = Fault;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Fault> {
        let Some((index, item)) = self.rest.next() else {
            return Ok(None);
        };
        self.list
            .child(seed, item, &index.to_string(), None)
            .map(Some)
    }
}

struct Entries<'a> {
    map: Reader<'a>,
    all: &'a [Entry],
    rest: std::slice::Iter<'a, Entry>,
    value: Option<&'a Entry>,
    missing: Vec<&'static str>,
}

impl<'a> Entries<'a> {
    fn new(map: Reader<'a>, entries: &'a [Entry]) -> Self {
        let missing = map.marks.missing(map.node);
        Self {
            map,
            all: entries,
            rest: entries.iter(),
            value: None,
            missing,
        }
    }

    /// Says of a key that cannot be read whether it was misspelt, or is to be passed over.
    fn unread(&self, entry: &Entry, fault: Fault) -> Fault {
        let marks = self.map.marks;
        let taken: Vec<&str> = self.all.iter().map(|entry| marks.key(entry)).collect();
        let mark = match fault.meant(&entry.key, &taken) {
            Some(word) => Mark::Renamed(entry.id, word),
            None => Mark::Skipped(entry.id),
        };
        fault.at(|| {
            let mut path = self.map.trail.path();
            path.push(entry.key.clone());
            At::of(&entry.value, mark, entry.span.clone(), path)
        })
    }
}

impl<'de> MapAccess<'de> for Entries<'_> {
    type Error = Fault;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Fault> {
        let marks = self.map.marks;
        self.value = self.rest.find(|entry| !marks.is_skipped(entry));
        let word = match self.value {
            Some(entry) => marks.key(entry),
            None => match self.missing.last() {
                Some(field) => field,
                None => return Ok(None),
            },
        };
        let key: StrDeserializer<'_, Fault> = word.into_deserializer();
        match (seed.deserialize(key), self.value) {
            (Err(fault), Some(entry)) => Err(self.unread(entry, fault)),
            (key, _) => key.map(Some),
        }
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Fault> {
        let Some(entry) = self.value else {
            self.missing.pop();
            return seed.deserialize(StandIn);
        };
        let step = self.map.marks.key(entry);
        self.map.child(seed, &entry.value, step, Some(&entry.span))
    }
}

struct Variant<'a> {
    reader: Reader<'a>,
    name: &'a str,
    entry: Option<&'a Entry>,
}

impl<'a> Variant<'a> {
    fn settings(&self) -> Result<&'a Entry, Fault> {
        self.entry.ok_or_else(|| {
            let name = shown(self.name);
            Fault::variant(format!("`{name}` needs a value: write `{{{name}: …}}`"))
        })
    }
}

impl<'de> EnumAccess<'de> for Variant<'_> {
    type Error = Fault;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), Fault> {
        let name: StrDeserializer<'_, Fault> = self.name.into_deserializer();
        let place = self.entry.map(|entry| entry.span.clone());
        let variant = seed.deserialize(name).map_err(|fault| {
            fault.at(|| {
                let mut at = self.reader.here();
                at.place = place.unwrap_or(at.place);
                at
            })
        })?;
        Ok((variant, self))
    }
}

impl<'de> VariantAccess<'de> for Variant<'_> {
    type Error = Fault;

    fn unit_variant(self) -> Result<(), Fault> {
        let Some(_) = self.entry else { return Ok(()) };
        let name = shown(self.name);
        Err(Fault::variant(format!(
            "`{name}` takes no settings: write `{name}` alone"
        )))
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Fault> {
        let entry = self.settings()?;
        self.reader
            .child(seed, &entry.value, &entry.key, Some(&entry.span))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Fault> {
        let entry = self.settings()?;
        let reader = Reader {
            node: &entry.value,
            ..self.reader
        };
        reader.deserialize_any(visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        let entry = self.settings()?;
        let trail = Trail {
            parent: Some(self.reader.trail),
            step: &entry.key,
            key: Some(&entry.span),
        };
        let reader = Reader {
            node: &entry.value,
            trail: &trail,
            marks: self.reader.marks,
        };
        reader
            .deserialize_struct("", fields, visitor)
            .map_err(|fault| fault.at(|| reader.here()))
    }
}
