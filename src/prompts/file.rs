//! A text file: a prompt a line.

use std::path::{Path, PathBuf};

use super::form::{Form, InvalidPrompts, Unreadable};
use super::reading::{bytes, lines};
use super::{Ask, Asks, Prompt, Prompts, Reading};

/// The file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    path: PathBuf,
}

impl Form for File {
    type Value = PathBuf;
    const WITH: &'static [&'static str] = &[];
    const EXAMPLE: &'static str = "{file: prompts.txt}";

    fn check(path: &PathBuf, _: &Prompts) -> Result<Self, Vec<InvalidPrompts>> {
        Ok(Self { path: path.clone() })
    }

    fn read(&self, reading: &Reading<'_>) -> Result<Asks, Unreadable> {
        let bytes = bytes(&self.path, reading)?;
        let lines = lines(&self.path, &bytes)?;
        let ask =
            |(_, line): (usize, &str)| Ask::new(Prompt::Text(line.to_owned()), reading.max_tokens);
        let asks = lines.into_iter().map(ask).collect();
        Ok(Asks::listed("file", asks, reading.max_tokens))
    }

    fn file(&self) -> Option<&Path> {
        Some(&self.path)
    }
}
