//! The body of an answer as it was read: its bytes in one piece, and when each read brought how many.
//!
//! A piece that is kept as it came from the transport keeps the whole buffer that it was read into,
//! which is thirty times as long as the event of a token: so each is copied, and its buffer is read
//! into again.

/// What was read, in the order of reading.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Body {
    bytes: Vec<u8>,
    /// The stamp of each read, in nanoseconds, and where what it brought ends.
    reads: Vec<(u64, usize)>,
}

impl Body {
    /// Adds what was read at a moment.
    pub(super) fn push(&mut self, at: u64, piece: &[u8]) {
        self.bytes.extend_from_slice(piece);
        self.reads.push((at, self.bytes.len()));
    }

    /// Lets go of the room for what does not come any more.
    pub(super) fn is_whole(&mut self) {
        self.bytes.shrink_to_fit();
        self.reads.shrink_to_fit();
    }

    /// When its first bytes were read.
    pub(super) fn begun(&self) -> Option<u64> {
        self.reads.first().map(|(at, _)| *at)
    }

    /// When its last bytes were read.
    pub(super) fn ended(&self) -> Option<u64> {
        self.reads.last().map(|(at, _)| *at)
    }

    /// All of its bytes.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Its pieces, each with the stamp of its read.
    pub(super) fn pieces(&self) -> impl Iterator<Item = (u64, &[u8])> {
        let mut from = 0;
        self.reads.iter().map(move |&(at, end)| {
            let piece = &self.bytes[from..end];
            from = end;
            (at, piece)
        })
    }
}

#[cfg(test)]
impl<B: AsRef<[u8]>> FromIterator<(u64, B)> for Body {
    fn from_iter<I: IntoIterator<Item = (u64, B)>>(pieces: I) -> Self {
        let mut body = Self::default();
        for (at, piece) in pieces {
            body.push(at, piece.as_ref());
        }
        body
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_gives_back_what_it_took() {
        let pieces: [(u64, &[u8]); 3] = [(3, b"ab"), (5, b""), (5, b"c")];
        let mut body: Body = pieces.into_iter().collect();
        body.is_whole();
        assert!(body.pieces().eq(pieces));
        assert_eq!(
            (body.bytes(), body.begun(), body.ended()),
            (&b"abc"[..], Some(3), Some(5))
        );
        assert_eq!(Body::default().pieces().count(), 0);
    }
}
