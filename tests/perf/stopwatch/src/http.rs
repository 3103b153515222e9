//! As much of HTTP/1.1 as two programs of our own need.

/// A request with all of its body.
pub struct Request {
    pub is_post: bool,
    pub path: String,
    pub body: Vec<u8>,
}

impl Request {
    /// The request at the front of what was read, once all of it is there.
    pub fn take(asked: &mut Vec<u8>) -> Option<Self> {
        let head = head_length(asked)?;
        // A body in chunks is taken as it comes: what is looked for stands in one piece of it.
        let length = match framing(&asked[..head]) {
            Some(Framing::Length(length)) => length,
            Some(Framing::Chunked) => chunked_length(&asked[head..])?,
            None => 0,
        };
        if asked.len() < head + length {
            return None;
        }
        let line = std::str::from_utf8(&asked[..head]).ok()?;
        let mut words = line.split(' ');
        let is_post = words.next() == Some("POST");
        let path = words.next()?.split('?').next()?.to_owned();
        let body = asked[head..head + length].to_vec();
        asked.drain(..head + length);
        Some(Self { is_post, path, body })
    }
}

/// How the end of a message is told.
#[derive(Clone, Copy)]
pub enum Framing {
    Length(usize),
    Chunked,
}

/// The length of a head, with the empty line, once it is there.
pub fn head_length(bytes: &[u8]) -> Option<usize> {
    Some(bytes.windows(4).position(|it| it == b"\r\n\r\n")? + 4)
}

/// What a head says of its message's end.
pub fn framing(head: &[u8]) -> Option<Framing> {
    for line in head.split(|byte| *byte == b'\n') {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else {
            continue;
        };
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if name.eq_ignore_ascii_case(b"transfer-encoding") {
            return Some(Framing::Chunked);
        }
        if name.eq_ignore_ascii_case(b"content-length") {
            return std::str::from_utf8(value).ok()?.parse().ok().map(Framing::Length);
        }
    }
    None
}

fn chunked_length(body: &[u8]) -> Option<usize> {
    let end = b"\r\n0\r\n\r\n";
    Some(body.windows(end.len()).position(|it| it == end)? + end.len())
}

/// An answer with this document.
pub fn answer(document: &str) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        document.len()
    );
    (head + document).into_bytes()
}

/// The number behind a key of JSON.
pub fn number_after(text: &[u8], key: &[u8]) -> Option<u64> {
    let at = text.windows(key.len()).position(|it| it == key)? + key.len();
    leading_number(text[at..].trim_ascii_start().strip_prefix(b":")?.trim_ascii_start())
}

/// The number that a text begins with.
pub fn leading_number(text: &[u8]) -> Option<u64> {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    std::str::from_utf8(&text[..digits]).ok()?.parse().ok()
}
