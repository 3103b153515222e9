//! A request, as policies see it.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::fmt;

use bytes::Bytes;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};

/// What is known of a request before it is sent. What its body says is looked for once, by whoever
/// wants it first.
#[derive(Debug)]
pub(super) struct RequestView<'a> {
    body: Option<&'a Bytes>,
    keys: OnceCell<TopLevel>,
}

/// What the top level of a body says, as far as somebody wants to know it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct TopLevel {
    /// As many tokens as the answer may have: `max_completion_tokens`, `max_tokens` or
    /// `max_output_tokens`.
    pub(super) max_tokens: Option<u64>,
}

impl<'a> RequestView<'a> {
    /// Of a request whose body is held; of a larger one it is not known.
    pub(super) fn new(body: Option<&'a Bytes>) -> Self {
        Self {
            body,
            keys: OnceCell::new(),
        }
    }

    /// How long its body is, in bytes.
    pub(super) fn length(&self) -> u64 {
        self.body.map_or(0, |body| body.len() as u64)
    }

    /// What the top level of its body says; nothing where it is no JSON.
    pub(super) fn keys(&self) -> &TopLevel {
        self.keys.get_or_init(|| {
            self.body
                .map_or_else(TopLevel::default, |body| scanned(body))
        })
    }
}

fn scanned(body: &[u8]) -> TopLevel {
    let mut json = serde_json::Deserializer::from_slice(body);
    json.deserialize_map(Scan).unwrap_or_default()
}

struct Scan;

impl<'de> Visitor<'de> for Scan {
    type Value = TopLevel;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a request")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<TopLevel, A::Error> {
        let mut found = TopLevel::default();
        while let Some(key) = map.next_key::<Cow<'de, str>>()? {
            match &*key {
                "max_tokens" | "max_completion_tokens" | "max_output_tokens" => {
                    let value: serde_json::Value = map.next_value()?;
                    found.max_tokens = value.as_u64().or(found.max_tokens);
                }
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_top_level_is_read_and_nothing_else() {
        let of = |body: &str| scanned(body.as_bytes()).max_tokens;
        assert_eq!(
            of(r#"{"prompt":"\"max_tokens\":9","max_tokens":3}"#),
            Some(3)
        );
        assert_eq!(
            of(r#"{"max_completion_tokens":7,"max_tokens":null}"#),
            Some(7)
        );
        assert_eq!(of(r#"{"a":{"max_tokens":9}}"#), None);
        assert_eq!(of(r#"{"max_tokens":"many"}"#), None);
        assert_eq!(of(""), None);
        assert_eq!(of("[]"), None);
    }
}
