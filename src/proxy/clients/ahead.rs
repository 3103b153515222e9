//! Reads on while a request is answered, so that the end of its client is seen.
//!
//! hyper reads no further than what it needs: with a byte of a next request in its hands, it reads nothing
//! until this one is answered, and does not see that the client has gone. Its instance would work on for
//! nobody. So the stream itself reads on, a little, and hands that out later.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::TcpStream;

/// So much is read ahead at most. The end of who sends more is seen when something is written to it.
const MOST: usize = 16 * 1024;

/// What was read of a connection before hyper asked for it.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    bytes: BytesMut,
    /// Whether hyper waits for more itself: then it sees the end.
    is_waited_for: bool,
    /// Whether hyper was left a turn to read by itself what is there: as long as it reads a body, it does.
    was_passed: bool,
}

impl Ahead {
    /// Hands out what there is, if there is anything.
    pub(super) fn hand_out(&mut self, buffer: &mut ReadBuf<'_>) -> bool {
        self.was_passed = false;
        let length = self.bytes.len().min(buffer.remaining());
        if length == 0 {
            return false;
        }
        buffer.put_slice(&self.bytes[..length]);
        self.bytes.advance(length);
        if self.bytes.is_empty() {
            // Few read ahead, and those seldom: nobody keeps room for it.
            self.bytes = BytesMut::new();
        }
        true
    }

    /// Notes whether hyper waits for more.
    pub(super) fn is_waited_for(&mut self, is_waited_for: bool) {
        self.is_waited_for = is_waited_for;
    }

    /// Reads on if nobody else does; fails when the client has gone.
    pub(super) fn read_on(
        &mut self,
        stream: &mut TcpStream,
        cx: &mut Context<'_>,
    ) -> io::Result<()> {
        if self.is_waited_for || self.bytes.len() >= MOST {
            return Ok(());
        }
        if !self.was_passed {
            self.was_passed = true;
            if stream.poll_read_ready(cx).is_ready() {
                cx.waker().wake_by_ref();
            }
            return Ok(());
        }
        let mut piece = [0; 4096];
        while self.bytes.len() < MOST {
            let room = piece.len().min(MOST - self.bytes.len());
            let mut read = ReadBuf::new(&mut piece[..room]);
            match Pin::new(&mut *stream).poll_read(cx, &mut read) {
                Poll::Ready(Ok(())) if read.filled().is_empty() => {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                Poll::Ready(Ok(())) => self.bytes.extend_from_slice(read.filled()),
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Pending => break,
            }
        }
        Ok(())
    }
}
