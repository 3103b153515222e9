//! What the proxy is told, and what it answers: one JSON document a line, over its control socket.

mod client;
pub(super) mod server;
pub(super) mod socket;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::policy::PolicySpec;

pub use client::{ControlError, call, relay};

/// Everything that the proxy can change without a restart.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Config {
    /// Counts the configurations that this proxy was given; the proxy reports the one it serves.
    pub generation: u64,
    /// The instances that requests go to.
    pub backends: Vec<Backend>,
    /// How one of them is chosen.
    pub policy: PolicySpec,
    /// Bounds on waiting.
    #[serde(default)]
    pub timeouts: Timeouts,
}

/// One instance, as the proxy knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backend {
    /// The instance's name: what `x-replica-instance` says.
    pub name: String,
    /// Where it listens, as the proxy dials it: `192.168.1.76:8100`.
    pub authority: String,
    /// The served name that only this very process has; it must be among its `/v1/models` before
    /// any request goes there, and is hidden from clients.
    pub nonce: String,
}

/// How long the proxy waits, in seconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Timeouts {
    /// For a connection to an instance.
    pub connect: f64,
    /// For the next byte of an answer, its first included. vLLM 0.13 can hold a stream open for
    /// ever after a SIGTERM, so this is never unbounded.
    pub idle: f64,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: 5.0,
            idle: 600.0,
        }
    }
}

/// What the proxy can be told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// Serve by this configuration from now on. Backends that are gone from it are drained first:
    /// the answer comes when none of their requests is in flight.
    Configure(Config),
    /// Send no new request to this backend; the answer comes when none is in flight. A name that
    /// is not served is drained already.
    Drain {
        /// The backend's name.
        backend: String,
    },
    /// Serve from this backend too, or again; the answer comes when it was seen with its nonce.
    Admit(Backend),
    /// Say what is being served.
    Status,
}

/// What the proxy answers: any number of `Waiting`, then one of the others.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// Not yet: so many requests are still in flight, or a backend was not yet seen.
    Waiting {
        /// What it waits for, in words.
        what: String,
        /// Requests in flight at the backends that drain.
        in_flight: u64,
    },
    /// Done.
    Done(Status),
    /// It cannot be done.
    Refused {
        /// Why.
        message: String,
    },
}

/// What the proxy serves.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The configuration in force; nothing before the first.
    pub config: Option<Config>,
    /// Each backend as it stands.
    pub backends: BTreeMap<String, BackendStatus>,
    /// Requests since the proxy started.
    pub requests: Requests,
    /// The number of file descriptors that this process may open.
    pub fd_limit: u64,
}

impl Status {
    /// Says whether requests go to the backend of this name.
    pub fn is_serving(&self, name: &str) -> bool {
        let backend = self.backends.get(name);
        backend.is_some_and(|backend| backend.state == BackendState::Ready)
    }
}

/// One backend as it stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BackendStatus {
    /// Whether requests go there, and why not.
    pub state: BackendState,
    /// Requests in flight there.
    pub in_flight: u64,
    /// What the last probe said when it failed.
    pub trouble: Option<String>,
}

/// Whether requests go to a backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BackendState {
    /// Not yet seen with its nonce.
    Pending,
    /// Serving.
    Ready,
    /// Told to drain: no new requests. Only `Admit` or `Configure` ends it; health never does.
    Draining,
    /// Failed and taken out until a probe sees it, with its nonce, again.
    Ejected,
}

/// Requests counted since the proxy started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Requests {
    /// Answered to the end.
    pub ok: u64,
    /// Answered with an error of the proxy's own, or a stream that broke.
    pub failed: u64,
    /// Given up by their clients.
    pub cut: u64,
}
