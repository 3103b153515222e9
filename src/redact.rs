//! Secrets that whoever runs `replica` has given to it, struck out of all that it says and keeps.
//!
//! Nothing of ours writes one down. A server that was given one may: in the traceback of its crash, in
//! the body of an error. What is shown of that, or kept of it on this machine, goes through here.

use std::borrow::Cow;
use std::sync::{PoisonError, RwLock};

/// What stands where a secret stood.
const STRUCK: &str = "[redacted]";

/// Shorter ones are words of other texts too: `EMPTY`, `none`, `demo`.
const SHORTEST: usize = 8;

/// How each is written: as it is, and as JSON has it.
static SECRETS: RwLock<Vec<String>> = RwLock::new(Vec::new());

/// Has a secret struck out of everything from now on.
pub(crate) fn strike(secret: &str) {
    if secret.len() < SHORTEST {
        return;
    }
    let json = serde_json::Value::from(secret).to_string();
    let mut secrets = SECRETS.write().unwrap_or_else(PoisonError::into_inner);
    for form in [secret, json.trim_matches('"')] {
        if !secrets.iter().any(|one| one == form) {
            secrets.push(form.to_owned());
        }
    }
    // One may begin another: what is left of that would tell the rest.
    secrets.sort_by_key(|one| std::cmp::Reverse(one.len()));
}

/// A text without secrets.
pub(crate) fn redacted(text: &str) -> Cow<'_, str> {
    let secrets = SECRETS.read().unwrap_or_else(PoisonError::into_inner);
    without(&secrets, text)
}

fn without<'a>(secrets: &[String], text: &'a str) -> Cow<'a, str> {
    let mut text = Cow::Borrowed(text);
    for secret in secrets {
        if text.contains(secret.as_str()) {
            text = Cow::Owned(text.replace(secret.as_str(), STRUCK));
        }
    }
    text
}

/// The same of bytes, which may be no text.
pub(crate) fn redacted_bytes(bytes: &[u8]) -> Cow<'_, [u8]> {
    let secrets = SECRETS.read().unwrap_or_else(PoisonError::into_inner);
    let mut bytes = Cow::Borrowed(bytes);
    for secret in secrets.iter() {
        let found = memchr::memmem::Finder::new(secret);
        if found.find(&bytes).is_none() {
            continue;
        }
        let mut kept = Vec::with_capacity(bytes.len());
        let mut from = 0;
        for at in found.find_iter(&bytes) {
            kept.extend_from_slice(&bytes[from..at]);
            kept.extend_from_slice(STRUCK.as_bytes());
            from = at + secret.len();
        }
        kept.extend_from_slice(&bytes[from..]);
        bytes = Cow::Owned(kept);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_given_is_struck_out_wherever_it_stands() {
        strike("hush-hush-4711");
        strike("hush-hush-4711-and-more");
        strike("a \"quoted\" word of mine");
        let text = "Authorization: Bearer hush-hush-4711-and-more; hush-hush-4711\n";
        let shown = "Authorization: Bearer [redacted]; [redacted]\n";
        assert_eq!(redacted(text), shown);
        assert_eq!(&*redacted_bytes(text.as_bytes()), shown.as_bytes());
        let json = serde_json::json!({ "said": "a \"quoted\" word of mine" }).to_string();
        assert_eq!(redacted(&json), r#"{"said":"[redacted]"}"#);
        let bytes = b"\xff hush-hush-4711 \xfe";
        assert_eq!(&*redacted_bytes(bytes), b"\xff [redacted] \xfe");
        assert!(matches!(redacted("hush-hush-471"), Cow::Borrowed(_)));
    }

    #[test]
    fn what_is_a_word_like_any_other_stays() {
        strike("EMPTY");
        assert_eq!(redacted("EMPTY"), "EMPTY");
    }
}
