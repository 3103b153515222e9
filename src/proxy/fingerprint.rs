//! What tells requests apart, and what makes them alike.
//!
//! A client that tries again sends the same bytes: these are hashed as they are. Another client, or the
//! same one in its next call, asks for the same with its keys in another order, with other blanks, and
//! with other ids and limits. Two more prints see through that. The one is of what the model is to read:
//! its words, in whatever order, without those that have a digit in them, as ids, dates and numbers
//! have. The other is of the shape: the path and the names of the keys, whatever is asked. vLLM 0.13 dies
//! of shapes, too: of any structured output where its dtype does not fit, and of `prompt_logprobs` with
//! two prompts where adapters are on.

use std::hash::{BuildHasher, Hasher};
use std::num::NonZeroU64;

use bytes::Bytes;
use foldhash::quality::RandomState;
use hyper::Method;
use hyper::header::HeaderMap;

use super::outbound::Outbound;
use super::request_view::RequestView;
use super::top_level::Pairs;
use super::upload::Received;

/// Of a longer body only both ends are hashed: long prompts begin alike, and seldom end so.
const HASHED_WHOLE: usize = 64 * 1024;

/// Of what is longer only the words at both ends are hashed.
const READ_WHOLE: usize = 16 * 1024;

/// So much of how an answer is to look tells one shape from another.
const LOOKS: usize = 48;

/// A hash that is never 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fingerprint(NonZeroU64);

impl Fingerprint {
    fn of(hash: u64) -> Self {
        Self(NonZeroU64::new(hash).unwrap_or(NonZeroU64::MIN))
    }

    /// It as a number.
    pub(super) fn get(self) -> u64 {
        self.0.get()
    }
}

/// What a request has in common with others that are not the same bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Likeness {
    /// Of what the model is to read.
    pub(super) text: Fingerprint,
    /// Of the path and the keys.
    pub(super) shape: Fingerprint,
}

/// In what a request is as another was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Alike {
    /// In every byte.
    Wholly,
    /// In what the model is to read.
    InText,
    /// In its path and keys: so are most of a day.
    InShape,
}

impl Likeness {
    /// All of it.
    pub(super) fn prints(self) -> [(Alike, Fingerprint); 2] {
        [(Alike::InText, self.text), (Alike::InShape, self.shape)]
    }
}

/// Takes prints; those of one process say nothing in another.
#[derive(Debug, Default)]
pub(super) struct Fingerprints(RandomState);

impl Fingerprints {
    /// What a request is known by. What has no body asks for nothing that could kill a server; of one
    /// that is not held, nothing is known.
    pub(super) fn of_request(&self, request: &Outbound<'_>) -> Option<Fingerprint> {
        let body = held(request)?;
        Some(self.of(request.head.uri.path(), body))
    }

    /// What a request is like, where something is known of it.
    pub(super) fn likeness_of_request(&self, request: &Outbound<'_>) -> Option<Likeness> {
        let body = held(request)?;
        Some(self.likeness(request.head.uri.path(), body))
    }

    /// What a request with this path and body is known by.
    pub(super) fn of(&self, path: &str, body: &[u8]) -> Fingerprint {
        let mut hasher = self.0.build_hasher();
        hasher.write(path.as_bytes());
        hasher.write_usize(body.len());
        for part in ends(body, HASHED_WHOLE) {
            hasher.write(part);
        }
        Fingerprint::of(hasher.finish())
    }

    /// What a request with this path and body is like.
    pub(super) fn likeness(&self, path: &str, body: &Bytes) -> Likeness {
        Likeness {
            text: self.text(path, body),
            shape: self.shape(path, body),
        }
    }

    fn text(&self, path: &str, body: &Bytes) -> Fingerprint {
        let headers = HeaderMap::new();
        let view = RequestView::new(&headers, Some(body));
        let asked = match view.keys().asked() {
            b"" => body,
            asked => asked,
        };
        let words = ends(asked, READ_WHOLE).map(|part| self.words(part));
        let words = words.into_iter().fold(0, u64::wrapping_add);
        match words {
            // Token ids, for one: then it is these that tell.
            0 => self.of(path, asked),
            _ => self.tagged(path, words),
        }
    }

    fn shape(&self, path: &str, body: &[u8]) -> Fingerprint {
        let hash = |(key, value): (std::borrow::Cow<'_, str>, &[u8])| {
            let of_key = self.0.hash_one(&*key);
            match &*key {
                "response_format" | "tool_choice" => {
                    of_key ^ self.words(&value[..value.len().min(LOOKS)])
                }
                _ => of_key,
            }
        };
        let keys = Pairs::of(body).map(hash).fold(0, u64::wrapping_add);
        self.tagged(path, !keys)
    }

