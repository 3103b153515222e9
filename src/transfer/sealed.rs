//! Bytes that nobody between the two ends reads, changes, leaves out, repeats or puts in another order.
//!
//! Both ends know a word of this copy, which came to them over SSH. Each sends 32 random bytes; from
//! these and the word comes a key for each direction of this connection alone (HKDF of HMAC-SHA256).
//! Then go records of AES-256-GCM: their length, what was sealed, and its tag. A record is sealed under
//! its number, so that one that is not the next does not open. That the other end ends where it should,
//! the lengths of what was asked for tell, which whoever cuts the connection does not change.

use std::io::{self, Read, Write};

use ring::aead::{
    AES_256_GCM, Aad, BoundKey as _, MAX_TAG_LEN, NONCE_LEN, Nonce, NonceSequence, OpeningKey,
    SealingKey, UnboundKey,
};
use ring::error::Unspecified;
use ring::hkdf::{HKDF_SHA256, Salt};
use ring::rand::{SecureRandom as _, SystemRandom};

/// The most bytes that one record seals: they are in the caches still when they are hashed.
pub(super) const RECORD: usize = 256 << 10;

/// The random bytes of each end.
const RANDOM: usize = 32;

/// A length, in front of each record.
const HEADER: usize = 4;

/// What either direction's key is of, so that no record opens for the end that sealed it.
const ASKING: &[u8] = b"replica copy 1: from the end that asks";
const ANSWERING: &[u8] = b"replica copy 1: from the end that answers";

/// A connection whose other end knows the word, or whose first record does not open.
pub(super) struct Sealed<S> {
    stream: S,
    sealing: SealingKey<Count>,
    opening: OpeningKey<Count>,
    /// One record as it goes, or as it came.
    buffer: Vec<u8>,
}

/// The number of a record, which no two under one key share.
struct Count(u64);

impl NonceSequence for Count {
    fn advance(&mut self) -> Result<Nonce, Unspecified> {
        let mut nonce = [0; NONCE_LEN];
        nonce[NONCE_LEN - 8..].copy_from_slice(&self.0.to_be_bytes());
        self.0 = self.0.checked_add(1).ok_or(Unspecified)?;
        Ok(Nonce::assume_unique_for_key(nonce))
    }
}

impl<S: Read + Write> Sealed<S> {
    /// The connection of the end that asks.
    pub(super) fn asking(mut stream: S, word: &str) -> io::Result<Self> {
        let own = random()?;
        stream.write_all(&own)?;
        let mut other = [0; RANDOM];
        stream.read_exact(&mut other)?;
        Self::keyed(stream, word, &[own, other], [ASKING, ANSWERING])
    }

    /// The connection of the end that answers.
    pub(super) fn answering(mut stream: S, word: &str) -> io::Result<Self> {
        let mut other = [0; RANDOM];
        stream.read_exact(&mut other)?;
        let own = random()?;
        stream.write_all(&own)?;
        Self::keyed(stream, word, &[other, own], [ANSWERING, ASKING])
    }

    fn keyed(
        stream: S,
        word: &str,
        randoms: &[[u8; RANDOM]; 2],
        [own, other]: [&[u8]; 2],
    ) -> io::Result<Self> {
        let secret = Salt::new(HKDF_SHA256, randoms.as_flattened()).extract(word.as_bytes());
        let key = |of: &[u8]| {
            let key = secret.expand(&[of], &AES_256_GCM).map(UnboundKey::from);
            key.map_err(|_| io::Error::other("no key could be derived"))
        };
        Ok(Self {
            stream,
            sealing: SealingKey::new(key(own)?, Count(0)),
            opening: OpeningKey::new(key(other)?, Count(0)),
            buffer: Vec::new(),
        })
    }

