//! What each of two instances is sent of one request.
//!
//! Both have to read the same prompt, so nothing of a client's body is written anew: what an instance is not
//! to see is left out, and what is said to it alone is put before the rest.

use bytes::{BufMut, Bytes, BytesMut};

use crate::proxy::tokens;
use crate::proxy::top_level::{Pairs, has_several};

/// Where a server is told what of the KV cache it is to hold for another, or to fetch from one.
pub(super) const PARAMS: &str = "kv_transfer_params";

/// What has a prefill instance hold what it computes until another has fetched it.
const HOLD: &[u8] = br#"{"do_remote_decode":true,"do_remote_prefill":false,"remote_engine_id":null,"remote_block_ids":null,"remote_host":null,"remote_port":null}"#;

/// The paths whose requests can be split.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Path {
    Completions,
    Chat,
}

impl Path {
    /// The path of a request, where it is one of them.
    pub(super) fn of(path: &str) -> Option<Self> {
        match path {
            "/v1/completions" => Some(Self::Completions),
            "/v1/chat/completions" => Some(Self::Chat),
            _ => None,
        }
    }
}

/// Why one instance has to do all of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whole {
    /// By what is asked.
    Asked,
    /// Its prompt is shorter than those that are read for another.
    Short,
    /// What is left to read of its prompt is, for who has read the rest already.
    Cached,
}

/// A request that two instances can answer together.
#[derive(Debug, Clone)]
pub(super) struct Split {
    /// What a client has said, as far as an instance sees it that only reads the prompt.
    read: Bytes,
    /// By which name it is told how much to write.
    limit: &'static str,
    /// Whether the client is told what its request has used.
    pub(super) tells_usage: bool,
    /// How long the prompt is, about, where that is asked.
    pub(super) tokens: u64,
}

impl Split {
    /// How a body is split whose prompt has so many tokens at least.
    ///
    /// # Errors
    ///
    /// When one instance has to do all of it.
    pub(super) fn of(path: Path, body: &[u8], least: u64) -> Result<Self, Whole> {
        let mut pairs = Pairs::of(body);
        let mut read = BytesMut::with_capacity(body.len());
        let mut said = Said::default();
        while let Some(pair) = pairs.next_pair() {
            if wants_one_instance(&pair.key, pair.value) {
                return Err(Whole::Asked);
            }
            if least > 0 && matches!(&*pair.key, "prompt" | "messages") {
                said.tokens = tokens::estimated(pair.value);
            }
            if !said.is_left_out(path, &pair.key, pair.value) {
                read.put_u8(b',');
                read.put_slice(pair.written);
            }
        }
        if !pairs.is_whole() {
            return Err(Whole::Asked);
        }
        if said.tokens < least {
            return Err(Whole::Short);
        }
        Ok(Self {
            read: read.freeze(),
            limit: if said.has_limit_of_chat {
                "max_completion_tokens"
            } else {
                "max_tokens"
            },
            tells_usage: !said.streams || said.tells_usage,
            tokens: said.tokens,
        })
    }

    /// What the prefill instance is sent: to read the prompt, and to hold what it has computed.
    ///
    /// vLLM hands over what it has computed only where the answer is as long as it may be, and not where it
    /// ends by itself: so nothing may end it.
    pub(super) fn prefill(&self) -> Bytes {
        self.short(HOLD)
    }

    /// What has a decode instance fetch what is held, and do no more: then it is held no longer.
    pub(super) fn release(&self, params: &[u8]) -> Bytes {
        self.short(params)
    }

    fn short(&self, params: &[u8]) -> Bytes {
        let limit = self.limit;
        let own = format!("{{\"stream\":false,\"ignore_eos\":true,\"{limit}\":1,\"{PARAMS}\":");
        [own.as_bytes(), params, &self.read, b"}"].concat().into()
    }
}

/// What the decode instance is sent: what the client has said, and before it where to fetch what was
/// computed. The first part is put before the second.
pub(super) fn decode(body: &Bytes, params: &[u8]) -> [Bytes; 2] {
    let begins = memchr::memchr(b'{', body).map_or(0, |at| at + 1);
    let rest = body.slice(begins..);
    let is_empty = rest.trim_ascii_start().starts_with(b"}");
    let own = format!("{{\"{PARAMS}\":");
    let comma: &[u8] = if is_empty { b"" } else { b"," };
    [[own.as_bytes(), params, comma].concat().into(), rest]
}

/// What a body has said so far.
#[derive(Debug, Default)]
struct Said {
    has_limit_of_chat: bool,
    streams: bool,
    tells_usage: bool,
    /// How long its prompt is, about, where that is asked.
    tokens: u64,
}

