//! A client's TCP connection, with a bound on every wait for the client.
//!
//! hyper asks nothing of who does not read or write: without a bound, a client that stops reading
//! would hold its backend, and with it every drain of that, for ever.

use std::error::Error;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::ahead::Ahead;
use super::beginning::Beginning;
use super::standing::{Standing, Turn};
use crate::proxy::limits::Limits;
use crate::proxy::patience::{Alarm, Patience};

/// What hyper reads requests from, and writes answers to.
#[derive(Debug)]
pub(in crate::proxy) struct ClientStream {
    stream: TcpStream,
    ahead: Ahead,
    standing: Arc<Standing>,
    beginning: Beginning,
    /// Whether it speaks HTTP/2: then what comes need not be of a request, and whoever serves it bounds
    /// how long it may be asked nothing.
    speaks_http2: bool,
    /// The turn that was last read in.
    turn: Turn,
    /// Whether a byte of the next request has come.
    has_begun: bool,
    /// How long the next request may be waited for.
    idle: Duration,
    /// Goes off when it was.
    idle_alarm: Alarm,
    /// Bounds the wait for the rest of its head.
    head: Patience,
    /// Bounds the wait for the client to take what is written.
    taking: Patience,
}

impl ClientStream {
    /// A connection whose client takes something of what is written every `taking` at least.
    pub(in crate::proxy) fn new(
        stream: TcpStream,
        standing: Arc<Standing>,
        limits: &Limits,
        taking: Duration,
    ) -> Self {
        Self {
            stream,
            ahead: Ahead::default(),
            turn: standing.turn(),
            standing,
            beginning: Beginning::default(),
            speaks_http2: false,
            has_begun: false,
            idle: limits.idle,
            idle_alarm: Alarm::default(),
            head: Patience::new(limits.head),
            taking: Patience::new(taking),
        }
    }

    /// Reads as much as tells whether the client speaks HTTP/2. Who reads on gets that again.
    pub(in crate::proxy) async fn speaks_http2(&mut self) -> io::Result<bool> {
        poll_fn(|cx| self.poll_beginning(cx)).await
    }

    fn poll_beginning(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        loop {
            if let Some(speaks_http2) = self.beginning.is_of_http2() {
                self.speaks_http2 = speaks_http2;
                return Poll::Ready(Ok(speaks_http2));
            }
            let mut beginning = std::mem::take(&mut self.beginning);
            let mut room = beginning.room();
            let read = self.poll_read_in_time(cx, &mut room);
            let came = room.filled().len();
            beginning.grow(came);
            self.beginning = beginning;
            ready!(read)?;
            if came == 0 {
                return Poll::Ready(Ok(false));
            }
        }
    }

    fn poll_read_in_time(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let turn = self.turn_over();
        let read = if self.ahead.hand_out(buffer) {
            Poll::Ready(Ok(()))
        } else {
            Pin::new(&mut self.stream).poll_read(cx, buffer)
        };
        self.ahead.is_waited_for(read.is_pending());
        if read.is_ready() {
            self.has_begun |= !turn.is_asked();
            return read;
        }
        match self.late(turn, cx) {
            Some((late, bound)) => Poll::Ready(Err(late.after(bound))),
            None => Poll::Pending,
        }
    }

    /// What the client did not send in time, if nothing more is there in this turn.
    fn late(&mut self, turn: Turn, cx: &mut Context<'_>) -> Option<(Late, Duration)> {
        // Who waits for an answer may be silent; whoever reads a body bounds that.
        if turn.is_asked() {
            // hyper does not read again when the answer is over, as it knows that nothing is there.
            self.idle_alarm.wakes_within(self.idle, cx);
            return None;
        }
        if self.has_begun {
            let is_over = self.head.is_over(cx);
            return is_over.then_some((Late::Head, self.head.bound()));
        }
        let end = self.standing.free_since() + self.idle;
        let is_past = self.idle_alarm.is_past(end, cx);
        is_past.then_some((Late::Request, self.idle))
    }

    /// Forgets what was waited for when a request has begun or ended since.
    fn turn_over(&mut self) -> Turn {
        let turn = self.standing.turn();
        if turn != self.turn {
            self.turn = turn;
            self.has_begun = false;
            self.head.rest();
        }
        turn
    }

    fn written(
        &mut self,
        written: Poll<io::Result<usize>>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        self.standing.writes(written.is_pending());
        self.taking.bounds(written, cx).map(|written| {
            written.unwrap_or_else(|| {
                // What it did not take is thrown away: the kernel would go on offering it. A reset
                // is also no end that looks like that of a whole answer.
                let _ = self.stream.set_zero_linger();
                Err(Late::Taking.after(self.taking.bound()))
            })
        })
    }
}

impl Drop for ClientStream {
    fn drop(&mut self) {
        if self.standing.is_cut_short() {
            let _ = self.stream.set_zero_linger();
        }
    }
}

impl AsyncRead for ClientStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if !this.beginning.is_read() {
            this.beginning.read_into(buffer);
            if buffer.remaining() > 0 {
                // What came behind it; should there be nothing, it is asked for again.
                let _ = Pin::new(&mut this.stream).poll_read(cx, buffer);
            }
            return Poll::Ready(Ok(()));
        }
        if this.speaks_http2 {
            return Pin::new(&mut this.stream).poll_read(cx, buffer);
        }
        this.poll_read_in_time(cx, buffer)
    }
}

impl AsyncWrite for ClientStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.written(written, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.written(written, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// hyper comes by here in each of its turns.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        // Of HTTP/2 it reads on at all times.
        if !this.speaks_http2 && this.standing.turn().is_asked() {
            this.ahead.read_on(&mut this.stream, cx)?;
        }
        Pin::new(&mut this.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// What a client did not do in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::proxy) enum Late {
    /// Ask something.
    Request,
    /// End the head of a request that it had begun.
    Head,
    /// Take what was written to it.
    Taking,
}

/// A client that was waited for in vain.
#[derive(Debug, thiserror::Error)]
enum TooLate {
    #[error("no whole {what} came within {bound:?}")]
    Silent {
        late: Late,
        what: &'static str,
        bound: Duration,
    },
    #[error("it took nothing for {0:?}")]
    Taking(Duration),
}

impl Late {
    /// The error of a connection on which it did not, for so long.
    fn after(self, bound: Duration) -> io::Error {
        let late = self;
        let why = match late {
            Self::Request => TooLate::Silent {
                late,
                what: "request",
                bound,
            },
            Self::Head => TooLate::Silent {
                late,
                what: "head",
                bound,
            },
            Self::Taking => TooLate::Taking(bound),
        };
        io::Error::new(io::ErrorKind::TimedOut, why)
    }

    /// What it was that ended a connection so, if it was that.
    pub(in crate::proxy) fn of(error: &(dyn Error + 'static)) -> Option<Self> {
        let itself = error.downcast_ref::<io::Error>();
        let cause = itself.or_else(|| error.source()?.downcast_ref())?;
        match cause.get_ref().and_then(|why| why.downcast_ref()) {
            Some(TooLate::Silent { late, .. }) => Some(*late),
            Some(TooLate::Taking(_)) => Some(Self::Taking),
            None => None,
        }
    }
}
