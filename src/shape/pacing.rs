//! When the next request is sent: asked with the time and with what is in flight, and without a
//! clock of its own, so that a pacing is a pure thing that a test can ask anything.

use std::fmt::Debug;
use std::time::Duration;

/// When the requests of a load are sent, and how many there are.
#[derive(Debug)]
pub struct Schedule {
    /// How many requests are sent in all.
    pub requests: u32,
    /// How many are in flight at most, as far as the load itself bounds it.
    pub in_flight: u32,
    /// When each is sent.
    pub pacing: Box<dyn Pacing>,
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
    left: u32,
}

impl Closed {
    /// The schedule of so many requests, of which so many are in flight.
    pub(super) fn schedule(width: u32, requests: u32) -> Schedule {
        Schedule {
            requests,
            in_flight: width.min(requests),
            pacing: Box::new(Self {
                width,
                left: requests,
            }),
        }
    }
}

impl Pacing for Closed {
    fn next(&mut self, _: Duration, in_flight: u32) -> Next {
        if self.left == 0 {
            return Next::Done;
        }
        if in_flight >= self.width {
            return Next::Wait;
        }
        self.left -= 1;
        Next::Now
    }
}
