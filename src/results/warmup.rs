//! What was sent before a measurement; it is in no statistic.

use serde::{Deserialize, Serialize};

use super::record::Status;

/// What was done to warm a topology.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Warmup {
    /// Requests asked of every instance, at least.
    pub asked: u32,
    /// How long all of it took, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub took_s: Option<f64>,
    /// What each instance did, in the order of the manifest; where none was declared, what the endpoint
    /// did, by who says to have served it.
    pub instances: Vec<WarmedInstance>,
    /// The one request through the endpoint, after the instances.
    pub endpoint: Option<WarmupRequest>,
}

/// The warm-up of one instance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WarmedInstance {
    /// The instance.
    pub instance: String,
    /// Its requests one after another, in order; greedy ones.
    pub requests: Vec<WarmupRequest>,
    /// Whether the last two of them took as long as each other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stable: Option<bool>,
    /// Its requests at once, as many as the load has in flight there: a sampled one, and greedy ones.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub together: Vec<WarmupRequest>,
}

/// One request of a warm-up.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WarmupRequest {
    /// What became of it.
    pub status: Status,
    /// `t_first − t_sent`, in ms.
    pub ttft_ms: Option<f64>,
    /// `t_last − t_sent`, in ms.
    pub e2el_ms: Option<f64>,
    /// The reason of a failure.
    pub error: Option<String>,
    /// The digest of the answer's text, where the same prompt has one answer: every instance is
    /// asked the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text_sha256: Option<String>,
    /// The HTTP status of an answer that was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http_status: Option<u16>,
    /// Who served it, where the answer says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub served_by: Option<String>,
}

impl Warmup {
    /// Whether an instance answered at least one request before it was measured.
    pub fn warmed(&self, instance: &str) -> bool {
        self.instances
            .iter()
            .filter(|warmed| warmed.instance == instance)
            .flat_map(|warmed| warmed.requests.iter().chain(&warmed.together))
            .any(|request| request.status == Status::Ok)
    }
}
