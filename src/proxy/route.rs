//! What becomes of a request: an answer of the proxy's own, or one of a backend's.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::{Method, Request, Response, StatusCode, Uri};

use super::answer::Answer;
use super::body::Outgoing;
use super::clients::Clients;
use super::conform::BodyKind;
use super::counts::{Answers, Times};
use super::error::{ApiError, json_response};
use super::forward::forward;
use super::nonces::Nonces;
use super::opening::Opening;
use super::outbound::Outbound;
use super::paths::Route;
use super::pool::Pool;
use super::record::Record;
use super::requests::{InFlight, Ledger};
use super::retry::Retries;
use super::sieve::Sieve;
use super::target::Target;
use super::upload::{NotReceived, Received, Uploads};
use super::{conform, handoff, headers, metrics, models};

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

impl Front {
    /// Answers one request of the client at this address.
    pub(super) async fn answer(
        &self,
        mut request: Request<Incoming>,
        client: &HeaderValue,
        record: &mut Record,
    ) -> Result<Response<Outgoing>, ClientGone> {
        let id = headers::request_id(request.headers());
        record.named(&id);
        let route = match self.meaning(&mut request) {
            Ok(route) => route,
            Err(refusal) => return Ok(self.refuse(refusal, &id, record)),
        };
        let path = request.uri().path();
        let own = match route {
            Route::Models => return self.models(request, client, id, record).await,
            Route::Pass => return self.pass(request, client, id, record).await,
            Route::WithSlash => without_slash(request.uri()),
            Route::OfOneServer(does) => {
                return Ok(self.refuse(ApiError::of_one_server(path, does), &id, record));
            }
            Route::Unknown => return Ok(self.refuse(ApiError::unknown_path(path), &id, record)),
            _ if !matches!(*request.method(), Method::GET | Method::HEAD) => {
                return Ok(self.refuse(ApiError::method_not_allowed(path), &id, record));
            }
            Route::Health => json_response(StatusCode::OK, r#"{"status":"ok"}"#.into()),
            Route::Ready => self.ready(&id, record),
            Route::Metrics => metrics::page(self),
        };
        Ok(with_id(own, &id))
    }

    /// Answers a request that is for no instance.
    pub(super) fn refuse(
        &self,
        refusal: ApiError,
        id: &HeaderValue,
        record: &mut Record,
    ) -> Response<Outgoing> {
        self.ledger.open().end(refusal.outcome());
        record.refuse(refusal, id)
    }

    /// What a request means, if it may be asked; with its target and its host as they go on.
    fn meaning(&self, request: &mut Request<Incoming>) -> Result<Route, ApiError> {
        conform::check(request)?;
        let target = Target::of(request.uri())
            .map_err(|why| ApiError::irregular_path(request.uri().path(), why))?;
        let route = Route::of(request.method(), &target.path);
        let rewritten = target.rewritten.map(Uri::from);
        let fleet = self.pool.fleet();
        let keys = &fleet.client_keys;
        if route.wants_key() && !keys.admit(request.method(), request.headers()) {
            return Err(ApiError::unauthorized());
        }
        if keys.are_wanted() {
            // It is the proxy's: no backend is shown it.
            request.headers_mut().remove(header::AUTHORIZATION);
        }
        if let Some(host) = headers::host_of_target(request.uri()) {
            request.headers_mut().insert(header::HOST, host);
        }
        if let Some(target) = rewritten {
            *request.uri_mut() = target;
        }
        Ok(route)
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
        request: Request<Incoming>,
        client: &HeaderValue,
        id: HeaderValue,
        record: &mut Record,
    ) -> Result<Response<Outgoing>, ClientGone> {
        if let Some(name) = asked_for_in_head(&self.pool.fleet().nonces, &request) {
            return Ok(self.refuse(ApiError::unknown_model(name), &id, record));
        }
        let kind = match BodyKind::of(request.headers()) {
            Ok(kind) => kind,
            Err(refusal) => return Ok(self.refuse(refusal, &id, record)),
        };
        let outcome = self.ledger.open();
        let mut outbound = match self.read(request, client, &id).await {
            Ok(outbound) => outbound,
            Err(error) => return Ok(unread(&error, outcome, &id, record)),
        };
        // Not before the body is here: a server may have come meanwhile.
        let nonces = self.pool.fleet().nonces.clone();
        let stopped = match let_on(&nonces, kind, &mut outbound.body) {
            Ok(stopped) => stopped,
            Err(refusal) => {
                outcome.end(refusal.outcome());
                return Ok(record.refuse(refusal, &id));
            }
        };
        record.received(outbound.body.came());
        self.opening.is_over().await;
        match forward(&self.pool, &self.retries, outbound, outcome, record).await {
            Some(Ok(answer)) => Ok(answer.relay(&id, record)),
            Some(Err(error)) => Ok(record.refuse(error, &id)),
            None => {
                let refusal = stopped.get().cloned().ok_or(ClientGone)?;
                Ok(record.refuse(refusal, &id))
            }
        }
    }

    /// Lists the models of one backend, without the names that only the proxy is to know.
    async fn models(
        &self,
        mut request: Request<Incoming>,
        client: &HeaderValue,
        id: HeaderValue,
        record: &mut Record,
    ) -> Result<Response<Outgoing>, ClientGone> {
        // A list that came compressed could not be read.
        request.headers_mut().remove(header::ACCEPT_ENCODING);
        let outcome = self.ledger.open();
        let outbound = match self.read(request, client, &id).await {
            Ok(outbound) => outbound,
            Err(error) => return Ok(unread(&error, outcome, &id, record)),
        };
        self.opening.is_over().await;
        match forward(&self.pool, &self.retries, outbound, outcome, record).await {
            Some(Ok(answer)) => Ok(self.filtered(answer, &id, record).await),
            Some(Err(error)) => Ok(record.refuse(error, &id)),
            None => Err(ClientGone),
        }
    }

    /// Reads a request, and makes its head fit for a backend.
    async fn read(
        &self,
        request: Request<Incoming>,
        client: &HeaderValue,
        id: &HeaderValue,
    ) -> Result<Outbound, NotReceived> {
        let (mut head, body) = request.into_parts();
        let body = self.uploads.receive(body, head.version).await?;
        headers::prepare_upstream(&mut head.headers, id);
        headers::tell_origin(&mut head.headers, client);
        Ok(Outbound {
            method: head.method,
            target: origin_form(&head.uri),
            headers: head.headers,
            body,
        })
    }

    async fn filtered(
        &self,
        answer: Answer,
        id: &HeaderValue,
        record: &mut Record,
    ) -> Response<Outgoing> {
        let name = answer.charge.claim.spec.name.clone();
        let (mut head, body) = answer.relay(id, record).into_parts();
        let Ok(list) = Limited::new(body, LARGEST_LIST).collect().await else {
            let why = format!("{name} broke off its list of models");
            return record.refuse(ApiError::upstream_broken(why), id);
        };
        let list = list.to_bytes();
        let nonces = self.pool.fleet().nonces.clone();
        let shown = models::without_hidden(&list, |model| nonces.has(model));
        let body = shown.unwrap_or(list);
        if nonces.spelled_in(&body).is_some() {
            let why = format!("{name} answered with a list of models that cannot be read");
            return record.refuse(ApiError::upstream_broken(why), id);
        }
        head.headers.remove(header::CONTENT_LENGTH);
        Response::from_parts(head, Outgoing::own(body))
    }
}

/// Whether a server's nonce is asked for in the target; or as the adapter that vLLM puts into the
/// body of an invocation, in place of its model.
fn asked_for_in_head<'a>(nonces: &'a Nonces, request: &Request<Incoming>) -> Option<&'a str> {
    let target = request.uri().path_and_query()?;
    let adapters = request.headers().get_all(headers::ADAPTER).iter();
    let adapters = adapters.filter_map(|it| nonces.written_in(it.as_bytes()));
    nonces
        .asked_for_at(target.as_str())
        .or_else(|| adapters.into_iter().next())
}

