//! One connection to a backend, and one exchange on it.
//!
//! The connection knows whether it was written to and whether anything came back: on these two
//! facts rests what may be sent again.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use super::sockets;
use super::upload::Upload;
use crate::describe::describe;
use crate::net::{Tap, Tapped};

/// Bounds what is read ahead of a slow client, for each stream; a head must fit as well.
pub(super) const BUFFER: usize = 64 * 1024;

/// A connection to a backend. Dropped, it closes at once, whatever was going on.
#[derive(Debug)]
pub(super) struct Connection {
    sender: SendRequest<Upload>,
    driver: JoinHandle<()>,
    traffic: Arc<Traffic>,
}

/// Why an exchange has no answer.
#[derive(Debug)]
pub(super) struct NoAnswer {
    /// Some bytes of the request went out.
    pub(super) sent: bool,
    /// Some bytes came back, though no whole head.
    pub(super) answered: bool,
    /// It was silent for too long.
    pub(super) timed_out: bool,
    /// What happened, in words.
    pub(super) why: String,
}

impl Connection {
    /// Connects.
    pub(super) async fn open(authority: &str, within: Duration) -> io::Result<Self> {
        let connecting = TcpStream::connect(authority);
        let stream = tokio::time::timeout(within, connecting)
            .await
            .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "no connection in time"))??;
        sockets::tune(&stream);
        let traffic = Arc::<Traffic>::default();
        let io = TokioIo::new(Tapped::new(stream, Arc::clone(&traffic)));
        let (sender, connection) = http1::Builder::new()
            .max_buf_size(BUFFER)
            .handshake(io)
            .await
            .map_err(io::Error::other)?;
        // Errors of the connection reach whoever waits for the answer.
        let driver = tokio::spawn(async move { drop(connection.await) });
        Ok(Self {
            sender,
            driver,
            traffic,
        })
    }

    /// Whether a request can be sent now.
    pub(super) fn is_ready(&self) -> bool {
        self.sender.is_ready()
    }

    /// Whether it is over.
    pub(super) fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    /// Sends a request and waits for the head of its answer, `within` from now.
    pub(super) async fn exchange(
        &mut self,
        request: Request<Upload>,
        within: Duration,
    ) -> Result<Response<Incoming>, NoAnswer> {
        self.traffic.reset();
        let answer = tokio::time::timeout(within, self.sender.send_request(request));
        match answer.await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) => Err(self.no_answer(false, describe(&error))),
            Err(_) => {
                let why = format!("no answer within {within:?}");
                Err(self.no_answer(true, why))
            }
        }
    }

    fn no_answer(&self, timed_out: bool, why: String) -> NoAnswer {
        NoAnswer {
            sent: self.traffic.sent.load(Ordering::Acquire),
            answered: self.traffic.answered.load(Ordering::Acquire),
            timed_out,
            why,
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// What went over a connection since its last request began.
#[derive(Debug, Default)]
struct Traffic {
    sent: AtomicBool,
    answered: AtomicBool,
}

impl Traffic {
    fn reset(&self) {
        self.sent.store(false, Ordering::Release);
        self.answered.store(false, Ordering::Release);
    }
}

impl Tap for Arc<Traffic> {
    type Moment = ();

    fn read(&self, bytes: usize) {
        if bytes > 0 {
            self.answered.store(true, Ordering::Release);
        }
    }

    fn before_write(&self) {}

    fn wrote(&self, (): (), _: usize) {
        self.sent.store(true, Ordering::Release);
    }
}
