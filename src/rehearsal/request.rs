//! One request on its way, and the record of it.

use std::time::Duration;

use super::script::Question;
use crate::name::InstanceName;
use crate::proxy::choice::{Ahead, Chosen, Part};
use crate::results::{Record, Stamps, Status};
use crate::shape::Ended;
use crate::simulator::Kept;

/// A request that was sent.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) question: Question,
    pub(super) planned: Duration,
    pub(super) sent: Duration,
    pub(super) stage: Stage,
    /// What an instance is chosen for first.
    pub(super) first: Part,
    /// Its place at an instance, by what chose that.
    pub(super) charge: Option<Chosen>,
    /// Its place among the prompts that are read before there is room to write their answers.
    pub(super) ahead: Option<Ahead>,
    /// Who read its prompt for another.
    pub(super) reader: Option<usize>,
    /// Who writes its answer.
    pub(super) writer: Option<usize>,
    /// How much of its prompt was not computed.
    cached: u64,
    /// The events of its stream that have tokens, as the client has them.
    events: Vec<(u64, u64)>,
    /// Tokens that are yet to be sent.
    gathered: u64,
    gather: u64,
}

/// How far it is.
#[derive(Debug)]
pub(super) enum Stage {
    /// On its way to the one that reads its prompt, or answers alone; or waiting for a place.
    Coming,
    /// Its prompt is read for another.
    Read,
    /// Its prompt was read, and what is kept of it is not known yet to the one that goes on.
    Kept(Kept),
    /// It is answered.
    Answered,
}

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Whole,
    TimedOut,
    /// By an answer of this HTTP status.
    Refused(u16),
}

impl Request {
    /// One that is sent at a moment.
    pub(super) fn new(question: Question, planned: Duration, sent: Duration) -> Self {
        Self {
            question,
            planned,
            sent,
            stage: Stage::Coming,
            first: Part::Whole,
            charge: None,
            ahead: None,
            reader: None,
            writer: None,
            cached: 0,
            events: Vec::new(),
            gathered: 0,
            gather: 1,
        }
    }

    /// Takes a token, which the client has at a moment together with others that were gathered for as
    /// long.
    pub(super) fn token(&mut self, at: Duration, is_last: bool, interval: usize) {
        self.gathered += 1;
        if is_last || self.gathered >= self.gather {
            self.events.push((microseconds(at), self.gathered));
            self.gathered = 0;
            self.gather = interval as u64;
        }
    }

    /// Notes how much of its prompt was in a cache.
    pub(super) fn found(&mut self, cached: usize) {
        self.cached = cached as u64;
    }

    /// What is to be known of it while others are sent.
    pub(super) fn ended(&self, end: End) -> Ended {
        let is_ok = end == End::Whole;
        let first = self.events.first().filter(|_| is_ok);
        let waited = first.map(|(at, _)| Duration::from_micros(*at).saturating_sub(self.planned));
        Ended { is_ok, waited }
    }

    /// The record of it, as the load generator would have written it.
    pub(super) fn record(self, end: End, at: Duration, names: &[&InstanceName]) -> Record {
        let (status, http_status, error) = told(end);
        let is_ok = end == End::Whole;
        let name = |place: usize| names[place].to_string();
        let events = if is_ok { self.events } else { Vec::new() };
        let at = microseconds(at);
        let first = events.first().map(|(at, _)| *at);
        let last = events.last().map(|(at, _)| *at);
        let place = self.question.place;
        Record {
            point: place.point,
            round: place.round,
            index: place.index,
            id: format!("rehearsed-{}.{}.{}", place.point, place.round, place.index),
            instance: self.writer.map(name),
            prefilled_by: self.reader.map(name),
            echo: None,
            status,
            http_status,
            error,
            stamps: Stamps {
                planned: microseconds(self.planned),
                connecting: None,
                connected: None,
                sent: Some(microseconds(self.sent)),
                head: first,
                event: first,
                first,
                last,
                done: last,
                eof: last,
                ended: at,
            },
            n_in: is_ok.then_some(self.question.prompt.len() as u64),
            n_out: is_ok.then(|| events.iter().map(|(_, tokens)| tokens).sum()),
            cached: is_ok.then_some(self.cached),
            tokens: events,
            coalesced_events: 0,
            tokens_estimated: false,
            finish: is_ok.then(|| "length".to_owned()),
            text_sha256: None,
            asked: Some(self.question.tokens),
            prompt_number: Some(self.question.number),
            prompt: None,
            answer: None,
        }
    }
}

/// The record of a request that was not sent, as more were in flight than may be.
pub(super) fn dropped(question: Question, planned: Duration) -> Record {
    let request = Request::new(question, planned, planned);
    let record = request.record(End::Refused(0), planned, &[]);
    Record {
        status: Status::Dropped,
        http_status: None,
        error: None,
        stamps: Stamps {
            planned: microseconds(planned),
            ended: microseconds(planned),
            ..Stamps::default()
        },
        ..record
    }
}

fn told(end: End) -> (Status, Option<u16>, Option<String>) {
    match end {
        End::Whole => (Status::Ok, Some(200), None),
        End::TimedOut => (
            Status::Timeout,
            None,
            Some("it took longer than it may".to_owned()),
        ),
        End::Refused(status) => {
            let why = match status {
                400 => "its prompt and its answer are longer than the model can be",
                _ => "every instance has as many requests as it may have",
            };
            (Status::HttpError, Some(status), Some(why.to_owned()))
        }
    }
}

fn microseconds(time: Duration) -> u64 {
    time.as_micros() as u64
}
