//! A load, driven as the load generator drives it: by its pacing and its stop, in the time of a play.

use std::time::Duration;

use super::costs::SENDING;
use super::play::Play;
use super::request::dropped;
use super::script::{Place, Question};
use crate::results::Record;
use crate::shape::{Ended, Next, Schedule, Stopped};

/// What came of a round of a load.
pub(super) struct Driven {
    /// In the order of sending.
    pub(super) records: Vec<Record>,
    /// Why it was stopped before its end.
    pub(super) stopped: Option<Stopped>,
}

/// The requests of a round.
struct Lanes<'a> {
    play: &'a mut Play,
    /// What is asked.
    ask: &'a dyn Fn(Place) -> Question,
    schedule: Schedule,
    /// Where the first is sent.
    first: Place,
    begun: Duration,
    /// When the client has sent all that it was to send so far.
    free: Duration,
    sent: u32,
    in_flight: u32,
    records: Vec<Record>,
}

/// Drives a schedule to its end.
pub(super) fn drive(
    play: &mut Play,
    ask: &dyn Fn(Place) -> Question,
    schedule: Schedule,
    first: Place,
) -> Driven {
    let begun = play.now();
    let mut lanes = Lanes {
        play,
        ask,
        schedule,
        first,
        begun,
        free: begun,
        sent: 0,
        in_flight: 0,
        records: Vec::new(),
    };
    lanes.follow();
    let mut records = lanes.records;
    records.sort_by_key(|record| record.index);
    Driven {
        records,
        stopped: lanes.schedule.stop.stopped(),
    }
}

impl Lanes<'_> {
    fn follow(&mut self) {
        while self.schedule.stop.admits(self.sent, self.since()) {
            match self.schedule.pacing.next(self.since(), self.in_flight) {
                Next::Now => self.send(None),
                Next::At(moment) if !self.schedule.stop.admits(self.sent, moment) => break,
                Next::At(moment) => self.send_at(moment),
                // A pacing that waits for nothing has nothing more to say.
                Next::Wait if self.in_flight == 0 => break,
                Next::Wait => self.wait(),
                Next::Done => break,
            }
        }
        while self.in_flight > 0 {
            self.wait();
        }
    }

    fn send(&mut self, planned: Option<Duration>) {
        let question = (self.ask)(self.place());
        let now = self.play.now();
        let at = self.free.max(now) + SENDING;
        self.free = at;
        self.play.send(question, planned.unwrap_or(now), at);
        self.sent += 1;
        self.in_flight += 1;
        let since = self.since();
        self.schedule.stop.sent(since, self.in_flight);
    }

    /// Sends a request at a moment, where there is room for it in flight then.
    fn send_at(&mut self, moment: Duration) {
        let planned = self.begun + moment;
        while let Some(ended) = self.play.until(planned) {
            self.land(ended);
        }
        if !self.schedule.stop.admits(self.sent, moment) {
            return;
        }
        let most = self.schedule.in_flight;
        if most.is_some_and(|most| self.in_flight >= most) {
            let question = (self.ask)(self.place());
            self.records.push(dropped(question, planned));
            self.sent += 1;
        } else {
            self.send(Some(planned));
        }
    }

    fn wait(&mut self) {
        match self.play.wait() {
            Some(ended) => self.land(ended),
            None => self.in_flight = 0,
        }
    }

    fn land(&mut self, (ended, record): (Ended, Record)) {
        self.in_flight = self.in_flight.saturating_sub(1);
        let since = self.since();
        self.schedule.stop.ended(since, ended);
        self.records.push(record);
    }

    fn place(&self) -> Place {
        Place {
            index: self.sent,
            ..self.first
        }
    }

    fn since(&self) -> Duration {
        self.play.now().saturating_sub(self.begun)
    }
}
