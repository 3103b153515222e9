//! A response body: bytes that are there, or events as they come.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};

use super::Counted;
use super::connection::Busy;
use super::envelope::{Envelope, Usage};
use super::errors::{engine_dead_event, load_failed_event};
use super::pieces::{Broken, Piece, Pieces};
use super::request::Job;

/// What hyper sends. The connection counts as busy until it is gone.
pub(super) struct Reply {
    content: Content,
    _busy: Busy,
}

enum Content {
    Whole(Option<Bytes>),
    Events(Box<Events>),
}

impl Reply {
    /// A body that is there.
    pub(super) fn whole(body: Bytes, busy: Busy) -> Self {
        Self {
            content: Content::Whole(Some(body).filter(|body| !body.is_empty())),
            _busy: busy,
        }
    }

    /// A body that is yet to come.
    pub(super) fn events(events: Box<Events>, busy: Busy) -> Self {
        Self {
            content: Content::Events(events),
            _busy: busy,
        }
    }
}

impl Body for Reply {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let bytes = match &mut self.content {
            Content::Whole(body) => body.take(),
            Content::Events(events) => ready!(events.poll_next(context)),
        };
        Poll::Ready(bytes.map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.content, Content::Whole(None))
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Whole(body) => {
                SizeHint::with_exact(body.as_ref().map_or(0, Bytes::len) as u64)
            }
            Content::Events(_) => SizeHint::default(),
        }
    }
}

/// The events of one stream.
pub(super) struct Events {
    envelope: Envelope,
    job: Job,
    pieces: Pieces,
    /// Completion tokens by choice.
    completion: Vec<usize>,
    /// Tokens of the last prompt that were known.
    cached: usize,
    ready: VecDeque<Bytes>,
    ended: bool,
    _counted: Counted,
}

impl Events {
    /// The stream of answers to a job.
    pub(super) fn new(envelope: Envelope, job: Job, pieces: Pieces, counted: Counted) -> Self {
        let completion = vec![0; job.works.len()];
        Self {
            envelope,
            job,
            pieces,
            completion,
            cached: 0,
            ready: VecDeque::new(),
            ended: false,
            _counted: counted,
        }
    }

    /// The next event, each on its own as vLLM yields them.
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        while self.ready.is_empty() && !self.ended {
            match ready!(self.pieces.poll_next(context)) {
                Ok(pieces) if pieces.is_empty() => self.close(),
                Ok(pieces) => pieces.iter().for_each(|piece| self.say(piece)),
                Err(broken) => self.fail(&broken),
            }
        }
        Poll::Ready(self.ready.pop_front())
    }

    fn say(&mut self, piece: &Piece) {
        // A chat's roles come with the first token of any choice, not before, for all choices.
        if self.completion.iter().all(|tokens| *tokens == 0) {
            let openings = (0..self.completion.len()).filter_map(|index| {
                self.envelope
                    .opening(&self.job, index, self.usage_so_far(index))
            });
            let openings: Vec<_> = openings.collect();
            self.ready.extend(openings);
        }
        let first = self.completion[piece.index] == 0;
        self.cached = piece.cached;
        self.completion[piece.index] += piece.tokens.len();
        let usage = self.usage_so_far(piece.index);
        self.ready
            .push_back(self.envelope.chunk(&self.job, piece, first, usage));
    }

    fn usage_so_far(&self, index: usize) -> Option<Usage> {
        let prompt = self.job.prompts[index / self.job.choices_per_prompt].len();
        self.job.continuous_usage.then(|| Usage {
            prompt,
            completion: self.completion[index],
            cached: 0,
        })
    }

    fn close(&mut self) {
        if self.job.include_usage {
            let prompt = self.job.prompts.iter().map(Vec::len).sum();
            let usage = Usage {
                prompt,
                completion: self.completion.iter().sum(),
                cached: self.cached,
            };
            self.ready.push_back(self.envelope.closing(usage));
        }
        self.finish();
    }

    fn fail(&mut self, broken: &Broken) {
        self.ready.push_back(match broken {
            Broken::EngineDead => engine_dead_event(),
            Broken::LoadFailed => load_failed_event(),
        });
        self.finish();
    }

    fn finish(&mut self) {
        self.ready
            .push_back(Bytes::from_static(b"data: [DONE]\n\n"));
        self.ended = true;
    }
}
