//! What a thing serves as: where, as which process, and whether it is ready.

use serde_json::{Map, Value};

use super::NodePort;
use super::effect::Probe;

/// What a thing serves as, of one that serves: what `status` tells of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Service {
    /// Where it is declared to listen.
    pub at: NodePort,
    /// The process that leads it, where it runs.
    pub pid: Option<u32>,
    /// Where others reach it, where it runs.
    pub url: Option<String>,
    /// Whether it can be believed to serve.
    pub readiness: Readiness,
    /// What it says of itself beside that, for machines: each value by its key, in this order.
    pub details: Map<String, Value>,
    /// The same for people, in one line: `round_robin to a and b, generation 4`.
    pub summary: Option<String>,
}

impl Service {
    /// A service of which nothing runs.
    pub fn stopped(at: NodePort) -> Self {
        Self {
            at,
            pid: None,
            url: None,
            readiness: Readiness::NotReady("it does not run".to_owned()),
            details: Map::new(),
            summary: None,
        }
    }
}

/// Whether a service can be believed to serve, as far as an observation tells.
#[derive(Debug, Clone, PartialEq)]
pub enum Readiness {
    /// It was seen to serve.
    Ready,
    /// It was seen not to serve, for this reason.
    NotReady(String),
    /// It serves where it answers all of this now.
    Ask(Probe),
}
