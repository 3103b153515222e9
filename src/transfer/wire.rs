//! What the two ends say to each other: a word first, then lines, and the bytes that they ask for.
//!
//! Between them all of it is sealed, or in the clear where the manifest trusts the network.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read, Write};

use super::sealed::{RECORD, Sealed};

/// The longest line of a request, in bytes.
const LINE: usize = 256;

/// As much as is read at once in the clear.
const BUFFER: usize = 1 << 20;

/// What the end that asks says first where it does not send the word itself.
const KNOWN: &str = "known";

/// A connection between the two ends.
pub(super) enum Wire<S> {
    /// As it is.
    Clear {
        lines: BufReader<S>,
        buffer: Vec<u8>,
    },
    /// Sealed.
    Sealed(Box<Sealed<S>>),
}

impl<S: Read + Write> Wire<S> {
    /// The connection of the end that asks.
    pub(super) fn asking(stream: S, word: &str, is_trusted: bool) -> io::Result<Self> {
        if is_trusted {
            let mut wire = Self::clear(stream);
            wire.say(word)?;
            return Ok(wire);
        }
        let mut wire = Self::Sealed(Box::new(Sealed::asking(stream, word)?));
        wire.say(KNOWN)?;
        Ok(wire)
    }

    /// The connection of the end that answers; none where the other does not know the word.
    pub(super) fn answering(stream: S, word: &str, is_trusted: bool) -> io::Result<Option<Self>> {
        let (mut wire, first) = if is_trusted {
            (Self::clear(stream), word)
        } else {
            let sealed = Sealed::answering(stream, word)?;
            (Self::Sealed(Box::new(sealed)), KNOWN)
        };
        let is_known = wire.hear()?.as_deref() == Some(first);
        Ok(is_known.then_some(wire))
    }

    fn clear(stream: S) -> Self {
        Self::Clear {
            lines: BufReader::new(stream),
            buffer: Vec::new(),
        }
    }

    /// Says a line.
    pub(super) fn say(&mut self, line: &str) -> io::Result<()> {
        match self {
            Self::Clear { lines, .. } => {
                let stream = lines.get_mut();
                stream.write_all(format!("{line}\n").as_bytes())
            }
            Self::Sealed(sealed) => sealed.send(line.as_bytes()),
        }
    }

    /// The next line; none where the connection ends.
    pub(super) fn hear(&mut self) -> io::Result<Option<String>> {
        match self {
            Self::Clear { lines, .. } => {
                let mut line = String::new();
                lines.take(LINE as u64).read_line(&mut line)?;
                Ok(line.strip_suffix('\n').map(str::to_owned))
            }
            Self::Sealed(sealed) => {
                let line = str::from_utf8(sealed.receive(LINE)?);
                let line = line.map_err(|_| io::ErrorKind::InvalidData)?;
                Ok((!line.is_empty()).then(|| line.to_owned()))
            }
        }
    }

    /// Gives so many bytes of a file.
    pub(super) fn give(&mut self, file: File, length: u64) -> io::Result<()> {
        match self {
            Self::Clear { lines, .. } => {
                // On Linux this is `sendfile`.
                let gave = io::copy(&mut file.take(length), lines.get_mut())?;
                // It has become shorter: to break off is to say so.
                let is_whole = gave == length;
                is_whole
                    .then_some(())
                    .ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
            }
            Self::Sealed(sealed) => {
                let (mut file, mut left) = (file, length);
                while left > 0 {
                    let some = left.min(RECORD as u64);
                    sealed.send_from(&mut file, some as usize)?;
                    left -= some;
                }
                Ok(())
            }
        }
    }

    /// Gives so many bytes of memory: what they are does not matter.
    pub(super) fn give_memory(&mut self, length: u64) -> io::Result<()> {
        let bytes = vec![0x5a; RECORD];
        let mut left = length;
        while left > 0 {
            let some = left.min(RECORD as u64) as usize;
            match self {
                Self::Clear { lines, .. } => lines.get_mut().write_all(&bytes[..some])?,
                Self::Sealed(sealed) => sealed.send(&bytes[..some])?,
            }
            left -= some as u64;
        }
        Ok(())
    }

    /// The next bytes, which are so many at most: none where the connection ends.
    pub(super) fn take(&mut self, most: u64) -> io::Result<&[u8]> {
        match self {
            Self::Clear { lines, buffer } => {
                buffer.resize(BUFFER, 0);
                let some = &mut buffer[..most.min(BUFFER as u64) as usize];
                loop {
                    match lines.read(some) {
                        // A signal is no end.
                        Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                        came => return came.map(|came| &some[..came]),
                    }
                }
            }
            Self::Sealed(sealed) => sealed.receive(most.min(RECORD as u64) as usize),
        }
    }
}
