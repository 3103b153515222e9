//! What a load shape says of itself.

use super::{Class, Load, Schedule};

/// A load shape, as its file states it: how it is written, and what is to be known of it.
pub(super) trait Form: Answers + Sized {
    /// What stands behind its key.
    type Value;

    /// The keys that it needs beside its own.
    const WITH: &'static [&'static str];

    /// How it is written.
    const EXAMPLE: &'static str;

    /// The shape that is written.
    fn check(value: Self::Value, load: &Load) -> Result<Self, InvalidLoad>;

    /// How it is written, with nothing left out.
    fn written(&self) -> Load;
}

/// The questions that a load shape answers.
pub(super) trait Answers {
    /// How it is called in a table: `batch 8`.
    fn label(&self) -> String;

    /// What class of load it is.
    fn class(&self) -> Class;

    /// When its requests are sent.
    fn schedule(&self) -> Schedule;
}

/// Why a written load is no shape.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct InvalidLoad {
    /// Where it is wrong.
    pub part: LoadPart,
    /// What is wrong with it.
    pub message: String,
    /// What to write.
    pub hint: String,
}

/// Where a written load is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoadPart {
    /// In what it lacks.
    Whole,
    /// In having this key, or in having it alone.
    Key(&'static str),
    /// In what stands behind this key.
    Value(&'static str),
}

impl InvalidLoad {
    pub(super) fn new(part: LoadPart, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            part,
            message: message.into(),
            hint: hint.into(),
        }
    }
}

/// A number behind a key that counts something.
pub(super) fn at_least_one(key: &'static str, value: u32, what: &str) -> Result<u32, InvalidLoad> {
    if value > 0 {
        return Ok(value);
    }
    Err(InvalidLoad::new(
        LoadPart::Value(key),
        format!("`{key}` must be 1 or more"),
        format!("it is the number of requests{what}"),
    ))
}

/// A shape that is itself the number of requests takes no other.
pub(super) fn counts_itself(key: &str, example: &str, load: &Load) -> Result<(), InvalidLoad> {
    if load.requests.is_none() {
        return Ok(());
    }
    Err(InvalidLoad::new(
        LoadPart::Key("requests"),
        format!("`{key}` takes no `requests`"),
        format!("it is itself the number of requests, as in `{example}`"),
    ))
}
