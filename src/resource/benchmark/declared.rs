//! A benchmark as a manifest declares it.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::load::shape::LoadShape;

/// A measurement to have of the topology.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BenchmarkDeclaration {
    /// What is asked.
    pub prompts: Prompts,
    /// When it is asked.
    pub load: LoadShape,
    /// Tokens that each answer has; the end-of-sequence token is ignored so that all are equal.
    #[serde(default = "max_tokens")]
    pub max_tokens: u32,
    /// Requests that every instance answers before anything is measured.
    #[serde(default = "warmup")]
    pub warmup: u32,
    /// Seconds that one request may take.
    #[serde(default = "timeout")]
    pub timeout: f64,
    /// A file to compare with, relative to the manifest: `baseline_metrics.json`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline: Option<PathBuf>,
    /// A file to write with the notebook's keys, relative to the manifest:
    /// `replicated_metrics.json`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub save: Option<PathBuf>,
}

/// Where prompts come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Prompts {
    /// They stand in the manifest.
    Inline(Vec<String>),
}

fn max_tokens() -> u32 {
    100
}

fn warmup() -> u32 {
    2
}

fn timeout() -> f64 {
    120.0
}
