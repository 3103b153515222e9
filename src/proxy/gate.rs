//! Holds the beginning of a stream back until its first event is there.
//!
//! vLLM sends the head of a stream at once, and the first token when the prompt was read: seconds later.
//! Who passes the head on has told the client that all is well, and can replace nothing any more. What
//! is held until the first event can be, for as long as the prompt is read.

use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::time::Instant;

use super::backend::Backend;
use super::event::Events;
use super::patience::Alarm;
use super::upstream::{BUFFER, Connection, Why};

/// The beginning of a stream.
#[derive(Debug, Default)]
pub(super) struct Beginning {
    /// What came of it.
    pub(super) data: Bytes,
    /// What it says.
    pub(super) events: Events,
}

/// Reads a stream until it has an event, or is over, or so long has passed.
pub(super) async fn hold(
    connection: &mut Connection,
    backend: &Backend,
    longest: Duration,
) -> Result<Beginning, Why> {
    let end = Instant::now() + longest;
    let mut alarm = Alarm::default();
    let mut beginning = Beginning::default();
    poll_fn(|cx| {
        while !beginning.is_enough() && !connection.is_at_end() {
            match connection.poll_data(cx, backend) {
                Poll::Ready(Some(data)) => beginning.grow(data?),
                Poll::Ready(None) => break,
                Poll::Pending if alarm.is_past(end, cx) => break,
                Poll::Pending => return Poll::Pending::<Result<(), Why>>,
            }
        }
        Poll::Ready(Ok(()))
    })
    .await?;
    Ok(beginning)
}

impl Beginning {
    fn is_enough(&self) -> bool {
        self.events.has_event() || self.data.len() >= BUFFER
    }

    fn grow(&mut self, data: Bytes) {
        self.events.pass(&data);
        if self.data.is_empty() {
            self.data = data;
            return;
        }
        let mut joined = BytesMut::with_capacity(self.data.len() + data.len());
        joined.extend_from_slice(&self.data);
        joined.extend_from_slice(&data);
        self.data = joined.freeze();
    }
}
