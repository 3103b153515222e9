//! An answer as it is read off a socket: HTTP/1.1 (RFC 9112), of which so much is understood as tells
//! who answers and where the body is.
//!
//! Nothing stands between a `read()` and its stamp but this: no task of a connection that hands pieces
//! on to the task of a request. With many streams in step, each such switch is time that the last
//! stamp is late by.

use std::str;

use crate::net::{Decoder, Framing, Malformed, Taken};

/// A head of more bytes than this is none.
const LONGEST_HEAD: usize = 64 * 1024;

/// As many fields as a head may have.
const MOST_FIELDS: usize = 100;

/// An answer that is being read.
#[derive(Debug)]
pub(super) struct Answer {
    state: State,
    /// What was read of the head, until it is there.
    unread: Vec<u8>,
    head: Option<Head>,
}

/// What is kept of the head of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Head {
    /// The status of the answer.
    pub(super) status: u16,
    /// Its `content-type`.
    pub(super) content_type: Option<String>,
    /// Its `content-encoding`.
    pub(super) content_encoding: Option<String>,
    /// Who served it, as our proxy says (`x-replica-instance`).
    pub(super) served_by: Option<String>,
    /// Who read its prompt for that one (`x-replica-prefill`).
    pub(super) prefilled_by: Option<String>,
}

/// What is read next.
#[derive(Debug)]
enum State {
    Head,
    Body(Decoder),
}

/// Why what was read is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum NoAnswer {
    /// It is not HTTP.
    #[error("the answer is not HTTP/1.1: {0}")]
    Malformed(String),
    /// The connection was closed in the midst of it.
    #[error("the connection was closed before the answer was whole")]
    Short,
    /// The connection was closed before it began.
    #[error("the connection was closed without an answer")]
    None,
}

impl Answer {
    pub(super) fn new() -> Self {
        Self {
            state: State::Head,
            unread: Vec::new(),
            head: None,
        }
    }

    /// Its head, once it was read.
    pub(super) fn head(self) -> Option<Head> {
        self.head
    }

    /// Whether it came to its end.
    pub(super) fn is_whole(&self) -> bool {
        matches!(&self.state, State::Body(body) if body.is_whole())
    }

    /// Takes what was read, and hands on the pieces of the body in it. What follows the end is left.
    pub(super) fn take(
        &mut self,
        read: &[u8],
        mut body: impl FnMut(&[u8]),
    ) -> Result<(), NoAnswer> {
        if !matches!(self.state, State::Head) {
            return self.take_body(read, &mut body);
        }
        self.unread.extend_from_slice(read);
        while let Some(length) = self.parse()? {
            let unread = self.unread.split_off(length);
            // An interim answer (1xx) is followed by another.
            if matches!(self.state, State::Head) {
                self.unread = unread;
                continue;
            }
            self.unread = Vec::new();
            return self.take_body(&unread, &mut body);
        }
        Ok(())
    }

    /// Takes that the connection was closed.
    pub(super) fn close(&mut self) -> Result<(), NoAnswer> {
        match &mut self.state {
            State::Body(body) => body.close().then_some(()).ok_or(NoAnswer::Short),
            State::Head if self.unread.is_empty() => Err(NoAnswer::None),
            State::Head => Err(NoAnswer::Short),
        }
    }

    /// Reads the head, where it is there: how long it is.
    fn parse(&mut self) -> Result<Option<usize>, NoAnswer> {
        let mut fields = [httparse::EMPTY_HEADER; MOST_FIELDS];
        let mut answer = httparse::Response::new(&mut fields);
        let malformed = |error: httparse::Error| NoAnswer::Malformed(error.to_string());
        let length = match answer.parse(&self.unread).map_err(malformed)? {
            httparse::Status::Complete(length) => length,
            httparse::Status::Partial if self.unread.len() > LONGEST_HEAD => {
                return Err(NoAnswer::Malformed("its head has no end".to_owned()));
            }
            httparse::Status::Partial => return Ok(None),
        };
        let status = answer.code.unwrap_or_default();
        if (100..200).contains(&status) {
            return Ok(Some(length));
        }
        let field = |name: &str| {
            let mut fields = answer.headers.iter();
            let field = fields.find(|field| field.name.eq_ignore_ascii_case(name))?;
            str::from_utf8(field.value).ok().map(str::to_owned)
        };
        let fields = answer.headers.iter().map(|it| (it.name, it.value));
        self.state = State::Body(Decoder::new(Framing::of(status, fields)?));
        self.head = Some(Head {
            status,
            content_type: field("content-type"),
            content_encoding: field("content-encoding"),
            served_by: field("x-replica-instance"),
            prefilled_by: field("x-replica-prefill"),
        });
        Ok(Some(length))
    }

