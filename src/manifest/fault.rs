//! Why a value could not be read as the type that was asked for, put into words.

use std::fmt;
use std::ops::Range;

use serde::de::{Error, Expected, Unexpected};

use super::describe::{as_written, describe};
use super::marks::Mark;
use super::problem::Problem;
use super::scalar::{Meaning, Scalar};
use super::suggest::{argument_of_vllm, listed, nearest, shown, slug, synonym};
use super::tree::{Node, Value};
use crate::visible::visible_on_one_line;

/// Why reading stopped, and where.
#[derive(Debug)]
pub(super) struct Fault {
    cause: Cause,
    at: Option<Box<At>>,
}

#[derive(Debug)]
enum Cause {
    /// The value is of another type, or out of bounds; holds what serde expected.
    Wrong(String),
    Missing(&'static str),
    UnknownKey(&'static [&'static str]),
    UnknownVariant(String, &'static [&'static str]),
    /// What should be one of several alternatives is no word and no map of one key; whether it has
    /// several.
    NoVariant(&'static [&'static str], bool),
    /// A variant that takes settings, or none, has it the other way round.
    Variant(String),
    /// What a type of ours says of its text.
    Custom(String),
}

/// Where reading stopped.
#[derive(Debug)]
pub(super) struct At {
    /// What to replace so that the rest can be read.
    pub(super) mark: Mark,
    pub(super) place: Range<usize>,
    /// The keys that lead there.
    pub(super) path: Vec<String>,
    /// What stands there.
    pub(super) found: String,
    /// The scalar that stands there.
    pub(super) scalar: Option<Scalar>,
}

impl Fault {
    fn new(cause: Cause) -> Self {
        Self { cause, at: None }
    }

    /// Says that a variant is written as if it took no settings, or as if it took some.
    pub(super) fn variant(message: String) -> Self {
        Self::new(Cause::Variant(message))
    }

    /// Says that none of these alternatives can stand in a value of such a form, or of several keys.
    pub(super) fn no_variant(known: &'static [&'static str], several: bool) -> Self {
        Self::new(Cause::NoVariant(known, several))
    }

    /// The word that an unknown key was meant to be.
    pub(super) fn meant(&self, key: &str, taken: &[&str]) -> Option<&'static str> {
        let Cause::UnknownKey(known) = self.cause else {
            return None;
        };
        nearest(
            key,
            known.iter().copied().filter(|word| !taken.contains(word)),
        )
    }

    /// Where this happened; the innermost place stays.
    pub(super) fn at(mut self, at: impl FnOnce() -> At) -> Self {
        if self.at.is_none() {
            self.at = Some(Box::new(at()));
        }
        self
    }

    /// What a reader is told, and how to read on.
    pub(super) fn explain(self) -> Option<(Problem, Mark)> {
        let at = self.at?;
        let (problem, mark) = match self.cause {
            Cause::Wrong(expected) => (described(wrong(&at, &words(&expected)), &at), at.mark),
            Cause::Missing(field) => {
                let mark = match at.mark {
                    Mark::Broken(id) => Mark::Missing(id, field),
                    other => other,
                };
                (missing(&at, field), mark)
            }
            Cause::UnknownKey(known) => (unknown_key(&at, known), at.mark),
            Cause::UnknownVariant(word, known) => (unknown_variant(&at, &word, known), at.mark),
            Cause::NoVariant(known, several) => {
                let exactly = if several { "exactly " } else { "" };
                let known = choices(&as_written(&at.path, known));
                let problem = wrong(&at, &format!("{exactly}one of {known}"));
                (described(problem, &at), at.mark)
            }

            Cause::Variant(message) => (Problem::new(message), at.mark),
            Cause::Custom(message) => (custom(&at, &message), at.mark),
        };
        Some((problem.at(at.place), mark))
    }
}

/// Adds what the schema says of the key.
fn described(problem: Problem, at: &At) -> Problem {
    match describe(&at.path) {
        Some(what) => problem.hint(format!("{}: {what}", at.name())),
        None => problem,
    }
}

fn wrong(at: &At, expected: &str) -> Problem {
    let name = at.name();
    let title = match at.scalar.as_ref().map(|scalar| scalar.meaning) {
        Some(Meaning::Empty) => format!("{name} has no value; it must be {expected}"),
        Some(Meaning::Int(number)) if expected == WHOLE && number > 0 => {
            format!(
                "{name} must be a whole number up to {}, found {}",
                u32::MAX,
                at.found
            )
        }
        _ => format!("{name} must be {expected}, found {}", at.found),
    };
    let problem = Problem::new(title);
    match at
        .scalar
        .as_ref()
        .and_then(|scalar| repair(scalar, expected))
    {
        Some(hint) => problem.hint(hint),
        None => problem,
    }
}

