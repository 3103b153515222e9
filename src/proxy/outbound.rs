//! A request on its way to a backend.

use std::fmt::Write as _;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use hyper::body::Body;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Uri};
use tokio::io::AsyncWrite;
use tokio::net::TcpStream;

use super::backend::Backend;
use super::upload::{Received, Upload};
use crate::net::Framing;

/// A client's request, ready to be sent.
#[derive(Debug)]
pub(super) struct Outbound {
    pub(super) method: Method,
    pub(super) target: Uri,
    pub(super) headers: HeaderMap,
    pub(super) body: Received,
}

/// What is sent behind the head.
#[derive(Debug)]
pub(super) enum Payload {
    /// All of it is here.
    Whole(Bytes),
    /// The rest is still to come from the client.
    Large(Upload),
}

impl Outbound {
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
        let target = self.target.path_and_query().map_or("/", |it| it.as_str());
        for part in [self.method.as_str(), " ", target, " HTTP/1.1\r\n"] {
            head.put_slice(part.as_bytes());
        }
        if !self.headers.contains_key(header::HOST) {
            put(head, &header::HOST, backend.authority.as_str().as_bytes());
        }
        let own = backend.authorization.as_ref();
        for (name, value) in &self.headers {
            if own.is_none() || name != header::AUTHORIZATION {
                put(head, name, value.as_bytes());
            }
        }
        if let Some(own) = own {
            put(head, &header::AUTHORIZATION, own.as_bytes());
        }
        match framing {
            Some(Framing::Sized(length)) => {
                let _ = write!(head, "content-length: {length}\r\n");
            }
            Some(_) => head.put_slice(b"transfer-encoding: chunked\r\n"),
            None => {}
        }
        head.put_slice(b"\r\n");
    }

    /// How the backend is told where a body ends. One that has no bytes is told where its method expects
    /// one (RFC 9110, section 8.6).
    fn framing(&self, payload: &Payload) -> Option<Framing> {
        let length = match payload {
            Payload::Whole(body) => Some(body.len() as u64),
            Payload::Large(upload) => upload.size_hint().exact(),
        };
        let expects = [Method::POST, Method::PUT, Method::PATCH].contains(&self.method);
        match length {
            Some(0) if !expects => None,
            Some(length) => Some(Framing::Sized(length)),
            None => Some(Framing::Chunked),
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
    rest: Option<Upload>,
    in_chunks: bool,
    has_sent_a_chunk: bool,
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
    pub(super) fn begin(&mut self, outbound: &mut Outbound, backend: &Backend) {
        let payload = outbound.payload();
        let framing = outbound.framing(&payload);
        self.head.clear();
        self.in_chunks = framing == Some(Framing::Chunked);
        outbound.encode(&mut self.head, backend, framing);
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
            }
            let Some(rest) = &mut self.rest else {
                return Poll::Ready(Ok(()));
            };
            match ready!(Pin::new(rest).poll_frame(cx)) {
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
