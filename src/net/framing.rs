//! Where the body of an HTTP/1.1 answer stands among the bytes of a connection, and where it ends
//! (RFC 9112, sections 6 and 7).
//!
//! It reads no byte twice and copies none: it says of what was read how much is framing and how much,
//! after that, is body.

/// How a body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// There is none.
    Empty,
    /// It comes in chunks, the last of which is empty.
    Chunked,
    /// It is of this length.
    Sized(u64),
    /// It goes on until the connection is closed.
    UntilClosed,
}

/// Why what was read has no body that could be told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(pub String);

/// What was read next: so many bytes of framing, and behind them so many of the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Taken {
    /// Bytes that are no body.
    pub framing: usize,
    /// Bytes of the body that follow those.
    pub data: usize,
}

impl Framing {
    /// How the body of an answer with this status and these fields ends, where the request was no HEAD
    /// (RFC 9112, section 6.3). What says both a coding and a length is believed the coding.
    ///
    /// # Errors
    ///
    /// When a length is none, or two of them differ.
    pub fn of<'a>(
        status: u16,
        fields: impl Iterator<Item = (&'a str, &'a [u8])>,
    ) -> Result<Self, Malformed> {
        let (mut codings, mut length) = (None, None);
        for (name, value) in fields {
            if name.eq_ignore_ascii_case("transfer-encoding") {
                codings = Some(value);
            } else if name.eq_ignore_ascii_case("content-length") {
                let this = read_length(value)?;
                if length.is_some_and(|length| length != this) {
                    return Err(Malformed("it has two lengths".to_owned()));
                }
                length = Some(this);
            }
        }
        if (100..200).contains(&status) || status == 204 || status == 304 {
            return Ok(Self::Empty);
        }
        Ok(match (codings.map(ends_in_chunks), length) {
            (Some(true), _) => Self::Chunked,
            (Some(false), _) | (None, None) => Self::UntilClosed,
            (None, Some(0)) => Self::Empty,
            (None, Some(length)) => Self::Sized(length),
        })
    }
}

fn read_length(value: &[u8]) -> Result<u64, Malformed> {
    let text = value.trim_ascii();
    let append = |length: u64, byte: &u8| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        length.checked_mul(10)?.checked_add(digit)
    };
    let length = text.iter().try_fold(0, append).filter(|_| !text.is_empty());
    length.ok_or_else(|| {
        let text = String::from_utf8_lossy(text);
        Malformed(format!("`{text}` is no content-length"))
    })
}

fn ends_in_chunks(codings: &[u8]) -> bool {
    let last = codings.rsplit(|byte| *byte == b',').next();
    last.unwrap_or_default()
        .trim_ascii()
        .eq_ignore_ascii_case(b"chunked")
}

/// A body that is being read.
#[derive(Debug)]
pub struct Decoder(State);

#[derive(Debug, Clone, Copy)]
enum State {
    Chunked(Chunk),
    /// So many bytes are left.
    Sized(u64),
    UntilClosed,
    Whole,
}

/// Where in a chunked body the next byte stands (RFC 9112, section 7.1).
#[derive(Debug, Clone, Copy)]
enum Chunk {
    /// In the size of a chunk, of which so many digits were read.
    Size { so_far: u64, digits: u32 },
    /// Behind the size, on its line.
    Extension { size: u64 },
    /// In the data, of which so much is left.
    Data { left: u64 },
    /// In the end of the line behind the data.
    DataEnd,
    /// On a line behind the last chunk.
    Trailer { is_empty: bool },
}

impl Chunk {
    const FIRST: Self = Self::Size {
        so_far: 0,
        digits: 0,
    };
}

impl Decoder {
    /// At the beginning of a body that ends so.
    pub fn new(framing: Framing) -> Self {
        Self(match framing {
            Framing::Empty | Framing::Sized(0) => State::Whole,
            Framing::Chunked => State::Chunked(Chunk::FIRST),
            Framing::Sized(length) => State::Sized(length),
            Framing::UntilClosed => State::UntilClosed,
        })
    }

    /// Whether it came to its end.
    pub fn is_whole(&self) -> bool {
        matches!(self.0, State::Whole)
    }

    /// How many bytes of it are still to come, where that is known.
    pub fn left(&self) -> Option<u64> {
        match self.0 {
            State::Whole => Some(0),
            State::Sized(left) => Some(left),
            State::Chunked(_) | State::UntilClosed => None,
        }
    }

