//! `kv_transfer_params`: where a server finds the KV cache of a prompt that another has read.
//!
//! Whoever routes a request says that to a server, and a client never: with an engine that does not exist,
//! a request ends vLLM 0.13 under NixlConnector. So what a client says of it is taken out of its request,
//! at the top of the body and in `vllm_xargs`, which vLLM lays over the same place.

use std::sync::LazyLock;

use bytes::Bytes;
use memchr::memmem::Finder;
use serde_json::Value;

use super::error::ApiError;
use super::escapes::{self, Escapes};
use super::top_level::Pairs;

const PARAMS: &str = "kv_transfer_params";

/// Where vLLM takes anything for its sampling from.
const EXTRA: &str = "vllm_xargs";

/// The longest piece of a body that can spell it as a key.
pub(super) const LONGEST_SPELLING: usize = (PARAMS.len() + 2) * 6;

static NAME: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(PARAMS));
static KEY: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("\"kv_transfer_params\""));

/// A body without them; nothing where there are none, as in nearly every one.
pub(super) fn without_params(body: &[u8], escapes: Escapes) -> Result<Option<Bytes>, ApiError> {
    if NAME.find(body).is_none() && !escapes.can_spell(PARAMS) {
        return Ok(None);
    }
    match without(body) {
        Left::Less(kept) => Ok(Some(kept.into())),
        Left::NoObject if is_spelled_in(body, escapes) => Err(refusal()),
        Left::NoObject | Left::All => Ok(None),
    }
}

/// What a client is told out of whose body they cannot be taken.
pub(super) fn refusal() -> ApiError {
    ApiError::bad_body(
        "`kv_transfer_params` is not for clients to say, and cannot be taken out here",
    )
}

/// Whether a piece of a body has them as a key. In what a model reads the quotes are escaped.
pub(super) fn is_spelled_in(text: &[u8], escapes: Escapes) -> bool {
    // A quote that is escaped begins no key, so it is the key's own characters that count.
    KEY.find(text).is_some()
        || (escapes.can_spell(PARAMS) && KEY.find(&escapes::undone(text)).is_some())
}

/// What is left of an object.
enum Left {
    /// It is no whole object.
    NoObject,
    /// All of it.
    All,
    /// All but what was taken out.
    Less(Vec<u8>),
}

/// What is left of an object, and of `vllm_xargs` in it, when they are taken out.
fn without(object: &[u8]) -> Left {
    let mut pairs = Pairs::of(object);
    let mut kept = Vec::new();
    let mut is_less = false;
    for (key, value) in &mut pairs {
        if key == PARAMS {
            is_less = true;
            continue;
        }
        kept.push(if kept.is_empty() { b'{' } else { b',' });
        kept.extend_from_slice(Value::from(&*key).to_string().as_bytes());
        kept.push(b':');
        match (&*key == EXTRA).then(|| without(value)) {
            Some(Left::Less(value)) => {
                is_less = true;
                kept.extend_from_slice(&value);
            }
            _ => kept.extend_from_slice(value),
        }
    }
    if !pairs.is_whole() {
        return Left::NoObject;
    }
    if kept.is_empty() {
        kept.push(b'{');
    }
    kept.push(b'}');
    if is_less { Left::Less(kept) } else { Left::All }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn without(body: &str) -> Result<Option<Bytes>, ApiError> {
        without_params(body.as_bytes(), Escapes::of(body.as_bytes()))
    }

    fn of(body: &str) -> Option<String> {
        let left = without(body).unwrap();
        left.map(|it| String::from_utf8(it.to_vec()).unwrap())
    }

    #[test]
    fn they_are_taken_out_and_the_rest_stays_as_it_is_written() {
        let cases = [
            (r#"{"kv_transfer_params":{"a":1}}"#, "{}"),
            (
                r#"{"n":1.50,"kv_transfer_params":null,"m" : [ 1 ]}"#,
                r#"{"n":1.50,"m":[ 1 ]}"#,
            ),
            (
                r#"{"kv\u005ftransfer_params":1,"n":18446744073709551617}"#,
                r#"{"n":18446744073709551617}"#,
            ),
            (
                r#"{"kv_transfer_params":1,"kv_transfer_params":2,"n":NaN}"#,
                r#"{"n":NaN}"#,
            ),
            (
                r#"{"vllm_xargs":{"x":1,"kv_transfer_params":"y"},"n":1}"#,
                r#"{"vllm_xargs":{"x":1},"n":1}"#,
            ),
        ];
        for (body, left) in cases {
            assert_eq!(of(body).as_deref(), Some(left), "{body}");
        }
    }

    #[test]
    fn what_a_model_reads_is_not_touched() {
        for body in [
            r#"{"prompt":"{\"kv_transfer_params\":1}"}"#,
            r#"{"messages":[{"content":"kv_transfer_params"}],"n":1}"#,
            r#"{"prompt":"\u003ckv"}"#,
            r#"{"tools":[{"kv_transfer_params":1}]}"#,
            "kv_transfer_params",
        ] {
            assert_eq!(of(body), None, "{body}");
        }
    }

    #[test]
    fn what_they_cannot_be_taken_out_of_is_refused() {
        for body in [
            r#"{"kv_transfer_params":1"#,
            r#"{"kv_transfer_params":1} {}"#,
            r#"[{"kv_transfer_params":1}]"#,
        ] {
            assert!(without(body).is_err(), "{body}");
        }
    }

    proptest! {
        /// It comes to the same as an edit of what serde reads.
        #[test]
        fn it_is_what_serde_would_make_of_it(
            keys in proptest::collection::vec("[a-z\\\\\"é ]{0,4}|kv_transfer_params", 0..6),
            text in "\\PC{0,20}",
        ) {
            let values = [json!(1), json!(text), json!({"a": [text]}), json!(null)];
            let mut body: serde_json::Map<_, _> = keys
                .iter()
                .zip(values.into_iter().cycle())
                .map(|(key, value)| (key.clone(), value))
                .collect();
            let written = Value::from(body.clone()).to_string();
            let is_there = body.shift_remove(PARAMS).is_some();
            let left = without(&written).unwrap();
            prop_assert_eq!(left.is_some(), is_there);
            let left = left.unwrap_or_else(|| Bytes::from(written));
            prop_assert_eq!(serde_json::from_slice::<Value>(&left).unwrap(), Value::from(body));
        }
    }
}
