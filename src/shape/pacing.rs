//! When the next request is sent: asked with the time and with what is in flight, and without a
//! clock of its own, so that a pacing is a pure thing that a test can ask anything.

use std::fmt::Debug;
use std::time::Duration;

use super::Stop;

/// When the requests of a load are sent, and when there are no more.
#[derive(Debug)]
pub struct Schedule {
    /// When each is sent.
    pub pacing: Box<dyn Pacing>,
    /// When it ends.
    pub stop: Stop,
    /// How many are in flight at most: by the nature of a closed load, and by the will of whoever wrote
    /// an open one. What an open load would send beyond it is dropped, and counted.
    pub in_flight: Option<u32>,
    /// How many connections are kept open ahead of those that are in flight.
    pub ahead: u32,
    /// How many requests there are likely to be, to see how far it is.
    pub likely: Option<u32>,
}

/// When the next request is sent.
pub trait Pacing: Debug + Send {
    /// What is to be done at a moment, counted from the first sending, with so many in flight. To
    /// answer [`Next::Now`] or [`Next::At`] is to hand out a request.
    fn next(&mut self, now: Duration, in_flight: u32) -> Next;
}

/// What a driver does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// It sends a request as soon as it can.
    Now,
    /// It sends a request at this moment, and asks again then. What is late is late by the moment
    /// that was planned.
    At(Duration),
    /// It asks again when a request has ended.
    Wait,
    /// It sends no more.
    Done,
}

/// A bounded number in flight: the first go out together, each further one when one has ended.
#[derive(Debug)]
pub(super) struct Closed {
    width: u32,
}

impl Closed {
    /// The schedule of so many in flight.
    pub(super) fn schedule(width: u32, stop: Stop) -> Schedule {
        let most = stop.requests.filter(|_| stop.min.is_zero());
        Schedule {
            pacing: Box::new(Self { width }),
            in_flight: Some(most.map_or(width, |requests| width.min(requests))),
            // Requests that are decoded together end together, and so many follow at once.
            ahead: width,
            likely: stop.requests,
            stop,
        }
    }
}

impl Pacing for Closed {
    fn next(&mut self, _: Duration, in_flight: u32) -> Next {
        if in_flight < self.width {
            Next::Now
        } else {
            Next::Wait
        }
    }
}

/// Requests by the clock, whatever is in flight.
#[derive(Debug)]
pub(super) struct Open<M>(pub(super) M);

impl<M: Iterator<Item = Duration> + Debug + Send> Pacing for Open<M> {
    fn next(&mut self, _: Duration, _: u32) -> Next {
        self.0.next().map_or(Next::Done, Next::At)
    }
}

/// As many connections as are open ahead of an open load: what comes in a tenth of a second.
pub(super) fn ahead_of(per_s: f64) -> u32 {
    ((per_s / 10.0).ceil() as u32).clamp(1, 64)
}