    /// Takes what was read next. What is not taken is to be shown again; once the body is whole,
    /// nothing is taken.
    ///
    /// # Errors
    ///
    /// When a chunk has no size.
    pub fn take(&mut self, read: &[u8]) -> Result<Taken, Malformed> {
        match &mut self.0 {
            State::Whole => Ok(Taken::default()),
            State::UntilClosed => Ok(Taken {
                framing: 0,
                data: read.len(),
            }),
            State::Sized(left) => {
                let data = within(*left, read);
                *left -= data as u64;
                if *left == 0 {
                    self.0 = State::Whole;
                }
                Ok(Taken { framing: 0, data })
            }
            State::Chunked(chunk) => {
                let (taken, next) = chunk.take(read)?;
                self.0 = next.map_or(State::Whole, State::Chunked);
                Ok(taken)
            }
        }
    }

    /// Takes that the connection was closed: whether the body is whole with that.
    pub fn close(&mut self) -> bool {
        if matches!(self.0, State::UntilClosed) {
            self.0 = State::Whole;
        }
        self.is_whole()
    }
}

fn within(left: u64, read: &[u8]) -> usize {
    usize::try_from(left).unwrap_or(usize::MAX).min(read.len())
}

impl Chunk {
    /// Takes the framing that comes first, and the data behind it: where it stands then, nothing at
    /// the end.
    fn take(self, read: &[u8]) -> Result<(Taken, Option<Self>), Malformed> {
        let (mut at, mut framing) = (self, 0);
        loop {
            if let Self::Data { left } = at {
                let data = within(left, &read[framing..]);
                let next = match left - data as u64 {
                    0 => Self::DataEnd,
                    left => Self::Data { left },
                };
                return Ok((Taken { framing, data }, Some(next)));
            }
            let Some(byte) = read.get(framing) else {
                return Ok((Taken { framing, data: 0 }, Some(at)));
            };
            framing += 1;
            match at.step(*byte)? {
                Some(next) => at = next,
                None => return Ok((Taken { framing, data: 0 }, None)),
            }
        }
    }

    /// Where it stands behind a byte that is no data. A line may end without a CR.
    fn step(self, byte: u8) -> Result<Option<Self>, Malformed> {
        let next = match self {
            Self::Size { so_far, digits } => return Self::sized(so_far, digits, byte).map(Some),
            Self::Extension { size } if byte == b'\n' => Self::after(size),
            Self::DataEnd if byte == b'\n' => Self::FIRST,
            Self::DataEnd | Self::Data { .. } if byte != b'\r' => return Err(no_size()),
            Self::Trailer { is_empty: true } if byte == b'\n' => return Ok(None),
            Self::Trailer { .. } if byte == b'\n' => Self::Trailer { is_empty: true },
            Self::Trailer { .. } if byte != b'\r' => Self::Trailer { is_empty: false },
            in_line => in_line,
        };
        Ok(Some(next))
    }

    /// Where it stands behind a byte on the line of a size.
    fn sized(so_far: u64, digits: u32, byte: u8) -> Result<Self, Malformed> {
        match (char::from(byte).to_digit(16), byte) {
            (Some(digit), _) if digits < 15 => Ok(Self::Size {
                so_far: so_far * 16 + u64::from(digit),
                digits: digits + 1,
            }),
            _ if digits == 0 => Err(no_size()),
            (None, b'\n') => Ok(Self::after(so_far)),
            (None, b'\r' | b';' | b' ' | b'\t') => Ok(Self::Extension { size: so_far }),
            _ => Err(no_size()),
        }
    }

    /// Where it stands behind the line of a size: the last chunk has none.
    fn after(size: u64) -> Self {
        match size {
            0 => Self::Trailer { is_empty: true },
            left => Self::Data { left },
        }
    }
}