    fn take_body(&mut self, read: &[u8], body: &mut impl FnMut(&[u8])) -> Result<(), NoAnswer> {
        let State::Body(decoder) = &mut self.state else {
            return Ok(());
        };
        let mut rest = read;
        while !rest.is_empty() && !decoder.is_whole() {
            let Taken { framing, data } = decoder.take(rest)?;
            let (piece, after) = rest[framing..].split_at(data);
            if !piece.is_empty() {
                body(piece);
            }
            rest = after;
        }
        Ok(())
    }
}

impl From<Malformed> for NoAnswer {
    fn from(Malformed(why): Malformed) -> Self {
        Self::Malformed(why)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes of an answer that is read in these pieces, and then closed where it is.
    fn read(pieces: &[&[u8]], is_closed: bool) -> Result<(Option<Head>, String), NoAnswer> {
        let mut answer = Answer::new();
        let mut body = Vec::new();
        for piece in pieces {
            answer.take(piece, |piece| body.extend_from_slice(piece))?;
        }
        if is_closed {
            answer.close()?;
        }
        assert!(answer.is_whole(), "it is not whole: {answer:?}");
        Ok((answer.head(), String::from_utf8(body).unwrap()))
    }

    fn body(text: &str) -> String {
        read(&[text.as_bytes()], false).unwrap().1
    }

    const STREAM: &str = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\
                          X-Replica-Instance: b\r\ntransfer-encoding: chunked\r\n\r\n\
                          6;a=b\r\ndata: \r\n000a\r\none\r\ntw\r\no\r\n0\r\nx-more: 1\r\n\r\n";

    #[test]
    fn it_is_the_same_however_it_is_cut() {
        let whole = read(&[STREAM.as_bytes()], false).unwrap();
        let head = whole.0.clone().unwrap();
        assert_eq!((head.status, head.served_by.as_deref()), (200, Some("b")));
        assert_eq!(head.content_type.as_deref(), Some("text/event-stream"));
        assert_eq!(whole.1, "data: one\r\ntw\r\no");
        for at in 1..STREAM.len() {
            let (one, other) = STREAM.as_bytes().split_at(at);
            assert_eq!(read(&[one, other], false).unwrap(), whole, "{at}");
        }
        let bytes: Vec<&[u8]> = STREAM.as_bytes().chunks(1).collect();
        assert_eq!(read(&bytes, false).unwrap(), whole);
    }

    #[test]
    fn its_end_is_told_by_its_length_or_by_the_end_of_the_connection() {
        assert_eq!(
            body("HTTP/1.1 429 No\r\ncontent-length: 3\r\n\r\nnot"),
            "not"
        );
        assert_eq!(
            body("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nnot more"),
            "not"
        );
        assert_eq!(body("HTTP/1.1 204 No\r\n\r\n"), "");
        assert_eq!(body("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"), "");
        let closed = b"HTTP/1.0 200 OK\r\n\r\nall of it";
        assert_eq!(read(&[closed], true).unwrap().1, "all of it");
        // What says both is chunked (RFC 9112, section 6.3).
        let both = "HTTP/1.1 200 OK\r\ncontent-length: 9\r\nTransfer-Encoding: gzip, Chunked\r\n\r\n1\r\na\r\n0\r\n\r\n";
        assert_eq!(body(both), "a");
    }

    #[test]
    fn what_is_not_whole_is_told_from_what_never_came() {
        assert_eq!(read(&[], true).unwrap_err(), NoAnswer::None);
        for text in [
            "HTTP/1.1 20",
            "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nno",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n",
        ] {
            assert_eq!(
                read(&[text.as_bytes()], true).unwrap_err(),
                NoAnswer::Short,
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_not_http_says_so() {
        for text in [
            "SSH-2.0-OpenSSH_9.6\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: many\r\n\r\n",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nab\r\n",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1234567890abcdef0\r\n",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n\r\n",
        ] {
            let why = read(&[text.as_bytes()], true).unwrap_err();
            assert!(matches!(why, NoAnswer::Malformed(_)), "{text}: {why}");
        }
        let endless = format!("HTTP/1.1 200 OK\r\nx: {}", "y".repeat(LONGEST_HEAD));
        let why = read(&[endless.as_bytes()], true).unwrap_err();
        assert!(matches!(why, NoAnswer::Malformed(_)), "{why}");
    }
}
