//! The names by which a type asks its reader for a scalar as it was written, and not as it is meant.
//! A reader that does not know a name passes it by.

use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;

use serde::de::{Deserializer, Error, Visitor};

/// Asks for a number as the text that it is, so that `12.0` does not become `12`.
pub(crate) const AS_WRITTEN: &str = "replica::AsWritten";

/// Asks for a number as the bytes of its text, by which it is told from a text. The text is decimal,
/// whatever base it was written in.
pub(crate) const NUMBER_AS_WRITTEN: &str = "replica::NumberAsWritten";

/// Asks for a share: a text in percent. Whoever has a value for whatever is asked has a number.
pub(crate) const IN_PERCENT: &str = "replica::InPercent";

/// Asks for an address with a port.
pub(crate) const ADDRESS: &str = "replica::Address";

/// Asks for the URL of a server.
pub(crate) const SERVER_URL: &str = "replica::ServerUrl";

/// Reads a text into a type of ours. Whoever knows the name of it, and has a value for whatever is
/// asked, has a text that can be read.
pub(crate) fn parsed<'de, D, T>(input: D, name: &'static str) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err: fmt::Display>,
{
    input.deserialize_newtype_struct(name, Parsed(PhantomData))
}

struct Parsed<T>(PhantomData<T>);

impl<'de, T: FromStr<Err: fmt::Display>> Visitor<'de> for Parsed<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, input: D) -> Result<T, D::Error> {
        input.deserialize_str(self)
    }
}
