//! HTTP exchanges with a server that a node can reach.

use std::fmt;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::task::JoinSet;

use super::stream::Stream;
use crate::describe::describe;

/// No answer of a health check, a metric page or a model list is longer.
const LONGEST_ANSWER: usize = 32 * 1024 * 1024;

/// A request as a value.
#[derive(Clone, PartialEq, Eq)]
pub struct HttpRequest {
    /// The method, such as `GET`.
    pub method: hyper::Method,
    /// The path, with its query if it has one.
    pub path: String,
    /// Headers beyond `Host`.
    pub headers: Vec<(String, String)>,
    /// The body; may be empty.
    pub body: Vec<u8>,
}

impl HttpRequest {
    /// A GET.
    pub fn get(path: impl Into<String>) -> Self {
        Self {
            method: hyper::Method::GET,
            path: path.into(),
            headers: Vec::new(),
            body: Vec::new(),
        }
    }

    /// A POST of a JSON document.
    pub fn post(path: impl Into<String>, body: &serde_json::Value) -> Self {
        Self {
            method: hyper::Method::POST,
            path: path.into(),
            headers: vec![("content-type".to_owned(), "application/json".to_owned())],
            body: body.to_string().into_bytes(),
        }
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }
}

impl fmt::Debug for HttpRequest {
    // Headers carry keys: their values are never shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.headers.iter().map(|(name, _)| name).collect();
        f.debug_struct("HttpRequest")
            .field("method", &self.method)
            .field("path", &self.path)
            .field("headers", &names)
            .field("body", &String::from_utf8_lossy(&self.body))
            .finish()
    }
}

/// What was answered, whatever its status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpAnswer {
    /// The status, such as 200.
    pub status: u16,
    /// The whole body.
    pub body: Vec<u8>,
}

impl HttpAnswer {
    /// The body as text.
    pub fn text(&self) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(&self.body)
    }
}

/// A connection to an HTTP server that a node can reach, on which one request follows the other.
#[derive(Debug)]
pub struct HttpConnection {
    authority: String,
    sender: http1::SendRequest<Full<Bytes>>,
    /// Drives the connection, and ends with it.
    _driver: JoinSet<()>,
}

impl HttpConnection {
    pub(super) async fn over(stream: Box<dyn Stream>, authority: String) -> Result<Self, String> {
        let (sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| describe(&error))?;
        let mut driver = JoinSet::new();
        driver.spawn(async move {
            // How it broke is told to who awaits an answer on it.
            let _ = connection.await;
        });
        Ok(Self {
            authority,
            sender,
            _driver: driver,
        })
    }

    /// Sends a request and reads the whole answer.
    pub(super) async fn exchange(&mut self, request: &HttpRequest) -> Result<HttpAnswer, String> {
        let mut built = hyper::Request::builder()
            .method(request.method.clone())
            .uri(&request.path)
            .header("host", &self.authority);
        for (name, value) in &request.headers {
            built = built.header(name, value);
        }
        let built = built
            .body(Full::new(Bytes::copy_from_slice(&request.body)))
            .map_err(|error| error.to_string())?;
        let answer = self.sender.send_request(built).await;
        let answer = answer.map_err(|error| describe(&error))?;
        let status = answer.status().as_u16();
        let body = Limited::new(answer.into_body(), LONGEST_ANSWER)
            .collect()
            .await
            .map_err(|error| error.to_string())?;
        Ok(HttpAnswer {
            status,
            body: body.to_bytes().to_vec(),
        })
    }
}
