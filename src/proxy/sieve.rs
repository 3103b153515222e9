//! A body that is too large to be held, searched for what no client may say while it flows.

use bytes::{Bytes, BytesMut};

use super::conform::{BodyKind, NOT_UTF8};
use super::error::ApiError;
use super::escapes::Escapes;
use super::handoff::{self, LONGEST_SPELLING};
use super::nonces::Nonces;

/// Lets a body through piece by piece, and keeps back the end of what came where a nonce may begin in it.
///
/// Which model a body asks for is known at its end, and by then most of it is sent. So a nonce
/// anywhere in it, or a key that is not for clients, ends it here: the server gets no whole request, and answers nothing.
#[derive(Debug)]
pub(super) struct Sieve {
    nonces: Nonces,
    kind: BodyKind,
    kept: Bytes,
}

impl Sieve {
    /// Searches a body of this kind for these.
    pub(super) fn new(nonces: Nonces, kind: BodyKind) -> Self {
        Self {
            nonces,
            kind,
            kept: Bytes::new(),
        }
    }

    /// How many bytes wait for what comes after them.
    pub(super) fn kept(&self) -> usize {
        self.kept.len()
    }

    /// Takes one piece, and returns what may go on, in order; or how the client is answered.
    pub(super) fn pass(&mut self, mut piece: Bytes) -> Result<[Bytes; 2], ApiError> {
        let longest = self.nonces.longest_spelling().max(LONGEST_SPELLING);
        let window = longest - 1;
        let mut seam = self.joined(&piece[..piece.len().min(window)]);
        // In JSON that is UTF-8 there is none; in other encodings a nonce would look different.
        if self.kind == BodyKind::Json && memchr::memchr(0, &piece).is_some() {
            return Err(ApiError::bad_body(NOT_UTF8));
        }
        for text in [&seam[..], &piece] {
            let escapes = Escapes::of(text);
            if let Some(name) = self.nonces.spelled_in(text, escapes) {
                return Err(ApiError::unknown_model(name));
            }
            if handoff::is_spelled_in(text, escapes) {
                return Err(handoff::refusal());
            }
        }
        if piece.len() >= window {
            let end = piece.split_off(self.beginning_in(&piece, window));
            let before = std::mem::replace(&mut self.kept, end);
            return Ok([before, piece]);
        }
        self.kept = seam.split_off(self.beginning_in(&seam, window));
        Ok([seam, Bytes::new()])
    }

    /// Where in the last bytes of a text a nonce may begin; its end if nowhere.
    fn beginning_in(&self, text: &[u8], window: usize) -> usize {
        let from = text.len().saturating_sub(window);
        let last = &text[from..];
        let at = last
            .iter()
            .position(|byte| *byte == b'"' || self.nonces.may_begin_with(*byte));
        from + at.unwrap_or(last.len())
    }

    /// What is left when nothing comes any more.
    pub(super) fn end(&mut self) -> Bytes {
        std::mem::take(&mut self.kept)
    }

    fn joined(&self, beginning: &[u8]) -> Bytes {
        let mut seam = BytesMut::with_capacity(self.kept.len() + beginning.len());
        seam.extend_from_slice(&self.kept);
        seam.extend_from_slice(beginning);
        seam.freeze()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sieve() -> Sieve {
        let nonces = Nonces::of(["replica-0a", "replica-b1"].into_iter());
        Sieve::new(nonces, BodyKind::Other)
    }

    /// What comes through of a body in pieces of this size; nothing if a nonce is in it.
    fn through(body: &[u8], size: usize) -> Option<Vec<u8>> {
        let mut sieve = sieve();
        let mut passed = Vec::new();
        for piece in body.chunks(size) {
            let pieces = sieve.pass(Bytes::copy_from_slice(piece)).ok()?;
            passed.extend(pieces.concat());
        }
        passed.extend(sieve.end());
        Some(passed)
    }

    #[test]
    fn what_has_no_nonce_comes_through_as_it_was() {
        let body = [b"replica-0 replica-b \\u0072".repeat(20), vec![0xff; 300]].concat();
        for size in 1..body.len() {
            assert_eq!(through(&body, size).as_ref(), Some(&body), "{size}");
        }
    }

    #[test]
    fn a_nonce_is_found_however_it_is_cut_and_none_of_it_goes_on() {
        let escapes = "replica-b1".bytes().map(|byte| format!("\\u{byte:04X}"));
        let escaped = escapes.collect::<Vec<_>>().concat();
        for nonce in ["replica-0a", "repl\\u0069ca-b1", &escaped] {
            for before in [0, 1, 59, 60, 61, 200] {
                let body = ["x".repeat(before), nonce.to_owned(), "y".repeat(90)].concat();
                for size in 1..body.len() {
                    assert_eq!(through(body.as_bytes(), size), None, "{size}: {body}");
                }
                let mut sieve = sieve();
                let mut sent = Vec::new();
                let mut refusal = None;
                for byte in body.bytes() {
                    match sieve.pass(Bytes::from(vec![byte])) {
                        Ok(pieces) => sent.extend(pieces.concat()),
                        Err(error) => {
                            refusal = Some(error);
                            break;
                        }
                    }
                }
                let why = refusal.unwrap();
                assert!(why.message().contains("does not exist"), "{why:?}");
                assert!(sent.iter().all(|byte| *byte == b'x'), "{sent:?}");
            }
        }
    }
}
