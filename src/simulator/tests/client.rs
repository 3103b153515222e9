//! A bare HTTP client that shows bytes as they are.

use std::net::SocketAddr;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A response, read to its end.
#[derive(Debug)]
pub(super) struct Answer {
    /// Status line and headers.
    pub(super) head: String,
    pub(super) body: String,
}

impl Answer {
    pub(super) fn status(&self) -> u16 {
        self.head
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok())
            .expect("a status line has a status")
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().skip(1);
        lines
            .filter_map(|line| line.split_once(": "))
            .find(|(header, _)| *header == name)
            .map(|(_, value)| value)
    }

    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.body).expect("the body is JSON")
    }

    /// The data of each event, the last one included.
    pub(super) fn events(&self) -> Vec<&str> {
        self.body
            .split_terminator("\n\n")
            .map(|event| event.strip_prefix("data: ").expect("an event is data"))
            .collect()
    }

    /// Each event but `[DONE]`.
    pub(super) fn chunks(&self) -> Vec<Value> {
        let events = self.events();
        let (last, chunks) = events.split_last().expect("a stream has an end");
        assert_eq!(*last, "[DONE]");
        chunks
            .iter()
            .map(|chunk| serde_json::from_str(chunk).expect("a chunk is JSON"))
            .collect()
    }
}

/// Sends a request and reads the answer to the end of the connection.
pub(super) async fn send(
    address: SocketAddr,
    request: &str,
    headers: &[&str],
    body: &str,
) -> Answer {
    let mut stream = TcpStream::connect(address)
        .await
        .expect("the server listens");
    write(
        &mut stream,
        request,
        &[headers, &["connection: close"]].concat(),
        body,
    )
    .await;
    let mut bytes = Vec::new();
    stream
        .read_to_end(&mut bytes)
        .await
        .expect("the server answers");
    read(&String::from_utf8(bytes).expect("answers are text"))
}

/// Sends JSON.
pub(super) async fn post(address: SocketAddr, path: &str, body: &Value) -> Answer {
    send(
        address,
        &format!("POST {path}"),
        &["content-type: application/json"],
        &body.to_string(),
    )
    .await
}

pub(super) async fn get(address: SocketAddr, path: &str) -> Answer {
    send(address, &format!("GET {path}"), &[], "").await
}

/// Sends JSON and leaves the connection open.
pub(super) async fn open(address: SocketAddr, path: &str, body: &Value) -> TcpStream {
    let mut stream = TcpStream::connect(address)
        .await
        .expect("the server listens");
    write(
        &mut stream,
        &format!("POST {path}"),
        &["content-type: application/json"],
        &body.to_string(),
    )
    .await;
    stream
}

pub(super) async fn write(stream: &mut TcpStream, request: &str, headers: &[&str], body: &str) {
    let headers: String = headers.iter().flat_map(|header| [header, "\r\n"]).collect();
    let length = body.len();
    let text = format!(
        "{request} HTTP/1.1\r\nhost: test\r\ncontent-length: {length}\r\n{headers}\r\n{body}"
    );
    stream
        .write_all(text.as_bytes())
        .await
        .expect("the server reads");
}

/// Reads until the bytes so far hold `text`.
pub(super) async fn read_until(stream: &mut TcpStream, text: &str) -> String {
    let mut bytes = Vec::new();
    while !String::from_utf8_lossy(&bytes).contains(text) {
        let count = stream
            .read_buf(&mut bytes)
            .await
            .expect("the server answers");
        assert_ne!(
            count,
            0,
            "the server has hung up after {:?}",
            String::from_utf8_lossy(&bytes)
        );
    }
    String::from_utf8(bytes).expect("answers are text")
}

fn read(text: &str) -> Answer {
    let (head, body) = text.split_once("\r\n\r\n").expect("an answer has a head");
    let body = if head.contains("transfer-encoding: chunked") {
        unchunked(body)
    } else {
        body.to_owned()
    };
    Answer {
        head: head.to_owned(),
        body,
    }
}

fn unchunked(mut body: &str) -> String {
    let mut text = String::new();
    loop {
        let (size, rest) = body.split_once("\r\n").expect("a chunk has a size");
        let size = usize::from_str_radix(size, 16).expect("a size is hexadecimal");
        if size == 0 {
            return text;
        }
        text.push_str(&rest[..size]);
        body = rest[size..]
            .strip_prefix("\r\n")
            .expect("a chunk has an end");
    }
}
