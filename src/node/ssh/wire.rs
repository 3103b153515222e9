//! What an SSH session runs over: a TCP connection, or a channel of a jump host.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};

use super::dialled::Dialled;

/// How long a write may make no way at all. The session asks nobody whether they live while it waits
/// to write, so a peer that is gone would never be noticed.
const STALLED: Duration = Duration::from_secs(20);

/// A connection to an SSH server.
#[derive(Debug)]
pub(super) struct Wire {
    over: Over,
    /// Runs while a write waits.
    stalled: Option<Pin<Box<Sleep>>>,
}

#[derive(Debug)]
enum Over {
    Tcp(TcpStream),
    Hop(Dialled),
}

impl Wire {
    pub(super) fn tcp(stream: TcpStream) -> Self {
        // Only a matter of speed.
        let _ = stream.set_nodelay(true);
        end_unacknowledged(&stream);
        Self {
            over: Over::Tcp(stream),
            stalled: None,
        }
    }

    pub(super) fn hop(stream: Dialled) -> Self {
        Self {
            over: Over::Hop(stream),
            stalled: None,
        }
    }

    /// The same outcome of a write, or an error where writing has made no way for too long.
    fn bounded<T>(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(STALLED)));
        ready!(stalled.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

/// Has the kernel acknowledge at once from here on. The option does not stick: it is set again
/// after each read. It saves a stall of 40 ms wherever the server sends two small packets in a row
/// (Nagle's algorithm there, the delayed acknowledgement here): 95 ms a login became 53.
#[cfg(target_os = "linux")]
fn acknowledge_at_once(stream: &TcpStream) {
    // Only a matter of speed.
    let _ = rustix::net::sockopt::set_tcp_quickack(stream, true);
}

/// Has the kernel give up what was written and is not acknowledged for as long: by itself it tries
/// for a quarter of an hour.
#[cfg(target_os = "linux")]
fn end_unacknowledged(stream: &TcpStream) {
    // What is asked whether it lives is given up too, a little later at times.
    let _ = rustix::net::sockopt::set_tcp_user_timeout(stream, STALLED.as_millis() as u32);
}

#[cfg(not(target_os = "linux"))]
fn acknowledge_at_once(_: &TcpStream) {}

#[cfg(not(target_os = "linux"))]
fn end_unacknowledged(_: &TcpStream) {}

impl AsyncRead for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.get_mut().over {
            Over::Tcp(stream) => {
                let read = Pin::new(&mut *stream).poll_read(cx, buffer);
                acknowledge_at_once(stream);
                read
            }
            Over::Hop(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let wire = self.get_mut();
        let written = match &mut wire.over {
            Over::Tcp(stream) => Pin::new(stream).poll_write(cx, bytes),
            Over::Hop(stream) => Pin::new(stream).poll_write(cx, bytes),
        };
        wire.bounded(cx, written)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let wire = self.get_mut();
        let flushed = match &mut wire.over {
            Over::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Over::Hop(stream) => Pin::new(stream).poll_flush(cx),
        };
        wire.bounded(cx, flushed)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let wire = self.get_mut();
        let shut = match &mut wire.over {
            Over::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Over::Hop(stream) => Pin::new(stream).poll_shutdown(cx),
        };
        wire.bounded(cx, shut)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;
    use tokio::net::TcpListener;
    use tokio::sync::{mpsc, oneshot};

    use super::*;

    /// Writes until an error comes.
    async fn write(mut wire: Wire) -> io::ErrorKind {
        let piece = vec![0; 64 * 1024];
        loop {
            if let Err(error) = wire.write_all(&piece).await {
                return error.kind();
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_write_that_nobody_takes_ends() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap());
        let (stream, accepted) = tokio::join!(stream, listener.accept());
        let wire = Wire::tcp(stream.unwrap());
        assert_eq!(write(wire).await, io::ErrorKind::TimedOut);
        drop(accepted);

        let (writer, _reader) = tokio::io::duplex(1);
        let (_to_here, incoming) = mpsc::unbounded_channel();
        let (_open, gone) = oneshot::channel();
        let hop = Dialled::new(incoming, Box::pin(writer), gone);
        assert_eq!(write(Wire::hop(hop)).await, io::ErrorKind::TimedOut);
    }

    /// However slowly a peer takes what is written, it is not given up.
    #[tokio::test(start_paused = true)]
    async fn a_write_that_is_taken_slowly_goes_on() {
        let (writer, mut reader) = tokio::io::duplex(1);
        let (_to_here, incoming) = mpsc::unbounded_channel();
        let (_open, gone) = oneshot::channel();
        let mut wire = Wire::hop(Dialled::new(incoming, Box::pin(writer), gone));
        let reading = tokio::spawn(async move {
            let mut byte = [0];
            for _ in 0..16 {
                sleep(STALLED / 2).await;
                tokio::io::AsyncReadExt::read_exact(&mut reader, &mut byte)
                    .await
                    .unwrap();
            }
        });
        wire.write_all(&[0; 16]).await.unwrap();
        reading.await.unwrap();
    }
}
