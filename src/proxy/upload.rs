//! The body of a request on its way to a backend.

use std::error::Error as _;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming, SizeHint};

use super::error::ApiError;
use super::sieve::Sieve;
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
    sieve: Option<Sieve>,
    /// What the sieve has let through, and is not sent yet.
    passed: Option<Bytes>,
    refusal: Arc<OnceLock<ApiError>>,
}

/// No more of a body comes, and it is not whole.
#[derive(Debug)]
pub(super) struct Stopped;

impl Upload {
    fn streaming(beginning: Bytes, rest: Incoming) -> Self {
        Self {
            held: (!beginning.is_empty()).then_some(beginning),
            rest: Some(rest),
            sieve: None,
            passed: None,
            refusal: Arc::default(),
        }
    }

    /// Lets nothing through but what passes a sieve.
    pub(super) fn sift(&mut self, sieve: Sieve) {
        self.sieve = Some(sieve);
    }

    /// What will say how the client is answered, should its body be stopped for what it is.
    pub(super) fn refusal(&self) -> Arc<OnceLock<ApiError>> {
        Arc::clone(&self.refusal)
    }

    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, ApiError>>> {
        if let Some(held) = self.held.take() {
            return Poll::Ready(Some(Ok(held)));
        }
        let Some(rest) = &mut self.rest else {
            return Poll::Ready(None);
        };
        loop {
            match ready!(Pin::new(&mut *rest).poll_frame(cx)) {
                Some(Ok(frame)) => {
                    // Trailers are not passed on.
                    if let Ok(data) = frame.into_data() {
                        return Poll::Ready(Some(Ok(data)));
                    }
                }
                Some(Err(error)) => {
                    let why = BrokenOff(error).why();
                    return Poll::Ready(Some(Err(ApiError::bad_body(&why))));
                }
                None => return Poll::Ready(None),
            }
        }
    }

    /// The next piece that may be sent.
    fn poll_passed(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, ApiError>>> {
        loop {
            if let Some(passed) = self.passed.take() {
                return Poll::Ready(Some(Ok(passed)));
            }
            let piece = match ready!(self.poll_piece(cx)) {
                Some(Ok(piece)) => piece,
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => {
                    let end = self.sieve.take().map(|mut sieve| sieve.end());
                    let end = end.filter(|end| !end.is_empty());
                    return Poll::Ready(end.map(Ok));
                }
            };
            let Some(sieve) = &mut self.sieve else {
                return Poll::Ready(Some(Ok(piece)));
            };
            match sieve.pass(piece) {
                Ok([before, piece]) => {
                    self.passed = (!piece.is_empty()).then_some(piece);
                    if !before.is_empty() {
                        return Poll::Ready(Some(Ok(before)));
                    }
                }
                Err(refusal) => return Poll::Ready(Some(Err(refusal))),
            }
        }
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = Stopped;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Stopped>>> {
        let next = ready!(self.poll_passed(cx));
        Poll::Ready(next.map(|piece| match piece {
            Ok(piece) => Ok(Frame::data(piece)),
            Err(refusal) => {
                let _ = self.refusal.set(refusal);
                Err(Stopped)
            }
        }))
    }

    fn size_hint(&self) -> SizeHint {
        let here = [&self.held, &self.passed].into_iter().flatten();
        let kept = self.sieve.as_ref().map_or(0, Sieve::kept);
        let here = (here.map(Bytes::len).sum::<usize>() + kept) as u64;
        let rest = self
            .rest
            .as_ref()
            .map_or_else(|| SizeHint::with_exact(0), Body::size_hint);
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower() + here);
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper + here);
        }
        hint
    }
}
