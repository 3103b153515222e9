//! The transport: one HTTP/1.1 connection for each request in flight, opened ahead of it.
//!
//! There is no pool to surprise a measurement: a connection carries one request and is closed, its
//! making has a time of its own, and nothing is ever sent twice.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HOST};
use hyper::http::request::Builder;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::key::ApiKeys;
use super::sample::{Ending, Raw};
use super::wire::{Clock, Marks, nanoseconds, wire};
use crate::describe::describe;

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
    sender: SendRequest<Full<Bytes>>,
    marks: Arc<Marks>,
    ready: u64,
}

impl Connection {
    /// Whether a request can still be sent over it.
    pub(super) fn is_good(&self) -> bool {
        let made = self.made.as_ref();
        made.is_ok_and(|made| !made.sender.is_closed())
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

    async fn make(
        &self,
        authority: &str,
    ) -> Result<Made, Box<dyn std::error::Error + Send + Sync>> {
        let stream = TcpStream::connect(authority).await?;
        stream.set_nodelay(true)?;
        let (stream, marks) = wire(stream, self.clock);
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(Made {
            sender,
            marks,
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
                let request = self.completion(&over.authority, message);
                self.exchange(made, request, &mut raw).await;
            }
        }
        raw
    }

    async fn exchange(&self, mut made: Made, request: Request<Full<Bytes>>, raw: &mut Raw) {
        let marks = Arc::clone(&made.marks);
        let talk = converse(&mut made, request, raw);
        let ending = match timeout(self.limit, talk).await {
            Ok(Ok(())) => Ending::Complete,
            Ok(Err(error)) => Ending::Broken(describe(&error)),
            Err(_) => Ending::TimedOut,
        };
        raw.ended = match ending {
            Ending::Complete => marks.read_last(),
            _ => None,
        }
        .unwrap_or_else(|| self.clock.now());
        raw.body.is_whole();
        raw.sent = marks.written();
        raw.head = marks.read_first();
        raw.ending = ending;
    }

    fn completion(&self, authority: &str, message: Message) -> Request<Full<Bytes>> {
        let request = Request::builder()
            .method(Method::POST)
            .uri(message.path)
            .header(HOST, authority)
            .header(CONTENT_TYPE, "application/json")
            .header(ACCEPT, "text/event-stream")
            .header("x-request-id", message.id);
        self.authorised(request, authority)
            .body(Full::new(message.body))
            .expect("every part of the request is valid")
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
        let mut made = self.open(authority).await.made?;
        let request = request
            .body(Full::new(body))
            .expect("every part of the request is valid");
        let fetch = async {
            let answer = made.sender.send_request(request).await?;
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

async fn converse(
    made: &mut Made,
    request: Request<Full<Bytes>>,
    raw: &mut Raw,
) -> Result<(), hyper::Error> {
    made.sender.ready().await?;
    let answer = made.sender.send_request(request).await?;
    raw.http_status = Some(answer.status().as_u16());
    raw.content = (
        header(&answer, CONTENT_TYPE.as_str()),
        header(&answer, CONTENT_ENCODING.as_str()),
    );
    raw.served_by = header(&answer, "x-replica-instance");
    let mut body = answer.into_body();
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame?.into_data() {
            let at = made.marks.read_last().unwrap_or_default();
            raw.body.push(at, &data);
        }
    }
    Ok(())
}

fn header(answer: &Response<Incoming>, name: &str) -> Option<String> {
    let value = answer.headers().get(name)?;
    Some(value.to_str().ok()?.to_owned())
}