/// How to write what was most likely meant.
fn repair(scalar: &Scalar, expected: &str) -> Option<String> {
    let text = shown(&scalar.text);
    let is_text = scalar.meaning == Meaning::Text;
    if is_text
        && expected.contains("number")
        && !matches!(
            Scalar::plain(scalar.text.clone()).meaning,
            Meaning::Text | Meaning::Empty
        )
    {
        return Some(format!("write {text} without quotes"));
    }
    if is_text && expected == MAP {
        let (key, value) = scalar.text.split_once(':')?;
        let is_key = !key.is_empty() && key.chars().all(|c| c.is_alphanumeric() || c == '_');
        let key = shown(key);
        return (is_key && !value.starts_with('/'))
            .then(|| format!("a space is missing after `{key}:`"));
    }
    if is_text && expected.contains("number") {
        return bare_number(&scalar.text);
    }
    if is_text && expected.contains("`true`") {
        let yes = matches!(
            scalar.text.to_lowercase().as_str(),
            "yes" | "on" | "y" | "true"
        );
        let no = matches!(
            scalar.text.to_lowercase().as_str(),
            "no" | "off" | "n" | "false"
        );
        return (yes || no).then(|| format!("write `{yes}`"));
    }
    if expected.contains("text") && matches!(scalar.meaning, Meaning::Bool(_) | Meaning::Null) {
        return Some(format!("to mean the text, put it in quotes: `\"{text}\"`"));
    }
    if expected == LIST && scalar.meaning != Meaning::Empty {
        return Some(format!("a list of one is written `[{text}]`"));
    }
    None
}

/// The number in a text that has a unit or separators: `120s`, `1_000`.
fn bare_number(text: &str) -> Option<String> {
    let is_number = |c: char| c.is_ascii_digit() || matches!(c, '.' | ',' | '_');
    let unit = text.trim_start_matches(is_number);
    let digits = text[..text.len() - unit.len()].replace([',', '_'], "");
    let is_whole = Scalar::plain(digits.clone()).decimal().is_some();
    match unit.trim_start() {
        _ if !is_whole => None,
        // Whether a thousand of them is 1000 or 1024 is not for us to guess.
        "k" | "K" | "m" | "M" | "g" | "G" => Some("write the number in full".to_owned()),
        unit if unit.len() <= 12 && unit.chars().all(|c| c.is_alphabetic() || c == '%') => {
            let why = if unit.is_empty() {
                ""
            } else {
                ": it takes no unit"
            };
            Some(format!("write `{digits}`{why}"))
        }
        _ => None,
    }
}

fn missing(at: &At, field: &str) -> Problem {
    let whole = match at.path.last() {
        Some(_) => at.name(),
        None => "the manifest".to_owned(),
    };
    let problem = Problem::new(format!("{whole} has no `{field}`"));
    let mut path = at.path.clone();
    path.push(field.to_owned());
    match describe(&path) {
        Some(what) => problem.hint(format!("add `{field}:`, {what}")),
        None => problem.hint(format!("add `{field}:`")),
    }
}

