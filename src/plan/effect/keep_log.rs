//! Keeping the log of a failure on this machine before it goes with all else on its node.

use serde::Serialize;

/// The log of a start that was never seen to serve.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct KeepLog {
    /// The file on the node: absolute, or `~/…`.
    pub log: String,
    /// What it is called here, among the failures of the topology.
    pub name: String,
}
