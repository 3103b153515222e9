//! What lies in a value: the items of a list, the entries of a map, the settings of a choice.

use std::iter::{Empty, Enumerate, empty};
use std::rc::Rc;
use std::slice::Iter;

use serde::Deserializer;
use serde::de::value::{MapDeserializer, StrDeserializer};
use serde::de::{
    DeserializeSeed, EnumAccess, IntoDeserializer, MapAccess, SeqAccess, VariantAccess, Visitor,
};

use super::fault::{At, Fault};
use super::marks::Mark;
use super::stand_in::StandIn;
use super::suggest::shown;
use super::tree::{Entry, Node};
use super::typed::{Reader, Trail};

pub(super) struct Items<'a> {
    pub(super) list: Reader<'a>,
    pub(super) rest: Enumerate<Iter<'a, Rc<Node>>>,
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

pub(super) struct Entries<'a> {
    map: Reader<'a>,
    all: &'a [Entry],
    rest: Iter<'a, Entry>,
    value: Option<&'a Entry>,
    missing: Vec<&'static str>,
}

impl<'a> Entries<'a> {
    pub(super) fn new(map: Reader<'a>, entries: &'a [Entry]) -> Self {
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

pub(super) struct Variant<'a> {
    pub(super) reader: Reader<'a>,
    pub(super) name: &'a str,
    pub(super) entry: Option<&'a Entry>,
}

impl<'a> Variant<'a> {
    fn settings(&self) -> Result<&'a Entry, Fault> {
        self.entry.ok_or_else(|| self.needs_settings())
    }

    fn needs_settings(&self) -> Fault {
        let name = shown(self.name);
        Fault::variant(format!("`{name}` needs a value: write `{{{name}: …}}`"))
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
        let Some(entry) = self.entry else {
            // A name alone stands for settings of which none has to be given.
            let none: MapDeserializer<'_, Empty<(&str, &str)>, Fault> =
                MapDeserializer::new(empty());
            return seed.deserialize(none).map_err(|_| self.needs_settings());
        };
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
