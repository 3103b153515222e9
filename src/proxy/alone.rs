//! A proxy on its own, before servers that nobody here has started: what its file declares.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::Deserialize;

use super::control::{Backend, Config, Hidden, InstanceLimits, Key, Timeouts};
use super::policy::PolicySpec;
use crate::net::{ListenAddress, ServerUrl};
use crate::plan::Role;
use crate::plan::effect::control::usual;
use crate::quantity::{Seconds, SecondsOrOff, Weight};

/// A proxy before servers that speak OpenAI's API, whoever started them.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(
    title = "replica proxy",
    // A place for anchors, as in compose files.
    extend("patternProperties" = {"^x-": {}})
)]
pub struct Alone {
    /// Where it listens: `127.0.0.1:8000`, or `0.0.0.0:8000` for every address of its machine.
    #[schemars(with = "String")]
    pub listen: ListenAddress,
    /// The servers that it passes requests to.
    #[schemars(length(min = 1))]
    pub backends: Vec<Server>,
    /// How a server is chosen for each request.
    #[serde(default)]
    pub policy: PolicySpec,
    /// Bounds on waiting.
    #[serde(default)]
    pub timeouts: Waits,
    /// How many requests a server has at once.
    #[serde(default)]
    pub limits: InstanceLimits,
    /// Whether an answer says which server gave it (`x-replica-instance`), and how long that took
    /// (`server-timing`): true unless it is said otherwise.
    #[serde(default = "yes")]
    pub headers: bool,
    /// The file that a line of JSON is written to for each request; `-` for the standard output.
    #[serde(default)]
    pub access_log: Option<String>,
}

fn yes() -> bool {
    true
}

/// A server, and how it is spoken to.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Server {
    /// What `x-replica-instance` and `/metrics` call it; without this its `host:port`.
    #[serde(default)]
    pub name: Option<String>,
    /// Where it is: `http://10.0.0.7:8000`, port 80 where none is written.
    #[schemars(with = "String")]
    pub url: ServerUrl,
    /// The variable of the proxy's environment with the key that this server is shown, instead of
    /// what the client shows.
    #[serde(default)]
    pub api_key_env: Option<String>,
    /// Which part of a request it takes: `prefill` reads prompts for servers that are `decode`, or, by
    /// itself, `both`.
    #[serde(default)]
    pub role: Role,
    /// How many times as much as a server of weight 1 it is to get: from 1 to 256, and 1 where it is not
    /// said.
    #[serde(default)]
    pub weight: Weight,
}

/// How long the proxy waits.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Waits {
    /// For a connection to a server: `5`, `500ms`.
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub connect: Seconds,
    /// For the next byte of an answer, its first included: `600`, `10m`.
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub idle: Seconds,
    /// For the first event of a stream, before its head is passed on: `30`, `1m`, `off`. Until then a
    /// server that fails it is replaced by another, and the client sees nothing of it.
    pub gate: SecondsOrOff,
    /// For a client to take something of what is written to it: `60`, `5m`.
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub client: Seconds,
    /// For a place at a server, where each that is ready has as many requests as `limits` lets it have:
    /// `30`, `2m`. Who has waited for so long is answered with 429.
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub queue: Seconds,
    /// For a server to be ready, where none is: `5`, `1m`, `off`. Who has waited for so long is answered
    /// with 503.
    pub hold: SecondsOrOff,
    /// For what a `prefill` server has computed to be fetched, after which it forgets it, as it was told at its
    /// start: `60`, `8m`. vLLM 0.13 forgets it after 480 seconds, and so much is taken where nothing is said.
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub lease: Option<Seconds>,
}

impl Default for Waits {
    fn default() -> Self {
        Self {
            connect: Seconds::whole(usual::CONNECT),
            idle: Seconds::whole(usual::IDLE),
            gate: SecondsOrOff::Seconds(Seconds::whole(usual::GATE)),
            client: Seconds::whole(usual::CLIENT),
            queue: Seconds::whole(usual::QUEUE),
            hold: SecondsOrOff::Seconds(Seconds::whole(usual::HOLD)),
            lease: None,
        }
    }
}

impl Server {
    /// What it is called.
    pub fn name(&self) -> &str {
        self.name.as_deref().unwrap_or(self.url.authority())
    }

    /// It as the proxy knows it, with its key where it has one. Of the key only the name of its
    /// variable is told, which has one value for as long as a process lives.
    fn backend(&self, variable: impl Fn(&str) -> Option<String>) -> Backend {
        let key = self.api_key_env.as_deref().map(|name| Key {
            digest: name.to_owned(),
            hidden: variable(name).map(Hidden),
        });
        Backend {
            name: self.name().to_owned(),
            authority: self.url.authority().to_owned(),
            role: self.role,
            nonce: None,
            key,
        }
    }
}

impl Alone {
    /// The weights of the servers that have another than 1.
    fn weights(&self) -> BTreeMap<String, u32> {
        let weighed = self.backends.iter().filter(|it| it.weight != Weight::ONE);
        weighed
            .map(|it| (it.name().to_owned(), it.weight.get()))
            .collect()
    }

    /// What it serves by, with the keys that stand in these variables. Its generation says nothing.
    pub fn config(&self, variable: impl Fn(&str) -> Option<String>) -> Config {
        let backends = self.backends.iter();
        Config {
            generation: 1,
            backends: backends.map(|it| it.backend(&variable)).collect(),
            policy: self.policy.clone(),
            timeouts: Timeouts {
                connect: self.timeouts.connect.get(),
                idle: self.timeouts.idle.get(),
                gate: self.timeouts.gate.seconds().map_or(0.0, Seconds::get),
                client: Some(self.timeouts.client.get()),
                queue: self.timeouts.queue.get(),
                hold: self.timeouts.hold.seconds().map_or(0.0, Seconds::get),
                lease: self.timeouts.lease.map(Seconds::get),
            },
            limits: self.limits.clone(),
            client_keys: Vec::new(),
            headers: self.headers,
            access_log: self.access_log.clone(),
            drained: BTreeSet::new(),
            weights: self.weights(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_declared_is_what_every_proxy_does() {
        let server = Server {
            name: None,
            url: "http://gpu-1".parse().unwrap(),
            api_key_env: Some("GPU_KEY".to_owned()),
            role: Role::Both,
            weight: Weight::ONE,
        };
        let spare = Server {
            name: Some("spare".to_owned()),
            weight: Weight::new(3).unwrap(),
            role: Role::Decode,
            api_key_env: None,
            ..server.clone()
        };
        let alone = Alone {
            listen: "127.0.0.1:0".parse().unwrap(),
            backends: vec![server, spare],
            policy: PolicySpec::default(),
            timeouts: Waits::default(),
            limits: InstanceLimits::default(),
            headers: true,
            access_log: None,
        };
        let config = alone.config(|name| (name == "GPU_KEY").then(|| "sk-1".to_owned()));
        assert_eq!(config.weights, BTreeMap::from([("spare".to_owned(), 3)]));
        assert_eq!(config.backends[1].role, Role::Decode);
        let [backend, _] = &config.backends[..] else {
            panic!("{config:?}");
        };
        assert_eq!((&*backend.name, &backend.nonce), ("gpu-1:80", &None));
        let key = backend.key.as_ref().unwrap();
        assert_eq!(key.hidden, Some(Hidden("sk-1".to_owned())));
        let defaults = Timeouts {
            client: Some(60.0),
            ..Timeouts::default()
        };
        assert_eq!(config.timeouts, defaults);
    }
}
