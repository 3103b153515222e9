//! vLLM 0.13.0's HTTP surface, as captured: routes, keys, headers, and what everyone shares.

mod connection;
mod envelope;
mod errors;
mod generate;
mod handover;
mod logprobs;
pub(super) mod metrics;
mod models;
mod pieces;
mod prometheus;
mod request;
mod stream;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::http::request::Parts;
use hyper::{HeaderMap, Method, Request, Response, StatusCode, Version, header};
use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimePrinter;
use serde_json::{Value, json};

pub(super) use connection::Connections;

use connection::Busy;
use envelope::Kind;
use errors::Failure;
use generate::Sent;
use request::Job;
use stream::{Events, Reply};

use super::args::Options;
use super::engine::{Engine, Power};
use super::kv::{Connector, SideChannel};
use super::log::Log;
use super::scheduler::{Limits, Scheduler};
use super::text;

/// What all requests share.
pub(super) struct Server {
    options: Options,
    limits: Limits,
    names: Vec<String>,
    pub(super) engine: Engine,
    connector: Option<Arc<Connector>>,
    pub(super) log: Log,
    /// How many answers are being made.
    load: AtomicUsize,
    started: Timestamp,
}

/// Counts one answer for as long as it is being made.
struct Counted(Arc<Server>);

impl Counted {
    fn on(server: &Arc<Server>) -> Self {
        server.load.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(server))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.load.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What a route came to.
enum Answer {
    Whole {
        status: StatusCode,
        content_type: Option<&'static str>,
        body: Bytes,
    },
    Events(Box<Events>),
}

impl Answer {
    fn json(status: StatusCode, value: &Value) -> Self {
        Self::Whole {
            status,
            content_type: Some("application/json"),
            body: value.to_string().into(),
        }
    }

    fn empty(status: StatusCode) -> Self {
        Self::Whole {
            status,
            content_type: None,
            body: Bytes::new(),
        }
    }
}

impl Server {
    /// A server with an engine, which runs from now on.
    pub(super) fn start(
        options: Options,
        connector: Option<(Connector, SideChannel)>,
        log: Log,
    ) -> Self {
        let (limits, names) = (options.limits(), options.names());
        let (connector, side_channel) = connector.unzip();
        let connector = connector.map(Arc::new);
        let scheduler = Scheduler::new(limits.clone(), options.timing());
        let engine = Engine::start(scheduler, options.faults(), connector.clone(), log.clone());
        if let (Some(connector), Some(side_channel)) = (&connector, side_channel) {
            tokio::spawn(side_channel.serve(Arc::clone(connector), engine.clone()));
        }
        Self {
            options,
            limits,
            names,
            engine,
            connector,
            log,
            load: AtomicUsize::new(0),
            started: Timestamp::now(),
        }
    }

    /// Refuses a model that is not served; none at all means the one that is.
    fn check_model(&self, model: Option<&str>) -> Result<(), Failure> {
        match model {
            Some(name) if !name.is_empty() && !self.names.iter().any(|known| known == name) => {
                Err(Failure::unknown_model(name))
            }
            _ => Ok(()),
        }
    }

    /// Whether the engine does not survive a job.
    fn is_poisoned_by(&self, job: &Job) -> bool {
        let Some(poison) = &self.options.sim_poison else {
            return false;
        };
        // A word has the space before it in its token; a prompt may begin with it.
        let spelled = [text::encode(poison), text::encode(&format!(" {poison}"))];
        job.prompts.iter().any(|prompt| {
            let holds = |tokens: &Vec<_>| {
                let tokens = &tokens[1..];
                !tokens.is_empty() && prompt.windows(tokens.len()).any(|it| it == tokens)
            };
            spelled.iter().any(holds)
        })
    }

    /// The name in responses: the first one, whichever was asked for.
    fn answering_name(&self) -> String {
        self.names[0].clone()
    }

    fn log_access(&self, head: &Parts, peer: &str, status: StatusCode) {
        if self.options.disable_uvicorn_access_log {
            return;
        }
        let version = if head.version == Version::HTTP_10 {
            "1.0"
        } else {
            "1.1"
        };
        let target = head
            .uri
            .path_and_query()
            .map_or("/", |target| target.as_str());
        let line = format!(
            "{peer} - \"{} {target} HTTP/{version}\" {status}",
            head.method
        );
        self.log.access(&line);
    }

    fn is_authorised(&self, path: &str, headers: &HeaderMap) -> bool {
        let keys = &self.options.api_key;
        if keys.is_empty() || !path.starts_with("/v1") {
            return true;
        }
        let given = headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok());
        let token = given.and_then(|value| value.split_once(' '));
        token.is_some_and(|(scheme, token)| {
            scheme.eq_ignore_ascii_case("bearer") && keys.iter().any(|key| key == token)
        })
    }
}

