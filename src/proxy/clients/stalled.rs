//! A bound on each stream of an HTTP/2 connection whose client takes nothing of it.
//!
//! Such a client may go on taking other streams, so its connection tells nothing. hyper keeps what it
//! has of a stream until the client makes room for it, and asks for no more of its body until then:
//! a stream that waits, and whose service and body were not the ones to say so, waits for its client.

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use crate::proxy::patience::Patience;

thread_local! {
    /// Whether the stream that is being polled on this thread waits for something else than its client.
    /// hyper is between the stream and its body, and hands nothing through.
    static WAITS_HERE: Cell<bool> = const { Cell::new(false) };
}

/// Notes of what a stream was polled for whether that is what it waits for.
pub(super) fn note<T>(polled: &Poll<T>) {
    WAITS_HERE.set(polled.is_pending());
}

/// Answers a request within a stream.
pub(in crate::proxy) async fn noted<T>(answering: impl Future<Output = T>) -> T {
    let mut answering = pin!(answering);
    poll_fn(|cx| {
        let polled = answering.as_mut().poll(cx);
        note(&polled);
        polled
    })
    .await
}

/// Goes through a stream to its end, unless the client takes nothing of it for so long. Whether it was
/// the end.
pub(in crate::proxy) async fn bounded(stream: impl Future<Output = ()>, bound: Duration) -> bool {
    let mut stream = pin!(stream);
    let mut taking = Patience::new(bound);
    let end = poll_fn(|cx| {
        WAITS_HERE.set(false);
        let polled = stream.as_mut().poll(cx);
        if polled.is_pending() && WAITS_HERE.get() {
            taking.rest();
            return Poll::Pending;
        }
        taking.bounds(polled, cx)
    });
    end.await.is_some()
}

#[cfg(test)]
mod tests {
    use tokio::time::{Instant, sleep};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn only_a_wait_for_the_client_is_bounded() {
        let bound = Duration::from_secs(60);
        let began = Instant::now();
        let stream = async {
            noted(sleep(Duration::from_secs(1000))).await;
            sleep(Duration::from_secs(59)).await;
            noted(sleep(Duration::from_secs(1000))).await;
        };
        assert!(bounded(stream, bound).await);
        assert_eq!(began.elapsed().as_secs(), 2059);
        let stalled = async {
            noted(sleep(Duration::from_secs(1000))).await;
            sleep(Duration::from_secs(1000)).await;
        };
        let began = Instant::now();
        assert!(!bounded(stalled, bound).await);
        assert_eq!(began.elapsed().as_secs(), 1060);
    }
}
