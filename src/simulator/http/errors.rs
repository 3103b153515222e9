//! Error bodies, as captured from 0.13.0.

use bytes::Bytes;
use hyper::StatusCode;
use serde_json::json;

/// What a client gets instead of an answer.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Failure {
    pub(super) status: StatusCode,
    pub(super) body: Bytes,
    /// The methods that would have been right.
    pub(super) allow: Option<&'static str>,
}

/// What vLLM says when its engine is gone.
pub(super) const ENGINE_DEAD: &str =
    "EngineCore encountered an issue. See stack trace (above) for the root cause.";

/// What vLLM says of a request that it fails by itself.
const LOAD_FAILED: &str = "Internal server error";

impl Failure {
    fn plain(status: StatusCode, body: &'static str) -> Self {
        Self {
            status,
            body: Bytes::from_static(body.as_bytes()),
            allow: None,
        }
    }

    fn error(status: StatusCode, kind: &str, message: &str) -> Self {
        let body = json!({"error": {"message": message, "type": kind, "param": null, "code": status.as_u16()}});
        Self {
            status,
            body: body.to_string().into(),
            allow: None,
        }
    }

    /// What FastAPI says about a path that is not there.
    pub(super) fn not_found() -> Self {
        Self::plain(StatusCode::NOT_FOUND, r#"{"detail":"Not Found"}"#)
    }

    /// What FastAPI says about a method that a path does not have.
    pub(super) fn method_not_allowed(allow: &'static str) -> Self {
        let failure = Self::plain(
            StatusCode::METHOD_NOT_ALLOWED,
            r#"{"detail":"Method Not Allowed"}"#,
        );
        Self {
            allow: Some(allow),
            ..failure
        }
    }

    /// The answer to a missing or wrong key.
    pub(super) fn unauthorized() -> Self {
        Self::plain(StatusCode::UNAUTHORIZED, r#"{"error":"Unauthorized"}"#)
    }

    /// The answer to a request that makes no sense to vLLM itself.
    pub(super) fn bad_request(message: &str) -> Self {
        Self::error(StatusCode::BAD_REQUEST, "BadRequestError", message)
    }

    /// The answer to a name that this server does not have.
    pub(super) fn unknown_model(model: &str) -> Self {
        let message = format!("The model `{model}` does not exist.");
        Self::error(StatusCode::NOT_FOUND, "NotFoundError", &message)
    }

    /// The answer when the engine's process is gone.
    pub(super) fn engine_dead() -> Self {
        Self::error(
            StatusCode::INTERNAL_SERVER_ERROR,
            "Internal Server Error",
            ENGINE_DEAD,
        )
    }

    /// The answer when what it was to go on from could not be fetched from another engine.
    pub(super) fn load_failed() -> Self {
        let status = StatusCode::INTERNAL_SERVER_ERROR;
        Self::error(status, "InternalServerError", LOAD_FAILED)
    }

    /// What FastAPI makes of a body that does not fit: its message shows where in the
    /// server's sources that happened. `detail` is one error as Python prints it.
    pub(super) fn invalid(path: &str, detail: &str) -> Self {
        let function = if path.contains("chat") {
            "create_chat_completion"
        } else {
            "create_completion"
        };
        let message = format!(
            "1 validation error:\n  {detail}\n\n  File \"/usr/lib/python3/dist-packages/vllm/entrypoints/utils.py\", \
             line 518, in {function}\n    POST {path} [{detail}]"
        );
        Self::error(StatusCode::BAD_REQUEST, "Bad Request", &message)
    }

    /// The answer to a body of another type, which FastAPI does not even read.
    pub(super) fn unsupported_media_type() -> Self {
        let detail = "Unsupported Media Type: Only 'application/json' is allowed";
        let message = format!("1 validation error:\n  {detail} [\"{detail}\"]");
        Self::error(StatusCode::BAD_REQUEST, "Bad Request", &message)
    }

    /// The answer to a body that is not JSON.
    pub(super) fn invalid_json(path: &str, error: &serde_json::Error) -> Self {
        let at = error.column().saturating_sub(1);
        Self::invalid(
            path,
            &format!(
                "{{'type': 'json_invalid', 'loc': ('body', {at}), 'msg': 'JSON decode error', 'input': {{}}, 'ctx': \
                 {{'error': 'Expecting value'}}}}"
            ),
        )
    }

    /// The answer to a body with a field that cannot be.
    pub(super) fn invalid_value(path: &str, message: &str) -> Self {
        let quoted = message.replace('\'', "\\'");
        let detail =
            format!("{{'type': 'value_error', 'loc': ('body',), 'msg': 'Value error, {quoted}'}}");
        Self::invalid(path, &detail)
    }
}

/// The event with which a stream ends early when the engine is gone. Python's `json.dumps`
/// puts spaces here, unlike everywhere else.
pub(super) fn engine_dead_event() -> Bytes {
    error_event(ENGINE_DEAD, "BadRequestError", 400)
}

/// The same when what the stream was to go on from could not be fetched.
pub(super) fn load_failed_event() -> Bytes {
    error_event(LOAD_FAILED, "InternalServerError", 500)
}

fn error_event(message: &str, kind: &str, code: u16) -> Bytes {
    let body = format!(
        r#"{{"error": {{"message": "{message}", "type": "{kind}", "param": null, "code": {code}}}}}"#
    );
    format!("data: {body}\n\n").into()
}