fn unknown_key(at: &At, known: &[&'static str]) -> Problem {
    let key = at.path.last().map_or("", String::as_str);
    let problem = Problem::new(format!("unknown key `{}`", shown(key)));
    let near = match at.mark {
        Mark::Renamed(_, word) => Some(word),
        _ => nearest(key, known.iter().copied()).or_else(|| synonym(key, known)),
    };
    let hint = match near {
        Some(near) => Some(format!("did you mean `{near}`?")),
        None => without_space(key, known).or_else(|| elsewhere(key, known)),
    };
    let problem = hint.into_iter().fold(problem, Problem::hint);
    problem.hint(format!("allowed here: {}", listed(known.iter().copied())))
}

/// `{port:8100}` is a key without a value.
fn without_space(key: &str, known: &[&'static str]) -> Option<String> {
    let (word, value) = key.split_once(':')?;
    let value = shown(value);
    known
        .contains(&word)
        .then(|| format!("write `{word}: {value}`, with a space after the colon"))
}

/// What belongs into one of the maps of an engine or an instance.
fn elsewhere(key: &str, known: &[&'static str]) -> Option<String> {
    let is_variable = key.contains('_')
        && key.starts_with(|c: char| c.is_ascii_uppercase())
        && key
            .chars()
            .all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_');
    if is_variable {
        return known
            .contains(&"env")
            .then(|| format!("put it under `env`: `env: {{{key}: …}}`"));
    }
    if key.replace('-', "_") == "api_key" && known.contains(&"env") {
        return Some(
            "set it as a secret: `env: {VLLM_API_KEY: {from_env: VLLM_API_KEY}}`".to_owned(),
        );
    }
    let argument = argument_of_vllm(key)?;
    Some(if known.contains(&"args") {
        format!("put it under `args`: `args: {{{argument}: …}}`")
    } else {
        format!(
            "it is an argument of vLLM: put it under `args` of an engine or an instance, as `{argument}`"
        )
    })
}

fn unknown_variant(at: &At, word: &str, known: &[&'static str]) -> Problem {
    let problem = Problem::new(format!("{} cannot be `{}`", at.name(), shown(word)));
    let problem = match nearest(word, known.iter().copied()) {
        Some(near) => {
            let near = as_written(&at.path, &[near]);
            problem.hint(format!("did you mean {}?", choices(&near)))
        }
        None => problem,
    };
    let known = as_written(&at.path, known);
    problem.hint(format!("it can be {}", choices(&known)))
}

fn choices(written: &[String]) -> String {
    listed(written.iter().map(String::as_str))
}

fn custom(at: &At, message: &str) -> Problem {
    let text = match (&at.mark, &at.scalar) {
        (Mark::Skipped(_), _) => at.path.last().map(String::as_str),
        (_, scalar) => scalar.as_ref().map(|scalar| scalar.text.as_str()),
    };
    let named = message.contains("is not a name");
    let problem = Problem::new(shown_whole(message));
    match text.filter(|_| named).and_then(slug) {
        Some(slug) => problem.hint(format!("did you mean `{slug}`?")),
        // Some say themselves what to write.
        None if message.contains(": write ") => problem,
        None => described(problem, at),
    }
}

/// Keeps a message on one line, whatever the manifest's text in it.
fn shown_whole(message: &str) -> String {
    let plain = visible_on_one_line(message).into_owned();
    if plain.chars().count() <= 300 {
        return plain;
    }
    let head: String = plain.chars().take(80).collect();
    let tail: Vec<char> = plain.chars().rev().take(160).collect();
    format!("{head}…{}", tail.iter().rev().collect::<String>())
}

impl At {
    /// What the value is called: `` `port` ``, `` item 2 of `backends` ``.
    fn name(&self) -> String {
        let Some(last) = self.path.last() else {
            return "a manifest".to_owned();
        };
        match (last.parse::<usize>(), self.path.iter().rev().nth(1)) {
            _ if self.path.len() == 2 => format!("`{}`", shown(&self.path.join("."))),
            (Ok(index), Some(list)) if matches!(self.mark, Mark::Broken(_)) && self.in_list() => {
                format!("item {} of `{}`", index + 1, shown(list))
            }
            _ => format!("`{}`", shown(last)),
        }
    }

    fn in_list(&self) -> bool {
        // A key that is a number is in a map of names; those are never three deep.
        self.path.len() > 2
    }

    pub(super) fn of(node: &Node, mark: Mark, place: Range<usize>, path: Vec<String>) -> Self {
        let scalar = match &node.value {
            Value::Scalar(scalar) => Some(scalar.clone()),
            _ => None,
        };
        let found = node.found();
        Self {
            mark,
            place,
            path,
            found,
            scalar,
        }
    }
}

const MAP: &str = "a map, as in `key: value`";
const LIST: &str = "a list";
const WHOLE: &str = "a whole number, 0 or more";

/// Translates what serde expects into what a reader can write.
fn words(expected: &str) -> String {
    match expected {
        "a nonzero u16" => "a number from 1 to 65535",
        "u16" => "a number from 0 to 65535",
        "u8" => "a number from 0 to 255",
        "u32" | "u64" | "usize" => WHOLE,
        "a nonzero u32" | "a nonzero u64" | "a nonzero usize" => "a whole number, 1 or more",
        "i32" | "i64" | "isize" => "a whole number",
        "f64" | "f32" => "a number",
        "a boolean" => "`true` or `false`",
        "a string" | "path string" | "a borrowed string" => "a text",
        "a sequence" => LIST,
        "a map" => MAP,
        _ if expected.starts_with("struct ") => MAP,
        _ => expected,
    }
    .to_owned()
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.cause)
    }
}

impl std::error::Error for Fault {}

impl Error for Fault {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(Cause::Custom(message.to_string()))
    }

    fn invalid_type(_: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::new(Cause::Wrong(expected.to_string()))
    }

    fn invalid_value(_: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::new(Cause::Wrong(expected.to_string()))
    }

    fn unknown_variant(word: &str, known: &'static [&'static str]) -> Self {
        Self::new(Cause::UnknownVariant(word.to_owned(), known))
    }

    fn unknown_field(_: &str, known: &'static [&'static str]) -> Self {
        Self::new(Cause::UnknownKey(known))
    }

    fn missing_field(field: &'static str) -> Self {
        Self::new(Cause::Missing(field))
    }
}
