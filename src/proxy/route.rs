//! What each path means.

use std::sync::Arc;

use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::{Method, Request, Response, StatusCode, Uri};

use super::body::Outgoing;
use super::error::{ApiError, json_response};
use super::forward::{Answer, forward};
use super::outbound::Outbound;
use super::pool::Pool;
use super::requests::{InFlight, Ledger};
use super::upload::{Received, receive};
use super::{headers, metrics, models};

/// The largest list of models that is believed.
const LARGEST_LIST: usize = 4 * 1024 * 1024;

/// What vLLM answers outside `/v1`, and clients use.
const PASSED: [&str; 3] = ["/tokenize", "/detokenize", "/version"];

/// The client went away: there is nobody to answer.
#[derive(Debug, thiserror::Error)]
#[error("the client went away")]
pub(super) struct ClientGone;

/// What the requests share.
#[derive(Debug)]
pub(super) struct Front {
    pub(super) pool: Arc<Pool>,
    pub(super) ledger: Arc<Ledger>,
}

/// What is done about a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Route {
    Health,
    Ready,
    Metrics,
    Models,
    Pass,
    Unknown,
}

fn route(method: &Method, path: &str) -> Route {
    match path {
        "/health" => Route::Health,
        "/ready" => Route::Ready,
        "/metrics" => Route::Metrics,
        // With the slash, vLLM would redirect to an unfiltered list.
        "/v1/models" | "/v1/models/" if method == Method::GET => Route::Models,
        _ if path.starts_with("/v1/") || PASSED.contains(&path) => Route::Pass,
        _ => Route::Unknown,
    }
}

impl Front {
    /// Answers one request.
    pub(super) async fn answer(
        &self,
        mut request: Request<Incoming>,
    ) -> Result<Response<Outgoing>, ClientGone> {
        let id = headers::request_id(request.headers());
        let fleet = self.pool.fleet();
        let keys = &fleet.client_keys;
        if !keys.admit(request.method(), request.uri(), request.headers()) {
            return Ok(ApiError::unauthorized().into_response(&id));
        }
        if keys.are_wanted() {
            // It is the proxy's: no backend is shown it.
            request.headers_mut().remove(header::AUTHORIZATION);
        }
        let path = request.uri().path();
        let own = match route(request.method(), path) {
            Route::Models => return self.models(request, id).await,
            Route::Pass => return self.pass(request, id).await,
            Route::Unknown => return Ok(ApiError::unknown_path(path).into_response(&id)),
            _ if !matches!(*request.method(), Method::GET | Method::HEAD) => {
                return Ok(ApiError::method_not_allowed(path).into_response(&id));
            }
            Route::Health => json_response(StatusCode::OK, r#"{"status":"ok"}"#.into()),
            Route::Ready => self.ready(&id),
            Route::Metrics => metrics::page(&self.pool, self.ledger.read()),
        };
        Ok(with_id(own, &id))
    }

    fn ready(&self, id: &HeaderValue) -> Response<Outgoing> {
        match self.pool.why_not_ready() {
            Some(why) => ApiError::no_ready_instance(why).into_response(id),
            None => json_response(StatusCode::OK, r#"{"status":"ready"}"#.into()),
        }
    }

    /// Passes a request on as it is.
    async fn pass(
        &self,
        request: Request<Incoming>,
        id: HeaderValue,
    ) -> Result<Response<Outgoing>, ClientGone> {
        if let Some(model) = request.uri().path().strip_prefix("/v1/models/")
            && self.pool.fleet().is_nonce(model)
        {
            return Ok(ApiError::unknown_model(model).into_response(&id));
        }
        let outcome = self.ledger.open();
        let outbound = read(request, id).await?;
        if let Some(model) = self.hidden_model(&outbound.body) {
            outcome.ok();
            return Ok(ApiError::unknown_model(&model).into_response(&outbound.id));
        }
        let id = outbound.id.clone();
        let answer = self.send(outbound, outcome).await?;
        Ok(match answer {
            Ok(answer) => answer.relay(&id),
            Err(error) => error.into_response(&id),
        })
    }

    /// Lists the models of one backend, without the names that only the proxy is to know.
    async fn models(
        &self,
        mut request: Request<Incoming>,
        id: HeaderValue,
    ) -> Result<Response<Outgoing>, ClientGone> {
        let query = request.uri().query();
        let target = query.map_or_else(|| "/v1/models".to_owned(), |q| format!("/v1/models?{q}"));
        if let Ok(target) = target.parse::<Uri>() {
            *request.uri_mut() = target;
        }
        // A list that came compressed could not be read.
        request.headers_mut().remove(header::ACCEPT_ENCODING);
        let outcome = self.ledger.open();
        let outbound = read(request, id).await?;
        let id = outbound.id.clone();
        Ok(match self.send(outbound, outcome).await? {
            Ok(answer) => self.filtered(answer, &id).await,
            Err(error) => error.into_response(&id),
        })
    }

    async fn filtered(&self, answer: Answer, id: &HeaderValue) -> Response<Outgoing> {
        let name = answer.passage.charge.claim.spec.name.clone();
        let (mut head, body) = answer.relay(id).into_parts();
        let Ok(list) = Limited::new(body, LARGEST_LIST).collect().await else {
            let why = format!("{name} broke off its list of models");
            return ApiError::upstream_broken(why).into_response(id);
        };
        let list = list.to_bytes();
        let shown = models::without_hidden(&list, |model| self.pool.fleet().is_nonce(model));
        let body = shown.unwrap_or(list);
        head.headers.remove(header::CONTENT_LENGTH);
        Response::from_parts(head, Outgoing::own(body))
    }

    async fn send(
        &self,
        outbound: Outbound,
        outcome: InFlight,
    ) -> Result<Result<Answer, ApiError>, ClientGone> {
        forward(&self.pool, outbound, outcome)
            .await
            .ok_or(ClientGone)
    }

    fn hidden_model(&self, body: &Received) -> Option<String> {
        let Received::Whole(body) = body else {
            return None;
        };
        models::asked_for(body).filter(|model| self.pool.fleet().is_nonce(model))
    }
}

/// Reads a request, and makes its head fit for a backend.
async fn read(request: Request<Incoming>, id: HeaderValue) -> Result<Outbound, ClientGone> {
    let (mut head, body) = request.into_parts();
    let body = receive(body).await.map_err(|_| ClientGone)?;
    headers::prepare_upstream(&mut head.headers, &id);
    Ok(Outbound {
        method: head.method,
        target: origin_form(&head.uri),
        headers: head.headers,
        body,
        id,
    })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_have_one_meaning() {
        for (method, path, meaning) in [
            (Method::GET, "/health", Route::Health),
            (Method::GET, "/ready", Route::Ready),
            (Method::GET, "/metrics", Route::Metrics),
            (Method::GET, "/v1/models", Route::Models),
            (Method::GET, "/v1/models/", Route::Models),
            (Method::POST, "/v1/models", Route::Pass),
            (Method::GET, "/v1/models/tiny", Route::Pass),
            (Method::POST, "/v1/chat/completions", Route::Pass),
            (Method::DELETE, "/v1/anything/new", Route::Pass),
            (Method::POST, "/tokenize", Route::Pass),
            (Method::GET, "/version", Route::Pass),
            (Method::GET, "/", Route::Unknown),
            (Method::POST, "/invocations", Route::Unknown),
            (Method::GET, "/v1", Route::Unknown),
        ] {
            assert_eq!(route(&method, path), meaning, "{method} {path}");
        }
    }
}
