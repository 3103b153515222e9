//! The body of an answer on its way to a client, and the request that lasts as long.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::Version;
use hyper::body::{Body, Frame, SizeHint};

use super::parting::Parting;
use super::stalled;
use super::standing::Asked;
use crate::proxy::body::{Broken, Outgoing};
use crate::proxy::record::Record;

/// An answer's body. Its request is over when it is dropped, wherever that is.
#[derive(Debug)]
pub(in crate::proxy) struct During {
    body: Outgoing,
    version: Version,
    record: Option<Record>,
    /// Holds the end of a stream back that broke off.
    parting: Option<Parting>,
    asked: Asked,
}

impl Asked {
    /// An answer's body, to whose end the request lasts. The record hears how it goes.
    pub(in crate::proxy) fn until_over(
        mut self,
        body: Outgoing,
        version: Version,
        mut record: Record,
    ) -> During {
        if let Some((outcome, when)) = body.end() {
            // An answer without a body is not asked for one.
            record.ends(outcome, when);
            self.ends(when);
        }
        During {
            body,
            version,
            record: Some(record),
            parting: None,
            asked: self,
        }
    }
}

impl During {
    fn note(&mut self, polled: &Poll<Option<Result<Frame<Bytes>, Broken>>>) {
        let Some(record) = &mut self.record else {
            return;
        };
        if let Some((outcome, when)) = self.body.end() {
            record.ends(outcome, when);
            self.asked.ends(when);
        }
        if let Poll::Ready(Some(Ok(frame))) = polled {
            record.passed(frame.data_ref().map_or(0, Bytes::len));
        }
    }
}

impl Body for During {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        if let Some(parting) = &mut self.parting {
            let broken = ready!(parting.poll(cx));
            return Poll::Ready(broken.map(Err));
        }
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        self.note(&polled);
        if self.version >= Version::HTTP_2 {
            stalled::note(&polled);
            if let Poll::Ready(Some(Err(broken))) = polled {
                let (parting, last) = Parting::after(broken);
                self.parting = Some(parting);
                return Poll::Ready(Some(Ok(Frame::data(last))));
            }
        } else if self.version < Version::HTTP_11 && matches!(polled, Poll::Ready(Some(Err(_)))) {
            // The end of the connection is the end of the answer: a reset has to say that it broke off.
            self.asked.cut_short();
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.parting.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::standing::Standing;
    use super::*;

    #[test]
    fn a_request_lasts_until_its_answer_is_dropped() {
        let standing = Arc::new(Standing::default());
        let answer = During {
            body: Outgoing::own(Bytes::new()),
            version: Version::HTTP_11,
            record: None,
            parting: None,
            asked: standing.ask(),
        };
        assert!(standing.is_asked());
        drop(answer);
        assert!(!standing.is_asked());
    }
}
