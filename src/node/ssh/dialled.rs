//! A stream over a channel of a connection: what a jump host hands on, too.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf as _, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{mpsc, oneshot};

/// A stream to a port that the node can reach. Closed when dropped.
pub(in crate::node) struct Dialled {
    /// What came; an empty piece is the end of it.
    incoming: mpsc::UnboundedReceiver<Bytes>,
    at_end: bool,
    current: Bytes,
    writer: Pin<Box<dyn AsyncWrite + Send>>,
    gone: oneshot::Receiver<()>,
}

impl fmt::Debug for Dialled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dialled").finish_non_exhaustive()
    }
}

impl AsyncRead for Dialled {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.current.is_empty() && !self.at_end {
            match self.incoming.poll_recv(cx) {
                Poll::Ready(Some(piece)) if !piece.is_empty() => self.current = piece,
                Poll::Ready(_) => self.at_end = true,
                Poll::Pending => return Poll::Pending,
            }
        }
        let length = self.current.len().min(buffer.remaining());
        buffer.put_slice(&self.current[..length]);
        self.current.advance(length);
        Poll::Ready(Ok(()))
    }
}

impl Dialled {
    pub(super) fn new(
        incoming: mpsc::UnboundedReceiver<Bytes>,
        writer: Pin<Box<dyn AsyncWrite + Send>>,
        gone: oneshot::Receiver<()>,
    ) -> Self {
        Self {
            incoming,
            at_end: false,
            current: Bytes::new(),
            writer,
            gone,
        }
    }

    /// An error once the channel is gone; a write to it would wait for ever.
    fn alive(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        if matches!(
            self.gone.try_recv(),
            Err(oneshot::error::TryRecvError::Closed)
        ) {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        match Pin::new(&mut self.gone).poll(cx) {
            Poll::Ready(_) => Err(io::ErrorKind::BrokenPipe.into()),
            Poll::Pending => Ok(()),
        }
    }
}

impl AsyncWrite for Dialled {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.alive(cx)?;
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        self.writer.as_mut().poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.alive(cx)?;
        self.writer.as_mut().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.alive(cx).is_err() {
            return Poll::Ready(Ok(()));
        }
        self.writer.as_mut().poll_shutdown(cx)
    }
}
