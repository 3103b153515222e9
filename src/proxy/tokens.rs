//! How many tokens a text has, about: nobody here has a tokenizer.

/// Bytes of text that are about a token.
pub(super) const BYTES_A_TOKEN: u64 = 4;

/// The tokens of a prompt as it stands in a body: as many as a list of ids has; of text, and of the messages of a
/// chat as they are written, one for four bytes.
pub(super) fn estimated(prompt: &[u8]) -> u64 {
    let inner = prompt.trim_ascii_start();
    let begins = inner.iter().find(|byte| !b"[ \t\r\n".contains(*byte));
    let is_of_ids = inner.starts_with(b"[") && begins.is_some_and(u8::is_ascii_digit);
    if is_of_ids {
        return memchr::memchr_iter(b',', inner).count() as u64 + 1;
    }
    inner.len() as u64 / BYTES_A_TOKEN
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_counted_and_text_is_measured() {
        for (prompt, tokens) in [
            ("[1, 22,333]", 3),
            ("[[7,8]]", 2),
            ("[ 5 ]", 1),
            ("[]", 0),
            (r#""twelve words""#, 3),
            (r#"["twelve words"]"#, 4),
            (r#"[{"role":"user","content":"[1,2]"}]"#, 8),
            ("12", 0),
        ] {
            assert_eq!(estimated(prompt.as_bytes()), tokens, "{prompt}");
        }
    }
}
