//! What a source of prompts says of itself.

use std::path::Path;

use super::{Api, Asks, Prompts, Reading};

/// A source, as its file states it: how it is written, and how it is read.
pub(super) trait Form: Sized {
    /// What stands behind its key.
    type Value;

    /// The keys that may stand beside its own.
    const WITH: &'static [&'static str];

    /// How it is written.
    const EXAMPLE: &'static str;

    /// The source that is written.
    fn check(value: &Self::Value, with: &Prompts) -> Result<Self, Vec<InvalidPrompts>>;

    /// What it asks.
    fn read(&self, reading: &Reading<'_>) -> Result<Asks, Unreadable>;

    /// The file that it is read from.
    fn file(&self) -> Option<&Path> {
        None
    }

    /// Whether its prompts can be asked over this route.
    fn suits(&self, _: Api) -> bool {
        true
    }
}

/// Why written prompts are no source.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct InvalidPrompts {
    /// Where they are wrong.
    pub part: PromptsPart,
    /// What is wrong with them.
    pub message: String,
    /// What to write.
    pub hint: String,
}

/// Where written prompts are wrong, by the keys that lead there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PromptsPart {
    /// In what they lack.
    Whole,
    /// In having this key, or in having it alone.
    Key(Vec<String>),
    /// In what stands behind this key.
    Value(Vec<String>),
}

impl PromptsPart {
    pub(super) fn key(path: &[&str]) -> Self {
        Self::Key(path.iter().copied().map(str::to_owned).collect())
    }

    pub(super) fn value(path: &[&str]) -> Self {
        Self::Value(path.iter().copied().map(str::to_owned).collect())
    }
}

impl InvalidPrompts {
    pub(super) fn new(
        part: PromptsPart,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        Self {
            part,
            message: message.into(),
            hint: hint.into(),
        }
    }
}

/// Why a source cannot be read: its file, the line where it is one, and what is wrong there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Unreadable {
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub hint: String,
}

impl Unreadable {
    pub(super) fn new(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            hint: hint.into(),
        }
    }
}

/// A number behind a key that counts something.
pub(super) fn at_least_one(path: &[&str], value: u32, what: &str) -> Option<InvalidPrompts> {
    let key = path.last().copied().unwrap_or_default();
    (value == 0).then(|| {
        InvalidPrompts::new(
            PromptsPart::value(path),
            format!("`{key}` must be 1 or more"),
            format!("it is the number of {what}"),
        )
    })
}
