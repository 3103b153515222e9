//! The nonce, hidden from clients: it is the proxy's proof of identity and nobody's model.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::Value;

/// A list of models without the hidden ones; nothing if it is no such list.
pub(super) fn without_hidden(list: &[u8], is_hidden: impl Fn(&str) -> bool) -> Option<Bytes> {
    let mut list: Value = serde_json::from_slice(list).ok()?;
    let models = list.get_mut("data")?.as_array_mut()?;
    models.retain(|model| {
        let id = model.get("id").and_then(Value::as_str);
        !id.is_some_and(&is_hidden)
    });
    Some(list.to_string().into())
}

/// The model that a request's body asks for. Of several the last counts, as it does in Python.
pub(super) fn asked_for(body: &[u8]) -> serde_json::Result<Option<String>> {
    let mut json = serde_json::Deserializer::from_slice(body);
    let model = json.deserialize_map(LastModel)?;
    json.end()?;
    Ok(model)
}

struct LastModel;

impl<'de> Visitor<'de> for LastModel {
    type Value = Option<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a request")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut last = None;
        while let Some(key) = map.next_key::<Cow<'de, str>>()? {
            if key == "model" {
                last = map.next_value::<Value>()?.as_str().map(str::to_owned);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hidden_models_leave_the_list_and_the_rest_stays() {
        let list = br#"{"object":"list","data":[{"id":"tiny","x":1},{"id":"replica-1"}]}"#;
        let shown = without_hidden(list, |id| id == "replica-1").unwrap();
        assert_eq!(
            shown,
            r#"{"object":"list","data":[{"id":"tiny","x":1}]}"#.as_bytes()
        );
    }

    #[test]
    fn what_is_no_list_is_left_alone() {
        for other in ["", "[]", "{}", r#"{"data":1}"#, "<html>"] {
            assert_eq!(without_hidden(other.as_bytes(), |_| true), None, "{other}");
        }
    }

    #[test]
    fn the_model_is_found_at_the_top_and_nowhere_else() {
        let cases = [
            (r#"{"model":"m","prompt":"p"}"#, Some(Some("m"))),
            (
                r#"{"prompt":"\"model\":\"x\"","model":"m"}"#,
                Some(Some("m")),
            ),
            (
                r#"{"a":{"model":"x"},"m\u006fdel":"\u006d"}"#,
                Some(Some("m")),
            ),
            (r#"{"model":"m","model":"n"}"#, Some(Some("n"))),
            (r#"{"a":{"model":"x"}}"#, Some(None)),
            (r#"{"model":"m","model":["n"]}"#, Some(None)),
            (r#"{"model":"m", then it is broken"#, None),
            (r#"{"model":"m"} {}"#, None),
            ("[]", None),
            ("", None),
        ];
        for (body, model) in cases {
            let found = asked_for(body.as_bytes()).ok();
            let found = found.as_ref().map(Option::as_deref);
            assert_eq!(found, model, "{body}");
        }
    }
}
