//! What an SSH session runs over: a TCP connection, or a channel of a jump host.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::dialled::Dialled;

/// A connection to an SSH server.
#[derive(Debug)]
pub(super) enum Wire {
    Tcp(TcpStream),
    Hop(Dialled),
}

/// Has the kernel acknowledge at once from here on. The option does not stick: it is set again
/// after each read. It saves a stall of 40 ms wherever the server sends two small packets in a row
/// (Nagle's algorithm there, the delayed acknowledgement here): 95 ms a login became 53.
#[cfg(target_os = "linux")]
fn acknowledge_at_once(stream: &TcpStream) {
    // Only a matter of speed.
    let _ = rustix::net::sockopt::set_tcp_quickack(stream, true);
}

#[cfg(not(target_os = "linux"))]
fn acknowledge_at_once(_: &TcpStream) {}

impl AsyncRead for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Wire::Tcp(stream) => {
                let read = Pin::new(&mut *stream).poll_read(cx, buffer);
                acknowledge_at_once(stream);
                read
            }
            Wire::Hop(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Wire::Tcp(stream) => Pin::new(stream).poll_write(cx, bytes),
            Wire::Hop(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Wire::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Wire::Hop(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Wire::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Wire::Hop(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
