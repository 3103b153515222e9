//! One request, from its last byte in to the first byte out.
//!
//! # What is sent twice, and what never is
//!
//! A completion changes nothing, but it costs a GPU, and some requests kill the server that gets
//! them. So a request leaves a backend for another only when none of its bytes was sent: the
//! connection could not be made, or was closed before the first byte.
//!
//! One case is different. A server may close an idle connection at the very moment at which a
//! request goes out on it (uvicorn does after 5 s). The request was then written, nothing will ever
//! answer, and it was almost surely never read. RFC 9112 section 9.3.1 lets a client send such a
//! request again if it is idempotent, or if it knows that the server did not process it. The proxy
//! takes it for known under four conditions: the connection was reused, not one byte came back, it
//! closed (and did not just stay silent), and this is the first time. The copy goes to the same
//! backend on a new connection, and what becomes of that is final: a request that kills servers
//! kills no second one.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Method, Request, Response, StatusCode, Uri};

use super::backend::{Backend, Claim, count};
use super::body::{Outgoing, Passage, Relay};
use super::error::ApiError;
use super::headers;
use super::pool::{Bounds, Pool};
use super::requests::InFlight;
use super::sockets;
use super::upload::{Received, Upload};
use super::upstream::{Connection, NoAnswer};

/// A client's request, ready to be sent.
#[derive(Debug)]
pub(super) struct Outbound {
    pub(super) method: Method,
    pub(super) target: Uri,
    pub(super) headers: HeaderMap,
    pub(super) body: Received,
    pub(super) id: HeaderValue,
}

/// A backend's answer, whose body is still to come.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) response: Response<Incoming>,
    pub(super) passage: Passage,
    pub(super) bounds: Bounds,
}

/// Why a backend gave no answer.
#[derive(Debug)]
enum Failure {
    /// Nothing was sent: another may be tried.
    Untouched(Box<Outbound>, String),
    /// No other is tried.
    Final(Final),
    /// The client broke off while it was sending.
    Cut,
}

/// Why a request has failed for good.
#[derive(Debug)]
enum Final {
    /// Nothing was sent, and it is not the backend's fault.
    Exhausted(String),
    /// It got the request, or a part of it.
    Broken(String),
    /// It got the request and stayed silent.
    Silent(String),
}

impl From<Final> for Failure {
    fn from(failure: Final) -> Self {
        Self::Final(failure)
    }
}

/// Sends a request to one backend after another until one has it, and returns its answer.
///
/// Nothing is returned when the client broke off.
pub(super) async fn forward(
    pool: &Pool,
    mut outbound: Outbound,
    outcome: InFlight,
) -> Option<Result<Answer, ApiError>> {
    let mut tried: Vec<Arc<Backend>> = Vec::new();
    let mut last_trouble = None;
    let error = loop {
        let Some((claim, bounds)) = pool.claim(&tried) else {
            break nobody_left(pool, last_trouble);
        };
        match attempt(&claim, bounds, outbound).await {
            Ok((response, connection, reusable)) => {
                if response.status() == StatusCode::UNAUTHORIZED && claim.authorization.is_some() {
                    // Who does not know its own key is somebody else.
                    claim.suspect();
                }
                let passage = Passage {
                    connection,
                    claim,
                    outcome,
                    reusable,
                };
                return Some(Ok(Answer {
                    response,
                    passage,
                    bounds,
                }));
            }
            Err(Failure::Untouched(back, why)) => {
                count(&claim.tally.unreachable);
                claim.eject(&why);
                let name = &claim.spec.name;
                last_trouble = Some(format!("{name} cannot be reached: {why}"));
                tried.push(Arc::clone(&claim));
                outbound = *back;
            }
            Err(Failure::Final(failure)) => break failure.blame(&claim),
            Err(Failure::Cut) => return None,
        }
    };
    tracing::warn!(why = error.message(), "a request failed");
    outcome.fail();
    Some(Err(error))
}

impl Final {
    /// Says what the client is told, and has the backend probed if it may be gone: the probe
    /// decides, as a request alone can make a server break off.
    fn blame(self, backend: &Backend) -> ApiError {
        let name = &backend.spec.name;
        let error = match self {
            Self::Exhausted(why) => return ApiError::proxy_exhausted(why),
            Self::Broken(why) => ApiError::upstream_broken(format!("{name} broke off: {why}")),
            Self::Silent(why) => ApiError::upstream_timeout(format!("{name} is silent: {why}")),
        };
        count(&backend.tally.broken);
        backend.suspect();
        error
    }
}

fn nobody_left(pool: &Pool, last_trouble: Option<String>) -> ApiError {
    if let Some(why) = last_trouble {
        return ApiError::upstream_unreachable(why);
    }
    let changed = || "no instance was ready; one has become so just now".to_owned();
    ApiError::no_ready_instance(pool.why_not_ready().unwrap_or_else(changed))
}

