//! The body of a request on its way to a backend.

use std::error::Error as _;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming, SizeHint};

use crate::describe::describe;

/// The largest body that is held while it is not answered, so that it can be sent again. Larger
/// ones stream through and are sent once.
pub(super) const HELD: usize = 8 * 1024 * 1024;

/// A client's body, as far as it was read.
#[derive(Debug)]
pub(super) enum Received {
    /// All of it.
    Whole(Bytes),
    /// Its beginning, and the rest to come.
    Large(Upload),
}

/// The client broke off while it sent its request, or sent what is no body.
#[derive(Debug)]
pub(super) struct BrokenOff(hyper::Error);

impl BrokenOff {
    /// Whether something came that is no body, such as a chunk without a length.
    pub(super) fn is_malformed(&self) -> bool {
        let cause = self.0.source().and_then(|it| it.downcast_ref());
        cause.is_some_and(|error: &io::Error| {
            matches!(
                error.kind(),
                io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput
            )
        })
    }

    /// What happened, in words.
    pub(super) fn why(&self) -> String {
        describe(&self.0)
    }
}

/// Reads a client's body until it is whole, or too large to be held.
///
/// No backend is chosen before: a client that sends slowly holds none.
pub(super) async fn receive(mut body: Incoming) -> Result<Received, BrokenOff> {
    if body.size_hint().lower() > HELD as u64 {
        return Ok(Received::Large(Upload::streaming(Bytes::new(), body)));
    }
    let mut parts = Parts::default();
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame.map_err(BrokenOff)?.into_data() {
            parts.push(data, body.size_hint().lower());
        }
        if parts.len() > HELD {
            return Ok(Received::Large(Upload::streaming(parts.join(), body)));
        }
    }
    Ok(Received::Whole(parts.join()))
}

/// Pieces of a body; copied only when there is more than one.
#[derive(Debug, Default)]
struct Parts {
    first: Bytes,
    joined: BytesMut,
}

impl Parts {
    fn push(&mut self, data: Bytes, to_come: u64) {
        if self.first.is_empty() && self.joined.is_empty() {
            self.first = data;
            return;
        }
        if self.joined.is_empty() {
            let whole = self.first.len() + data.len() + to_come as usize;
            self.joined.reserve(whole);
            self.joined.extend_from_slice(&self.first);
            self.first = Bytes::new();
        }
        self.joined.extend_from_slice(&data);
    }

    fn len(&self) -> usize {
        self.first.len() + self.joined.len()
    }

    fn join(self) -> Bytes {
        if self.joined.is_empty() {
            self.first
        } else {
            self.joined.freeze()
        }
    }
}

/// A body on its way to a backend, whose rest is still to come from the client.
#[derive(Debug)]
pub(super) struct Upload {
    held: Option<Bytes>,
    rest: Option<Incoming>,
}

impl Upload {
    /// Makes a body of what is held whole.
    pub(super) fn whole(body: Bytes) -> Self {
        Self {
            held: (!body.is_empty()).then_some(body),
            rest: None,
        }
    }

    fn streaming(beginning: Bytes, rest: Incoming) -> Self {
        Self {
            rest: Some(rest),
            ..Self::whole(beginning)
        }
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        if let Some(held) = self.held.take() {
            return Poll::Ready(Some(Ok(Frame::data(held))));
        }
        let Some(rest) = &mut self.rest else {
            return Poll::Ready(None);
        };
        Pin::new(rest).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.held.is_none() && self.rest.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let held = self.held.as_ref().map_or(0, Bytes::len) as u64;
        let rest = self
            .rest
            .as_ref()
            .map_or_else(|| SizeHint::with_exact(0), Body::size_hint);
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower() + held);
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper + held);
        }
        hint
    }
}
