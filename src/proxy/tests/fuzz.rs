//! Bodies and streams that nobody would send: what is read of them, and what is changed in them.

use std::borrow::Cow;

use bytes::Bytes;
use serde_json::{Map, Value};

use crate::fuzz::{run, sort_of};
use crate::proxy::conform::BodyKind;
use crate::proxy::escapes::Escapes;
use crate::proxy::event::Events;
use crate::proxy::handoff::without_params;
use crate::proxy::nonces::Nonces;
use crate::proxy::request_view::RequestView;
use crate::proxy::sieve::Sieve;
use crate::proxy::top_level::{Pairs, place};
use crate::proxy::usage::{Usage, corrected};

const WORDS: &[&str] = &[
    "\"kv_transfer_params\"",
    "\"kv_transfer_p\\u0061rams\":{}",
    "\"vllm_xargs\":{",
    "\"model\":\"m\"",
    "\"max_tokens\":",
    "\\u0072",
    "\\\"",
    "\"usage\":{\"prompt_tokens\":3}",
    "\"choices\":[]",
    "\"prompt_tokens_details\":{\"cached_tokens\":9}",
    "\"user\":\"u\"",
    "1e999",
    "18446744073709551616",
    "null",
    "true",
    "{",
    "}",
    "[[",
    "]]",
    "replica-0a",
    "replica-\\u0030a",
    "data: ",
    "\r\n\r\n",
    "\\ud83d\\ude00",
    "é",
];

/// An object, as Python reads it, if it is one: of two keys of a name the last counts.
fn object(body: &[u8]) -> Option<Map<String, Value>> {
    serde_json::from_slice(body).ok()
}

/// What a server would read without the parameters.
fn expected(mut object: Map<String, Value>) -> Map<String, Value> {
    const PARAMS: &str = "kv_transfer_params";
    object.shift_remove(PARAMS);
    if let Some(Value::Object(more)) = object.get_mut("vllm_xargs") {
        more.shift_remove(PARAMS);
    }
    object
}

/// The top level of an object is what serde reads, and what is cut out of it is cut out and nothing else.
#[test]
fn fuzz_bodies() {
    run("bodies", WORDS, |input| {
        let read = object(input);
        let mut pairs = Pairs::of(input);
        let mut seen = Map::new();
        while let Some(pair) = pairs.next_pair() {
            let at = place(pair.value, input);
            assert_eq!(&input[at], pair.value);
            let value = serde_json::from_slice(pair.value).unwrap_or(Value::Null);
            seen.insert(pair.key.into_owned(), value);
        }
        if let Some(read) = &read {
            assert!(pairs.is_whole());
            assert_eq!(&seen, read);
        }
        let body = Bytes::copy_from_slice(input);
        let headers = hyper::HeaderMap::new();
        let view = RequestView::new(&headers, Some(&body));
        let known = (
            view.keys().max_tokens.is_some(),
            view.keys().asked().is_empty(),
        );
        let left = without_params(input, Escapes::of(input));
        if let (Some(read), Ok(left)) = (&read, &left) {
            let left = object(left.as_deref().unwrap_or(input)).expect("it is no object any more");
            assert_eq!(left, expected(read.clone()));
        }
        let left = left.map(|it| it.is_some()).ok();
        sort_of((
            read.is_some(),
            pairs.is_whole(),
            seen.len().min(6),
            known,
            left,
        ))
    });
}

/// What comes through in pieces of this size; nothing where it is refused.
fn sieved(input: &[u8], size: usize) -> Option<Vec<u8>> {
    let nonces = Nonces::of(["replica-0a", "replica-b1"].into_iter());
    let mut sieve = Sieve::new(nonces, BodyKind::Other);
    let mut passed = Vec::new();
    for piece in input.chunks(size) {
        passed.extend(sieve.pass(Bytes::copy_from_slice(piece)).ok()?.concat());
    }
    passed.extend(sieve.end());
    Some(passed)
}

/// However a large body is cut, all of it goes on, or it is refused; what names a server is refused.
#[test]
fn fuzz_sieve() {
    run("sieve", WORDS, |input| {
        let whole = sieved(input, usize::MAX);
        for size in [1, 2, 9, 64, 1000] {
            assert_eq!(sieved(input, size), whole, "in pieces of {size}");
        }
        assert!(whole.as_deref().is_none_or(|passed| passed == input));
        let text = String::from_utf8_lossy(input);
        let names = ["replica-0a", "replica-b1", "\"kv_transfer_params\""];
        let is_named = names.iter().any(|name| text.contains(name));
        assert!(!is_named || whole.is_none());
        sort_of((whole.is_some(), text.contains("\\u00"), input.len() / 512))
    });
}

fn through(input: &[u8], size: usize, cached: Option<&[u8]>) -> Vec<u8> {
    let mut usage = Usage::with(cached.map(Bytes::copy_from_slice));
    let mut passed = Vec::new();
    for piece in input.chunks(size) {
        passed.extend(usage.pass(Bytes::copy_from_slice(piece)));
    }
    passed.extend(usage.end());
    passed
}

/// What of a stream's lines is no event that tells what was used.
fn others(stream: &[u8]) -> Vec<Cow<'_, str>> {
    let lines = stream.split(|byte| *byte == b'\n');
    let others = lines.filter(|line| !line.windows(7).any(|word| word == b"\"usage\""));
    others.map(String::from_utf8_lossy).collect()
}

/// Wherever a stream is cut, its events are the same, and all but what was used goes on as it came.
#[test]
fn fuzz_streams() {
    run("streams", WORDS, |input| {
        let seen = |size: usize| {
            let mut events = Events::default();
            input.chunks(size).for_each(|piece| events.pass(piece));
            (events.is_between(), events.has_event(), events.has_error())
        };
        let whole = seen(usize::MAX);
        let corrected_stream = through(input, usize::MAX, Some(b"16"));
        for size in [1, 3, 50] {
            assert_eq!(seen(size), whole, "in pieces of {size}");
            assert_eq!(
                through(input, size, Some(b"16")),
                corrected_stream,
                "in pieces of {size}"
            );
        }
        assert_eq!(others(&corrected_stream), others(input));
        if let (Some(read), Some(answer)) = (object(input), corrected(input, Some(b"16"))) {
            let mut answer = object(&answer).expect("it is no object any more");
            let mut read = read;
            assert!(answer.shift_remove("usage").is_some());
            read.shift_remove("usage");
            assert_eq!(answer, read);
        }
        sort_of((whole, corrected_stream == input))
    });
}
