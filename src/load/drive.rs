//! The loop: pacing, stop and transport meet here, and nowhere else.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Barrier;
use tokio::task::{JoinError, JoinSet};

use super::stock::Stock;
use crate::shape::{Ended, Next, Schedule, Stopped};

/// What carries a request, as the loop sees it.
pub(super) trait Transport: Send + Sync + 'static {
    /// What a request needs before its moment comes.
    type Connection: Send + 'static;
    /// What became of a request.
    type Answer: Send + 'static;

    /// The time, on the clock of all stamps.
    fn now(&self) -> Duration;

    /// Waits until a moment has come.
    fn until(&self, moment: Duration) -> impl Future<Output = ()> + Send {
        tokio::time::sleep(moment.saturating_sub(self.now()))
    }

    /// Makes ready for one request.
    fn open(&self) -> impl Future<Output = Self::Connection> + Send;

    /// Whether what was made ready can still carry a request.
    fn is_good(&self, connection: &Self::Connection) -> bool;

    /// Sends request `index`, and sees it through. What has a moment to be sent at was planned then,
    /// however late it is.
    fn send(
        &self,
        over: Self::Connection,
        index: u32,
        planned: Option<Duration>,
    ) -> impl Future<Output = Self::Answer> + Send;

    /// What became of request `index`, which was not sent: more are in flight than there may be.
    fn not_sent(&self, index: u32, planned: Duration) -> Self::Answer;

    /// What is to be known of an answer while others are sent.
    fn ended(&self, answer: &Self::Answer) -> Ended;
}

/// What came of a drive.
#[derive(Debug, PartialEq)]
pub(super) struct Answers<A> {
    /// The answers, in the order of sending.
    pub(super) landed: Vec<A>,
    /// Requests that were in flight when it was interrupted; nothing where it came to its end.
    pub(super) cut: Option<usize>,
    /// Why it was stopped before its end.
    pub(super) stopped: Option<Stopped>,
}

/// Drives a schedule to its end, or until `interrupted`: then nothing more is sent, and what is in
/// flight is let go of.
///
/// What is sent at the very beginning is sent over connections that were all made before, and a stock
/// of connections is kept ahead of what follows, so that none is made in the time of a request.
pub(super) async fn drive<T: Transport>(
    schedule: Schedule,
    transport: Arc<T>,
    interrupted: impl Future<Output = ()>,
) -> Answers<T::Answer> {
    let mut lanes = Lanes::over(transport, schedule);
    let is_cut = tokio::select! {
        biased;
        () = lanes.follow() => false,
        () = interrupted => true,
    };
    lanes.end(is_cut)
}

/// The requests of a drive: a task for each that is in flight, and the answers of the others.
struct Lanes<T: Transport> {
    transport: Arc<T>,
    schedule: Schedule,
    stock: Stock<T>,
    begun: Duration,
    sent: u32,
    flying: JoinSet<(u32, T::Answer)>,
    landed: Vec<(u32, T::Answer)>,
}

impl<T: Transport> Lanes<T> {
    fn over(transport: Arc<T>, schedule: Schedule) -> Self {
        Self {
            stock: Stock::of(Arc::clone(&transport), schedule.ahead),
            transport,
            schedule,
            begun: Duration::ZERO,
            sent: 0,
            flying: JoinSet::new(),
            landed: Vec::new(),
        }
    }

    async fn follow(&mut self) {
        let mut next = self.begin().await;
        loop {
            match next {
                Next::Now => self.send(None).await,
                Next::At(moment) if !self.schedule.stop.admits(self.sent, moment) => break,
                Next::At(moment) => self.send_at(moment).await,
                // A pacing that waits for nothing has nothing more to say.
                Next::Wait if self.flying.is_empty() => break,
                Next::Wait => self.wait().await,
                Next::Done => break,
            }
            let now = self.since();
            if !self.schedule.stop.admits(self.sent, now) {
                break;
            }
            let in_flight = self.in_flight();
            next = self.schedule.pacing.next(now, in_flight);
        }
        while !self.flying.is_empty() {
            self.wait().await;
        }
    }