impl Said {
    /// Whether a prefill instance does not see this, as it would write more than one token or fewer, say it in
    /// another way, or refuse it.
    fn is_left_out(&mut self, path: Path, key: &str, value: &[u8]) -> bool {
        match key {
            "max_completion_tokens" if path == Path::Chat => {
                self.has_limit_of_chat |= value != b"null";
            }
            "stream" => self.streams = value == b"true",
            "stream_options" => self.tells_usage = includes_usage(value),
            "max_tokens"
            | "min_tokens"
            | "min_completion_tokens"
            | "stop"
            | "stop_token_ids"
            | "ignore_eos"
            | PARAMS => {}
            _ => return false,
        }
        true
    }
}

fn includes_usage(options: &[u8]) -> bool {
    Pairs::of(options).any(|(key, value)| key == "include_usage" && value == b"true")
}

/// Whether a request is not for two instances: where several answers are written to one prompt, or one to
/// each of several prompts, the first would take what was computed from the others; and what is told of the
/// prompt itself, only who reads it knows.
fn wants_one_instance(key: &str, value: &[u8]) -> bool {
    match key {
        "n" | "best_of" => !matches!(value, b"1" | b"null"),
        "use_beam_search" | "echo" => !matches!(value, b"false" | b"null"),
        "prompt_logprobs" | "prompt_embeds" => value != b"null",
        "prompt" => has_several(value),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Map, Value, json};

    use super::*;

    fn split(path: Path, body: &str) -> Split {
        Split::of(path, body.as_bytes(), 0).unwrap()
    }

    fn text(bytes: &[u8]) -> &str {
        std::str::from_utf8(bytes).unwrap()
    }

    #[test]
    fn the_prompt_is_read_with_one_token_and_all_that_could_end_it_is_left_out() {
        let body = r#"{"model":"tiny", "prompt" : [1,2],"temperature":0.50,"max_tokens":20,"stream":true,"stream_options":{"include_usage":true},"stop":["a"],"stop_token_ids":[2],"min_tokens":3}"#;
        let split = split(Path::Completions, body);
        assert!(split.tells_usage);
        assert_eq!(
            text(&split.prefill()),
            r#"{"stream":false,"ignore_eos":true,"max_tokens":1,"kv_transfer_params":{"do_remote_decode":true,"do_remote_prefill":false,"remote_engine_id":null,"remote_block_ids":null,"remote_host":null,"remote_port":null},"model":"tiny","prompt" : [1,2],"temperature":0.50}"#
        );
        assert_eq!(
            text(&split.release(br#"{"a":[1]}"#)),
            r#"{"stream":false,"ignore_eos":true,"max_tokens":1,"kv_transfer_params":{"a":[1]},"model":"tiny","prompt" : [1,2],"temperature":0.50}"#
        );
    }

    #[test]
    fn chat_has_the_limit_that_its_client_uses() {
        for (said, limit) in [
            (
                r#","max_completion_tokens":9,"max_tokens":8"#,
                "max_completion_tokens",
            ),
            (r#","max_completion_tokens":null"#, "max_tokens"),
            (r#","max_tokens":8"#, "max_tokens"),
            ("", "max_tokens"),
        ] {
            let split = split(Path::Chat, &format!(r#"{{"messages":[]{said}}}"#));
            let expected = format!(
                r#"{{"stream":false,"ignore_eos":true,"{limit}":1,"kv_transfer_params":0,"messages":[]}}"#
            );
            assert_eq!(text(&split.release(b"0")), expected);
        }
    }

    #[test]
    fn what_one_instance_has_to_do_is_not_split() {
        for body in [
            r#"{"n":2}"#,
            r#"{"best_of":3}"#,
            r#"{"use_beam_search":true}"#,
            r#"{"prompt":["a","b"]}"#,
            r#"{"prompt":[[1],[2]]}"#,
            r#"{"echo":true}"#,
            r#"{"prompt_logprobs":0}"#,
            r#"{"prompt_embeds":"AA=="}"#,
            r#"{"prompt":"a""#,
            "[]",
            "",
        ] {
            let split = Split::of(Path::Completions, body.as_bytes(), 0);
            assert_eq!(split.err(), Some(Whole::Asked), "{body}");
        }
        for body in [
            r#"{"n":1,"best_of":null,"echo":false,"prompt_logprobs":null,"prompt":["a"]}"#,
            "{}",
        ] {
            let split = Split::of(Path::Completions, body.as_bytes(), 0);
            assert!(split.is_ok(), "{body}");
        }
    }

    #[test]
    fn a_short_prompt_is_not_split() {
        let of = |path, body: &str, least| Split::of(path, body.as_bytes(), least).err();
        let ids = r#"{"model":"m","prompt":[1,2,3,4]}"#;
        assert_eq!(of(Path::Completions, ids, 4), None);
        assert_eq!(of(Path::Completions, ids, 5), Some(Whole::Short));
        let chat = r#"{"messages":[{"role":"user","content":"hi"}]}"#;
        assert_eq!(of(Path::Chat, chat, 8), None);
        assert_eq!(of(Path::Chat, chat, 80), Some(Whole::Short));
        // What is asked decides first, and a body without a prompt has none that is long.
        assert_eq!(
            of(Path::Completions, r#"{"prompt":"a","n":2}"#, 9),
            Some(Whole::Asked)
        );
        assert_eq!(of(Path::Completions, "{}", 1), Some(Whole::Short));
    }

    #[test]
    fn usage_is_told_with_each_whole_answer_and_in_a_stream_where_it_is_asked_for() {
        for (body, is_told) in [
            ("{}", true),
            (r#"{"stream":false}"#, true),
            (r#"{"stream":true}"#, false),
            (
                r#"{"stream_options":{"include_usage":true},"stream":true}"#,
                true,
            ),
            (
                r#"{"stream":true,"stream_options":{"include_usage":false}}"#,
                false,
            ),
        ] {
            assert_eq!(split(Path::Chat, body).tells_usage, is_told, "{body}");
        }
    }

    fn decoded(body: &str) -> String {
        let body = Bytes::copy_from_slice(body.as_bytes());
        text(&decode(&body, br#"{"x":[1]}"#).concat()).to_owned()
    }

    #[test]
    fn what_was_computed_is_named_before_all_that_a_client_says() {
        assert_eq!(
            decoded(r#" { "prompt":"{a"} "#),
            r#"{"kv_transfer_params":{"x":[1]}, "prompt":"{a"} "#
        );
        assert_eq!(decoded("{ }"), r#"{"kv_transfer_params":{"x":[1]} }"#);
    }

    fn key() -> impl Strategy<Value = String> {
        let known = [
            "stream",
            "stream_options",
            "min_tokens",
            "min_completion_tokens",
            "stop",
            "stop_token_ids",
            "ignore_eos",
            "max_tokens",
            "max_completion_tokens",
            "prompt",
            "messages",
            "model",
        ];
        prop_oneof![
            proptest::sample::select(known.to_vec()).prop_map(str::to_owned),
            "Z[a-z\\\\\"é ]{0,4}",
        ]
    }

    fn value() -> impl Strategy<Value = Value> {
        prop_oneof![
            Just(json!(null)),
            any::<bool>().prop_map(|it| json!(it)),
            any::<i64>().prop_map(|it| json!(it)),
            "\\PC{0,20}".prop_map(|it| json!({"a": [it], "b": "\\\"}"})),
            "[\"\\\\{}\\[\\],: a-zä\n]{0,12}".prop_map(|it| json!(it)),
        ]
    }

    /// The edits as they are told.
    fn edited(mut body: Map<String, Value>, path: Path) -> Value {
        let is_used = body
            .get("max_completion_tokens")
            .is_some_and(|it| !it.is_null());
        for key in [
            "stream_options",
            "min_tokens",
            "min_completion_tokens",
            "stop",
            "stop_token_ids",
            "max_tokens",
        ] {
            body.remove(key);
        }
        if path == Path::Chat {
            body.remove("max_completion_tokens");
        }
        let limit = if path == Path::Chat && is_used {
            "max_completion_tokens"
        } else {
            "max_tokens"
        };
        body.insert(limit.to_owned(), json!(1));
        body.insert("stream".to_owned(), json!(false));
        body.insert("ignore_eos".to_owned(), json!(true));
        body.insert(PARAMS.to_owned(), serde_json::from_slice(HOLD).unwrap());
        Value::from(body)
    }

    proptest! {
        /// Both come to the same as an edit of what serde reads.
        #[test]
        fn they_are_what_serde_would_make_of_it(
            pairs in proptest::collection::btree_map(key(), value(), 0..8),
            is_chat in any::<bool>(),
            is_pretty in any::<bool>(),
        ) {
            let path = if is_chat { Path::Chat } else { Path::Completions };
            let body: Map<String, Value> = pairs.into_iter().collect();
            let written = Value::from(body.clone());
            let written = if is_pretty { format!("{written:#}") } else { written.to_string() };
            let read = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).unwrap();
            let split = Split::of(path, written.as_bytes(), 0).unwrap();
            prop_assert_eq!(read(&split.prefill()), edited(body.clone(), path));
            let params = json!({"remote_block_ids": [[1, 2]], "remote_host": "h"});
            let whole = decode(&Bytes::from(written), params.to_string().as_bytes()).concat();
            let mut expected = body;
            expected.insert(PARAMS.to_owned(), params);
            prop_assert_eq!(read(&whole), Value::from(expected));
        }
    }
}
