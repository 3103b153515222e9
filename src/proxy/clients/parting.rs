//! The end of a stream that broke off on an HTTP/2 connection.
//!
//! A reset of a stream overtakes what was passed on before it: what waits to be written is thrown
//! away. So a last and empty frame is sent, and the reset waits until that was written, and a little
//! longer: some clients throw away what they have not looked at yet when a reset comes with it (curl
//! does), and that would be the event that says why.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;

/// A client has so long to look at what came before a reset.
const LOOKED_AT: Duration = Duration::from_millis(100);

use crate::proxy::body::Broken;

/// Why a stream broke off, held back until what came before is with the client.
pub(super) struct Parting {
    broken: Option<Broken>,
    is_looked_at: Pin<Box<dyn Future<Output = ()> + Send + Sync>>,
}

/// What the last frame owns.
struct Last {
    _until_written: oneshot::Sender<()>,
}

impl AsRef<[u8]> for Last {
    fn as_ref(&self) -> &[u8] {
        &[]
    }
}

impl Parting {
    /// Holds it back until what is returned beside was written and dropped.
    pub(super) fn after(broken: Broken) -> (Self, Bytes) {
        let (sender, last) = oneshot::channel();
        let is_looked_at = async move {
            // It ends when the frame is dropped, which is when it was written.
            let _ = last.await;
            tokio::time::sleep(LOOKED_AT).await;
        };
        let parting = Self {
            broken: Some(broken),
            is_looked_at: Box::pin(is_looked_at),
        };
        let last = Last {
            _until_written: sender,
        };
        (parting, Bytes::from_owner(last))
    }

    /// Why it broke off, once, when that may be told.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Broken>> {
        if self.broken.is_some() {
            ready!(self.is_looked_at.as_mut().poll(cx));
        }
        Poll::Ready(self.broken.take())
    }
}

impl fmt::Debug for Parting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Parting").field(&self.broken).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::task::Waker;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_break_is_told_once_the_last_frame_was_looked_at() {
        let (mut parting, last) = Parting::after(Broken::TakenOut);
        let mut cx = Context::from_waker(Waker::noop());
        assert!(last.is_empty());
        assert!(parting.poll(&mut cx).is_pending());
        tokio::time::advance(LOOKED_AT * 2).await;
        assert!(parting.poll(&mut cx).is_pending());
        drop(last);
        assert!(parting.poll(&mut cx).is_pending());
        let told = poll_fn(|cx| parting.poll(cx)).await;
        assert!(matches!(told, Some(Broken::TakenOut)));
    }
}