    /// Sends a record with these bytes, [`RECORD`] at most.
    pub(super) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.send_from(&mut &*bytes, bytes.len())
    }

    /// Sends a record with the next bytes of a source, which has so many, [`RECORD`] at most.
    pub(super) fn send_from(&mut self, source: &mut impl Read, length: usize) -> io::Result<()> {
        let length = length.min(RECORD);
        self.buffer.resize(HEADER + length, 0);
        let (header, bytes) = self.buffer.split_at_mut(HEADER);
        source.read_exact(bytes)?;
        let tag = self.sealing.seal_in_place_separate_tag(Aad::empty(), bytes);
        let tag = tag.map_err(|_| io::Error::other("a record could not be sealed"))?;
        let sealed = (length + tag.as_ref().len()) as u32;
        header.copy_from_slice(&sealed.to_be_bytes());
        self.buffer.extend_from_slice(tag.as_ref());
        self.stream.write_all(&self.buffer)
    }

    /// The bytes of the next record, which are so many at most: none where the connection ends.
    pub(super) fn receive(&mut self, most: usize) -> io::Result<&[u8]> {
        let mut header = [0; HEADER];
        if !begins(&mut self.stream, &mut header)? {
            return Ok(&[]);
        }
        let length = u32::from_be_bytes(header) as usize;
        // Whoever does not know the word is to take no room here.
        if length <= MAX_TAG_LEN || length > most + MAX_TAG_LEN {
            return Err(forged());
        }
        self.buffer.resize(length, 0);
        self.stream.read_exact(&mut self.buffer)?;
        let opened = self.opening.open_in_place(Aad::empty(), &mut self.buffer);
        opened.map(|bytes| &*bytes).map_err(|_| forged())
    }
}

/// Reads what a record begins with; `false` where the connection ends before it.
fn begins(stream: &mut impl Read, header: &mut [u8; HEADER]) -> io::Result<bool> {
    loop {
        match stream.read(header) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
            Ok(0) => return Ok(false),
            Ok(some) => return stream.read_exact(&mut header[some..]).map(|()| true),
        }
    }
}

fn random() -> io::Result<[u8; RANDOM]> {
    let mut bytes = [0; RANDOM];
    let filled = SystemRandom::new().fill(&mut bytes);
    filled.map_err(|_| io::Error::other("there is no randomness here"))?;
    Ok(bytes)
}