/// Answers one request.
async fn answer(
    server: Arc<Server>,
    request: Request<Incoming>,
    peer: &str,
    busy: Busy,
) -> Response<Reply> {
    let (head, body) = request.into_parts();
    let path = head.uri.path();
    let outcome = if server.is_authorised(path, &head.headers) {
        match body.collect().await {
            Ok(body) => route(&server, &head.method, path, &head.headers, &body.to_bytes()).await,
            // The client left in the middle of its own request: nobody will read this.
            Err(_) => Err(Failure::bad_request("Client disconnected")),
        }
    } else {
        Err(Failure::unauthorized())
    };
    let mut response = respond(outcome, busy);
    if server.options.enable_request_id_headers {
        copy_request_id(&head.headers, response.headers_mut());
    }
    if head.headers.contains_key(header::ORIGIN) {
        let anyone = HeaderValue::from_static("*");
        response
            .headers_mut()
            .insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, anyone);
    }
    server.log_access(&head, peer, response.status());
    response
}

async fn route(
    server: &Arc<Server>,
    method: &Method,
    path: &str,
    headers: &HeaderMap,
    body: &Bytes,
) -> Result<Answer, Failure> {
    let sent = Sent {
        path,
        headers,
        body,
    };
    match (path, method) {
        ("/health", &Method::GET) | ("/ping", &(Method::GET | Method::POST)) => Ok(health(server)),
        ("/version", &Method::GET) => {
            Ok(Answer::json(StatusCode::OK, &json!({"version": "0.13.0"})))
        }
        ("/load", &Method::GET) => Ok(load(server)),
        ("/v1/models", &Method::GET) => Ok(models::list(server)),
        ("/metrics", &Method::GET) => Ok(metrics::page(server)),
        ("/v1/completions" | "/invocations", &Method::POST) => {
            let kind = if asks_for_chat(path, body) {
                Kind::Chat
            } else {
                Kind::Completion
            };
            generate::generate(server, kind, &sent).await
        }
        ("/v1/chat/completions", &Method::POST) => {
            generate::generate(server, Kind::Chat, &sent).await
        }
        ("/tokenize", &Method::POST) => generate::tokenize(server, &sent),
        ("/detokenize", &Method::POST) => generate::detokenize(&sent),
        ("/health" | "/ping" | "/version" | "/load" | "/v1/models" | "/metrics", _) => {
            Err(Failure::method_not_allowed("GET"))
        }
        (
            "/v1/completions"
            | "/invocations"
            | "/v1/chat/completions"
            | "/tokenize"
            | "/detokenize",
            _,
        ) => Err(Failure::method_not_allowed("POST")),
        _ => Err(Failure::not_found()),
    }
}

/// SageMaker's route is whatever its body looks like.
fn asks_for_chat(path: &str, body: &Bytes) -> bool {
    let parsed = || serde_json::from_slice::<Value>(body).ok();
    path == "/invocations" && parsed().is_some_and(|body| body.get("messages").is_some())
}

fn health(server: &Server) -> Answer {
    // A wedged engine is healthy, as vLLM's check sees it: its process lives.
    match server.engine.power() {
        Power::On | Power::Off => Answer::empty(StatusCode::OK),
        Power::Dead => Answer::empty(StatusCode::SERVICE_UNAVAILABLE),
    }
}

fn load(server: &Server) -> Answer {
    let counts = server.options.enable_server_load_tracking;
    let load = if counts {
        server.load.load(Ordering::Relaxed)
    } else {
        0
    };
    Answer::json(StatusCode::OK, &json!({"server_load": load}))
}

/// Puts the headers on in the order in which uvicorn sends them.
fn respond(outcome: Result<Answer, Failure>, busy: Busy) -> Response<Reply> {
    let mut headers = HeaderMap::new();
    headers.insert(header::DATE, date());
    headers.insert(header::SERVER, HeaderValue::from_static("uvicorn"));
    let (status, body) = match outcome {
        Ok(Answer::Events(events)) => {
            headers.insert(
                CONTENT_TYPE,
                HeaderValue::from_static("text/event-stream; charset=utf-8"),
            );
            (StatusCode::OK, Reply::events(events, busy))
        }
        Ok(Answer::Whole {
            status,
            content_type,
            body,
        }) => {
            headers.insert(header::CONTENT_LENGTH, body.len().into());
            headers.extend(content_type.map(|kind| (CONTENT_TYPE, HeaderValue::from_static(kind))));
            (status, Reply::whole(body, busy))
        }
        Err(Failure {
            status,
            body,
            allow,
        }) => {
            headers.extend(allow.map(|methods| (ALLOW, HeaderValue::from_static(methods))));
            headers.insert(header::CONTENT_LENGTH, body.len().into());
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            (status, Reply::whole(body, busy))
        }
    };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

fn date() -> HeaderValue {
    let text = DateTimePrinter::new().timestamp_to_rfc9110_string(&Timestamp::now());
    text.ok()
        .and_then(|text| HeaderValue::try_from(text).ok())
        .unwrap_or(HeaderValue::from_static(""))
}

fn copy_request_id(from: &HeaderMap, to: &mut HeaderMap) {
    const NAME: HeaderName = HeaderName::from_static("x-request-id");
    let random = || HeaderValue::try_from(format!("{:032x}", fastrand::u128(..))).ok();
    to.extend(from.get(NAME).cloned().or_else(random).map(|id| (NAME, id)));
}
