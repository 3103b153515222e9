//! What the schema says of a key: one source for the editor's hover and for the hint of an error.

use serde_json::{Value, json};

use super::schema::schema;

/// Returns, as a clause, the first sentence of what the schema says of the key at a path.
pub(super) fn describe(path: &[String]) -> Option<String> {
    let (last, parents) = path.split_last()?;
    let whole = schema();
    let parent = follow(&whole, parents)?;
    // A name is the reader's own; of what it names, the key around it tells.
    let at = property(&whole, parent, last)?;
    let text = at.get("description")?.as_str()?;
    Some(clause(&text.replace('\n', " ")))
}

/// How the alternatives at a path are written that are allowed there: `proxy` of `endpoint`, and
/// `{instance: …}`, which has settings; both ways where they may be left out.
pub(super) fn as_written(path: &[String], words: &[&str]) -> Vec<String> {
    let whole = schema();
    let at = follow(&whole, path);
    let written = words.iter().flat_map(|word| {
        let has_settings = at.is_some_and(|at| property(&whole, at, word).is_some());
        let is_alone = |at: &&Value| choices(at).any(|one| one.get("const") == Some(&json!(word)));
        let alone =
            (!has_settings || at.as_ref().is_some_and(is_alone)).then(|| (*word).to_owned());
        alone
            .into_iter()
            .chain(has_settings.then(|| format!("{{{word}: …}}")))
    });
    written.collect()
}

fn follow<'a>(whole: &'a Value, path: &[String]) -> Option<&'a Value> {
    path.iter().try_fold(whole, |at, step| {
        step_into(whole, at, step).map(|at| resolve(whole, at))
    })
}

fn property<'a>(whole: &'a Value, at: &'a Value, step: &str) -> Option<&'a Value> {
    let own = at.get("properties").and_then(|keys| keys.get(step));
    own.or_else(|| choices(at).find_map(|choice| property(whole, resolve(whole, choice), step)))
}

pub(super) fn choices(at: &Value) -> impl Iterator<Item = &Value> {
    let lists = ["anyOf", "oneOf"]
        .into_iter()
        .filter_map(|key| at.get(key)?.as_array());
    lists.flatten()
}

fn step_into<'a>(whole: &'a Value, at: &'a Value, step: &str) -> Option<&'a Value> {
    if let Some(property) = property(whole, at, step) {
        return Some(property);
    }
    let inner = ["additionalProperties", "items"]
        .into_iter()
        .filter_map(|key| at.get(key))
        .find(|value| value.is_object());
    let pattern = || at.get("patternProperties")?.as_object()?.values().next();
    if let Some(inner) = inner.or_else(pattern) {
        return Some(resolve(whole, inner));
    }
    choices(at).find_map(|choice| step_into(whole, resolve(whole, choice), step))
}

pub(super) fn resolve<'a>(whole: &'a Value, at: &'a Value) -> &'a Value {
    at.get("$ref")
        .and_then(Value::as_str)
        .and_then(|path| whole.pointer(path.strip_prefix('#')?))
        .unwrap_or(at)
}

/// The first sentence, as it reads in the middle of another.
fn clause(text: &str) -> String {
    let sentence = text
        .split(". ")
        .next()
        .unwrap_or(text)
        .trim_end_matches('.');
    let mut chars = sentence.chars();
    match (chars.next(), chars.clone().next()) {
        (Some(first), Some(second)) if !second.is_uppercase() => {
            first.to_lowercase().chain(chars).collect()
        }
        _ => sentence.to_owned(),
    }
}
