//! A request on its way to a backend.
//!
//! A client's head is not made into another one: what goes up of it is written as it stands, and what
//! the proxy has to say is written behind it.

use std::fmt::Write as _;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use hyper::Method;
use hyper::body::Body;
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::http::request::Parts;
use hyper::http::uri::PathAndQuery;
use tokio::io::AsyncWrite;
use tokio::net::TcpStream;

use super::backend::Backend;
use super::decimal::{self, decimal};
use super::headers::{self, OfConnection};
use super::upload::{Received, Upload};
use crate::net::Framing;

/// A client's request, ready to be sent.
#[derive(Debug)]
pub(super) struct Outbound<'a> {
    /// As it came, but for what is not for clients to say.
    pub(super) head: &'a Parts,
    /// How it is known.
    pub(super) id: &'a HeaderValue,
    /// Where it came from.
    pub(super) client: &'a HeaderValue,
    pub(super) body: Received,
    /// What is said of it, where it is but a part of the client's request.
    pub(super) leg: Option<Leg>,
}

/// What is said of a part of a request.
#[derive(Debug, Default)]
pub(super) struct Leg {
    /// The proxy's own words, which are sent before the body, as one with it.
    pub(super) before: Bytes,
    /// Whether the proxy reads the answer: then it is not to come compressed.
    pub(super) is_read: bool,
    /// Is told as it goes out.
    pub(super) departure: Option<Arc<Departure>>,
}

/// When a request went out.
#[derive(Debug, Default)]
pub(super) struct Departure {
    began: OnceLock<Instant>,
    is_over: AtomicBool,
}

impl Departure {
    /// When its first byte was written.
    pub(super) fn began(&self) -> Option<Instant> {
        self.began.get().copied()
    }

    /// Whether its last byte was.
    pub(super) fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Acquire)
    }
}

/// What is sent behind the head.
#[derive(Debug)]
pub(super) enum Payload {
    /// All of it is here.
    Whole(Bytes),
    /// The rest is still to come from the client.
    Large(Box<Upload>),
}

