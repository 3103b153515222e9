//! The proxy as a manifest declares it.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::name::{InstanceName, NodeName, Port};
use crate::plan::Rollout;
use crate::plan::effect::control::{InstanceLimits, Timeouts, usual};
use crate::proxy::policy::PolicySpec;
use crate::quantity::{Seconds, SecondsOrOff, Weight};

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
    /// How many times as much as another some instances are to get: `{a: 2}`. Every policy goes by it;
    /// who is not named has a weight of 1.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub weights: BTreeMap<InstanceName, Weight>,
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
    /// Bounds on waiting.
    #[serde(default)]
    pub timeouts: TimeoutsDeclaration,
    /// How many requests an instance has at once.
    #[serde(default, skip_serializing_if = "InstanceLimits::is_none")]
    pub limits: InstanceLimits,
    /// How many instances go on serving while others are replaced.
    #[serde(default, skip_serializing_if = "Rollout::is_usual")]
    pub rollout: Rollout,
    /// Whether an answer says which instance gave it (`x-replica-instance`), and how long that took
    /// (`server-timing`): true unless it is said otherwise. Measurements tell instances apart by it.
    #[serde(default = "yes")]
    pub headers: bool,
    /// Whether a line of JSON is kept of each request, in `access.log` beside the proxy's socket on
    /// its node.
    #[serde(default)]
    pub access_log: bool,
}

fn yes() -> bool {
    true
}

impl ProxyDeclaration {
    /// Whether it sends requests to the instance of this name.
    pub fn serves_from(&self, instance: &InstanceName) -> bool {
        let named = self.backends.as_ref();
        named.is_none_or(|named| named.contains(instance))
    }
}

/// How long the proxy waits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TimeoutsDeclaration {
    /// For a connection to an instance: `5`, `500ms`.
    #[serde(default = "connect")]
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub connect: Seconds,
    /// For the next byte of an answer, its first included: `600`, `10m`. vLLM 0.13 can hold a stream
    /// open for ever after a SIGTERM, so this is never unbounded.
    #[serde(default = "idle")]
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub idle: Seconds,
    /// For the first event of a stream, before its head is passed on: `30`, `1m`, `off`. Until then an
    /// instance that fails it is replaced by another, and the client sees nothing of it; with `off`
    /// the head goes on as it comes.
    #[serde(default = "gate")]
    pub gate: SecondsOrOff,
    /// For a client to take something of what is written to it: `60`, `5m`. One that takes nothing
    /// for so long is cut off, and its instance is free; without this, after 60 seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub client: Option<Seconds>,
    /// For a place at an instance, where each that is ready has as many requests as `limits` lets it
    /// have: `30`, `2m`. Who has waited for so long is answered with 429.
    #[serde(default = "queue")]
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub queue: Seconds,
    /// For an instance to be ready, where none is: `5`, `1m`, `off`. Who has waited for so long is
    /// answered with 503.
    #[serde(default = "hold")]
    pub hold: SecondsOrOff,
    /// For the requests in flight at an instance that is to stop: `3600`, `1h`. What runs for longer
    /// is not cut off: the instance goes on serving, and the apply tells what it has waited for.
    #[serde(default = "drain")]
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub drain: Seconds,
}

impl Default for TimeoutsDeclaration {
    fn default() -> Self {
        Self {
            connect: connect(),
            idle: idle(),
            gate: gate(),
            client: None,
            queue: queue(),
            hold: hold(),
            drain: drain(),
        }
    }
}

impl From<&TimeoutsDeclaration> for Timeouts {
    fn from(declared: &TimeoutsDeclaration) -> Self {
        Self {
            connect: declared.connect.get(),
            idle: declared.idle.get(),
            gate: declared.gate.seconds().map_or(0.0, Seconds::get),
            client: declared.client.map(Seconds::get),
            queue: declared.queue.get(),
            hold: declared.hold.seconds().map_or(0.0, Seconds::get),
            lease: None,
        }
    }
}

fn connect() -> Seconds {
    Seconds::whole(usual::CONNECT)
}

fn idle() -> Seconds {
    Seconds::whole(usual::IDLE)
}

fn gate() -> SecondsOrOff {
    SecondsOrOff::Seconds(Seconds::whole(usual::GATE))
}

fn queue() -> Seconds {
    Seconds::whole(usual::QUEUE)
}

fn hold() -> SecondsOrOff {
    SecondsOrOff::Seconds(Seconds::whole(usual::HOLD))
}

fn drain() -> Seconds {
    Seconds::whole(3600)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_declared_is_what_the_proxy_does_by_itself() {
        let declared = TimeoutsDeclaration::default();
        assert_eq!(Timeouts::from(&declared), Timeouts::default());
    }
}
