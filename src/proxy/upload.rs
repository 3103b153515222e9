//! The body of a request on its way to a backend.

use std::error::Error as _;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::Version;
use hyper::body::{Body, Frame, Incoming, SizeHint};

use super::clients::poll_piece;
use super::error::ApiError;
use super::limits::Limits;
use super::patience::Patience;
use super::reused::Reused;
use super::seldom::seldom;
use super::sieve::Sieve;
use crate::describe::describe;

/// The largest body that is held while it is not answered, so that it can be sent again. Larger
/// ones stream through and are sent once.
pub(super) const HELD: usize = 8 * 1024 * 1024;

/// So much has come of a larger one before a backend is chosen for it.
const FLOWING: usize = 256 * 1024;

/// A body up to this size is not counted against the budget: a connection may hold as much anyway.
const UNCOUNTED: u64 = 64 * 1024;

/// A client's body, as far as it was read.
#[derive(Debug)]
pub(super) enum Received {
    /// All of it.
    Whole(Bytes),
    /// Its beginning, and the rest to come.
    Large(Box<Upload>),
}

/// How many bytes of a body came, as far as that is known by now.
#[derive(Debug, Clone)]
pub(super) enum Came {
    /// So many, and no more will.
    All(u64),
    /// It is counted on.
    SoFar(Arc<AtomicU64>),
}

impl Came {
    /// How many did.
    pub(super) fn read(&self) -> u64 {
        match self {
            Self::All(bytes) => *bytes,
            Self::SoFar(bytes) => bytes.load(Ordering::Relaxed),
        }
    }
}

impl Received {
    /// How much of it came.
    pub(super) fn came(&self) -> Came {
        match self {
            Self::Whole(body) => Came::All(body.len() as u64),
            Self::Large(upload) => Came::SoFar(Arc::clone(&upload.read)),
        }
    }
}

/// Why a body did not come.
#[derive(Debug)]
pub(super) enum NotReceived {
    /// The client broke off while it sent it, or sent what is no body.
    BrokenOff(hyper::Error),
    /// The client gave it up in the middle (a reset in HTTP/2).
    GivenUp,
    /// It sent nothing more for so long.
    Stalled(Duration),
    /// It is larger than this.
    TooLarge(u64),
    /// As much as may be held is held of others.
    NoRoom(u64),
}

impl NotReceived {
    /// Whether something came that is no body, such as a chunk without a length, or more than was said.
    fn is_malformed(&self) -> bool {
        let Self::BrokenOff(error) = self else {
            return false;
        };
        let Some(cause) = error.source() else {
            return false;
        };
        let is_wrong = |kind| {
            matches!(
                kind,
                io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput
            )
        };
        let of_http1 = cause.downcast_ref::<io::Error>();
        let of_http2 = cause.downcast_ref::<h2::Error>();
        of_http1.is_some_and(|error| is_wrong(error.kind()))
            || of_http2.is_some_and(h2::Error::is_library)
    }

    /// What the client is told, if it is there still: who stops in the middle is most likely gone.
    pub(super) fn answer(&self) -> ApiError {
        match self {
            Self::BrokenOff(error) if self.is_malformed() => ApiError::bad_body(&describe(error)),
            Self::BrokenOff(error) => ApiError::bad_body(&describe(error)).given_up(),
            Self::GivenUp => ApiError::bad_body("it was given up").given_up(),
            Self::Stalled(bound) => ApiError::request_timeout(format!(
                "nothing more of the request came within {bound:?}"
            ))
            .given_up(),
            Self::TooLarge(most) => {
                ApiError::too_large(format!("the request is larger than {most} bytes"))
            }
            Self::NoRoom(most) => ApiError::proxy_exhausted(format!(
                "the proxy may hold {most} bytes of requests, and others have them"
            )),
        }
    }
}

/// Takes the bodies of clients, within one budget for all.
#[derive(Debug)]
pub(super) struct Uploads {
    limits: Limits,
    held: Arc<AtomicU64>,
}

