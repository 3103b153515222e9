//! A TCP stream that tells of what goes over it, in the very call that moves the bytes, below
//! everything that parses them.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// Hears of the traffic of a stream.
pub trait Tap {
    /// What is remembered of the moment before a write.
    type Moment;

    /// A read has ended, with so many bytes: none at the end of the stream.
    fn read(&self, bytes: usize);

    /// A write is about to be tried. It wakes the receiver, who on a busy machine runs before us:
    /// what is noted after it is late.
    fn before_write(&self) -> Self::Moment;

    /// A write that was tried at that moment took so many bytes, never none.
    fn wrote(&self, before: Self::Moment, bytes: usize);
}

/// The stream itself.
#[derive(Debug)]
pub struct Tapped<T> {
    stream: TcpStream,
    tap: T,
}

impl<T: Tap> Tapped<T> {
    /// A stream that tells a tap of its traffic.
    pub fn new(stream: TcpStream, tap: T) -> Self {
        Self { stream, tap }
    }

    fn told(&self, before: T::Moment, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(bytes @ 1..)) = written {
            self.tap.wrote(before, bytes);
        }
        written
    }
}

impl<T: Tap + Unpin> AsyncRead for Tapped<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if matches!(read, Poll::Ready(Ok(()))) {
            self.tap.read(buffer.filled().len() - before);
        }
        read
    }
}

impl<T: Tap + Unpin> AsyncWrite for Tapped<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let before = self.tap.before_write();
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.told(before, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let before = self.tap.before_write();
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.told(before, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    type Heard = Rc<RefCell<Vec<String>>>;

    impl Tap for Heard {
        type Moment = usize;

        fn read(&self, bytes: usize) {
            self.borrow_mut().push(format!("read {bytes}"));
        }

        fn before_write(&self) -> usize {
            self.borrow().len()
        }

        fn wrote(&self, before: usize, bytes: usize) {
            self.borrow_mut().push(format!("{before}: wrote {bytes}"));
        }
    }

    #[tokio::test]
    async fn every_byte_is_heard_of_and_so_is_the_end() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stream, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
        let (mut other, _) = accepted.unwrap();
        let heard = Heard::default();
        let mut tapped = Tapped::new(stream.unwrap(), Rc::clone(&heard));
        tapped.write_all(b"four").await.unwrap();
        // What is left unread at the end would make it a reset.
        other.read_exact(&mut [0; 4]).await.unwrap();
        other.write_all(b"three").await.unwrap();
        drop(other);
        let mut answer = String::new();
        tapped.read_to_string(&mut answer).await.unwrap();
        assert_eq!(answer, "three");
        assert_eq!(*heard.borrow(), ["0: wrote 4", "read 5", "read 0"]);
    }
}
