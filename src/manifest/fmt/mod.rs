//! A manifest as it would be written: `replica fmt`.
//!
//! It goes by lines, so that every comment stays: each begins where its level does (`layout`), by what the
//! parser sees in it (`outline`), and the keys of the top level stand in the order of the schema (`order`).
//! Then the outcome is held against what it was made of. What does not read as the same value, lacks a
//! comment, or would be written otherwise a second time, is thrown away, and the file stays as it is.

mod layout;
mod order;
mod outline;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::rc::Rc;

use super::file::{ReadFile, absent, decode, empty_manifest};
use super::marks::Marks;
use super::parse::parse;
use super::problem::ManifestError;
use super::tree::{Entry, Node, Value};
use layout::laid_out;
use order::ordered;
use outline::Outline;

/// A manifest as it is, and as it would be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Formatted {
    /// What its reader calls the file.
    pub name: String,
    /// Its text.
    pub before: String,
    /// Its text as it would be written; the same where it is left as it is.
    pub after: String,
    /// Why it is left as it is, where it is: nothing could be written that surely reads as the same.
    pub left: Option<&'static str>,
}

impl Formatted {
    /// Whether it would be written otherwise.
    pub fn differs(&self) -> bool {
        self.before != self.after
    }
}

/// Reads a file, and writes it anew; the file is not touched. Whether its keys and references are good is not
/// asked.
///
/// # Errors
///
/// When it cannot be read, or is no YAML.
pub fn formatted(path: &Path) -> Result<Formatted, ManifestError> {
    let read = ReadFile::at(path, absent)?;
    formatted_text(&read.name, &read.bytes)
}

/// The same of what a file holds.
pub(super) fn formatted_text(name: &str, bytes: &[u8]) -> Result<Formatted, ManifestError> {
    let source = decode(name, bytes)?;
    let mut problems = Vec::new();
    let root = parse(&source.text, &mut Marks::default(), &mut problems);
    let root = root.filter(|root| !root.is_nothing());
    let Some(root) = root.filter(|_| problems.is_empty()) else {
        if problems.is_empty() {
            problems.push(empty_manifest());
        }
        return Err(ManifestError::new(source, problems));
    };
    let before = String::from_utf8_lossy(bytes).into_owned();
    let settled = settled(&source.text, &root);
    Ok(Formatted {
        name: name.to_owned(),
        after: settled.clone().unwrap_or_else(|_| before.clone()),
        before,
        left: settled.err(),
    })
}

/// What is written, once it is sure that nothing is lost.
fn settled(text: &str, root: &Node) -> Result<String, &'static str> {
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    let after = written(&text, root)?;
    let read = Read::of(&after).ok_or(NOT_THE_SAME)?;
    if written(&after, &read.root)? != after {
        return Err("it would be written otherwise a second time");
    }
    Ok(after)
}

const NOT_THE_SAME: &str = "what would be written does not read as the same";

fn written(text: &str, root: &Node) -> Result<String, &'static str> {
    let outline = Outline::of(text).ok_or(NOT_THE_SAME)?;
    let laid = laid_out(text, &outline)?;
    let read = Read::of(&laid).ok_or(NOT_THE_SAME)?;
    if !is_same(root, &read.root) {
        return Err(NOT_THE_SAME);
    }
    if outline.comments != read.outline.comments {
        return Err("a comment would be lost");
    }
    // Where an alias would come to stand before its anchor, the order stays.
    let is_good = |text: &String| Read::of(text).is_some_and(|it| is_reordered(&it, &read));
    let ordered = ordered(&laid, &read.outline, &read.root).filter(is_good);
    Ok(ordered.unwrap_or(laid))
}

/// A text that is good YAML.
struct Read {
    root: Rc<Node>,
    outline: Outline,
}

impl Read {
    fn of(text: &str) -> Option<Self> {
        let mut problems = Vec::new();
        let root = parse(text, &mut Marks::default(), &mut problems)?;
        let outline = Outline::of(text)?;
        problems.is_empty().then_some(Self { root, outline })
    }
}

fn is_same(one: &Node, other: &Node) -> bool {
    match (&one.value, &other.value) {
        // A number that is none is not equal to itself.
        (Value::Scalar(one), Value::Scalar(other)) => format!("{one:?}") == format!("{other:?}"),
        (Value::List(one), Value::List(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(a, b)| is_same(a, b))
        }
        (Value::Map(one), Value::Map(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(a, b)| is_same_entry(a, b))
        }
        _ => false,
    }
}

fn is_same_entry(one: &Entry, other: &Entry) -> bool {
    one.key == other.key && is_same(&one.value, &other.value)
}

/// Whether two texts have the same keys at the top, each with the same below it, and the same comments.
fn is_reordered(one: &Read, other: &Read) -> bool {
    let sorted = |read: &Read| {
        let mut comments = read.outline.comments.clone();
        comments.sort();
        comments
    };
    let has = |entry: &Entry| {
        other
            .root
            .entries()
            .iter()
            .any(|it| is_same_entry(it, entry))
    };
    one.root.entries().len() == other.root.entries().len()
        && one.root.entries().iter().all(has)
        && sorted(one) == sorted(other)
}
