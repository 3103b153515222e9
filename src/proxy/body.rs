//! The body of an answer on its way to a client.
//!
//! There is no task and no channel for a stream: hyper asks for the next frame when it can write,
//! and only then is the upstream read, so a slow client holds the backend back through TCP itself.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::StatusCode;
use hyper::body::{Body, Frame, SizeHint};
use tokio::time::Instant;

use super::backend::count;
use super::decoding::Decoding;
use super::error_body::ErrorBody;
use super::event::Events;
use super::gate::Beginning;
use super::policy::Charge;
use super::requests::Outcome;
use super::suspicion::Suspicion;
use super::upstream::{Connection, Why};

/// Why a stream was broken off.
#[derive(Debug, thiserror::Error)]
pub(super) enum Broken {
    #[error("the instance broke off: {0}")]
    Upstream(String),
    #[error("the instance sent nothing for {0:?}")]
    Silent(Duration),
    #[error("the instance was taken out, and sent nothing any more")]
    TakenOut,
}

/// An answer: the proxy's own, or a backend's.
#[derive(Debug)]
pub(super) enum Outgoing {
    Own(Option<Bytes>),
    Relayed(Box<Relay>),
}

impl Outgoing {
    /// Makes the body of an answer of the proxy's own.
    pub(super) fn own(body: Bytes) -> Self {
        Self::Own((!body.is_empty()).then_some(body))
    }

    /// Whether it is an instance's stream of events.
    pub(super) fn is_stream(&self) -> bool {
        match self {
            Self::Own(_) => false,
            Self::Relayed(relay) => matches!(relay.content, Content::Events(_)),
        }
    }

    /// How an instance's answer ended, and when, once it has.
    pub(super) fn end(&self) -> Option<(Outcome, Instant)> {
        match self {
            Self::Own(_) => None,
            Self::Relayed(relay) => relay.end,
        }
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        match &mut *self {
            Self::Own(body) => Poll::Ready(body.take().map(|body| Ok(Frame::data(body)))),
            Self::Relayed(relay) => relay.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Own(body) => body.is_none(),
            Self::Relayed(relay) => relay.passage.is_none() && relay.broken.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Own(body) => SizeHint::with_exact(body.as_ref().map_or(0, Bytes::len) as u64),
            Self::Relayed(relay) => relay.size_hint(),
        }
    }
}

/// A backend's answer, passed on frame by frame.
#[derive(Debug)]
pub(super) struct Relay {
    /// Everything that is held while the answer is not over; nothing after.
    passage: Option<Passage>,
    /// How it ended, and when, once it has.
    end: Option<(Outcome, Instant)>,
    /// What was read already.
    beginning: Bytes,
    content: Content,
    /// What is to be done about it, where another instance has read the prompt.
    decoding: Option<Box<Decoding>>,
    /// Why it was broken off, and whether what was passed on before is on its way.
    broken: Option<Broken>,
    is_flushed: bool,
}

/// What an answer says, as far as the proxy looks into it.
#[derive(Debug)]
enum Content {
    /// Events, one by one.
    Events(Events),
    /// What may be an error, whatever its status says.
    Body(ErrorBody),
}

impl Content {
    /// Looks at the next piece.
    fn pass(&mut self, piece: &[u8]) {
        match self {
            Self::Events(events) => events.pass(piece),
            Self::Body(body) => body.pass(piece),
        }
    }

    /// What the whole of it comes to, if it has an error in it.
    fn error(&self) -> Option<Outcome> {
        match self {
            Self::Events(events) => events.has_error().then_some(Outcome::ErrorEvent),
            Self::Body(body) => body.outcome(),
        }
    }

    /// Whether an event was whole by now.
    fn has_event(&self) -> bool {
        matches!(self, Self::Events(events) if events.has_event())
    }

    /// Whether another event may come now.
    fn is_between_events(&self) -> bool {
        matches!(self, Self::Events(events) if events.is_between())
    }
}

/// What a request holds until its answer is over. Dropped before the end, as hyper does when the
/// client goes away, it closes the upstream connection, and counts the request out.
#[derive(Debug)]
pub(super) struct Passage {
    // The order matters: the connection is closed before the backend may call itself empty.
    pub(super) connection: Box<Connection>,
    pub(super) charge: Charge,
    /// What is held against the request should its server die now.
    pub(super) suspicion: Option<Suspicion>,
    /// The status of the answer.
    pub(super) status: StatusCode,
}

impl Passage {
    /// The answer was passed on to its last byte at this moment: how it ended.
    fn end(self, error: Option<Outcome>, now: Instant) -> Outcome {
        let backend = &self.charge.claim;
        let outcome = match Outcome::of_answer(self.status) {
            Outcome::Ok => error.unwrap_or(Outcome::Ok),
            outcome => outcome,
        };
        let print = self.suspicion.as_ref().map(Suspicion::print);
        match outcome {
            // What came of a status that failed is on record already.
            Outcome::ServerError | Outcome::Overloaded => {}
            Outcome::ErrorEvent => backend.history.failed(print),
            _ => backend.history.answered(),
        }
        match (outcome, self.suspicion) {
            (Outcome::Ok, Some(suspicion)) => suspicion.ends(),
            // Its engine may have died, and its server live on for a while.
            (Outcome::ErrorEvent, Some(suspicion)) => {
                suspicion.hold_until_cleared(backend);
            }
            (Outcome::ServerError | Outcome::ErrorEvent, None) => backend.suspect(),
            _ => {}
        }
        backend.keep(self.connection, now);
        outcome
    }

