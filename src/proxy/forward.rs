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
use std::time::Duration;

use hyper::header::HeaderValue;
use hyper::{Response, StatusCode};

use super::backend::{Backend, Claim, count};
use super::body::{Outgoing, Passage, Relay};
use super::error::ApiError;
use super::headers;
use super::outbound::Outbound;
use super::patience::Patience;
use super::policy::Charge;
use super::pool::{Bounds, Fleet, Pool};
use super::proof::{Unproved, prove};
use super::record::Record;
use super::request_view::RequestView;
use super::requests::InFlight;
use super::sockets;
use super::upload::Received;
use super::upstream::{Connection, Head, NoAnswer, Why};

/// Whoever answers on a new connection has so long to say who it is.
const PROOF: Duration = Duration::from_secs(10);

/// A stranger on the port gets some of the connections: as many are made before it is believed that
/// it gets all of them.
const TRIES: usize = 3;

/// A backend's answer, whose body is still to come.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) head: Head,
    pub(super) passage: Passage,
    pub(super) patience: Patience,
}

/// Why a backend gave no answer.
#[derive(Debug)]
enum Failure {
    /// Nothing was sent: another may be tried.
    Untouched(String),
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
    record: &mut Record,
) -> Option<Result<Answer, ApiError>> {
    let fleet = pool.fleet();
    let mut tried: Vec<Arc<Backend>> = Vec::new();
    let mut last_trouble = None;
    let error = loop {
        let Some(charge) = choose(&fleet, &outbound, &tried) else {
            break nobody_left(pool, last_trouble);
        };
        let claim = &charge.claim;
        count(match last_trouble {
            None => &claim.tally.first,
            Some(_) => &claim.tally.elsewhere,
        });
        let mut patience = Patience::new(fleet.bounds.idle);
        match attempt(claim, fleet.bounds, &mut outbound, &mut patience, record).await {
            Ok((head, connection)) => {
                if head.status == StatusCode::UNAUTHORIZED && claim.authorization.is_some() {
                    // Who does not know its own key is somebody else.
                    claim.suspect();
                }
                let passage = Passage {
                    connection,
                    charge,
                    outcome,
                };
                return Some(Ok(Answer {
                    head,
                    passage,
                    patience,
                }));
            }
            Err(Failure::Untouched(why)) => {
                count(&claim.tally.unreachable);
                claim.eject(&why);
                let name = &claim.spec.name;
                last_trouble = Some(format!("{name} cannot be reached: {why}"));
                tried.push(Arc::clone(claim));
            }
            Err(Failure::Final(failure)) => break failure.blame(claim),
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

fn choose(fleet: &Fleet, outbound: &Outbound, tried: &[Arc<Backend>]) -> Option<Charge> {
    let body = match &outbound.body {
        Received::Whole(body) => Some(body),
        Received::Large(_) => None,
    };
    fleet.claim(&RequestView::new(&outbound.headers, body), tried)
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
    outbound: &mut Outbound,
    patience: &mut Patience,
    record: &mut Record,
) -> Result<(Head, Connection), Failure> {
    record.attempts(claim);
    // What is too large to be held could not be sent again if a reused connection turned out to be
    // closed.
    let is_held = matches!(outbound.body, Received::Whole(_));
    let reused = is_held.then(|| claim.connections.take()).flatten();
    let mut is_copy = false;
    if let Some(mut connection) = reused {
        match connection.exchange(outbound, claim, patience).await {
            Ok(head) => return Ok((head, connection)),
            Err(NoAnswer {
                sent,
                answered: false,
                why: Why::Broken(_),
            }) => is_copy = sent,
            Err(no_answer) => return Err(no_answer.into_failure()),
        }
        count(&claim.tally.resent);
        record.attempts(claim);
        // A server that closes connections may be one that was replaced.
        claim.suspect();
    }
    let mut connection = match connect(claim, bounds).await {
        Ok(connection) => connection,
        Err(Failure::Untouched(why)) if is_copy => {
            claim.eject(&why);
            return Err(Final::Broken(why).into());
        }
        Err(failure) => return Err(failure),
    };
    match connection.exchange(outbound, claim, patience).await {
        Ok(head) => Ok((head, connection)),
        Err(NoAnswer {
            sent: false,
            answered: false,
            why: Why::Broken(why),
        }) if !is_copy && is_held => Err(Failure::Untouched(why)),
        Err(no_answer) => Err(no_answer.into_failure()),
    }
}

/// A new connection to a backend, at whose other end it is itself.
async fn connect(backend: &Backend, bounds: Bounds) -> Result<Connection, Failure> {
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

async fn open(backend: &Backend, bounds: Bounds) -> Result<Connection, Failure> {
    let opened = Connection::open(backend.authority.as_str(), bounds.connect).await;
    opened.map_err(|error| unconnected(&error))
}

fn unconnected(error: &io::Error) -> Failure {
    if sockets::is_own_fault(error) {
        Final::Exhausted(format!("the proxy cannot open a connection: {error}")).into()
    } else {
        Failure::Untouched(error.to_string())
    }
}

impl NoAnswer {
    fn into_failure(self) -> Failure {
        match self.why {
            Why::Broken(why) => Final::Broken(why).into(),
            Why::Silent(within) => Final::Silent(format!("no answer within {within:?}")).into(),
            Why::ClientGone => Failure::Cut,
        }
    }
}

impl Answer {
    /// Passes the answer on, frame by frame.
    pub(super) fn relay(self, id: &HeaderValue, record: &Record) -> Response<Outgoing> {
        let Head {
            status,
            mut headers,
        } = self.head;
        headers::prepare_downstream(&mut headers, id);
        record.tell(&mut headers);
        let relay = Relay::new(self.passage, self.patience, &headers);
        let mut response = Response::new(Outgoing::Relayed(Box::new(relay)));
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        response
    }
}
