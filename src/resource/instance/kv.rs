//! How what one instance has computed of a prompt gets to another: the keys and values of its tokens.
//!
//! vLLM's NIXL connector hands them over. The instance that reads a prompt keeps its blocks until the
//! other has fetched them, and tells where they are; the proxy carries that from one to the other.
//! Every instance of a topology that declares `kv` has the connector, whatever its role: which part of
//! a request it does is decided for each request, so that a role changes without a restart.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::name::Port;
use crate::node::NodeDeclaration;
use crate::quantity::Seconds;
use crate::resource::argument::Argument;
use crate::resource::environment::EnvValue;

/// The argument by which vLLM takes all of it but the side channel.
pub const ARGUMENT: &str = "kv_transfer_config";

/// The variable of the address at which others ask for what is held, and are told to ask.
const HOST: &str = "VLLM_NIXL_SIDE_CHANNEL_HOST";

/// The variable of the first port there; each rank has one.
pub const PORT: &str = "VLLM_NIXL_SIDE_CHANNEL_PORT";

/// The variable of how long 0.13 holds what nobody fetches, in whole seconds. Later versions have it
/// among the settings of the connector.
const LEASE: &str = "VLLM_NIXL_ABORT_REQUEST_TIMEOUT";

/// The networks over which it is fetched, the first that a node has an address on.
const FABRIC: &str = "fabric";

/// How instances hand over what they have computed of a prompt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KvDeclaration {
    /// By which of vLLM's connectors: `nixl`.
    pub connector: Connector,
    /// The port at which each instance is asked for what it holds, on the node's `fabric` address where
    /// it has one. Two instances of one node need two: give one of them another by
    /// `env: {VLLM_NIXL_SIDE_CHANNEL_PORT: 5601}`.
    #[serde(default = "port")]
    pub port: Port,
    /// Where the connector finds keys and values: `cuda`, or `cpu` where vLLM computes on a CPU.
    #[serde(default)]
    pub buffer: KvBuffer,
    /// How long an instance holds what nobody has fetched: `60`, `2m`, in whole seconds.
    #[serde(default = "lease")]
    #[schemars(extend("minimum" = 1))]
    pub lease: Seconds,
    /// Whether two instances refuse each other that differ in version, model path or attention: true
    /// unless it is said otherwise. Where the nodes have the model at different paths, it must be
    /// `false`.
    #[serde(default = "yes")]
    pub enforce_handshake_compat: bool,
}

/// A connector of vLLM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Connector {
    /// NIXL: the one that decodes fetches.
    Nixl,
}

/// What holds keys and values.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum KvBuffer {
    /// The memory of the GPU.
    #[default]
    Cuda,
    /// That of the machine.
    Cpu,
}

fn port() -> Port {
    Port::new(5600).expect("5600 is a port")
}

fn lease() -> Seconds {
    Seconds::whole(60)
}

fn yes() -> bool {
    true
}

impl KvDeclaration {
    /// How long what is held is held, in the whole seconds that vLLM counts.
    pub fn lease_seconds(&self) -> u32 {
        let whole = u32::try_from(self.lease.duration().as_secs());
        whole.unwrap_or(u32::MAX).max(1)
    }

    /// The settings of the connector. vLLM looks for the policy on failures beside the connector's name,
    /// and passes it over among the connector's own settings. What cannot be fetched fails the request:
    /// vLLM would else read the prompt again, unseen, and the instance do what it is not there for.
    pub fn argument(&self) -> Argument {
        let mut own = json!({"kv_lease_duration": self.lease_seconds()});
        if !self.enforce_handshake_compat {
            own["enforce_handshake_compat"] = false.into();
        }
        let config = json!({
            "kv_connector": match self.connector {
                Connector::Nixl => "NixlConnector",
            },
            // Either part of a request, as it comes.
            "kv_role": "kv_both",
            "kv_buffer_device": self.buffer,
            "kv_load_failure_policy": "fail",
            "kv_connector_extra_config": own,
        });
        serde_json::from_value(config).expect("JSON is an argument")
    }

    /// The variables of an instance on this node.
    pub(super) fn env(&self, host: &str) -> BTreeMap<String, EnvValue> {
        let variables = [
            (HOST, host.to_owned()),
            (PORT, self.port.to_string()),
            (LEASE, self.lease_seconds().to_string()),
        ];
        variables
            .into_iter()
            .map(|(name, value)| (name.to_owned(), EnvValue::Plain(value)))
            .collect()
    }

    /// The address by which others fetch from instances of a node: the fast one, where it has one, else
    /// that of the network of the proxy. None is returned where it has neither.
    pub fn host<'a>(node: &'a NodeDeclaration, network: &str) -> Option<&'a str> {
        let fabric = node.addresses.get(FABRIC).map(|it| it.address.as_str());
        fabric.or_else(|| node.address(network))
    }
}
