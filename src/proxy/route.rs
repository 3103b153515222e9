//! What becomes of a request: an answer of the proxy's own, or one of a backend's.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Method, Response, StatusCode, Uri};
use tokio::time::Instant;

use super::answer::Answer;
use super::body::Outgoing;
use super::clients::Clients;
use super::conform::BodyKind;
use super::counts::{Answers, Times};
use super::error::{ApiError, json_response};
use super::escapes::Escapes;
use super::exchange::forward;
use super::fleet::Fleet;
use super::headers::{self, Rare};
use super::nonces::Nonces;
use super::opening::Opening;
use super::outbound::Outbound;
use super::paths::Route;
use super::pool::Pool;
use super::record::Record;
use super::requests::{Ledger, Outcome};
use super::retry::Retries;
use super::seldom::seldom;
use super::sieve::Sieve;
use super::target::Target;
use super::upload::{Received, Uploads};
use super::{conform, handoff, metrics, models};

/// The largest list of models that is believed.
const LARGEST_LIST: usize = 4 * 1024 * 1024;

/// The client went away: there is nobody to answer.
#[derive(Debug, thiserror::Error)]
#[error("the client went away")]
pub(super) struct ClientGone;

/// What the requests share.
#[derive(Debug)]
pub(super) struct Front {
    pub(super) pool: Arc<Pool>,
    pub(super) ledger: Arc<Ledger>,
    pub(super) retries: Arc<Retries>,
    pub(super) uploads: Uploads,
    pub(super) opening: Opening,
    pub(super) clients: Arc<Clients>,
    /// The requests that no instance had a part in.
    pub(super) own: Arc<Answers>,
    /// How long drains took.
    pub(super) drains: Arc<Times>,
}

/// A request whose head was read.
struct Asked<'a> {
    head: &'a Parts,
    /// How it is known.
    id: HeaderValue,
    /// Where it came from.
    client: &'a HeaderValue,
}

