//! The nonces of the servers, looked for in what clients send.
//!
//! A server serves its nonce as a second name of its model. For clients it is nobody's model: who
//! could ask for it would have learnt what a server is known by. Nearly no request has one in it, so a
//! body is first searched at the speed of memory for the beginning that all nonces share, and for
//! escapes that could spell one. What has neither is passed without being read.

use std::borrow::Cow;
use std::sync::Arc;

use memchr::memmem::Finder;

use super::escapes::{self, Escapes, hex_byte};
use super::models;

/// The nonces of the servers that requests may reach.
#[derive(Debug, Clone)]
pub(super) struct Nonces(Arc<Search>);

#[derive(Debug)]
struct Search {
    names: Vec<String>,
    /// What all of them begin with.
    beginning: Finder<'static>,
}

impl Nonces {
    /// Prepares the search for these.
    pub(super) fn of<'a>(names: impl Iterator<Item = &'a str>) -> Self {
        let names: Vec<String> = names.map(str::to_owned).collect();
        Self(Arc::new(Search {
            beginning: Finder::new(shared_beginning(&names)).into_owned(),
            names,
        }))
    }

    /// Whether a name is one.
    pub(super) fn has(&self, name: &str) -> bool {
        self.0.names.iter().any(|nonce| nonce == name)
    }

    /// The longest piece of a body that can spell one.
    pub(super) fn longest_spelling(&self) -> usize {
        let longest = self.0.names.iter().map(String::len).max();
        longest.unwrap_or(0) * escapes::LONGEST
    }

    /// Whether the spelling of one may begin so.
    pub(super) fn may_begin_with(&self, byte: u8) -> bool {
        let first = |name: &String| name.as_bytes().first() == Some(&byte);
        byte == b'\\' || self.0.names.iter().any(first)
    }

    /// One that stands in a text as it is.
    pub(super) fn written_in(&self, text: &[u8]) -> Option<&str> {
        if self.0.names.is_empty() {
            return None;
        }
        let mut from = 0;
        while let Some(at) = self.0.beginning.find(text.get(from..)?) {
            let here = &text[from + at..];
            if here.is_empty() {
                return None;
            }
            let found = self
                .0
                .names
                .iter()
                .find(|name| here.starts_with(name.as_bytes()));
            if let Some(name) = found {
                return Some(name);
            }
            from += at + 1;
        }
        None
    }

    /// One that a text of JSON has in it, whatever of it is escaped. Where a backslash is itself
    /// escaped, this may see one that a reader would not.
    pub(super) fn spelled_in(&self, text: &[u8], escapes: Escapes) -> Option<&str> {
        if let Some(name) = self.written_in(text) {
            return Some(name);
        }
        let can_spell = self.0.names.iter().any(|name| escapes.can_spell(name));
        can_spell.then(|| self.written_in(&escapes::undone(text)))?
    }

    /// One that a whole body asks for as its model. A body that cannot be read asks for what it
    /// spells: servers read more than JSON (Python takes `NaN`, and forms have a `model` too).
    pub(super) fn asked_for_in(&self, body: &[u8], escapes: Escapes) -> Option<&str> {
        let spelled = self.spelled_in(body, escapes)?;
        match models::asked_for(body) {
            Ok(model) => self
                .0
                .names
                .iter()
                .map(String::as_str)
                .find(|name| Some(*name) == model.as_deref()),
            Err(_) => Some(spelled),
        }
    }

    /// One in a target or a header, percent-encoded or not.
    pub(super) fn asked_for_at(&self, target: &str) -> Option<&str> {
        self.written_in(&without_percent(target))
    }
}

fn shared_beginning(names: &[String]) -> &str {
    let Some((first, others)) = names.split_first() else {
        return "";
    };
    let shared = others.iter().fold(first.len(), |shared, other| {
        let same = first.bytes().zip(other.bytes()).take(shared);
        same.take_while(|(one, other)| one == other).count()
    });
    // Of names that differ within a character, nothing may be cut in two.
    let whole = (0..=shared).rev().find(|at| first.is_char_boundary(*at));
    &first[..whole.unwrap_or(0)]
}

