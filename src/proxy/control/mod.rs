//! What the proxy is told, and what it answers: one JSON document a line, over its control socket.

mod client;
pub(super) mod server;
pub(super) mod socket;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::policy::PolicySpec;
use crate::plan::effect::control as effect;

pub use crate::plan::effect::control::{Backend, Hidden, InstanceLimits, Key, Timeouts};
pub use crate::plan::{FormerStart, Requests};
pub use client::{ControlError, call, relay};

/// A configuration whose policy is one that this proxy knows.
pub type Config = effect::Config<PolicySpec>;

/// What this proxy can be told.
pub type Request = effect::Request<PolicySpec>;

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
    Done(Box<Status>),
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
    /// Requests that wait for a backend that is ready and has room for them.
    #[serde(default, skip_serializing_if = "is_none")]
    pub waiting: usize,
    /// The number of file descriptors that this process may open.
    pub fd_limit: u64,
    /// Whether another can take over from it.
    #[serde(default)]
    pub hands_over: bool,
    /// Whether it goes on serving from the former start of a backend until the next one was seen, and can be
    /// told of both.
    #[serde(default)]
    pub takes_over: bool,
    /// The starts that it has sent requests to and does no more, the last of them: what became of those.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub former: Vec<FormerStart>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_none(waiting: &usize) -> bool {
    *waiting == 0
}

impl Status {
    /// Whether requests go to the backend of this name.
    pub fn is_serving(&self, name: &str) -> bool {
        let backend = self.backends.get(name);
        backend.is_some_and(|backend| backend.state == BackendState::Ready)
    }

    /// Why it serves nobody, where it does not. What it has just been told of may be seen yet.
    pub fn shortfall(&self) -> Option<&'static str> {
        let mut backends = self.backends.values();
        let may_serve = backends
            .any(|backend| matches!(backend.state, BackendState::Ready | BackendState::Pending));
        (!may_serve).then_some("it runs, and no instance is ready")
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
    /// Not yet seen, with its nonce where it has one.
    Pending,
    /// Serving.
    Ready,
    /// Told to drain: no new requests. Only `Admit` or `Configure` ends it; health never does.
    Draining,
    /// Failed and taken out until a probe sees it again.
    Ejected,
}
