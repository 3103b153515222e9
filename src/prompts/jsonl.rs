//! A file of JSON objects, one a line.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::form::{Form, InvalidPrompts, PromptsPart, Unreadable};
use super::reading::{bytes, lines};
use super::{Api, Ask, Asks, Prompt, Prompts, Reading};

/// The file, and which of its fields are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Jsonl {
    path: PathBuf,
    field: String,
    output_field: Option<String>,
}

impl Form for Jsonl {
    type Value = PathBuf;
    const WITH: &'static [&'static str] = &["field", "output_field"];
    const EXAMPLE: &'static str = "{jsonl: prompts.jsonl, field: prompt}";

    fn check(path: &PathBuf, with: &Prompts) -> Result<Self, Vec<InvalidPrompts>> {
        let given = [
            ("field", with.field.as_deref()),
            ("output_field", with.output_field.as_deref()),
        ];
        let empty = given.into_iter().filter(|(_, name)| *name == Some(""));
        let wrong: Vec<_> = empty
            .map(|(key, _)| {
                InvalidPrompts::new(
                    PromptsPart::value(&[key]),
                    format!("`{key}` is empty"),
                    "it is the name of a field of each line",
                )
            })
            .collect();
        if !wrong.is_empty() {
            return Err(wrong);
        }
        Ok(Self {
            path: path.clone(),
            field: with.field.clone().unwrap_or_else(|| "prompt".to_owned()),
            output_field: with.output_field.clone(),
        })
    }

    fn read(&self, reading: &Reading<'_>) -> Result<Asks, Unreadable> {
        let bytes = bytes(&self.path, reading)?;
        let lines = lines(&self.path, &bytes)?;
        let asks = lines.into_iter().map(|(number, line)| {
            self.ask(line, reading).map_err(|(what, hint)| {
                let at = format!("line {number} of `{}`", self.path.display());
                Unreadable::new(format!("{at} {what}"), hint)
            })
        });
        let asks: Vec<Ask> = asks.collect::<Result<_, _>>()?;
        Ok(Asks::listed("jsonl", asks, reading.max_tokens))
    }

    fn file(&self) -> Option<&Path> {
        Some(&self.path)
    }
}

impl Jsonl {
    /// What a line asks, or what is wrong with it and what to do.
    fn ask(&self, line: &str, reading: &Reading<'_>) -> Result<Ask, (String, String)> {
        let object: Map<String, Value> = serde_json::from_str(line).map_err(|error| {
            let hint = "each line is one object, such as {\"prompt\": \"What is a REST API?\"}";
            (format!("is no JSON object: {error}"), hint.to_owned())
        })?;
        let prompt = self.prompt(&object, reading.api)?;
        let tokens = match &self.output_field {
            None => reading.max_tokens,
            Some(field) => tokens(&object, field)?,
        };
        Ok(Ask::new(prompt, tokens))
    }

    fn prompt(&self, object: &Map<String, Value>, api: Api) -> Result<Prompt, (String, String)> {
        let field = &self.field;
        let value = object.get(field).ok_or_else(|| lacks(object, field))?;
        let prompt: Prompt = serde_json::from_value(value.clone()).map_err(|_| {
            let what = format!("has a `{field}` that is no prompt");
            let hint = "a prompt is a text, a list of token ids, or a list of {role, content}";
            (what, hint.to_owned())
        })?;
        let is_empty = match &prompt {
            Prompt::Text(text) => text.trim().is_empty(),
            Prompt::Ids(ids) => ids.is_empty(),
            Prompt::Messages(messages) => messages.is_empty(),
        };
        let other = match (&prompt, api) {
            _ if is_empty => Some(("is empty", "write what is asked, or leave the line out")),
            (Prompt::Ids(_), Api::Chat) => Some((
                "holds token ids, and a chat takes messages",
                "write `api: completions`",
            )),
            (Prompt::Messages(_), Api::Completions) => Some((
                "holds messages, and a completion takes a text",
                "write `api: chat`",
            )),
            _ => None,
        };
        match other {
            Some((what, hint)) => Err((format!("has a `{field}` that {what}"), hint.to_owned())),
            None => Ok(prompt),
        }
    }
}

fn tokens(object: &Map<String, Value>, field: &str) -> Result<u32, (String, String)> {
    let value = object.get(field).ok_or_else(|| lacks(object, field))?;
    let tokens = value.as_u64().and_then(|it| u32::try_from(it).ok());
    tokens.filter(|tokens| *tokens > 0).ok_or_else(|| {
        (
            format!("has a `{field}` that is no number of tokens: {value}"),
            "it is the length of the answer, 1 or more".to_owned(),
        )
    })
}

fn lacks(object: &Map<String, Value>, field: &str) -> (String, String) {
    let has: Vec<String> = object.keys().map(|key| format!("`{key}`")).collect();
    let hint = match has.as_slice() {
        [] => "it has no field at all".to_owned(),
        has => format!("it has {}", has.join(", ")),
    };
    (format!("has no field `{field}`"), hint)
}