async fn attempt(
    claim: &Claim,
    bounds: Bounds,
    outbound: Outbound,
) -> Result<(Response<Incoming>, Connection, bool), Failure> {
    count(&claim.tally.attempts);
    match outbound.body {
        Received::Whole(ref body) => {
            let body = body.clone();
            send_whole(claim, bounds, outbound, &body).await
        }
        Received::Large(_) => send_large(claim, bounds, outbound).await,
    }
}

/// Sends a request whose body is held, on a connection at hand if there is one.
async fn send_whole(
    claim: &Claim,
    bounds: Bounds,
    outbound: Outbound,
    body: &Bytes,
) -> Result<(Response<Incoming>, Connection, bool), Failure> {
    let mut is_copy = false;
    if let Some(mut connection) = claim.connections.take() {
        let request = outbound.request(claim, Upload::whole(body.clone()));
        match connection.exchange(request, bounds.idle).await {
            Ok(response) => return Ok((response, connection, true)),
            Err(no_answer) if no_answer.answered || no_answer.timed_out => {
                return Err(no_answer.into_failure());
            }
            Err(no_answer) => is_copy = no_answer.sent,
        }
        count(&claim.tally.resent);
        // A server that closes connections may be one that was replaced.
        claim.suspect();
    }
    let mut connection = match connect(claim, bounds).await {
        Ok(connection) => connection,
        Err(error) if is_copy => {
            claim.eject(&error.to_string());
            return Err(Final::Broken(error.to_string()).into());
        }
        Err(error) => return Err(unconnected(outbound, &error)),
    };
    let request = outbound.request(claim, Upload::whole(body.clone()));
    match connection.exchange(request, bounds.idle).await {
        Ok(response) => Ok((response, connection, true)),
        Err(no_answer) if !is_copy && !no_answer.sent && !no_answer.timed_out => {
            Err(Failure::Untouched(Box::new(outbound), no_answer.why))
        }
        Err(no_answer) => Err(no_answer.into_failure()),
    }
}

/// Sends a request whose body is too large to be held: always on a new connection, as it could not
/// be sent again if a reused one turned out to be closed.
async fn send_large(
    claim: &Claim,
    bounds: Bounds,
    mut outbound: Outbound,
) -> Result<(Response<Incoming>, Connection, bool), Failure> {
    let mut connection = match connect(claim, bounds).await {
        Ok(connection) => connection,
        Err(error) => return Err(unconnected(outbound, &error)),
    };
    let upload = outbound.take_large();
    let broken_off = upload.watch_client();
    let request = outbound.request(claim, upload);
    match connection.exchange(request, bounds.idle).await {
        // The upload may still be going on when the answer ends.
        Ok(response) => Ok((response, connection, false)),
        Err(_) if broken_off.load(Ordering::Acquire) => Err(Failure::Cut),
        Err(no_answer) => Err(no_answer.into_failure()),
    }
}

async fn connect(backend: &Backend, bounds: Bounds) -> io::Result<Connection> {
    Connection::open(backend.authority.as_str(), bounds.connect).await
}

fn unconnected(outbound: Outbound, error: &io::Error) -> Failure {
    if sockets::is_own_fault(error) {
        Final::Exhausted(format!("the proxy cannot open a connection: {error}")).into()
    } else {
        Failure::Untouched(Box::new(outbound), error.to_string())
    }
}

impl NoAnswer {
    fn into_failure(self) -> Failure {
        let failure = if self.timed_out {
            Final::Silent
        } else {
            Final::Broken
        };
        failure(self.why).into()
    }
}

impl Outbound {
    fn request(&self, backend: &Backend, body: Upload) -> Request<Upload> {
        let mut request = Request::new(body);
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.target.clone();
        let headers = request.headers_mut();
        headers.clone_from(&self.headers);
        headers::ensure_host(headers, &backend.authority);
        if let Some(own) = &backend.authorization {
            headers.insert(header::AUTHORIZATION, own.clone());
        }
        request
    }

    fn take_large(&mut self) -> Upload {
        match std::mem::replace(&mut self.body, Received::Whole(Bytes::new())) {
            Received::Large(upload) => upload,
            Received::Whole(body) => Upload::whole(body),
        }
    }
}

impl Answer {
    /// Passes the answer on, frame by frame.
    pub(super) fn relay(self, id: &HeaderValue) -> Response<Outgoing> {
        let (mut head, body) = self.response.into_parts();
        let backend = &self.passage.claim;
        headers::prepare_downstream(&mut head.headers, id, &backend.label);
        let class = usize::from(head.status.as_u16() / 100);
        if let Some(counter) = backend.tally.answered.get(class) {
            count(counter);
        }
        let relay = Relay::new(body, self.passage, self.bounds.idle);
        Response::from_parts(head, Outgoing::Relayed(Box::new(relay)))
    }
}