impl Front {
    /// Answers one request of the client at this address.
    pub(super) async fn answer(
        &self,
        head: &mut Parts,
        body: Incoming,
        client: &HeaderValue,
        record: &mut Record,
    ) -> Result<Response<Outgoing>, ClientGone> {
        let rare = Rare::of(&head.headers);
        let id = headers::request_id(&head.headers, rare);
        record.named(&id);
        let (route, kind) = match self.meaning(head, rare) {
            Ok(meaning) => meaning,
            Err(refusal) => return Ok(record.refuse(refusal, &id)),
        };
        let path = head.uri.path();
        let page = match route {
            Route::Models => {
                // A list that came compressed could not be read.
                head.headers.remove(header::ACCEPT_ENCODING);
                let asked = Asked::of(head, id, client);
                return seldom(self.models(&asked, body, record)).await;
            }
            Route::Pass => {
                let asked = Asked::of(head, id, client);
                return self.pass(asked, kind, body, record).await;
            }
            Route::OfOneServer(does) => {
                return Ok(record.refuse(ApiError::of_one_server(path, does), &id));
            }
            Route::Unknown => return Ok(record.refuse(ApiError::unknown_path(path), &id)),
            Route::WithSlash => without_slash(&head.uri),
            _ if !matches!(head.method, Method::GET | Method::HEAD) => {
                return Ok(record.refuse(ApiError::method_not_allowed(path), &id));
            }
            Route::Health => json_response(StatusCode::OK, r#"{"status":"ok"}"#.into()),
            Route::Ready => self.ready(&id, record),
            Route::Metrics => metrics::page(self),
        };
        record.is_page();
        Ok(with_id(page, &id))
    }

    /// What a request means and its body is said to be, if it may be asked; with its target and its host
    /// as they go on.
    fn meaning(&self, head: &mut Parts, rare: Rare) -> Result<(Route, BodyKind), ApiError> {
        conform::check(head, rare)?;
        let target =
            Target::of(&head.uri).map_err(|why| ApiError::irregular_path(head.uri.path(), why))?;
        let route = Route::of(&head.method, &target.path);
        let rewritten = target.rewritten.map(Uri::from);
        let fleet = self.pool.now();
        let keys = &fleet.client_keys;
        if route.wants_key() && !keys.admit(&head.method, &head.headers) {
            return Err(ApiError::unauthorized());
        }
        if keys.are_wanted() {
            // It is the proxy's: no backend is shown it.
            head.headers.remove(header::AUTHORIZATION);
        }
        if let Some(host) = headers::host_of_target(&head.uri) {
            head.headers.insert(header::HOST, host);
        }
        if let Some(target) = rewritten {
            head.uri = target;
        }
        let kind = match route {
            Route::Pass => kind_of_body(&fleet.nonces, head, rare)?,
            _ => BodyKind::Other,
        };
        Ok((route, kind))
    }

    fn ready(&self, id: &HeaderValue, record: &mut Record) -> Response<Outgoing> {
        match self.pool.why_not_ready() {
            Some(why) => record.refuse(ApiError::no_ready_instance(why), id),
            None => json_response(StatusCode::OK, r#"{"status":"ready"}"#.into()),
        }
    }

    /// Passes a request on as it is.
    async fn pass(
        &self,
        asked: Asked<'_>,
        kind: BodyKind,
        body: Incoming,
        record: &mut Record,
    ) -> Result<Response<Outgoing>, ClientGone> {
        let mut body = match self.uploads.receive(body, asked.head.version).await {
            Ok(body) => body,
            Err(error) => return Ok(record.refuse(error.answer(), &asked.id)),
        };
        // Not before the body is here: a server may have come meanwhile.
        self.opening.is_over().await;
        let fleet = self.pool.fleet();
        let stopped = match let_on(&fleet.nonces, kind, &mut body) {
            Ok(stopped) => stopped,
            Err(refusal) => return Ok(record.refuse(refusal, &asked.id)),
        };
        record.received(body.came());
        match self.forward(fleet, &asked, body, record).await {
            Some(Ok(answer)) => Ok(answer.relay(asked.id, record)),
            Some(Err(error)) => Ok(record.refuse(error, &asked.id)),
            None => {
                let refusal = stopped.and_then(|stopped| stopped.get().cloned());
                Ok(record.refuse(refusal.ok_or(ClientGone)?, &asked.id))
            }
        }
    }

    /// Lists the models of one backend, without the names that only the proxy is to know.
    async fn models(
        &self,
        asked: &Asked<'_>,
        body: Incoming,
        record: &mut Record,
    ) -> Result<Response<Outgoing>, ClientGone> {
        let body = match self.uploads.receive(body, asked.head.version).await {
            Ok(body) => body,
            Err(error) => return Ok(record.refuse(error.answer(), &asked.id)),
        };
        self.opening.is_over().await;
        let fleet = self.pool.fleet();
        match self.forward(fleet, asked, body, record).await {
            Some(Ok(answer)) => Ok(self.filtered(answer, &asked.id, record).await),
            Some(Err(error)) => Ok(record.refuse(error, &asked.id)),
            None => Err(ClientGone),
        }
    }

    /// What is waited for is returned as it is: within another, it would be copied once more.
    fn forward(
        &self,
        fleet: Arc<Fleet>,
        asked: &Asked<'_>,
        body: Received,
        record: &mut Record,
    ) -> impl Future<Output = Option<Result<Answer, ApiError>>> {
        let outbound = Outbound {
            head: asked.head,
            id: &asked.id,
            client: asked.client,
            body,
            leg: None,
        };
        forward(&self.pool, &self.retries, fleet, outbound, record)
    }

    async fn filtered(
        &self,
        answer: Answer,
        id: &HeaderValue,
        record: &mut Record,
    ) -> Response<Outgoing> {
        let name = answer.charge.claim.spec.name.clone();
        let (mut head, body) = answer.relay(id.clone(), record).into_parts();
        let Ok(list) = Limited::new(body, LARGEST_LIST).collect().await else {
            let why = format!("{name} broke off its list of models");
            return record.refuse(ApiError::upstream_broken(why), id);
        };
        let list = list.to_bytes();
        let nonces = self.pool.now().nonces.clone();
        let shown = models::without_hidden(&list, |model| nonces.has(model));
        let body = shown.unwrap_or(list);
        if nonces.spelled_in(&body, Escapes::of(&body)).is_some() {
            let why = format!("{name} answered with a list of models that cannot be read");
            return record.refuse(ApiError::upstream_broken(why), id);
        }
        head.headers.remove(header::CONTENT_LENGTH);
        record.ends(Outcome::of_answer(head.status), Instant::now());
        Response::from_parts(head, Outgoing::own(body))
    }
}

/// What the body of a request is said to be, unless it asks in its head for what no client is to know.
fn kind_of_body(nonces: &Nonces, head: &Parts, rare: Rare) -> Result<BodyKind, ApiError> {
    match asked_for_in_head(nonces, head, rare) {
        Some(name) => Err(ApiError::unknown_model(name)),
        None => BodyKind::of(&head.headers),
    }
}

/// Whether a server's nonce is asked for in the target; or as the adapter that vLLM puts into the
/// body of an invocation, in place of its model.
fn asked_for_in_head<'a>(nonces: &'a Nonces, head: &Parts, rare: Rare) -> Option<&'a str> {
    let target = head.uri.path_and_query()?;
    let in_target = nonces.asked_for_at(target.as_str());
    if in_target.is_some() || !rare.adapter {
        return in_target;
    }
    let adapters = head.headers.get_all(headers::ADAPTER).iter();
    let mut adapters = adapters.filter_map(|it| nonces.written_in(it.as_bytes()));
    adapters.next()
}

