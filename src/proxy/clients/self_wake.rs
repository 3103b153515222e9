//! Spares a client's connection a turn in which there would be nothing to do.
//!
//! hyper hands a body on piece by piece. Whoever takes a piece wakes the task of the connection, so that
//! it reads the next one: the very task that is running, which then runs once more. Nearly every request
//! comes in one piece, after which there is no next one.

use std::cell::Cell;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming};

thread_local! {
    /// While what wakes a task from within is held back: whether something has.
    static HELD_BACK: Cell<Option<bool>> = const { Cell::new(None) };
}

/// Polls a connection with a waker that can be held back.
#[derive(Debug, Default)]
pub(in crate::proxy) struct Wakers {
    of_task: Option<Waker>,
    can_wait: Option<Waker>,
}

impl Wakers {
    /// Polls with it.
    pub(in crate::proxy) fn poll<F: Future>(
        &mut self,
        future: Pin<&mut F>,
        cx: &Context<'_>,
    ) -> Poll<F::Output> {
        let of_task = self.of_task.as_ref();
        if !of_task.is_some_and(|it| it.will_wake(cx.waker())) {
            self.of_task = Some(cx.waker().clone());
            self.can_wait = None;
        }
        let make = || Waker::from(Arc::new(CanWait(cx.waker().clone())));
        let can_wait = self.can_wait.get_or_insert_with(make);
        future.poll(&mut Context::from_waker(can_wait))
    }
}

/// Wakes a task, unless that is held back where it is done.
#[derive(Debug)]
struct CanWait(Waker);

impl Wake for CanWait {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        match HELD_BACK.get() {
            None => self.0.wake_by_ref(),
            Some(_) => HELD_BACK.set(Some(true)),
        }
    }
}

/// Takes the next piece of a body, within the task that reads it, which is not woken for what comes
/// behind the last piece.
pub(in crate::proxy) fn poll_piece(
    body: &mut Incoming,
    cx: &mut Context<'_>,
) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
    let (piece, is_woken) = hold_back(|| Pin::new(&mut *body).poll_frame(cx));
    if is_woken && !body.is_end_stream() {
        cx.waker().wake_by_ref();
    }
    piece
}

/// Does something, and tells whether it would have woken a task that is polled so. What other threads
/// wake, is woken.
fn hold_back<T>(does: impl FnOnce() -> T) -> (T, bool) {
    struct Until;
    impl Drop for Until {
        fn drop(&mut self) {
            HELD_BACK.set(None);
        }
    }
    HELD_BACK.set(Some(false));
    let _until = Until;
    let done = does();
    (done, HELD_BACK.get() == Some(true))
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::future::{pending, poll_fn};
    use std::pin::pin;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use hyper::server::conn::http1;
    use hyper::service::service_fn;
    use hyper::{Request, Response};
    use hyper_util::rt::TokioIo;
    use tokio::io::AsyncWriteExt;

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn only_what_is_done_meanwhile_on_the_same_thread_wakes_nobody() {
        let count = Arc::new(Count::default());
        let task = Waker::from(Arc::clone(&count));
        let woken = || count.0.load(Ordering::Relaxed);
        let mut waker = None;
        let future = pin!(std::future::poll_fn(|cx| {
            waker = Some(cx.waker().clone());
            Poll::Ready(())
        }));
        let polled = Wakers::default().poll(future, &Context::from_waker(&task));
        assert!(polled.is_ready());
        let waker = waker.unwrap();
        waker.wake_by_ref();
        assert_eq!(woken(), 1);
        assert!(hold_back(|| waker.wake_by_ref()).1);
        assert!(!hold_back(|| ()).1);
        assert_eq!(woken(), 1);
        hold_back(|| std::thread::scope(|it| it.spawn(|| waker.wake_by_ref()).join()))
            .0
            .unwrap();
        assert_eq!(woken(), 2, "another thread has something else to say");
        waker.wake();
        assert_eq!(woken(), 3, "it is over");
    }

    /// How often a connection is polled for a request that is never answered, and what came of its body.
    async fn polls(request: &str) -> (usize, usize) {
        let (mut client, server) = tokio::io::duplex(4096);
        client.write_all(request.as_bytes()).await.unwrap();
        let came = AtomicUsize::new(0);
        let service = service_fn(|mut request: Request<Incoming>| {
            let came = &came;
            async move {
                let body = request.body_mut();
                while let Some(piece) = poll_fn(|cx| poll_piece(body, cx)).await {
                    let piece = piece.unwrap().into_data().unwrap();
                    came.fetch_add(piece.len(), Ordering::Relaxed);
                }
                pending::<Result<Response<String>, Infallible>>().await
            }
        });
        let serving = http1::Builder::new().serve_connection(TokioIo::new(server), service);
        let mut serving = pin!(serving);
        let (mut wakers, mut polls) = (Wakers::default(), 0);
        let counted = poll_fn(|cx| {
            polls += 1;
            wakers.poll(serving.as_mut(), cx)
        });
        // Time goes on when nobody has anything to do; then it is polled once more.
        let end = tokio::time::timeout(Duration::from_secs(1), counted).await;
        assert!(end.is_err(), "{end:?}");
        (polls - 1, came.into_inner())
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_in_one_piece_costs_no_turn_and_others_come_whole() {
        let head = "POST / HTTP/1.1\r\nhost: a\r\n";
        let whole = format!("{head}content-length: 4\r\n\r\nbody");
        assert_eq!(polls(&whole).await, (1, 4));
        let pieces =
            format!("{head}transfer-encoding: chunked\r\n\r\n2\r\nbo\r\n2\r\ndy\r\n0\r\n\r\n");
        assert_eq!(polls(&pieces).await.1, 4);
        let asks_first = format!("{head}content-length: 4\r\nexpect: 100-continue\r\n\r\nbody");
        assert_eq!(polls(&asks_first).await.1, 4);
    }
}