impl Uploads {
    /// Nothing is held yet.
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            held: Arc::default(),
        }
    }

    /// How many bytes are held.
    pub(super) fn held(&self) -> u64 {
        self.held.load(Ordering::Relaxed)
    }

    /// Reads a client's body until it is whole, or too large to be held.
    ///
    /// No backend is chosen before: a client that sends slowly holds none.
    pub(super) async fn receive(
        &self,
        body: Incoming,
        version: Version,
    ) -> Result<Received, NotReceived> {
        let mut body = Coming { body, version };
        let declared = body.body.size_hint().lower();
        if declared > self.limits.body {
            return Err(NotReceived::TooLarge(self.limits.body));
        }
        let enough = if declared > HELD as u64 {
            FLOWING
        } else {
            HELD
        };
        let mut patience = Patience::new(self.limits.stall);
        match self.beginning(&mut body, enough, &mut patience).await {
            Ok(Beginning::All(all)) => Ok(Received::Whole(all)),
            Ok(Beginning::Some(beginning)) => {
                let rest = Rest {
                    body,
                    patience,
                    read: Arc::new(AtomicU64::new(beginning.len() as u64)),
                    most: self.limits.body,
                };
                Ok(Received::Large(Box::new(Upload::streaming(
                    beginning, rest,
                ))))
            }
            Err(refusal) => {
                if let NotReceived::TooLarge(_) | NotReceived::NoRoom(_) = refusal {
                    seldom(pass_over(&mut body, &mut patience)).await;
                }
                Err(refusal)
            }
        }
    }

    /// Reads a body to its end, or until more than enough is there.
    async fn beginning(
        &self,
        body: &mut Coming,
        enough: usize,
        patience: &mut Patience,
    ) -> Result<Beginning, NotReceived> {
        let mut share = Share::of(self);
        let mut parts = Parts::default();
        // Of what has a length, it is known with the last piece that no other comes.
        while !body.body.is_end_stream()
            && let Some(frame) = poll_fn(|cx| body.poll_next(patience, cx)).await?
        {
            if let Ok(data) = frame.into_data() {
                share.grow(data.len())?;
                let to_come = body.body.size_hint().lower();
                parts.push(data, to_come.min(enough as u64));
            }
            if parts.len() as u64 > self.limits.body {
                return Err(NotReceived::TooLarge(self.limits.body));
            }
            if parts.len() > enough {
                return Ok(Beginning::Some(share.counts(parts.join())));
            }
        }
        Ok(Beginning::All(share.counts(parts.join())))
    }
}

/// What was read of a body.
enum Beginning {
    /// All of it.
    All(Bytes),
    /// More than enough.
    Some(Bytes),
}

/// Reads on for a while, and keeps nothing: who is answered while it sends, and then finds the
/// connection closed, may never see the answer.
async fn pass_over(body: &mut Coming, patience: &mut Patience) {
    let mut passed = 0;
    while passed < HELD {
        match poll_fn(|cx| body.poll_next(patience, cx)).await {
            Ok(Some(frame)) => passed += frame.data_ref().map_or(0, Bytes::len),
            Ok(None) | Err(_) => return,
        }
    }
}

/// A body as it comes from a client.
#[derive(Debug)]
struct Coming {
    body: Incoming,
    version: Version,
}

impl Coming {
    /// The next frame, for which no more than the patience is waited.
    fn poll_next(
        &mut self,
        patience: &mut Patience,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Frame<Bytes>>, NotReceived>> {
        let polled = poll_piece(&mut self.body, cx);
        let came = ready!(patience.bounds(polled, cx));
        Poll::Ready(match came {
            None => Err(NotReceived::Stalled(patience.bound())),
            Some(Some(frame)) => frame.map(Some).map_err(NotReceived::BrokenOff),
            Some(None) if self.is_given_up() => Err(NotReceived::GivenUp),
            Some(None) => Ok(None),
        })
    }

    /// Whether a body that is over has no end: hyper takes a reset without an error for one.
    fn is_given_up(&self) -> bool {
        self.version >= Version::HTTP_2 && !self.body.is_end_stream()
    }
}

/// What one body takes of the budget, given back when it is dropped.
#[derive(Debug)]
struct Share {
    held: Arc<AtomicU64>,
    most: u64,
    size: u64,
    counted: u64,
}

impl Share {
    fn of(uploads: &Uploads) -> Self {
        Self {
            held: Arc::clone(&uploads.held),
            most: uploads.limits.held,
            size: 0,
            counted: 0,
        }
    }

