//! The loop: pacing and transport meet here, and nowhere else.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Barrier;
use tokio::task::{JoinError, JoinSet};

use crate::shape::{Next, Schedule};

/// What carries a request, as the loop sees it.
pub(super) trait Transport: Send + Sync + 'static {
    /// What a request needs before its moment comes.
    type Connection: Send;
    /// What became of a request.
    type Answer: Send + 'static;

    /// The time, on the clock of all stamps.
    fn now(&self) -> Duration;

    /// Makes ready for one request.
    fn open(&self) -> impl Future<Output = Self::Connection> + Send;

    /// Sends request `index`, and sees it through. What has a moment to be sent at was planned then,
    /// however late it is.
    fn send(
        &self,
        over: Self::Connection,
        index: u32,
        planned: Option<Duration>,
    ) -> impl Future<Output = Self::Answer> + Send;
}

/// What came of a drive.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answers<A> {
    /// The answers, in the order of sending.
    pub(super) landed: Vec<A>,
    /// Requests that were in flight when it was stopped; nothing where it came to its end.
    pub(super) cut: Option<usize>,
}

/// Drives a schedule to its end, or until `stop`: then nothing more is sent, and what is in flight
/// is let go of.
///
/// What is sent at the very beginning is sent over connections that were all made before, so that
/// none is made while the first requests are measured. A request that has its moment makes its own
/// connection while it waits for it.
pub(super) async fn drive<T: Transport>(
    schedule: Schedule,
    transport: Arc<T>,
    stop: impl Future<Output = ()>,
) -> Answers<T::Answer> {
    let mut lanes = Lanes::over(transport);
    let is_stopped = tokio::select! {
        biased;
        () = follow(schedule, &mut lanes) => false,
        () = stop => true,
    };
    lanes.end(is_stopped)
}

async fn follow<T: Transport>(mut schedule: Schedule, lanes: &mut Lanes<T>) {
    let mut next = schedule.pacing.next(Duration::ZERO, 0);
    let mut first = 0;
    while next == Next::Now {
        first += 1;
        next = schedule.pacing.next(Duration::ZERO, first);
    }
    let begun = lanes.begin(first).await;
    loop {
        match next {
            Next::Now => lanes.send(None),
            Next::At(moment) => lanes.send_at(begun + moment).await,
            // A pacing that waits for nothing has nothing more to say.
            Next::Wait if lanes.are_empty() => break,
            Next::Wait => lanes.wait().await,
            Next::Done => break,
        }
        let since = lanes.transport.now().saturating_sub(begun);
        next = schedule.pacing.next(since, lanes.in_flight());
    }
    while !lanes.are_empty() {
        lanes.wait().await;
    }
}

/// The requests of a drive: a task for each that is in flight, and the answers of the others.
struct Lanes<T: Transport> {
    transport: Arc<T>,
    sent: u32,
    /// Requests whose moment has not come.
    waiting: usize,
    flying: JoinSet<(u32, T::Answer)>,
    landed: Vec<(u32, T::Answer)>,
}

impl<T: Transport> Lanes<T> {
    fn over(transport: Arc<T>) -> Self {
        Self {
            transport,
            sent: 0,
            waiting: 0,
            flying: JoinSet::new(),
            landed: Vec::new(),
        }
    }

    /// Sends the first requests together, once each has its connection. Returns when that was.
    async fn begin(&mut self, first: u32) -> Duration {
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
        ready.wait().await;
        self.transport.now()
    }

    fn send(&mut self, planned: Option<Duration>) {
        let (transport, index) = (Arc::clone(&self.transport), self.sent);
        self.sent += 1;
        self.flying.spawn(async move {
            let connection = transport.open().await;
            if let Some(moment) = planned {
                until(moment, &*transport).await;
            }
            (index, transport.send(connection, index, planned).await)
        });
    }

    /// Sends a request at a moment, and returns then.
    async fn send_at(&mut self, moment: Duration) {
        self.send(Some(moment));
        self.waiting = 1;
        until(moment, &*self.transport).await;
        self.waiting = 0;
    }

    /// Waits until a request has ended.
    async fn wait(&mut self) {
        let ended = self.flying.join_next().await;
        self.land(ended);
    }

    fn land(&mut self, ended: Option<Result<(u32, T::Answer), JoinError>>) {
        match ended {
            Some(Ok(answer)) => self.landed.push(answer),
            Some(Err(error)) => std::panic::resume_unwind(error.into_panic()),
            None => {}
        }
    }

    fn are_empty(&self) -> bool {
        self.flying.is_empty()
    }

    fn in_flight(&mut self) -> u32 {
        while let Some(ended) = self.flying.try_join_next() {
            self.land(Some(ended));
        }
        u32::try_from(self.flying.len()).unwrap_or(u32::MAX)
    }

    /// Lets go of what is still in flight.
    fn end(mut self, is_stopped: bool) -> Answers<T::Answer> {
        let cut = self.in_flight() as usize - self.waiting;
        self.landed.sort_by_key(|(index, _)| *index);
        Answers {
            landed: self.landed.into_iter().map(|(_, answer)| answer).collect(),
            cut: is_stopped.then_some(cut),
        }
    }
}

async fn until<T: Transport>(moment: Duration, transport: &T) {
    tokio::time::sleep(moment.saturating_sub(transport.now())).await;
}

#[cfg(test)]
mod tests;
