//! What was sent before a measurement; it is in no statistic.

use serde::{Deserialize, Serialize};

use super::record::Status;
use crate::plan::WarmWhen;

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

/// Requests that differ by less took as long as each other, in ms: a busy machine makes more.
const NO_DIFFERENCE_MS: f64 = 5.0;

impl WarmupRequest {
    /// Whether it took as long as another, but for this share of the longer one.
    pub(crate) fn is_like(&self, other: &Self, within: f64) -> bool {
        let both = self.e2el_ms.zip(other.e2el_ms);
        both.is_some_and(|(one, other)| {
            (one - other).abs() <= (within * one.max(other)).max(NO_DIFFERENCE_MS)
        })
    }
}

impl WarmedInstance {
    /// Whether two of its requests in a row took as long as each other.
    pub(crate) fn has_settled(&self, within: f64) -> bool {
        let mut pairs = self.requests.windows(2);
        pairs.any(|pair| pair[0].is_like(&pair[1], within))
    }
}

impl Warmup {
    /// The first instance whose warm-up came to its bound before two requests in a row took as long as
    /// each other. Of one that failed a request it is not known.
    pub(crate) fn unsettled(&self, when: WarmWhen) -> Option<&WarmedInstance> {
        self.instances.iter().find(|it| {
            let is_at_its_bound = it.requests.len() >= (when.max as usize).max(2);
            let are_ok = it.requests.iter().all(|request| request.error.is_none());
            !it.has_settled(when.within) && is_at_its_bound && are_ok
        })
    }

    /// Whether an instance answered at least one request before it was measured.
    pub fn warmed(&self, instance: &str) -> bool {
        self.instances
            .iter()
            .filter(|warmed| warmed.instance == instance)
            .flat_map(|warmed| warmed.requests.iter().chain(&warmed.together))
            .any(|request| request.status == Status::Ok)
    }
}
