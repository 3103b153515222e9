//! One request at one backend: a connection that is the backend's own, and the head of an answer.

use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use hyper::{StatusCode, header};
use tokio::time::Instant;

use super::backend::{Backend, count};
use super::fleet::Bounds;
use super::gate::{self, Beginning};
use super::outbound::Outbound;
use super::proof::{Unproved, prove};
use super::record::Record;
use super::seldom::seldom;
use super::sockets;
use super::upload::Received;
use super::upstream::{Connection, Head, NoAnswer, Why};

/// Whoever answers on a new connection has so long to say who it is.
const PROOF: Duration = Duration::from_secs(10);

/// A stranger on the port gets some of the connections: as many are made before it is believed that
/// it gets all of them.
const TRIES: usize = 3;

/// What a backend says, and the connection that the rest of it comes over.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) head: Head,
    /// What was read of its body already.
    pub(super) beginning: Beginning,
    pub(super) connection: Box<Connection>,
}

/// Why a backend gave no answer.
#[derive(Debug)]
pub(super) enum Failure {
    /// Nothing was sent: another may be tried.
    Untouched(String),
    /// It got the request, or a part of it, and broke off.
    Broken(String),
    /// It got the request and stayed silent.
    Silent(String),
    /// Nothing was sent, and it is not the backend's fault.
    Exhausted(String),
    /// The client broke off while it was sending.
    Cut,
}

/// Sends a request to a backend, and returns how it is answered. `sent` counts how often it was sent to
/// somebody who may have read it.
pub(super) async fn attempt(
    backend: &Arc<Backend>,
    bounds: Bounds,
    outbound: &mut Outbound<'_>,
    sent: &mut u32,
    record: &mut Record,
) -> Result<Reply, Failure> {
    let exchange = exchange(backend, bounds, outbound, sent, Some(record));
    let (head, mut connection) = exchange.await?;
    count(&backend.tally.pieces);
    let beginning = match bounds.gate {
        Some(longest) if head.is_stream && head.status == StatusCode::OK => {
            gate::hold(&mut connection, backend, longest).await?
        }
        _ => Beginning::default(),
    };
    Ok(Reply {
        head,
        beginning,
        connection,
    })
}

/// Sends a backend what no client waits for, and returns how it is answered.
pub(super) async fn ask(
    backend: &Arc<Backend>,
    bounds: Bounds,
    outbound: &mut Outbound<'_>,
) -> Result<Reply, Failure> {
    let (head, connection) = exchange(backend, bounds, outbound, &mut 0, None).await?;
    Ok(Reply {
        head,
        beginning: Beginning::default(),
        connection,
    })
}

async fn exchange(
    backend: &Arc<Backend>,
    bounds: Bounds,
    outbound: &mut Outbound<'_>,
    sent: &mut u32,
    mut record: Option<&mut Record>,
) -> Result<(Head, Box<Connection>), Failure> {
    let now = Instant::now();
    if let Some(record) = &mut record {
        record.attempts(backend, now);
    }
    // What is too large to be held could not be sent again if a reused connection turned out to be
    // closed.
    let is_held = matches!(outbound.body, Received::Whole(_));
    let reused = is_held.then(|| backend.connections.take(now)).flatten();
    let mut is_copy = false;
    if let Some(mut connection) = reused {
        let exchange = connection.exchange(outbound, backend, bounds.idle, now);
        match exchange.await {
            Ok(head) => {
                *sent += 1;
                return Ok((head, connection));
            }
            Err(NoAnswer {
                sent: was_sent,
                answered: false,
                why: Why::Broken(_),
            }) => is_copy = was_sent,
            Err(no_answer) => {
                *sent += 1;
                return Err(no_answer.why.into());
            }
        }
        count(&backend.tally.resent);
        if let Some(record) = &mut record {
            record.attempts(backend, Instant::now());
        }
        // A server that closes connections may be one that was replaced.
        backend.suspect();
    }
    let mut connection = match seldom(connect(backend, bounds)).await {
        Ok(connection) => connection,
        Err(Failure::Untouched(why)) if is_copy => {
            backend.eject(&why);
            return Err(Failure::Broken(why));
        }
        Err(failure) => return Err(failure),
    };
    let now = Instant::now();
    let exchange = connection.exchange(outbound, backend, bounds.idle, now);
    match exchange.await {
        Ok(head) => {
            *sent += 1;
            Ok((head, connection))
        }
        Err(NoAnswer {
            sent: false,
            answered: false,
            why: Why::Broken(why),
        }) if !is_copy && is_held => Err(Failure::Untouched(why)),
        Err(no_answer) => {
            *sent += 1;
            Err(no_answer.why.into())
        }
    }
}

