//! What a running proxy is told: the half of its control protocol that a plan carries.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Something to tell a running proxy through its control socket.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ProxyControl {
    /// The program that speaks to it: absolute, or `~/…`.
    pub program: String,
    /// The folder that holds its control socket: absolute, or `~/…`.
    pub folder: String,
    /// What it is told.
    pub request: Request,
    /// How long the answer may take; nothing for as long as it takes.
    pub timeout: Option<Duration>,
}

/// What the proxy can be told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request<P = Value> {
    /// Serve by this configuration from now on. Backends that are gone from it are drained first:
    /// the answer comes when none of their requests is in flight.
    Configure(Config<P>),
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

/// Everything that the proxy can change without a restart.
///
/// The policy is whatever its own file in `proxy/policy` says that it is: a plan carries it as it
/// was declared, and the proxy, which knows all policies, reads it when it is told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Config<P = Value> {
    /// Counts the configurations that this proxy was given; the proxy reports the one it serves.
    pub generation: u64,
    /// The instances that requests go to.
    pub backends: Vec<Backend>,
    /// How one of them is chosen.
    pub policy: P,
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
