//! Whether a server that runs still works: what a process and a port alone do not show.

use serde::Serialize;

use super::Address;
use super::effect::Check;
use crate::name::NodeName;

/// How a server is asked for a sign of life, as Kubernetes has liveness probes.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LivenessProbe {
    /// What is asked.
    pub address: Address,
    /// The node that it runs on.
    pub node: NodeName,
    /// The address that it listens on, as the node dials it.
    pub host: String,
    /// The port that it listens on.
    pub port: u16,
    /// Where it counts what it does.
    pub counters: Counters,
    /// What it is asked to do where its counters do not show that it does anything.
    pub work: Check,
}

/// Where a server counts what it does, in the text format of Prometheus.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Counters {
    /// The path, such as `/metrics`.
    pub path: &'static str,
    /// The gauge of how many requests it works on.
    pub running: &'static str,
    /// The counters of which one at least goes up while it works.
    pub working: &'static [&'static str],
}

/// What a server showed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Liveness {
    /// It did what it was asked to do, or its counters went up.
    Alive {
        /// What to know of it, where that took longer than it should.
        slow: Option<String>,
    },
    /// It shows no sign of life, for this reason.
    Failed(String),
}
