//! What the schema says of a key: one source for the editor's hover and for the help of an error.

use serde_json::Value;

use super::schema::schema;

/// Returns, as a clause, the first sentence of what the schema says of the key at a path.
pub(super) fn describe(path: &[String]) -> Option<String> {
    if path.is_empty() {
        return None;
    }
    let whole = schema();
    let mut at = &whole;
    for step in path {
        at = step_into(&whole, resolve(&whole, at), step)?;
    }
    // Names are the reader's own: what stands at a name is described by the key around it.
    let text = at.get("description")?.as_str()?;
    Some(clause(&text.replace('\n', " ")))
}

fn step_into<'a>(whole: &'a Value, at: &'a Value, step: &str) -> Option<&'a Value> {
    if let Some(property) = at.get("properties").and_then(|keys| keys.get(step)) {
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
    let choices = ["anyOf", "oneOf"]
        .into_iter()
        .filter_map(|key| at.get(key)?.as_array());
    choices
        .flatten()
        .find_map(|choice| step_into(whole, resolve(whole, choice), step))
}

fn resolve<'a>(whole: &'a Value, at: &'a Value) -> &'a Value {
    at.get("$ref")
        .and_then(Value::as_str)
        .and_then(|path| whole.pointer(path.strip_prefix('#')?))
        .unwrap_or(at)
}

/// Returns the first sentence, as it reads in the middle of another.
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