    fn grow(&mut self, bytes: usize) -> Result<(), NotReceived> {
        self.size += bytes as u64;
        if self.size <= UNCOUNTED {
            return Ok(());
        }
        let more = self.size - self.counted;
        self.counted = self.size;
        let before = self.held.fetch_add(more, Ordering::AcqRel);
        if before + more > self.most {
            return Err(NotReceived::NoRoom(self.most));
        }
        Ok(())
    }

    /// The bytes, which count for as long as somebody has some of them.
    fn counts(self, bytes: Bytes) -> Bytes {
        if self.counted == 0 {
            return bytes;
        }
        Bytes::from_owner(Counted {
            bytes,
            _share: self,
        })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.held.fetch_sub(self.counted, Ordering::AcqRel);
    }
}

struct Counted {
    bytes: Bytes,
    _share: Share,
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Pieces of a body; copied only when there is more than one.
#[derive(Debug, Default)]
struct Parts {
    first: Bytes,
    joined: Option<Reused>,
}

impl Parts {
    fn push(&mut self, data: Bytes, to_come: u64) {
        if let Some(joined) = &mut self.joined {
            joined.extend_from_slice(&data);
        } else if self.first.is_empty() {
            self.first = data;
        } else {
            let whole = self.first.len() + data.len() + to_come as usize;
            let mut joined = Reused::with_capacity(whole);
            joined.extend_from_slice(&self.first);
            joined.extend_from_slice(&data);
            self.first = Bytes::new();
            self.joined = Some(joined);
        }
    }

    fn len(&self) -> usize {
        let joined = self.joined.as_ref().map(Reused::as_ref);
        self.first.len() + joined.map_or(0, <[u8]>::len)
    }

    fn join(self) -> Bytes {
        match self.joined {
            Some(joined) => Bytes::from_owner(joined),
            None => self.first,
        }
    }
}

/// A body on its way to a backend, whose rest is still to come from the client.
#[derive(Debug)]
pub(super) struct Upload {
    read: Arc<AtomicU64>,
    held: Option<Bytes>,
    rest: Option<Rest>,
    sieve: Option<Sieve>,
    /// What the sieve has let through, and is not sent yet.
    passed: Option<Bytes>,
    refusal: Arc<OnceLock<ApiError>>,
}

/// What is still to come of a body.
#[derive(Debug)]
struct Rest {
    body: Coming,
    /// Bounds the wait for the client, and not that for the backend to take what came.
    patience: Patience,
    read: Arc<AtomicU64>,
    most: u64,
}

impl Rest {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Frame<Bytes>>, NotReceived>> {
        let next = ready!(self.body.poll_next(&mut self.patience, cx));
        if let Ok(Some(frame)) = &next {
            let came = frame.data_ref().map_or(0, Bytes::len) as u64;
            if self.read.fetch_add(came, Ordering::Relaxed) + came > self.most {
                return Poll::Ready(Err(NotReceived::TooLarge(self.most)));
            }
        }
        Poll::Ready(next)
    }
}

/// No more of a body comes, and it is not whole.
#[derive(Debug)]
pub(super) struct Stopped;

impl Upload {
    fn streaming(beginning: Bytes, rest: Rest) -> Self {
        Self {
            read: Arc::clone(&rest.read),
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
            match ready!(rest.poll(cx)) {
                Ok(Some(frame)) => {
                    // Trailers are not passed on.
                    if let Ok(data) = frame.into_data() {
                        return Poll::Ready(Some(Ok(data)));
                    }
                }
                Ok(None) => return Poll::Ready(None),
                Err(error) => return Poll::Ready(Some(Err(error.answer()))),
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
        let rest = self.rest.as_ref().map_or_else(
            || SizeHint::with_exact(0),
            |rest| rest.body.body.size_hint(),
        );
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower() + here);
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper + here);
        }
        hint
    }
}
