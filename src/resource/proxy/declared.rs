//! The proxy as a manifest declares it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::name::{InstanceName, NodeName, Port};
use crate::proxy::control::Timeouts;
use crate::proxy::policy::PolicySpec;

/// The network by which the proxy dials nodes, where the manifest names none.
pub const DEFAULT_REACH: &str = "lan";

/// The one address that clients talk to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProxyDeclaration {
    /// The node that it runs on: a name of `nodes`.
    pub node: NodeName,
    /// The port that it listens on.
    pub port: Port,
    /// How an instance is chosen for each request.
    #[serde(default)]
    pub policy: PolicySpec,
    /// Which of the nodes' `addresses` it dials. Without it `lan`, and nodes that have no address
    /// at all as SSH does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reach: Option<String>,
    /// The address that it listens on; by default the `reach` address of its node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The instances behind it; all of them where none are named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backends: Option<Vec<InstanceName>>,
    /// Bounds on waiting, in seconds.
    #[serde(default)]
    pub timeouts: Timeouts,
}