fn without_percent(text: &str) -> Cow<'_, [u8]> {
    if memchr::memchr(b'%', text.as_bytes()).is_none() {
        return Cow::Borrowed(text.as_bytes());
    }
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let byte = (first == b'%').then(|| hex_byte(after.get(..2))).flatten();
        plain.push(byte.unwrap_or(first));
        rest = if byte.is_some() { &after[2..] } else { after };
    }
    Cow::Owned(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nonces() -> Nonces {
        Nonces::of(["replica-0a", "replica-b1"].into_iter())
    }

    #[test]
    fn the_model_that_python_would_read_counts() {
        let ours = Some("replica-0a");
        for (body, found) in [
            (r#"{"model":"m","prompt":"p"}"#, None),
            (r#"{"model":"replica-0a"}"#, ours),
            (r#"{"prompt":"p","model":"replica-b1"}"#, Some("replica-b1")),
            // Of two, Python takes the last.
            (r#"{"model":"m","model":"replica-0a"}"#, ours),
            (r#"{"model":"replica-0a","model":"m"}"#, None),
            (r#"{"model":"replica-0a","model":null}"#, None),
            // Who asks about a server's name may.
            (r#"{"model":"m","prompt":"what is replica-0a?"}"#, None),
            (r#"{"model":"m","a":{"model":"replica-0a"}}"#, None),
            (r#"{"model":"m","prompt":"\"model\":\"replica-0a\""}"#, None),
            (r#"{"model":"replica-0ab"}"#, None),
            (r#"{"model":"replica-"}"#, None),
            // However it is spelled.
            (r#"{"model":"\u0072eplica-0a"}"#, ours),
            (r#"{"m\u006fdel":"replica\u002D0\u0061"}"#, ours),
            (r#"{"model":"\\u0072eplica-0a"}"#, None),
            (r#"{"model":"\\\u0072eplica-0a"}"#, None),
            (r#"{"model":"m","prompt":"\u0072eplica-0a"}"#, None),
            (r#"{"model":"m","prompt":"\u003c\u00e9\u00"}"#, None),
            // What Python reads, and serde does not.
            (r#"{"temperature":NaN,"model":"replica-0a"}"#, ours),
            (r#"{"temperature":NaN,"model":"replic\u0061-0a"}"#, ours),
            (r#"{"temperature":NaN,"prompt":"\u0061"}"#, None),
            ("\u{feff}{\"model\":\"replica-0a\"}", ours),
            (r#"{"model":"\ud800","model":"replica-0a"}"#, ours),
            // And forms.
            ("--x\r\nname=\"model\"\r\n\r\nreplica-0a\r\n--x--", ours),
            ("", None),
        ] {
            let escapes = Escapes::of(body.as_bytes());
            assert_eq!(
                nonces().asked_for_in(body.as_bytes(), escapes),
                found,
                "{body}"
            );
        }
    }

    #[test]
    fn a_nonce_is_found_in_every_encoding_of_a_target() {
        for (target, found) in [
            ("/v1/models/replica-0a", Some("replica-0a")),
            ("/v1/models/%72eplica%2D0a", Some("replica-0a")),
            ("/v1/x?model=repli%63a-0a&y", Some("replica-0a")),
            ("/v1/models/replica-0", None),
            ("/v1/models/%2572eplica-0a", None),
            ("/v1/x?%", None),
        ] {
            assert_eq!(nonces().asked_for_at(target), found, "{target}");
        }
    }

    #[test]
    fn names_of_any_sort_are_found() {
        let none = Nonces::of(std::iter::empty());
        let body = br#"{"model":"m"}"#;
        assert_eq!(none.asked_for_in(body, Escapes::default()), None);
        assert_eq!(none.longest_spelling(), 0);
        let unlike = Nonces::of(["x", "aab", "é", "è"].into_iter());
        for (text, found) in [
            ("aaab", Some("aab")),
            ("xy", Some("x")),
            ("ok è", Some("è")),
            ("none", None),
        ] {
            assert_eq!(unlike.written_in(text.as_bytes()), found, "{text}");
        }
        assert!(unlike.has("é") && !unlike.has("e"));
    }
}
