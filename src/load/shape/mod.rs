//! When requests are sent: one file a shape.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The load shapes a manifest can name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LoadShape {
    /// So many requests, one after another.
    Sequential(u32),
    /// So many requests, all at once.
    Batch(u32),
}