impl Outbound<'_> {
    /// Its method.
    pub(super) fn method(&self) -> &Method {
        &self.head.method
    }

    /// Its path and query: what a server is asked for, where a proxy is asked for all.
    pub(super) fn target(&self) -> &str {
        let target = self.head.uri.path_and_query();
        target.map_or("/", PathAndQuery::as_str)
    }

    /// The body, where all of it is held.
    pub(super) fn held(&self) -> Option<&Bytes> {
        match &self.body {
            Received::Whole(body) => Some(body),
            Received::Large(_) => None,
        }
    }

    /// The body, which is sent once if it is not held.
    pub(super) fn payload(&mut self) -> Payload {
        match &mut self.body {
            Received::Whole(body) => Payload::Whole(body.clone()),
            large @ Received::Large(_) => {
                match std::mem::replace(large, Received::Whole(Bytes::new())) {
                    Received::Large(upload) => Payload::Large(upload),
                    Received::Whole(body) => Payload::Whole(body),
                }
            }
        }
    }

    /// Writes the head, as this backend is to get it: with a `Host`, which HTTP/1.0 clients leave out
    /// and HTTP/1.1 wants, and with its own key.
    fn encode(&self, head: &mut BytesMut, backend: &Backend, framing: Option<Framing>) {
        head.reserve(1024);
        for part in [self.method().as_str(), " ", self.target(), " HTTP/1.1\r\n"] {
            head.put_slice(part.as_bytes());
        }
        let headers = &self.head.headers;
        let own = backend.authorization.as_ref();
        let of_connection = OfConnection::of(headers);
        let is_read = self.leg.as_ref().is_some_and(|leg| leg.is_read);
        let mut origin = Origin::default();
        for (name, value) in headers {
            let is_said = own.is_some() && name == header::AUTHORIZATION
                || is_read && name == header::ACCEPT_ENCODING;
            if !is_said && of_connection.lets_up(name) {
                put(head, name, value.as_bytes());
            }
            origin.note(name, value);
        }
        if origin.asked.is_none() {
            put(head, &header::HOST, backend.authority.as_str().as_bytes());
        }
        if let Some(own) = own {
            put(head, &header::AUTHORIZATION, own.as_bytes());
        }
        put(head, &headers::REQUEST_ID, self.id.as_bytes());
        self.tell_origin(head, &origin);
        let mut room = [0; decimal::MOST];
        match framing {
            Some(Framing::Sized(length)) => {
                let length = decimal(length, 1, &mut room);
                put(head, &header::CONTENT_LENGTH, length);
            }
            Some(_) => head.put_slice(b"transfer-encoding: chunked\r\n"),
            None => {}
        }
        head.put_slice(b"\r\n");
    }

    /// Says for whom a request is sent on.
    ///
    /// The client's address goes behind those that came, as nginx's `$proxy_add_x_forwarded_for` does:
    /// the last is what was seen here, and what a front before this proxy saw is kept. By which host and
    /// scheme the client asked, a front that came first knows better, so what it said stays. Nothing in
    /// the proxy is decided by these.
    fn tell_origin(&self, head: &mut BytesMut, said: &Origin<'_>) {
        head.put_slice(b"x-forwarded-for: ");
        if said.client {
            for before in self.head.headers.get_all(&headers::FORWARDED_FOR) {
                head.put_slice(before.as_bytes());
                head.put_slice(b", ");
            }
        }
        head.put_slice(self.client.as_bytes());
        head.put_slice(b"\r\n");
        if !said.scheme {
            head.put_slice(b"x-forwarded-proto: http\r\n");
        }
        if let Some(host) = said.asked.filter(|_| !said.host) {
            put(head, &headers::FORWARDED_HOST, host.as_bytes());
        }
    }

    fn before(&self) -> &[u8] {
        self.leg.as_ref().map_or(&[], |leg| &leg.before)
    }

    /// How the backend is told where a body ends. One that has no bytes is told where its method expects
    /// one (RFC 9110, section 8.6).
    fn framing(&self, payload: &Payload) -> Option<Framing> {
        let length = match payload {
            Payload::Whole(body) => Some((body.len() + self.before().len()) as u64),
            Payload::Large(upload) => upload.size_hint().exact(),
        };
        let expects = [Method::POST, Method::PUT, Method::PATCH].contains(self.method());
        match length {
            Some(0) if !expects => None,
            Some(length) => Some(Framing::Sized(length)),
            None => Some(Framing::Chunked),
        }
    }
}

/// What is said of who asks, by the client, and by a front before this proxy.
#[derive(Debug, Default)]
struct Origin<'a> {
    /// The host that is asked.
    asked: Option<&'a HeaderValue>,
    client: bool,
    host: bool,
    scheme: bool,
}

impl<'a> Origin<'a> {
    fn note(&mut self, name: &HeaderName, value: &'a HeaderValue) {
        match name.as_str() {
            "host" => self.asked = Some(value),
            "x-forwarded-for" => self.client = true,
            "x-forwarded-host" => self.host = true,
            "x-forwarded-proto" => self.scheme = true,
            _ => {}
        }
    }
}

fn put(head: &mut BytesMut, name: &HeaderName, value: &[u8]) {
    for part in [name.as_str().as_bytes(), b": ", value, b"\r\n"] {
        head.put_slice(part);
    }
}

/// The bytes of a request that were not written yet.
#[derive(Debug, Default)]
pub(super) struct Sending {
    /// The head, or what frames the next piece of a body in chunks.
    head: BytesMut,
    piece: Bytes,
    rest: Option<Box<Upload>>,
    in_chunks: bool,
    has_sent_a_chunk: bool,
    departure: Option<Arc<Departure>>,
}

/// Why no more of a request is sent.
#[derive(Debug)]
pub(super) enum Unsent {
    /// The client broke off while it was sending.
    ClientGone,
    /// The backend takes no more.
    Refused(io::Error),
}

