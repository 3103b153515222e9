//! How a backend is chosen: one file a policy.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The policies a manifest can name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PolicySpec {
    /// Each instance in turn.
    #[default]
    RoundRobin,
    /// The instance with the fewest requests in flight; the first of equals in turn.
    LeastConnections,
    /// Any instance, all alike likely.
    Random,
}