    /// Sends the first requests together, once each has its connection and the stock is full. Returns
    /// what is next.
    async fn begin(&mut self) -> Next {
        let mut first = 0;
        let mut next = Next::Done;
        while self.schedule.stop.admits(first, Duration::ZERO) {
            next = self.schedule.pacing.next(Duration::ZERO, first);
            if next != Next::Now {
                break;
            }
            first += 1;
            next = Next::Wait;
        }
        let ready = Arc::new(Barrier::new(first as usize + 1));
        for index in 0..first {
            let (transport, ready) = (Arc::clone(&self.transport), Arc::clone(&ready));
            self.flying.spawn(async move {
                let connection = transport.open().await;
                ready.wait().await;
                (index, transport.send(connection, index, None).await)
            });
        }
        self.sent = first;
        self.stock.fill(self.left());
        self.stock.filled().await;
        ready.wait().await;
        self.begun = self.transport.now();
        self.schedule.stop.sent(Duration::ZERO, first);
        next
    }

    /// Sends a request over a connection of the stock, or over one that it makes where there is none.
    async fn send(&mut self, planned: Option<Duration>) {
        let (transport, index) = (Arc::clone(&self.transport), self.sent);
        let stocked = self.stock.take();
        self.flying.spawn(async move {
            let held = match stocked {
                Some(held) => held.ready().await,
                None => None,
            };
            let connection = match held.filter(|it| transport.is_good(it)) {
                Some(connection) => connection,
                None => transport.open().await,
            };
            (index, transport.send(connection, index, planned).await)
        });
        self.sent += 1;
        // It is on its way before anything else is done for those after it.
        tokio::task::yield_now().await;
        self.stock.fill(self.left());
        let (now, in_flight) = (self.since(), self.in_flight());
        self.schedule.stop.sent(now, in_flight);
    }

    /// Sends a request at a moment, where there is room for it in flight then.
    async fn send_at(&mut self, moment: Duration) {
        let planned = self.begun + moment;
        self.wait_until(planned).await;
        if !self.schedule.stop.admits(self.sent, moment) {
            return;
        }
        let most = self.schedule.in_flight;
        if most.is_some_and(|most| self.in_flight() >= most) {
            let answer = self.transport.not_sent(self.sent, planned);
            self.landed.push((self.sent, answer));
            self.sent += 1;
        } else {
            self.send(Some(planned)).await;
        }
    }

    /// Waits until a moment has come, and takes what ends meanwhile.
    async fn wait_until(&mut self, moment: Duration) {
        let transport = Arc::clone(&self.transport);
        let mut due = std::pin::pin!(transport.until(moment));
        loop {
            tokio::select! {
                biased;
                () = &mut due => return,
                Some(ended) = self.flying.join_next() => self.land(ended),
            }
        }
    }

    /// Waits until a request has ended.
    async fn wait(&mut self) {
        if let Some(ended) = self.flying.join_next().await {
            self.land(ended);
        }
    }

    fn land(&mut self, ended: Result<(u32, T::Answer), JoinError>) {
        match ended {
            Ok((index, answer)) => {
                let ended = self.transport.ended(&answer);
                self.schedule.stop.ended(self.since(), ended);
                self.landed.push((index, answer));
            }
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }

    fn since(&self) -> Duration {
        self.transport.now().saturating_sub(self.begun)
    }

    /// How many there are still to be sent, where that is known.
    fn left(&self) -> Option<u32> {
        let stop = &self.schedule.stop;
        let requests = stop.requests.filter(|_| stop.min.is_zero())?;
        Some(requests.saturating_sub(self.sent))
    }

    fn in_flight(&mut self) -> u32 {
        while let Some(ended) = self.flying.try_join_next() {
            self.land(ended);
        }
        u32::try_from(self.flying.len()).unwrap_or(u32::MAX)
    }

    /// Lets go of what is still in flight.
    fn end(mut self, is_cut: bool) -> Answers<T::Answer> {
        let in_flight = self.in_flight() as usize;
        self.landed.sort_by_key(|(index, _)| *index);
        Answers {
            landed: self.landed.into_iter().map(|(_, answer)| answer).collect(),
            cut: is_cut.then_some(in_flight),
            stopped: self.schedule.stop.stopped(),
        }
    }
}

#[cfg(test)]
mod tests;