impl Sending {
    /// Begins to send a request. What it was sending before is over.
    pub(super) fn begin(&mut self, outbound: &mut Outbound<'_>, backend: &Backend) {
        let payload = outbound.payload();
        let framing = outbound.framing(&payload);
        self.head.clear();
        self.in_chunks = framing == Some(Framing::Chunked);
        outbound.encode(&mut self.head, backend, framing);
        self.head.put_slice(outbound.before());
        self.departure = outbound.leg.as_ref().and_then(|leg| leg.departure.clone());
        self.has_sent_a_chunk = false;
        (self.piece, self.rest) = match payload {
            Payload::Whole(body) => (body, None),
            Payload::Large(upload) => (Bytes::new(), Some(upload)),
        };
    }

    /// Begins to send a request of the proxy's own, which has no body.
    pub(super) fn begin_own(&mut self, path: &str, backend: &Backend, key: Option<&HeaderValue>) {
        self.head.clear();
        for part in ["GET ", path, " HTTP/1.1\r\n"] {
            self.head.put_slice(part.as_bytes());
        }
        put(
            &mut self.head,
            &header::HOST,
            backend.authority.as_str().as_bytes(),
        );
        if let Some(key) = key {
            put(&mut self.head, &header::AUTHORIZATION, key.as_bytes());
        }
        self.head.put_slice(b"\r\n");
        (self.piece, self.rest) = (Bytes::new(), None);
    }

    /// Whether all of it was written.
    pub(super) fn is_over(&self) -> bool {
        self.head.is_empty() && self.piece.is_empty() && self.rest.is_none()
    }

    /// Whether it is the client that is waited for, and not the backend.
    pub(super) fn waits_for_client(&self) -> bool {
        self.head.is_empty() && self.piece.is_empty() && self.rest.is_some()
    }

