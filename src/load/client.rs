//! The transport: one HTTP/1.1 connection for each request in flight, opened ahead of it.
//!
//! There is no pool to surprise a measurement: a connection carries one request and is closed, its
//! making has a time of its own, and nothing is ever sent twice.

use std::io::{self, ErrorKind, IoSlice};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::ready;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::client::conn::http1;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use hyper::http::Method;
use hyper::http::request::Builder;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::{AsyncRead, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::answer::Answer;
use super::clock::{Clock, nanoseconds};
use super::key::ApiKeys;
use super::sample::{Ending, Raw};
use crate::describe::describe;

/// As many bytes as are read at once.
const READ: usize = 16 * 1024;

/// The longest that a connection may take, where a request may take longer.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);

/// What every request of a run shares.
#[derive(Debug, Clone)]
pub(super) struct Client {
    pub(super) clock: Clock,
    pub(super) keys: ApiKeys,
    pub(super) limit: Duration,
}

/// What to send, and under which name.
#[derive(Debug, Clone)]
pub(super) struct Message {
    pub(super) index: u32,
    pub(super) id: String,
    /// The route: `/v1/completions`.
    pub(super) path: &'static str,
    pub(super) body: Bytes,
    /// Tokens that are asked of the answer.
    pub(super) asked: u32,
    /// Whether it is to have exactly as many.
    pub(super) is_exact: bool,
    /// Whether the likeliest token is always chosen.
    pub(super) is_greedy: bool,
}

/// A connection that is ready, or the reason why there is none.
pub(super) struct Connection {
    authority: String,
    begun: u64,
    made: Result<Made, String>,
}

struct Made {
    stream: TcpStream,
    ready: u64,
}

impl Connection {
    /// Whether a request can still be sent over it: the server has not closed it, nor said anything.
    pub(super) fn is_good(&self) -> bool {
        let is_silent = |made: &Made| {
            let read = made.stream.try_read(&mut [0]);
            read.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
        };
        self.made.as_ref().is_ok_and(is_silent)
    }
}

impl Client {
    /// Opens a connection; a failure is kept for the request that would have used it.
    pub(super) async fn open(&self, authority: &str) -> Connection {
        let begun = self.clock.now();
        let made = match timeout(self.limit.min(CONNECT_LIMIT), self.make(authority)).await {
            Ok(made) => made.map_err(|error| format!("cannot connect to {authority}: {error}")),
            Err(_) => Err(format!("cannot connect to {authority}: the time ran out")),
        };
        Connection {
            authority: authority.to_owned(),
            begun,
            made,
        }
    }

    async fn make(&self, authority: &str) -> io::Result<Made> {
        let stream = TcpStream::connect(authority).await?;
        stream.set_nodelay(true)?;
        Ok(Made {
            stream,
            ready: self.clock.now(),
        })
    }

    /// Sends a completion and keeps what comes back, byte for byte, until it ends or the time is up.
    /// What was planned for no moment was meant to be sent now.
    pub(super) async fn complete(
        &self,
        over: Connection,
        message: Message,
        planned: Option<Duration>,
    ) -> Raw {
        let planned = planned.map_or_else(|| self.clock.now(), nanoseconds);
        let mut raw = Raw {
            connect: Some((over.begun, None)),
            ending: Ending::TimedOut,
            ..Raw::not_sent(&message, planned)
        };
        match over.made {
            Err(why) => raw.ending = Ending::NoConnection(why),
            Ok(made) => {
                raw.connect = Some((over.begun, Some(made.ready)));
                let head = self.head(&over.authority, &message);
                self.exchange(made.stream, &head, &message.body, &mut raw)
                    .await;
            }
        }
        raw
    }

    async fn exchange(&self, mut stream: TcpStream, head: &[u8], body: &[u8], raw: &mut Raw) {
        let mut answer = Answer::new();
        let talk = async {
            // What cannot be written to the end may have been answered all the same: with a refusal.
            let written = self.write(&stream, [head, body], raw).await;
            let read = self.read(&mut stream, &mut answer, raw).await;
            read.map_err(|why| match written {
                Err(error) if raw.head.is_none() => error.to_string(),
                _ => why,
            })
        };
        let (ending, ended) = match timeout(self.limit, talk).await {
            Ok(Ok(at)) => (Ending::Complete, at),
            Ok(Err(why)) => (Ending::Broken(why), self.clock.now()),
            Err(_) => (Ending::TimedOut, self.clock.now()),
        };
        raw.ending = ending;
        raw.ended = ended;
        raw.body.is_whole();
        if let Some(head) = answer.head() {
            raw.http_status = Some(head.status);
            raw.content = (head.content_type, head.content_encoding);
            raw.served_by = head.served_by;
            raw.prefilled_by = head.prefilled_by;
        }
    }

    /// Writes a request, and stamps each write just before it: a write wakes the receiver, who on a
    /// busy machine runs at once and before us; a stamp after it would be late, and every latency too
    /// short. Who answers before it is whole is heard first.
    async fn write(&self, stream: &TcpStream, parts: [&[u8]; 2], raw: &mut Raw) -> io::Result<()> {
        let mut slices = parts.map(IoSlice::new);
        let mut left = &mut slices[..];
        while !left.is_empty() {
            let before = self.clock.now();
            match stream.try_write_vectored(left) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(written) => {
                    raw.sent = Some(before);
                    IoSlice::advance_slices(&mut left, written);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    let ready = stream
                        .ready(Interest::READABLE | Interest::WRITABLE)
                        .await?;
                    if ready.is_readable() && !ready.is_writable() {
                        return Ok(());
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Reads an answer to its end, and stamps each read just after it: the stamp of the last.
    async fn read(
        &self,
        stream: &mut TcpStream,
        answer: &mut Answer,
        raw: &mut Raw,
    ) -> Result<u64, String> {
        std::future::poll_fn(|cx| {
            loop {
                let mut room = [MaybeUninit::uninit(); READ];
                let mut buffer = ReadBuf::uninit(&mut room);
                let read = ready!(Pin::new(&mut *stream).poll_read(cx, &mut buffer));
                let at = self.clock.now();
                read?;
                if buffer.filled().is_empty() {
                    return answer.close().map(|()| at).map_err(io::Error::other).into();
                }
                raw.head.get_or_insert(at);
                let body = |piece: &[u8]| raw.body.push(at, piece);
                answer
                    .take(buffer.filled(), body)
                    .map_err(io::Error::other)?;
                if answer.is_whole() {
                    return Ok(at).into();
                }
            }
        })
        .await
        .map_err(|error: io::Error| error.to_string())
    }

    /// The head of a request.
    fn head(&self, authority: &str, message: &Message) -> Vec<u8> {
        let Message { path, id, body, .. } = message;
        let mut head = format!(
            "POST {path} HTTP/1.1\r\nhost: {authority}\r\ncontent-type: application/json\r\n\
             accept: text/event-stream\r\nx-request-id: {id}\r\ncontent-length: {}\r\n",
            body.len()
        )
        .into_bytes();
        if let Some(key) = self.keys.header(authority) {
            head.extend_from_slice(b"authorization: ");
            head.extend_from_slice(key.as_bytes());
            head.extend_from_slice(b"\r\n");
        }
        head.extend_from_slice(b"\r\n");
        head
    }

    /// Fetches a small document whole, and shows the key that opens it.
    pub(super) async fn get(&self, authority: &str, path: &str) -> Result<(u16, Bytes), String> {
        let request = self.authorised(ask_for(Method::GET, authority, path), authority);
        self.fetch(authority, request, Bytes::new()).await
    }

    /// Fetches a small document that is open to everybody, and shows no key.
    pub(super) async fn get_openly(
        &self,
        authority: &str,
        path: &str,
    ) -> Result<(u16, Bytes), String> {
        let request = ask_for(Method::GET, authority, path);
        self.fetch(authority, request, Bytes::new()).await
    }

    /// Asks something with a document, shows the key that opens it, and fetches the answer whole.
    pub(super) async fn post(
        &self,
        authority: &str,
        path: &str,
        document: &Value,
    ) -> Result<(u16, Bytes), String> {
        let request = self.authorised(ask_for(Method::POST, authority, path), authority);
        let request = request.header(CONTENT_TYPE, "application/json");
        self.fetch(authority, request, Bytes::from(document.to_string()))
            .await
    }

    async fn fetch(
        &self,
        authority: &str,
        request: Builder,
        body: Bytes,
    ) -> Result<(u16, Bytes), String> {
        let made = self.open(authority).await.made?;
        let request = request
            .body(Full::new(body))
            .expect("every part of the request is valid");
        let fetch = async {
            let (mut sender, connection) = http1::handshake(TokioIo::new(made.stream)).await?;
            tokio::spawn(connection);
            let answer = sender.send_request(request).await?;
            let status = answer.status().as_u16();
            Ok((status, answer.into_body().collect().await?.to_bytes()))
        };
        match timeout(self.limit.min(CONNECT_LIMIT), fetch).await {
            Ok(fetched) => fetched.map_err(|error: hyper::Error| describe(&error)),
            Err(_) => Err("the time ran out".to_owned()),
        }
    }

    /// Strikes the API keys out of what a server said.
    pub(super) fn redact(&self, text: &str) -> String {
        self.keys.redact(text)
    }

    fn authorised(&self, request: Builder, authority: &str) -> Builder {
        match self.keys.header(authority) {
            Some(key) => request.header(AUTHORIZATION, key),
            None => request,
        }
    }
}

fn ask_for(method: Method, authority: &str, path: &str) -> Builder {
    Request::builder()
        .method(method)
        .uri(path)
        .header(HOST, authority)
}
