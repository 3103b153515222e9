//! The evidence of an anomaly in words: what is JSON in the file is none on the screen.

use serde_json::{Map, Value};

use crate::results::Anomaly;

/// The numbers that show it, by name. What is not known is left out.
pub(in super::super) fn evidence(anomaly: &Anomaly) -> String {
    match &anomaly.evidence {
        Value::Object(of) => named(of),
        other => said(other).unwrap_or_default(),
    }
}

fn named(of: &Map<String, Value>) -> String {
    let told = of.iter().filter_map(|(name, value)| {
        let value = said(value)?;
        Some(format!("{name} {value}"))
    });
    told.collect::<Vec<String>>().join(", ")
}

/// A value in words: what has parts stands in brackets, and texts that are sentences are parted by
/// semicolons.
fn said(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::Bool(is) => Some(if *is { "yes" } else { "no" }.to_owned()),
        // A number that happens to be whole is written so.
        Value::Number(number) => match number.as_f64() {
            Some(value) => Some(value.to_string()),
            None => Some(number.to_string()),
        },
        Value::String(text) => Some(text.clone()),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().filter_map(said).collect();
            let are_sentences = items.iter().any(|it| it.contains([' ', ',']));
            let between = if are_sentences { "; " } else { ", " };
            (!items.is_empty()).then(|| format!("({})", items.join(between)))
        }
        Value::Object(of) => (!of.is_empty()).then(|| format!("({})", named(of))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn nothing_of_it_is_json() {
        let said = |value: Value| said(&value).unwrap_or_default();
        assert_eq!(said(json!(30210.0)), "30210");
        assert_eq!(said(json!(4.28)), "4.28");
        assert_eq!(said(json!(18_446_744_073_709_u64)), "18446744073709");
        assert_eq!(said(json!(["a", "b"])), "(a, b)");
        assert_eq!(
            said(json!(["it names no model", "its load is `x`, ours `y`"])),
            "(it names no model; its load is `x`, ours `y`)"
        );
        let slow = json!({"replica": "b", "n": 4, "median_ms": 30210.0, "role": null});
        assert_eq!(said(slow), "(replica b, n 4, median_ms 30210)");
        assert_eq!(said(json!({"warmed": false})), "(warmed no)");
    }
}
