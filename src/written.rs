//! The names by which a type asks its reader for a scalar as it was written, and not as it is meant.
//! A reader that does not know a name passes it by.

/// Asks for a number as the text that it is, so that `12.0` does not become `12`.
pub(crate) const AS_WRITTEN: &str = "replica::AsWritten";

/// Asks for a number as the bytes of its text, by which it is told from a text. The text is decimal,
/// whatever base it was written in.
pub(crate) const NUMBER_AS_WRITTEN: &str = "replica::NumberAsWritten";

/// Asks for a share: a text in percent. Whoever has a value for whatever is asked has a number.
pub(crate) const IN_PERCENT: &str = "replica::InPercent";
