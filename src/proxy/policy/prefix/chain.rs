//! The beginning of what a model is to read, as a chain of hashes.

use std::hash::{BuildHasher, Hasher};

use crate::proxy::request_view::TopLevel;

/// Bytes of a block: about 64 tokens, a few blocks of an engine's own.
pub(super) const BLOCK: usize = 256;

/// What lies behind so many blocks is not looked at: 512 KiB, about 130,000 tokens.
const LONGEST: usize = 2048;

/// The blocks that a request begins with, each by a hash of itself and of all before it; none where it is
/// shorter than a block.
///
/// The bytes are taken as they are written. So prompts that are equal but written in another way do not
/// meet, which those of one client do not do.
pub(in crate::proxy::policy) fn chain(hashes: &impl BuildHasher, keys: &TopLevel<'_>) -> Vec<u64> {
    let blocks = keys.asked().chunks_exact(BLOCK).take(LONGEST);
    let mut before = hashes.hash_one(keys.apart);
    let next = |block: &[u8]| {
        let mut hasher = hashes.build_hasher();
        hasher.write_u64(before);
        hasher.write(block);
        before = hasher.finish();
        before
    };
    blocks.map(next).collect()
}

#[cfg(test)]
mod tests {
    use std::hash::RandomState;

    use bytes::Bytes;
    use hyper::header::HeaderMap;
    use serde_json::{Value, json};

    use super::*;
    use crate::proxy::request_view::RequestView;

    fn of(hashes: &RandomState, body: &Value) -> Vec<u64> {
        let headers = HeaderMap::new();
        let body = Bytes::from(body.to_string());
        chain(hashes, RequestView::new(&headers, Some(&body)).whole())
    }

    fn shared(one: &[u64], other: &[u64]) -> usize {
        one.iter().zip(other).take_while(|(a, b)| a == b).count()
    }

    #[test]
    fn what_begins_alike_has_the_same_blocks_at_first() {
        let hashes = RandomState::new();
        let turn = |texts: &[String]| {
            let messages = texts
                .iter()
                .map(|it| json!({"role": "user", "content": it}));
            json!({"model": "m", "messages": messages.collect::<Vec<_>>(), "stream": true})
        };
        let first = turn(&["a".repeat(600)]);
        let second = turn(&["a".repeat(600), "b".repeat(600)]);
        let third = turn(&["a".repeat(600), "c".repeat(600)]);
        let [first, second, third] = [first, second, third].map(|it| of(&hashes, &it));
        assert_eq!([first.len(), second.len(), third.len()], [2, 4, 4]);
        assert_eq!(shared(&first, &second), 2);
        assert_eq!(
            shared(&second, &third),
            2,
            "and not even where they agree again"
        );
    }

    #[test]
    fn another_model_has_read_nothing_of_it_nor_who_has_another_salt() {
        let hashes = RandomState::new();
        let asked = |model: &str, salt: &str| {
            let prompt = "p".repeat(1000);
            of(
                &hashes,
                &json!({"prompt": prompt, "model": model, "cache_salt": salt}),
            )
        };
        let one = asked("one", "salt");
        assert_eq!(one, asked("one", "salt"));
        assert_eq!(shared(&one, &asked("two", "salt")), 0);
        assert_eq!(shared(&one, &asked("one", "pepper")), 0);
    }

    #[test]
    fn it_has_bounds() {
        let hashes = RandomState::new();
        assert!(of(&hashes, &json!({"prompt": "p".repeat(200)})).is_empty());
        assert!(of(&hashes, &json!({"n": "p".repeat(2000)})).is_empty());
        let long = json!({"prompt": "p".repeat(1_000_000)});
        assert_eq!(of(&hashes, &long).len(), LONGEST);
    }
}
