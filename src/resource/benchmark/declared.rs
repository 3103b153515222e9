//! A benchmark as a manifest declares it.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::quantity::Seconds;
use crate::shape::LoadShape;

/// A measurement to have of the topology.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BenchmarkDeclaration {
    /// What is asked: `{inline: [What is a REST API?]}`.
    pub prompts: Prompts,
    /// How many requests are sent, and when: `{sequential: 1}`, `{batch: 8}`.
    pub load: LoadShape,
    /// Tokens that each answer has; the end-of-sequence token is ignored so that all are equal.
    #[serde(default = "max_tokens")]
    #[schemars(range(min = 1))]
    pub max_tokens: u32,
    /// Requests that every instance answers before anything is measured.
    #[serde(default = "warmup")]
    pub warmup: u32,
    /// How long one request may take: `120`, `120s`, `2m`.
    #[serde(default = "timeout")]
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub timeout: Seconds,
    /// A file to compare with, relative to the manifest: `baseline_metrics.json`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline: Option<PathBuf>,
    /// A file to write the summary to, relative to the manifest, with the keys of the baseline:
    /// `replicated_metrics.json`. Several benchmarks may share it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub save: Option<PathBuf>,
}

/// Where prompts come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Prompts {
    /// They stand in the manifest. Request number `i` sends prompt number `i`, from the beginning
    /// again after the last.
    Inline(#[schemars(length(min = 1))] Vec<String>),
}

fn max_tokens() -> u32 {
    100
}

fn warmup() -> u32 {
    2
}

fn timeout() -> Seconds {
    Seconds::whole(120)
}