    /// Writes as much as can be written; `wrote` hears of every write. Ready once nothing is left.
    pub(super) fn poll(
        &mut self,
        stream: &mut TcpStream,
        cx: &mut Context<'_>,
        mut wrote: impl FnMut(),
    ) -> Poll<Result<(), Unsent>> {
        loop {
            while !self.head.is_empty() || !self.piece.is_empty() {
                let slices = [IoSlice::new(&self.head), IoSlice::new(&self.piece)];
                let from = usize::from(self.head.is_empty());
                let written = Pin::new(&mut *stream).poll_write_vectored(cx, &slices[from..]);
                match ready!(written) {
                    Ok(0) => {
                        return Poll::Ready(Err(Unsent::Refused(io::ErrorKind::WriteZero.into())));
                    }
                    Ok(written) => self.advance(written),
                    Err(error) => return Poll::Ready(Err(Unsent::Refused(error))),
                }
                wrote();
                self.departs();
            }
            let Some(rest) = &mut self.rest else {
                return Poll::Ready(Ok(()));
            };
            match ready!(Pin::new(&mut **rest).poll_frame(cx)) {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.next_piece(data);
                    }
                }
                Some(Err(_)) => {
                    self.rest = None;
                    return Poll::Ready(Err(Unsent::ClientGone));
                }
                None => self.last_piece(),
            }
        }
    }

    fn departs(&mut self) {
        if let Some(departure) = &self.departure {
            departure.began.get_or_init(Instant::now);
            if self.is_over() {
                departure.is_over.store(true, Ordering::Release);
            }
        }
    }

    fn advance(&mut self, written: usize) {
        let of_head = written.min(self.head.len());
        self.head.advance(of_head);
        self.piece.advance(written - of_head);
        if self.piece.is_empty() {
            // Even of nothing, a piece would keep the whole body for as long as the connection lives.
            self.piece = Bytes::new();
        }
    }

    fn next_piece(&mut self, data: Bytes) {
        // An empty chunk would be the last one.
        if self.in_chunks && !data.is_empty() {
            self.end_of_chunk();
            let _ = write!(self.head, "{:x}\r\n", data.len());
            self.has_sent_a_chunk = true;
        }
        self.piece = data;
    }

    fn last_piece(&mut self) {
        self.rest = None;
        if self.in_chunks {
            self.end_of_chunk();
            self.head.put_slice(b"0\r\n\r\n");
        }
    }

    fn end_of_chunk(&mut self) {
        if self.has_sent_a_chunk {
            self.head.put_slice(b"\r\n");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use hyper::Request;

    use super::*;
    use crate::plan::Role;
    use crate::proxy::control;

    type Fields = &'static [(&'static str, &'static str)];

    fn backend(key: Option<&str>) -> Backend {
        let spec = control::Backend {
            name: "a".to_owned(),
            authority: "10.0.0.1:1".to_owned(),
            role: Role::Both,
            nonce: None,
            key: key.map(|key| control::Key {
                digest: "d".to_owned(),
                hidden: Some(control::Hidden(key.to_owned())),
            }),
        };
        Backend::new(spec, Arc::default()).unwrap()
    }

    /// The head that is sent where this one came from 10.0.0.9.
    fn sent(fields: Fields, backend: &Backend) -> Vec<String> {
        let mut request = Request::post("http://front/v1/x?y=1").body(()).unwrap();
        for &(name, value) in fields {
            request.headers_mut().append(name, value.parse().unwrap());
        }
        let (head, ()) = request.into_parts();
        let mut outbound = Outbound {
            head: &head,
            id: &HeaderValue::from_static("r-1"),
            client: &HeaderValue::from_static("10.0.0.9"),
            body: Received::Whole(Bytes::from_static(b"{}")),
            leg: None,
        };
        let mut sending = Sending::default();
        sending.begin(&mut outbound, backend);
        let head = String::from_utf8(sending.head.to_vec()).unwrap();
        head.trim_end().lines().map(str::to_owned).collect()
    }

    #[test]
    fn a_head_goes_up_with_one_length_one_id_and_where_it_came_from() {
        let fields = &[
            ("host", "front:8000"),
            ("content-length", "5"),
            ("transfer-encoding", "chunked"),
            ("expect", "100-continue"),
            ("x-request-id", "mine"),
            ("x-kept", "1"),
            ("x-kept", "2"),
        ];
        let head = sent(fields, &backend(None));
        let expected = [
            "POST /v1/x?y=1 HTTP/1.1",
            "host: front:8000",
            "x-kept: 1",
            "x-kept: 2",
            "x-request-id: r-1",
            "x-forwarded-for: 10.0.0.9",
            "x-forwarded-proto: http",
            "x-forwarded-host: front:8000",
            "content-length: 2",
        ];
        assert_eq!(head, expected);
    }

    #[test]
    fn what_a_front_said_that_came_first_stays() {
        let fields = &[
            ("host", "inner"),
            ("x-forwarded-for", "1.1.1.1"),
            ("x-forwarded-for", "2.2.2.2, 3.3.3.3"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "shop.example"),
        ];
        let head = sent(fields, &backend(None));
        let expected = [
            "host: inner",
            "x-forwarded-proto: https",
            "x-forwarded-host: shop.example",
            "x-request-id: r-1",
            "x-forwarded-for: 1.1.1.1, 2.2.2.2, 3.3.3.3, 10.0.0.9",
            "content-length: 2",
        ];
        assert_eq!(head[1..], expected);
    }

    #[test]
    fn who_names_no_host_asks_the_backends_and_its_key_is_its_own() {
        let head = sent(&[("authorization", "Bearer client")], &backend(Some("own")));
        let expected = [
            "host: 10.0.0.1:1",
            "authorization: Bearer own",
            "x-request-id: r-1",
            "x-forwarded-for: 10.0.0.9",
            "x-forwarded-proto: http",
            "content-length: 2",
        ];
        assert_eq!(head[1..], expected);
    }
}