fn no_size() -> Malformed {
    Malformed("a chunk has no size".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The body in these pieces, and how many bytes are left behind its end.
    fn read(framing: Framing, pieces: &[&[u8]]) -> Result<(String, usize), Malformed> {
        let (mut decoder, mut body, mut behind) = (Decoder::new(framing), Vec::new(), 0);
        for piece in pieces {
            let mut rest = *piece;
            while !rest.is_empty() && !decoder.is_whole() {
                let Taken { framing, data } = decoder.take(rest)?;
                body.extend_from_slice(&rest[framing..framing + data]);
                rest = &rest[framing + data..];
            }
            behind += rest.len();
        }
        assert!(decoder.is_whole(), "{decoder:?}");
        Ok((String::from_utf8(body).unwrap(), behind))
    }

    #[test]
    fn chunks_are_the_same_however_they_are_cut() {
        let chunked = b"6;a=b\r\ndata: \r\n000a\r\none\r\ntw\r\no\r\n0\r\nx-more: 1\r\n\r\nHTTP";
        let whole = read(Framing::Chunked, &[chunked]).unwrap();
        assert_eq!(whole, ("data: one\r\ntw\r\no".to_owned(), 4));
        for at in 1..chunked.len() {
            let (one, other) = chunked.split_at(at);
            assert_eq!(
                read(Framing::Chunked, &[one, other]).unwrap(),
                whole,
                "{at}"
            );
        }
        let bytes: Vec<&[u8]> = chunked.chunks(1).collect();
        assert_eq!(read(Framing::Chunked, &bytes).unwrap(), whole);
    }

    #[test]
    fn a_length_ends_a_body_and_so_does_the_end_of_the_connection() {
        let sized = read(Framing::Sized(3), &[b"no", b"t more"]).unwrap();
        assert_eq!(sized, ("not".to_owned(), 5));
        let mut open = Decoder::new(Framing::UntilClosed);
        assert_eq!(open.take(b"all").unwrap().data, 3);
        assert!(!open.is_whole() && open.close() && open.is_whole());
        assert!(!Decoder::new(Framing::Sized(1)).close());
        assert!(!Decoder::new(Framing::Chunked).close());
    }

    #[test]
    fn the_fields_say_how_it_ends() {
        let of = |status, fields: &[(&'static str, &'static str)]| {
            Framing::of(status, fields.iter().map(|(k, v)| (*k, v.as_bytes())))
        };
        for (status, fields, framing) in [
            (200, &[][..], Framing::UntilClosed),
            (200, &[("Content-Length", "3")], Framing::Sized(3)),
            (200, &[("content-length", "0")], Framing::Empty),
            (204, &[("content-length", "3")], Framing::Empty),
            (304, &[("content-length", "3")], Framing::Empty),
            (200, &[("transfer-encoding", "Chunked")], Framing::Chunked),
            (
                200,
                &[("transfer-encoding", "gzip, chunked")],
                Framing::Chunked,
            ),
            (200, &[("transfer-encoding", "gzip")], Framing::UntilClosed),
            (
                200,
                &[("content-length", "9"), ("transfer-encoding", "chunked")],
                Framing::Chunked,
            ),
            (
                200,
                &[("content-length", "3"), ("content-length", "3")],
                Framing::Sized(3),
            ),
        ] {
            assert_eq!(of(status, fields), Ok(framing), "{status} {fields:?}");
        }
        for length in [
            "many",
            "-2",
            "+5",
            "",
            "0x21",
            "18446744073709551616",
            "3, 3",
        ] {
            let why = Framing::of(200, [("content-length", length.as_bytes())].into_iter());
            assert!(why.is_err(), "{length}");
        }
        assert!(of(200, &[("content-length", "3"), ("content-length", "4")]).is_err());
    }

    #[test]
    fn what_has_no_size_is_no_chunk() {
        for text in [
            "zz\r\n",
            "1\r\nab\r\n",
            "1234567890abcdef0\r\n",
            "\r\n",
            "-1\r\n",
        ] {
            assert!(
                read(Framing::Chunked, &[text.as_bytes()]).is_err(),
                "{text}"
            );
        }
    }

    /// What comes of a body in pieces of this size: what it holds, and how many bytes are left behind it.
    fn taken(
        framing: Framing,
        input: &[u8],
        size: usize,
    ) -> Result<(Vec<u8>, usize, bool), Malformed> {
        let (mut decoder, mut body, mut behind) = (Decoder::new(framing), Vec::new(), 0);
        for piece in input.chunks(size) {
            let mut rest = piece;
            while !rest.is_empty() && !decoder.is_whole() {
                let Taken { framing, data } = decoder.take(rest)?;
                assert!(framing + data > 0 && framing + data <= rest.len());
                body.extend_from_slice(&rest[framing..framing + data]);
                rest = &rest[framing + data..];
            }
            behind += rest.len();
        }
        Ok((body, behind, decoder.is_whole()))
    }

    /// Wherever a body is cut, it is the same body, and no byte of it is read beyond.
    #[test]
    fn fuzz_framing() {
        let words = [
            "\r\n",
            "0\r\n\r\n",
            "ffffffffffffffff",
            "8;x=\"y\"",
            "0000000000000001",
            "a\r\n0123456789\r\n",
        ];
        crate::fuzz::run("framing", &words, |input| {
            let (first, input) = input.split_first().unwrap_or((&0, &[]));
            let framing = || match first % 4 {
                0 => Framing::Sized(u64::from(*first)),
                1 => Framing::UntilClosed,
                _ => Framing::Chunked,
            };
            let whole = taken(framing(), input, usize::MAX).map_err(|error| error.0);
            for size in [1, 2, 5] {
                let cut = taken(framing(), input, size).map_err(|error| error.0);
                assert_eq!(cut.is_ok(), whole.is_ok(), "in pieces of {size}");
                if let (Ok(cut), Ok(whole)) = (&cut, &whole) {
                    assert_eq!(cut, whole, "in pieces of {size}");
                }
            }
            let sort =
                whole.map(|(body, behind, is_whole)| (body.len().min(4), behind > 0, is_whole));
            crate::fuzz::sort_of((first % 4, sort))
        });
    }
}
