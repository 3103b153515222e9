//! What clients are told when the proxy itself cannot serve them, in OpenAI's shape.

use std::borrow::Cow;

use bytes::Bytes;
use hyper::header::{self, HeaderValue};
use hyper::{Response, StatusCode};
use serde_json::json;

use super::body::Outgoing;
use super::requests::Outcome;
use super::target::Irregular;

/// An answer of the proxy's own that says why there is none from an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ApiError {
    status: StatusCode,
    kind: &'static str,
    message: Cow<'static, str>,
    /// What it counts as.
    outcome: Outcome,
    /// Whether the request may be sent again as it is; nothing where that is not the proxy's to say.
    should_retry: Option<bool>,
    /// What follows on the connection may not be what the client means.
    closing: bool,
}

impl ApiError {
    /// Says that no backend may be sent a request now.
    pub(super) fn no_ready_instance(why: String) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "no_ready_instance", why).retried(Some(true))
    }

    /// Says that more is asked than is served.
    pub(super) fn overloaded(why: String) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, "overloaded", why).retried(Some(true))
    }

    /// Says that no backend could be connected to; nothing was sent to any.
    pub(super) fn upstream_unreachable(why: String) -> Self {
        Self::new(StatusCode::BAD_GATEWAY, "upstream_unreachable", why).retried(Some(true))
    }

    /// Says that a backend took the request and broke off before it answered.
    pub(super) fn upstream_broken(why: String) -> Self {
        Self {
            outcome: Outcome::Broken,
            ..Self::new(StatusCode::BAD_GATEWAY, "upstream_broken", why).retried(Some(false))
        }
    }

    /// Says that a request like this one was in flight at a server as that died.
    pub(super) fn poison() -> Self {
        let message = "a server died while it had this very request: it is sent to no other for five \
                       minutes";
        Self::new(StatusCode::BAD_GATEWAY, "upstream_died", message).retried(Some(false))
    }

    /// Says that a request much like this one was in flight at a server as that died.
    pub(super) fn like_poison() -> Self {
        let message = "a server died while it had a request like this one: none of its like is sent to \
                       a server before one has been tried and answered";
        Self::new(StatusCode::BAD_GATEWAY, "upstream_died", message).retried(Some(false))
    }

    /// Says that a backend took the request and stayed silent for too long.
    pub(super) fn upstream_timeout(why: String) -> Self {
        Self {
            outcome: Outcome::Broken,
            ..Self::new(StatusCode::GATEWAY_TIMEOUT, "upstream_timeout", why).retried(Some(false))
        }
    }

    /// Says that the proxy is out of file descriptors or ports.
    pub(super) fn proxy_exhausted(why: String) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "proxy_exhausted", why).retried(Some(true))
    }

    /// Says that a client has sent nothing more of its body for too long; the connection is not used
    /// further.
    pub(super) fn request_timeout(why: String) -> Self {
        Self {
            closing: true,
            ..Self::new(StatusCode::REQUEST_TIMEOUT, "request_timeout", why)
        }
    }

    /// Says that a body is larger than any that is taken; the connection is not used further.
    pub(super) fn too_large(why: String) -> Self {
        Self {
            closing: true,
            ..Self::new(StatusCode::PAYLOAD_TOO_LARGE, "request_too_large", why)
        }
    }

    /// Says that the proxy passes no such path.
    pub(super) fn unknown_path(path: &str) -> Self {
        let message = format!("`{path}` is neither a path of vLLM's nor one of the proxy's own");
        Self::new(StatusCode::NOT_FOUND, "not_found", message)
    }

    /// Says that a path is read differently by different servers.
    pub(super) fn irregular_path(path: &str, why: Irregular) -> Self {
        let message = format!("`{path}` is not passed on: {why}");
        Self::new(StatusCode::BAD_REQUEST, "bad_request", message)
    }

    /// Says that a path is for one server, and what it `does` there.
    pub(super) fn of_one_server(path: &str, does: &str) -> Self {
        let message = format!(
            "`{path}` is not passed on: it would {does} one of the servers behind this port, and not \
             the others; send it to each server itself"
        );
        Self::new(StatusCode::FORBIDDEN, "of_one_server", message)
    }

    /// Says what is wrong with a request's head; the connection is not used further.
    pub(super) fn bad_head(why: &'static str) -> Self {
        Self {
            closing: true,
            outcome: Outcome::Malformed,
            ..Self::new(StatusCode::BAD_REQUEST, "bad_request", why)
        }
    }

    /// Says what is wrong with how a request's body came; the connection is not used further.
    pub(super) fn bad_body(why: &str) -> Self {
        Self {
            closing: true,
            outcome: Outcome::Malformed,
            ..Self::new(
                StatusCode::BAD_REQUEST,
                "bad_request",
                format!("the body cannot be read: {why}"),
            )
        }
    }

    /// Says what the proxy does not do; the connection is not used further.
    pub(super) fn not_implemented(what: impl Into<Cow<'static, str>>) -> Self {
        Self {
            closing: true,
            ..Self::new(StatusCode::NOT_IMPLEMENTED, "not_implemented", what)
        }
    }

    /// Says that a client shows none of the keys that it must show one of.
    pub(super) fn unauthorized() -> Self {
        let message = "this wants an API key: `Authorization: Bearer KEY`";
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", message)
    }

    /// Says that one of the proxy's own paths is only read.
    pub(super) fn method_not_allowed(path: &str) -> Self {
        let message = format!("`{path}` answers GET and HEAD only");
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "method_not_allowed",
            message,
        )
    }

    /// Says what vLLM 0.13 says of a model that it does not serve, in its own words.
    pub(super) fn unknown_model(model: &str) -> Self {
        let message = format!("The model `{model}` does not exist.");
        Self::new(StatusCode::NOT_FOUND, "NotFoundError", message)
    }

    // It keeps what leads here out of the way of what is served.
    #[cold]
    fn new(status: StatusCode, kind: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            status,
            kind,
            message: message.into(),
            outcome: Outcome::of_own(status),
            should_retry: None,
            closing: false,
        }
    }

    /// The same, with a word on whether the request may be sent again.
    pub(super) fn retried(self, should_retry: Option<bool>) -> Self {
        Self {
            should_retry,
            ..self
        }
    }

    /// The same, for a client that has most likely gone.
    pub(super) fn given_up(self) -> Self {
        Self {
            outcome: Outcome::Cut,
            ..self
        }
    }

    /// What it counts as.
    pub(super) fn outcome(&self) -> Outcome {
        self.outcome
    }

    /// The status that it is answered with.
    #[cfg(test)]
    pub(super) fn status(&self) -> StatusCode {
        self.status
    }

    /// What kind of error it is, in one word.
    pub(super) fn kind(&self) -> &'static str {
        self.kind
    }

    /// What it says.
    pub(super) fn message(&self) -> &str {
        &self.message
    }

    /// It as an answer, with the request's id.
    pub(super) fn into_response(self, id: &HeaderValue) -> Response<Outgoing> {
        let body = json!({"error": {
            "message": self.message,
            "type": self.kind,
            "param": null,
            "code": self.status.as_u16(),
        }});
        let mut response = json_response(self.status, body.to_string().into());
        let headers = response.headers_mut();
        headers.insert(super::headers::REQUEST_ID, id.clone());
        super::headers::tell_whether_to_retry(headers, self.should_retry);
        if let StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS = self.status {
            // OpenAI's clients wait that long and try again; a pending instance is probed as often.
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            // RFC 9110 section 15.5.2 wants it said by which scheme.
            let scheme = HeaderValue::from_static("Bearer");
            headers.insert(header::WWW_AUTHENTICATE, scheme);
        }
        if self.closing {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        if self.status == StatusCode::METHOD_NOT_ALLOWED {
            headers.insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
        }
        response
    }
}

/// A JSON document as an answer.
pub(super) fn json_response(status: StatusCode, body: Bytes) -> Response<Outgoing> {
    let mut response = Response::new(Outgoing::own(body));
    *response.status_mut() = status;
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    response
}
