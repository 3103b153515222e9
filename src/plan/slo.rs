//! What a measurement is held against: a service level objective, and conditions to fail under.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::quantity::{Percent, Seconds};

/// A service level objective: how fast a request must be to be good, and how many must be good. A time
/// that equals its limit is good.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Slo {
    /// The time to the first token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttft: Option<Seconds>,
    /// The time of each further token, on the average of one request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tpot: Option<Seconds>,
    /// The 99th percentile of the times between the tokens of one request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub itl_p99: Option<Seconds>,
    /// The time to the last token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub e2el: Option<Seconds>,
    /// The share of all requests that must be good; those that failed are not.
    #[serde(default = "attainment")]
    pub attainment: Percent,
}

fn attainment() -> Percent {
    Percent::whole(99)
}

impl Slo {
    /// Its limits, by the metric that each is of.
    pub fn limits(&self) -> impl Iterator<Item = (&'static str, Seconds)> {
        let all = [
            ("ttft", self.ttft),
            ("tpot", self.tpot),
            ("itl_p99", self.itl_p99),
            ("e2el", self.e2el),
        ];
        all.into_iter()
            .filter_map(|(metric, limit)| Some((metric, limit?)))
    }
}

/// A condition under which a measurement has failed, though its result stands:
/// `{metric: output_tps, worse_than: 5%}`, `{metric: ttft.p95, above: 2s}`, `{anomaly: warning}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FailIf {
    /// What is looked at: `output_tps`, `goodput_rps`, `attainment`, `ttft.p95`, `e2el.mean`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metric: Option<String>,
    /// It is worse than the baseline's by more than this share.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worse_than: Option<Percent>,
    /// It is a time, and longer than this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub above: Option<Seconds>,
    /// It is a rate or a share, and less than this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub below: Option<f64>,
    /// A rule spoke of the result with this severity or a graver one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub anomaly: Option<Grave>,
}

/// How grave an anomaly is that a measurement fails for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Grave {
    /// One that makes the result invalid.
    Error,
    /// One that a reader must know of.
    Warning,
}