    /// The answer broke off, for a reason that lies upstream.
    fn fail(self) {
        let backend = &self.charge.claim;
        count(&backend.tally.broken);
        let print = self.suspicion.as_ref().map(Suspicion::print);
        backend.history.failed(print);
        match self.suspicion {
            Some(suspicion) => {
                suspicion.hold_until_cleared(backend);
            }
            None => backend.suspect(),
        }
    }
}

impl Relay {
    /// Passes an answer on of which this was read already.
    pub(super) fn new(
        passage: Passage,
        beginning: Beginning,
        is_stream: bool,
        decoding: Option<Box<Decoding>>,
    ) -> Self {
        let mut relay = Self {
            passage: Some(passage),
            end: None,
            beginning: Bytes::new(),
            content: if is_stream {
                Content::Events(beginning.events)
            } else {
                Content::Body(ErrorBody::begun(&beginning.data))
            },
            decoding,
            broken: None,
            is_flushed: false,
        };
        relay.beginning = relay.told(beginning.data);
        relay.end_if_over();
        relay
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        if self.broken.is_some() {
            if !self.is_flushed {
                return self.flush(cx);
            }
            return Poll::Ready(self.broken.take().map(Err));
        }
        if !self.beginning.is_empty() {
            let beginning = std::mem::take(&mut self.beginning);
            self.end_if_over();
            return Poll::Ready(Some(Ok(Frame::data(beginning))));
        }
        let Some(passage) = &mut self.passage else {
            return Poll::Ready(None);
        };
        match passage.connection.poll_data(cx, &passage.charge.claim) {
            Poll::Ready(Some(Ok(data))) => {
                count(&passage.charge.claim.tally.pieces);
                self.content.pass(&data);
                let data = self.told(data);
                self.end_if_over();
                if data.is_empty() {
                    // More of a line has to come first.
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Poll::Ready(Some(Ok(Frame::data(data))))
            }
            Poll::Ready(Some(Err(why))) => self.break_off(cx, why.into()),
            Poll::Ready(None) => {
                self.end();
                let left = self.left();
                Poll::Ready(left.map(|left| Ok(Frame::data(left))))
            }
            Poll::Pending => Poll::Pending,
        }
    }

    /// A piece as the client is told it.
    fn told(&mut self, piece: Bytes) -> Bytes {
        let Some(decoding) = &mut self.decoding else {
            return piece;
        };
        let is_last = |passage: &Passage| passage.connection.is_at_end();
        let is_last = self.passage.as_ref().is_some_and(is_last);
        decoding.pass(piece, self.content.has_event(), is_last)
    }

    /// What was kept back of a line that is not whole.
    fn left(&mut self) -> Option<Bytes> {
        let left = self.decoding.as_mut()?.end();
        (!left.is_empty()).then_some(left)
    }

    /// Ends with the last frame: hyper does not ask again after a body of known length.
    fn end_if_over(&mut self) {
        let is_over = |passage: &Passage| passage.connection.is_at_end();
        if self.beginning.is_empty() && self.passage.as_ref().is_some_and(is_over) {
            self.end();
        }
    }

    fn end(&mut self) {
        if let Some(passage) = self.passage.take() {
            let now = Instant::now();
            self.end = Some((passage.end(self.content.error(), now), now));
        }
    }

    fn size_hint(&self) -> SizeHint {
        let Some(passage) = &self.passage else {
            return SizeHint::with_exact(0);
        };
        let left = passage.connection.left();
        left.map_or_else(SizeHint::default, |left| {
            SizeHint::with_exact(left + self.beginning.len() as u64)
        })
    }

    /// Says in a stream of events that it was broken off, lets what came before go out, and then breaks
    /// the client's connection: hyper throws away what it has not flushed when a body fails, and a clean
    /// end would look like a whole answer. An event that was cut itself is left so.
    fn break_off(
        &mut self,
        cx: &mut Context<'_>,
        broken: Broken,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        // What has a length has no room for another event.
        let has_room = |passage: &Passage| passage.connection.left().is_none();
        let has_room = self.passage.as_ref().is_some_and(has_room);
        if let Some(passage) = self.passage.take() {
            let name = &passage.charge.claim.spec.name;
            tracing::warn!(backend = %name, why = %broken, "a stream broke");
            passage.fail();
            self.end = Some((Outcome::Broken, Instant::now()));
        }
        let is_between = self.content.is_between_events();
        let left = self.left();
        let event = left.or_else(|| (is_between && has_room).then(|| broken.event()));
        self.broken = Some(broken);
        if let Some(event) = event {
            return Poll::Ready(Some(Ok(Frame::data(event))));
        }
        self.flush(cx)
    }

    /// Is asked again once what was passed on is on its way.
    fn flush(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        self.is_flushed = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl From<Why> for Broken {
    fn from(why: Why) -> Self {
        match why {
            Why::Broken(why) => Self::Upstream(why),
            Why::Silent(bound) => Self::Silent(bound),
            Why::TakenOut => Self::TakenOut,
            Why::ClientGone => Self::Upstream("the client sent nothing more".to_owned()),
        }
    }
}

impl Broken {
    /// What OpenAI's clients take for an error within a stream.
    fn event(&self) -> Bytes {
        let error = serde_json::json!({"error": {
            "message": self.to_string(),
            "type": "upstream_broken",
            "param": null,
            "code": StatusCode::BAD_GATEWAY.as_u16(),
        }});
        format!("data: {error}\n\n").into()
    }
}
