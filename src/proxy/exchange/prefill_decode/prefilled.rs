//! What a prefill instance says of what it has computed.

use bytes::Bytes;

use super::split::PARAMS;
use crate::proxy::top_level::Pairs;

/// What is longer is not passed on: a block is a number of a few digits, and a prompt has some thousands.
const LONGEST: usize = 1 << 20;

/// What a decode instance is to know of the other's answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Prefilled {
    /// Where it finds what was computed, in words that are for it alone; nothing where nothing is held for
    /// it.
    pub(super) params: Option<Bytes>,
    /// How many tokens of the prompt had been computed before, where that is told.
    pub(super) cached: Option<Bytes>,
}

impl Prefilled {
    /// Reads an answer, as far as it is one.
    pub(super) fn of(answer: &Bytes) -> Self {
        let mut told = Self::default();
        for (key, value) in Pairs::of(answer) {
            match &*key {
                PARAMS => told.params = is_of_use(value).then(|| answer.slice_ref(value)),
                "usage" => told.cached = cached(value).map(|it| answer.slice_ref(it)),
                _ => {}
            }
        }
        told
    }
}

fn is_of_use(params: &[u8]) -> bool {
    let mut pairs = Pairs::of(params);
    params.len() <= LONGEST && pairs.next().is_some()
}

fn cached(usage: &[u8]) -> Option<&[u8]> {
    let find = |object, wanted: &str| {
        let mut pairs = Pairs::of(object);
        pairs.find(|(key, _)| key == wanted).map(|(_, value)| value)
    };
    let tokens = find(find(usage, "prompt_tokens_details")?, "cached_tokens")?;
    tokens.iter().all(u8::is_ascii_digit).then_some(tokens)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(answer: &str) -> (Option<String>, Option<String>) {
        let told = Prefilled::of(&Bytes::copy_from_slice(answer.as_bytes()));
        let text = |it: Bytes| String::from_utf8(it.to_vec()).unwrap();
        (told.params.map(text), told.cached.map(text))
    }

    #[test]
    fn what_is_held_is_found_as_it_is_written() {
        let params = r#"{"do_remote_prefill":true, "remote_block_ids":[[1,2],[3]],"new":"}"}"#;
        let answer = format!(
            r#"{{"id":"cmpl-1","choices":[{{"text":"\"kv_transfer_params\":{{}}"}}],"usage":{{"prompt_tokens":300,"prompt_tokens_details":{{"cached_tokens":128}}}},"kv_transfer_params" : {params}}}"#
        );
        assert_eq!(
            of(&answer),
            (Some(params.to_owned()), Some("128".to_owned()))
        );
    }

    #[test]
    fn nothing_is_held_where_nothing_is_told() {
        let long = format!(
            r#"{{"kv_transfer_params":{{"a":"{}"}}}}"#,
            "x".repeat(LONGEST)
        );
        for answer in [
            "",
            "{}",
            r#"{"kv_transfer_params":null,"usage":{"prompt_tokens_details":null}}"#,
            r#"{"kv_transfer_params":{},"usage":{}}"#,
            r#"{"choices":[{"kv_transfer_params":{"a":1}}],"usage":null}"#,
            &long,
        ] {
            assert_eq!(of(answer), (None, None), "{answer:.60}");
        }
    }
}