fn forged() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        "what came is not what the other end had sealed: something between them changed it, or the \
         other end is another",
    )
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;
    use std::thread;

    use super::*;

    const WORD: &str = "a word of this copy";

    /// What the end that answers says.
    const SAID: [&[u8]; 3] = [b"the first", b"the second one", b"the third"];

    /// Both ends of a connection, and what is between them: all that went through it, in order.
    struct Between {
        asking: Sealed<UnixStream>,
        /// What the end that answers has sent, a record each.
        records: Vec<Vec<u8>>,
        /// Where whatever it should have sent goes in.
        to_asking: UnixStream,
        /// All that the end that asks sent.
        asked: Vec<u8>,
    }

    /// Lets both ends meet, and the one that answers say all that it has to say.
    fn between(words: [&str; 2]) -> Between {
        let (asking, mut to_asking) = UnixStream::pair().unwrap();
        let (mut to_answering, answering) = UnixStream::pair().unwrap();
        let (of_asking, of_answering) = (words[0].to_owned(), words[1].to_owned());
        let asking = thread::spawn(move || {
            let mut asking = Sealed::asking(asking, &of_asking).unwrap();
            asking.send(b"a question").unwrap();
            asking
        });
        let answering = thread::spawn(move || {
            let mut answering = Sealed::answering(answering, &of_answering).unwrap();
            for said in SAID {
                answering.send(said).unwrap();
            }
        });
        let mut asked = vec![0; RANDOM];
        to_asking.read_exact(&mut asked).unwrap();
        to_answering.write_all(&asked).unwrap();
        let mut random = [0; RANDOM];
        to_answering.read_exact(&mut random).unwrap();
        to_asking.write_all(&random).unwrap();
        let (asking, ()) = (asking.join().unwrap(), answering.join().unwrap());
        let records = SAID.map(|said| {
            let mut record = vec![0; HEADER + said.len() + MAX_TAG_LEN];
            to_answering.read_exact(&mut record).unwrap();
            record
        });
        let question = HEADER + b"a question".len() + MAX_TAG_LEN;
        asked.resize(RANDOM + question, 0);
        to_asking.read_exact(&mut asked[RANDOM..]).unwrap();
        Between {
            asking,
            records: records.to_vec(),
            to_asking,
            asked,
        }
    }

    /// What the end that asks believes, of what was done to the records on the way.
    fn believed(
        mut between: Between,
        on_the_way: impl FnOnce(&mut Vec<Vec<u8>>, &[u8]),
    ) -> (Vec<Vec<u8>>, Option<io::ErrorKind>) {
        on_the_way(&mut between.records, &between.asked);
        let sent = between.records.concat();
        between.to_asking.write_all(&sent).unwrap();
        drop(between.to_asking);
        let mut came = Vec::new();
        loop {
            match between.asking.receive(RECORD) {
                Ok([]) => return (came, None),
                Ok(bytes) => came.push(bytes.to_vec()),
                Err(error) => return (came, Some(error.kind())),
            }
        }
    }

    type OnTheWay = fn(&mut Vec<Vec<u8>>, &[u8]);

    #[test]
    fn nothing_is_believed_that_was_not_said_in_this_order() {
        use io::ErrorKind::{InvalidData, UnexpectedEof};
        let cases: [(&str, OnTheWay, usize, Option<io::ErrorKind>); 11] = [
            ("left alone", |_, _| (), 3, None),
            (
                "a bit",
                |it, _| it[1][HEADER + 2] ^= 1,
                1,
                Some(InvalidData),
            ),
            (
                "a bit of a tag",
                |it, _| *it[2].last_mut().unwrap() ^= 0x80,
                2,
                Some(InvalidData),
            ),
            ("a length", |it, _| it[1][3] -= 1, 1, Some(InvalidData)),
            (
                "a great length",
                |it, _| it[1][0] = 0xff,
                1,
                Some(InvalidData),
            ),
            (
                "no length",
                |it, _| it[1] = vec![0; HEADER],
                1,
                Some(InvalidData),
            ),
            ("another order", |it, _| it.swap(0, 1), 0, Some(InvalidData)),
            (
                "once more",
                |it, _| it.insert(1, it[0].clone()),
                1,
                Some(InvalidData),
            ),
            ("left out", |it, _| drop(it.remove(1)), 1, Some(InvalidData)),
            (
                "cut",
                |it, _| it[2].truncate(HEADER + 3),
                2,
                Some(UnexpectedEof),
            ),
            (
                "its own",
                |it, asked| it[0] = asked[RANDOM..].to_vec(),
                0,
                Some(InvalidData),
            ),
        ];
        for (name, on_the_way, many, ends) in cases {
            let (came, error) = believed(between([WORD; 2]), on_the_way);
            assert_eq!(came, SAID[..many], "{name}");
            assert_eq!(error, ends, "{name}");
        }
    }

    #[test]
    fn who_knows_another_word_believes_nothing() {
        let (came, error) = believed(between([WORD, "another word"]), |_, _| ());
        assert_eq!(came, Vec::<Vec<u8>>::new());
        assert_eq!(error, Some(io::ErrorKind::InvalidData));
    }

    /// What one end said on one connection is no sign on another one, though the word is the same.
    #[test]
    fn what_was_said_on_another_connection_does_not_open() {
        let earlier = between([WORD; 2]).records;
        let (came, error) = believed(between([WORD; 2]), |it, _| *it = earlier);
        assert_eq!(came, Vec::<Vec<u8>>::new());
        assert_eq!(error, Some(io::ErrorKind::InvalidData));
    }

    #[test]
    fn neither_what_is_said_nor_the_word_can_be_read_on_the_way() {
        let between = between([WORD; 2]);
        let all = [between.asked, between.records.concat()].concat();
        for text in [WORD.as_bytes(), b"a question", SAID[0], SAID[1], SAID[2]] {
            let mut windows = all.windows(text.len());
            assert!(!windows.any(|window| window == text));
        }
    }

    #[test]
    fn a_record_is_no_longer_than_is_expected() {
        let mut between = between([WORD; 2]);
        between.to_asking.write_all(&between.records[0]).unwrap();
        let came = between.asking.receive(SAID[0].len() - 1);
        assert_eq!(came.unwrap_err().kind(), io::ErrorKind::InvalidData);
    }

    /// A source that has become shorter breaks the connection: nothing is made up for it.
    #[test]
    fn no_record_is_sealed_of_what_is_not_there() {
        let mut between = between([WORD; 2]);
        let sent = between.asking.send_from(&mut &b"short"[..], 6);
        assert_eq!(sent.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        drop(between.asking);
        let mut came = Vec::new();
        between.to_asking.read_to_end(&mut came).unwrap();
        assert!(came.is_empty());
    }
}
