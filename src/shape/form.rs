//! What a load shape says of itself.

use std::path::Path;

use super::trace::Trace;
use super::trace_file::UnreadableTrace;
use super::{Class, Load, Schedule};

/// A load shape, as its file states it: how it is written, and what is to be known of it.
pub(super) trait Form: Answers + Sized {
    /// What stands behind its key.
    type Value;

    /// The keys that may stand beside its own.
    const WITH: &'static [&'static str];

    /// Of these, those of which it needs at least one.
    const NEEDS: &'static [&'static str];

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

    /// Whether it says itself how long it goes on.
    fn is_timed(&self) -> bool {
        false
    }

    /// The trace that it replays, where it replays one.
    fn trace(&self) -> Option<&Trace> {
        None
    }

    /// Reads what it takes from a file beside the manifest.
    fn read(&mut self, folder: &Path) -> Result<(), UnreadableTrace> {
        let _ = folder;
        Ok(())
    }
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

/// What a form says of the keys beside its own.
#[derive(Clone, Copy)]
pub(super) struct Beside {
    pub(super) key: &'static str,
    pub(super) with: &'static [&'static str],
    pub(super) needs: &'static [&'static str],
    pub(super) example: &'static str,
}

impl Beside {
    /// Whether what stands beside its key belongs there, and what it needs is there.
    pub(super) fn check(self, given: &[&'static str]) -> Result<(), InvalidLoad> {
        let Self { key, example, .. } = self;
        if let Some(stray) = given.iter().find(|it| !self.with.contains(it)) {
            let hint = match self.with {
                [] => format!("it is itself the number of requests, as in `{example}`"),
                with => format!("beside it may stand {}", quoted(with, ", ")),
            };
            let message = format!("`{key}` takes no `{stray}`");
            return Err(InvalidLoad::new(LoadPart::Key(stray), message, hint));
        }
        let has_enough = self.needs.is_empty() || self.needs.iter().any(|it| given.contains(it));
        if has_enough {
            return Ok(());
        }
        Err(InvalidLoad::new(
            LoadPart::Key(key),
            format!("`{key}` needs {}: when it ends", quoted(self.needs, " or ")),
            format!("as in `{example}`"),
        ))
    }
}

fn quoted(words: &[&str], between: &str) -> String {
    let words: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
    words.join(between)
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
