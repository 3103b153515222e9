//! The nonce, hidden from clients: it is the proxy's proof of identity and nobody's model.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use serde::de::{self, Deserializer, IgnoredAny, MapAccess, Visitor};
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

/// The model that a request's body asks for, reading no further than its name.
pub(super) fn asked_for(body: &[u8]) -> Option<String> {
    let mut found = None;
    let mut json = serde_json::Deserializer::from_slice(body);
    // The visitor leaves with an error as soon as it has what it wants.
    let _ = json.deserialize_map(ModelSeeker(&mut found));
    found
}

struct ModelSeeker<'a>(&'a mut Option<String>);

impl<'de> Visitor<'de> for ModelSeeker<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a request")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<Cow<'de, str>>()? {
            if key == "model" {
                *self.0 = Some(map.next_value()?);
                return Err(de::Error::custom("found"));
            }
            map.next_value::<IgnoredAny>()?;
        }
        Ok(())
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
            (r#"{"model":"m","prompt":"p"}"#, Some("m")),
            (r#"{"prompt":"\"model\":\"x\"","model":"m"}"#, Some("m")),
            (r#"{"a":{"model":"x"},"model":"\u006d"}"#, Some("m")),
            (r#"{"model":"m", then it is broken"#, Some("m")),
            (r#"{"a":{"model":"x"}}"#, None),
            (r#"{"model":null}"#, None),
            ("[]", None),
            ("", None),
        ];
        for (body, model) in cases {
            assert_eq!(asked_for(body.as_bytes()).as_deref(), model, "{body}");
        }
    }
}
