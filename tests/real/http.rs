//! One request, and its answer byte for byte.

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;

/// How long an answer may take: the first sampled one compiles.
const PATIENCE: Duration = Duration::from_secs(120);

/// An answer.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// Its header lines, in lower case, as they came.
    head: Vec<(String, String)>,
    /// Its body, taken out of its chunks.
    pub(super) body: String,
}

impl Answer {
    /// The value of a header, or nothing.
    pub(super) fn header(&self, name: &str) -> &str {
        let found = self.head.iter().find(|(known, _)| known == name);
        found.map_or("", |(_, value)| value)
    }

    /// The names of its headers, sorted, without those that tell of the moment.
    pub(super) fn header_names(&self) -> Vec<&str> {
        let mut names: Vec<_> = self.head.iter().map(|(name, _)| name.as_str()).collect();
        names.retain(|name| !["date", "connection"].contains(name));
        names.sort_unstable();
        names
    }

    /// Its body as a document.
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// What its server-sent events hold, in their order.
    pub(super) fn events(&self) -> Vec<&str> {
        let events = self.body.split("\n\n").filter(|event| !event.is_empty());
        events
            .map(|event| event.strip_prefix("data: ").unwrap_or(event))
            .collect()
    }
}

/// Sends a request: `GET /health`. Returns what went wrong where no answer came.
pub(super) fn send(
    port: u16,
    line: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Result<Answer, String> {
    let words = |error: std::io::Error| error.to_string();
    let mut socket = TcpStream::connect(("127.0.0.1", port)).map_err(words)?;
    socket.set_read_timeout(Some(PATIENCE)).map_err(words)?;
    let mut text = format!("{line} HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n");
    for (name, value) in headers {
        let _ = write!(text, "{name}: {value}\r\n");
    }
    if !body.is_empty() {
        let _ = write!(text, "content-length: {}\r\n", body.len());
    }
    text += "\r\n";
    text += body;
    socket.write_all(text.as_bytes()).map_err(words)?;
    let mut bytes = Vec::new();
    socket.read_to_end(&mut bytes).map_err(words)?;
    read(&String::from_utf8_lossy(&bytes)).ok_or_else(|| "no answer".to_owned())
}

/// Posts a document.
pub(super) fn post(port: u16, path: &str, body: &Value) -> Answer {
    let json = [("content-type", "application/json")];
    send(port, &format!("POST {path}"), &json, &body.to_string()).expect("it answers")
}

/// Gets a path.
pub(super) fn get(port: u16, path: &str) -> Answer {
    send(port, &format!("GET {path}"), &[], "").expect("it answers")
}

/// Begins a stream, and returns its connection once the first event came.
pub(super) fn begin(port: u16, path: &str, body: &Value) -> TcpStream {
    let mut socket = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
    let body = body.to_string();
    let text = format!(
        "POST {path} HTTP/1.1\r\nhost: h\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    );
    socket.write_all(text.as_bytes()).expect("it reads");
    socket
        .set_read_timeout(Some(PATIENCE))
        .expect("it is a socket");
    let mut seen = String::new();
    let mut piece = [0; 4096];
    while !seen.contains("data: ") {
        let read = socket.read(&mut piece).expect("it streams");
        assert_ne!(read, 0, "it ended: {seen}");
        seen.push_str(&String::from_utf8_lossy(&piece[..read]));
    }
    socket
}

fn read(text: &str) -> Option<Answer> {
    let (head, body) = text.split_once("\r\n\r\n")?;
    let mut lines = head.lines();
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let head: Vec<_> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let is_chunked = head.iter().any(|(name, _)| name == "transfer-encoding");
    let body = if is_chunked {
        joined(body)
    } else {
        body.to_owned()
    };
    Some(Answer { status, head, body })
}

/// Takes a body out of its chunks.
fn joined(mut chunks: &str) -> String {
    let mut body = String::new();
    while let Some((size, rest)) = chunks.split_once("\r\n") {
        let Ok(size) = usize::from_str_radix(size, 16) else {
            break;
        };
        let Some(chunk) = rest.get(..size) else { break };
        body.push_str(chunk);
        chunks = rest.get(size + 2..).unwrap_or("");
    }
    body
}