/// A new connection to a backend, at whose other end it is itself.
async fn connect(backend: &Backend, bounds: Bounds) -> Result<Box<Connection>, Failure> {
    let mut last = None;
    for _ in 0..TRIES {
        let mut connection = open(backend, bounds).await?;
        match prove(&mut connection, backend, PROOF.min(bounds.idle)).await {
            Ok(()) if connection.is_reusable() => return Ok(connection),
            // It serves one request a connection: no other could be proved any better.
            Ok(()) => return open(backend, bounds).await,
            Err(stranger @ Unproved::Stranger { .. }) => {
                // Whoever looks next may see it too.
                backend.suspect();
                last = Some(stranger.to_string());
            }
            Err(unclear) => return Err(Failure::Untouched(unclear.to_string())),
        }
    }
    Err(Failure::Untouched(last.unwrap_or_default()))
}

async fn open(backend: &Backend, bounds: Bounds) -> Result<Box<Connection>, Failure> {
    let opened = Connection::open(backend.authority.as_str(), bounds.connect).await;
    opened.map_err(|error| unconnected(&error))
}

fn unconnected(error: &io::Error) -> Failure {
    if sockets::is_own_fault(error) {
        Failure::Exhausted(format!("the proxy cannot open a connection: {error}"))
    } else {
        Failure::Untouched(error.to_string())
    }
}

impl Reply {
    /// Reads the rest of it, as far as it is no longer than this, and says whether it is whole then.
    pub(super) async fn read(&mut self, backend: &Backend, most: usize) -> Result<bool, Why> {
        let (connection, held) = (&mut self.connection, &mut self.beginning.data);
        let mut joined = BytesMut::new();
        poll_fn(|cx| {
            while held.len() + joined.len() <= most && !connection.is_at_end() {
                let Some(piece) = ready!(connection.poll_data(cx, backend)) else {
                    break;
                };
                let piece = piece?;
                if held.is_empty() && joined.is_empty() {
                    *held = piece;
                    continue;
                }
                if joined.is_empty() {
                    let left = connection.left().unwrap_or_default() as usize;
                    joined.reserve(held.len() + piece.len() + left.min(most));
                    joined.extend_from_slice(&std::mem::take(held));
                }
                joined.extend_from_slice(&piece);
            }
            Poll::Ready(Ok::<_, Why>(()))
        })
        .await?;
        if !joined.is_empty() {
            *held = joined.freeze();
        }
        Ok(connection.is_at_end())
    }

    /// Puts another body in the place of its own, all of which was read.
    pub(super) fn replace_body(&mut self, body: Bytes) {
        let headers = self.connection.headers_mut();
        if headers.contains_key(header::CONTENT_LENGTH) {
            headers.insert(header::CONTENT_LENGTH, body.len().into());
        }
        self.beginning.data = body;
    }
}

impl From<Why> for Failure {
    fn from(why: Why) -> Self {
        match why {
            Why::Broken(why) => Self::Broken(why),
            Why::Silent(within) => Self::Silent(format!("no answer within {within:?}")),
            Why::TakenOut => Self::Broken("it was taken out meanwhile".to_owned()),
            Why::ClientGone => Self::Cut,
        }
    }
}
