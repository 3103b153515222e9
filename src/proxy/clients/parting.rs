//! The end of a stream that broke off on an HTTP/2 connection.
//!
//! A reset of a stream overtakes what was passed on before it: what waits to be written is thrown
//! away. So a last and empty frame is sent, and the reset waits until that was written.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio::sync::oneshot;

use crate::proxy::body::Broken;

/// Why a stream broke off, held back until what came before is with the client.
#[derive(Debug)]
pub(super) struct Parting {
    broken: Option<Broken>,
    /// Ends when the last frame is dropped, which is when it was written.
    last: oneshot::Receiver<()>,
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
        let parting = Self {
            broken: Some(broken),
            last,
        };
        let last = Last {
            _until_written: sender,
        };
        (parting, Bytes::from_owner(last))
    }

    /// Why it broke off, once, when that may be told.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Broken>> {
        if self.broken.is_some() {
            let _ = ready!(Pin::new(&mut self.last).poll(cx));
        }
        Poll::Ready(self.broken.take())
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    #[test]
    fn a_break_is_told_once_the_last_frame_is_gone() {
        let (mut parting, last) = Parting::after(Broken::TakenOut);
        let mut cx = Context::from_waker(Waker::noop());
        assert!(last.is_empty());
        assert!(parting.poll(&mut cx).is_pending());
        drop(last);
        let told = parting.poll(&mut cx);
        assert!(matches!(told, Poll::Ready(Some(Broken::TakenOut))));
    }
}