/// Lets a body on that asks for nobody's nonce, without what is not for clients to say. Where that is
/// known only later, what is returned will say how the client is answered.
fn let_on(
    nonces: &Nonces,
    kind: BodyKind,
    body: &mut Received,
) -> Result<Option<Arc<OnceLock<ApiError>>>, ApiError> {
    match body {
        Received::Whole(body) => {
            kind.check(body)?;
            let escapes = Escapes::of(body);
            if let Some(name) = nonces.asked_for_in(body, escapes) {
                return Err(ApiError::unknown_model(name));
            }
            if let Some(without) = handoff::without_params(body, escapes)? {
                *body = without;
            }
            Ok(None)
        }
        Received::Large(upload) => {
            upload.sift(Sieve::new(nonces.clone(), kind));
            Ok(Some(upload.refusal()))
        }
    }
}

/// Sends a client to the same path without the slash at its end, as vLLM does, and over the proxy.
fn without_slash(uri: &Uri) -> Response<Outgoing> {
    let path = uri.path();
    let path = path.strip_suffix('/').unwrap_or(path);
    let query = uri.query().map(|query| format!("?{query}"));
    let target = format!("{path}{}", query.unwrap_or_default());
    let mut response = Response::new(Outgoing::own(Bytes::new()));
    *response.status_mut() = StatusCode::TEMPORARY_REDIRECT;
    if let Ok(target) = HeaderValue::try_from(target) {
        response.headers_mut().insert(header::LOCATION, target);
    }
    response
}

impl<'a> Asked<'a> {
    fn of(head: &'a Parts, id: HeaderValue, client: &'a HeaderValue) -> Self {
        Self { head, id, client }
    }
}

fn with_id(mut response: Response<Outgoing>, id: &HeaderValue) -> Response<Outgoing> {
    response
        .headers_mut()
        .insert(headers::REQUEST_ID, id.clone());
    response
}
