//! Secrets as a plan tells of them: where each is had when it is needed.

use serde::{Deserialize, Serialize};

use crate::name::NodeName;

/// Where a secret is had. A plan holds none.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Secret {
    /// In this variable of this machine.
    Variable(String),
    /// It is the API key that only one start of a server takes.
    ServerKey(ServerKey),
}

/// The API key of one start of a server: whoever is shown it, a stranger on the server's port, can
/// do nothing else with it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ServerKey {
    /// The node of the server.
    pub node: NodeName,
    /// The file there of the random key that it is made with: absolute, or `~/…`. It is made where
    /// it is missing.
    pub node_key: String,
    /// The served name that only this start of the server has.
    pub nonce: String,
}
