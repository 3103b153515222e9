//! The first bytes of a client's connection, which say what it speaks.

use tokio::io::ReadBuf;

/// What an HTTP/2 client begins with (RFC 9113, section 3.4). No request of HTTP/1 does.
const PREFACE: [u8; 24] = *b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The first bytes, as far as they are needed to tell, until they are read on.
#[derive(Debug, Default)]
pub(super) struct Beginning {
    bytes: [u8; PREFACE.len()],
    came: usize,
    read: usize,
}

impl Beginning {
    /// Whether it is that of HTTP/2; nothing while it could still be.
    pub(super) fn is_of_http2(&self) -> Option<bool> {
        let came = &self.bytes[..self.came];
        match PREFACE.strip_prefix(came) {
            None => Some(false),
            Some([]) => Some(true),
            Some(_) => None,
        }
    }

    /// Where the next bytes go.
    pub(super) fn room(&mut self) -> ReadBuf<'_> {
        ReadBuf::new(&mut self.bytes[self.came..])
    }

    /// Notes that so many came.
    pub(super) fn grow(&mut self, came: usize) {
        self.came += came;
    }

    /// Whether nothing of it is left to read.
    pub(super) fn is_read(&self) -> bool {
        self.read == self.came
    }

    /// Reads it on.
    pub(super) fn read_into(&mut self, buffer: &mut ReadBuf<'_>) {
        let left = &self.bytes[self.read..self.came];
        let fits = &left[..left.len().min(buffer.remaining())];
        buffer.put_slice(fits);
        self.read += fits.len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_beginning_tells_as_early_as_it_can() {
        for (bytes, tells) in [
            (&b""[..], None),
            (b"P", None),
            (b"POST /v1/completions HTT", Some(false)),
            (b"GET", Some(false)),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r", None),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Some(true)),
            (b"PRI * HTTP/1.1\r\n", Some(false)),
        ] {
            let mut beginning = Beginning::default();
            beginning.room().put_slice(bytes);
            beginning.grow(bytes.len());
            assert_eq!(beginning.is_of_http2(), tells, "{bytes:?}");
            let (mut few, mut many) = ([0; 5], [0; 30]);
            let (mut few, mut many) = (ReadBuf::new(&mut few), ReadBuf::new(&mut many));
            beginning.read_into(&mut few);
            beginning.read_into(&mut many);
            assert_eq!([few.filled(), many.filled()].concat(), bytes);
            assert!(beginning.is_read());
        }
    }
}