    /// The sum of all words without a digit, so that their order says nothing.
    fn words(&self, text: &[u8]) -> u64 {
        let is_between = |byte: &u8| byte.is_ascii() && !byte.is_ascii_alphanumeric();
        let words = text.split(is_between).filter(|word| {
            let has_digit = word.iter().any(u8::is_ascii_digit);
            !word.is_empty() && !has_digit
        });
        words.fold(0, |sum, word| sum.wrapping_add(self.0.hash_one(word)))
    }

    fn tagged(&self, path: &str, hash: u64) -> Fingerprint {
        Fingerprint::of(self.0.hash_one((path, hash)))
    }
}

fn held<'a>(request: &'a Outbound<'_>) -> Option<&'a Bytes> {
    match &request.body {
        Received::Whole(body) if request.method() == Method::POST && !body.is_empty() => Some(body),
        _ => None,
    }
}

/// All of it, or both ends.
fn ends(text: &[u8], whole: usize) -> [&[u8]; 2] {
    if text.len() <= whole {
        return [text, &[]];
    }
    let half = whole / 2;
    [&text[..half], &text[text.len() - half..]]
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATH: &str = "/v1/completions";

    fn likeness(of: &Fingerprints, body: &str) -> Likeness {
        of.likeness(PATH, &Bytes::copy_from_slice(body.as_bytes()))
    }

    #[test]
    fn long_bodies_are_told_apart_by_their_ends_and_lengths() {
        let prints = Fingerprints::default();
        let body = |end: &str, length: usize| [&vec![b'x'; length][..], end.as_bytes()].concat();
        let of = |body: Vec<u8>| prints.of(PATH, &body);
        assert_eq!(of(body("a", 100_000)), of(body("a", 100_000)));
        assert_ne!(of(body("a", 100_000)), of(body("b", 100_000)));
        assert_ne!(of(body("a", 100_000)), of(body("a", 100_001)));
        assert_ne!(prints.of("/a", b"1"), prints.of("/b", b"1"));
    }

    #[test]
    fn the_same_asked_in_another_spelling_is_other_bytes_and_alike() {
        let prints = Fingerprints::default();
        let one = r#"{"model":"m","prompt":"what kills, of id 17","max_tokens":5}"#;
        for other in [
            r#"{ "prompt" : "what kills, of id 17", "max_tokens": 6, "model" : "m" }"#,
            r#"{"model":"m","max_tokens":5,"prompt":"what kills, of id 7f-3a"}"#,
        ] {
            assert_ne!(
                prints.of(PATH, one.as_bytes()),
                prints.of(PATH, other.as_bytes())
            );
            assert_eq!(likeness(&prints, one), likeness(&prints, other), "{other}");
        }
        let with_more = r#"{"model":"m","prompt":"what kills, of id 18","user":"u","n":1}"#;
        assert_eq!(
            likeness(&prints, one).text,
            likeness(&prints, with_more).text
        );
        assert_ne!(
            likeness(&prints, one).shape,
            likeness(&prints, with_more).shape
        );
    }

    #[test]
    fn other_words_other_ids_and_another_path_are_not_alike() {
        let prints = Fingerprints::default();
        let text = |body: &str| likeness(&prints, body).text;
        assert_ne!(text(r#"{"prompt":"one"}"#), text(r#"{"prompt":"other"}"#));
        assert_ne!(text(r#"{"prompt":[1,2,3]}"#), text(r#"{"prompt":[1,2,4]}"#));
        let body = Bytes::from_static(br#"{"prompt":"one"}"#);
        let (one, other) = (prints.likeness("/a", &body), prints.likeness("/b", &body));
        assert!(one.text != other.text && one.shape != other.shape);
    }

    #[test]
    fn how_an_answer_is_to_look_is_a_shape_whatever_is_asked() {
        let prints = Fingerprints::default();
        let shape = |asked: &str, format: &str| {
            let body = format!(r#"{{"messages":[{asked}],"response_format":{format}}}"#);
            likeness(&prints, &body).shape
        };
        let schema = r#"{"type": "json_schema", "json_schema": {"name": "x"}}"#;
        assert_eq!(shape("1", schema), shape(r#""other""#, schema));
        assert_ne!(shape("1", schema), shape("1", r#"{"type":"text"}"#));
    }
}