/// Lets a body on that asks for nobody's nonce, without what is not for clients to say. What is returned will say how the client is
/// answered where that is known only later.
fn let_on(
    nonces: &Nonces,
    kind: BodyKind,
    body: &mut Received,
) -> Result<Arc<OnceLock<ApiError>>, ApiError> {
    match body {
        Received::Whole(body) => {
            kind.check(body)?;
            if let Some(name) = nonces.asked_for_in(body) {
                return Err(ApiError::unknown_model(name));
            }
            if let Some(without) = handoff::without_params(body)? {
                *body = without;
            }
            Ok(Arc::default())
        }
        Received::Large(upload) => {
            upload.sift(Sieve::new(nonces.clone(), kind));
            Ok(upload.refusal())
        }
    }
}

/// Answers a request whose body did not come. Who stopped in the middle is most likely gone.
fn unread(
    error: &NotReceived,
    outcome: InFlight,
    id: &HeaderValue,
    record: &mut Record,
) -> Response<Outgoing> {
    let answer = error.answer();
    let is_gone = match error {
        NotReceived::BrokenOff(_) => !error.is_malformed(),
        NotReceived::Stalled(_) | NotReceived::GivenUp => true,
        NotReceived::TooLarge(_) | NotReceived::NoRoom(_) => false,
    };
    if !is_gone {
        outcome.end(answer.outcome());
    }
    record.refuse(answer, id)
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

/// The path and the query: what a server is asked for, where a proxy is asked for all.
fn origin_form(uri: &Uri) -> Uri {
    uri.path_and_query()
        .map_or_else(|| Uri::from_static("/"), |target| Uri::from(target.clone()))
}

fn with_id(mut response: Response<Outgoing>, id: &HeaderValue) -> Response<Outgoing> {
    response
        .headers_mut()
        .insert(headers::REQUEST_ID, id.clone());
    response
}
