//! An instance as a manifest declares it.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::name::{EngineName, ModelName, NodeName, Port};
use crate::node::SecretsPolicy;
use crate::plan::Role;
use crate::quantity::Seconds;
use crate::resource::argument::Argument;
use crate::resource::environment::EnvValue;

/// One running server: an engine that serves a model on a node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct InstanceDeclaration {
    /// The node that it runs on: a name of `nodes`.
    pub node: NodeName,
    /// The port that it listens on.
    pub port: Port,
    /// The engine that runs it: a name of `engines`.
    pub engine: EngineName,
    /// The model that it serves: a name of `models`. A simulated engine takes any name.
    pub model: ModelName,
    /// Which part of a request it does: `both` unless it is said otherwise; `prefill` reads prompts,
    /// `decode` writes the answers to them. Parts are handed over as `kv` says.
    #[serde(default, skip_serializing_if = "Role::is_both")]
    pub role: Role,
    /// The address that it listens on; by default the one by which the proxy reaches the node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// vLLM arguments beyond, or instead of, the engine's.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub args: BTreeMap<String, Argument>,
    /// Environment beyond, or instead of, the engine's.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, EnvValue>,
    /// Where its secrets lie while it runs, where systemd starts it again: on the `disk` of its node, or in
    /// its `memory`; by default as its node says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secrets: Option<SecretsPolicy>,
    /// How long its log may stand still while it loads: `900`, `15m`.
    #[serde(default = "ready_timeout")]
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub ready_timeout: Seconds,
    /// How long it may take to end after SIGTERM, before its whole session is killed: `15`, `15s`.
    #[serde(default = "stop_timeout")]
    pub stop_timeout: Seconds,
}

fn ready_timeout() -> Seconds {
    Seconds::whole(900)
}

fn stop_timeout() -> Seconds {
    Seconds::whole(15)
}
