//! `--kv-transfer-config` and what vLLM's NixlConnector takes from its environment.

use std::str::FromStr;
use std::time::Duration;

use serde::Deserialize;

const NIXL: &str = "NixlConnector";
/// The other connectors of 0.13.0, which nobody imitates.
const OTHERS: &[&str] = &[
    "DecodeBenchConnector",
    "ExampleConnector",
    "LMCacheConnectorV1",
    "LMCacheMPConnector",
    "MooncakeConnector",
    "MultiConnector",
    "OffloadingConnector",
    "P2pNcclConnector",
];

/// For how long 0.13.0 keeps what was not fetched, unless it is told.
const LEASE: Duration = Duration::from_secs(480);

/// The value of `--kv-transfer-config`; keys that are not here have no effect.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(in crate::simulator) struct Config {
    kv_connector: Option<String>,
    engine_id: Option<String>,
    kv_role: Option<Role>,
    kv_load_failure_policy: FailurePolicy,
    #[serde(rename = "kv_connector_extra_config")]
    extra: Extra,
}

/// Which ends of a transfer an engine may be. NixlConnector ignores it: requests say what to do.
#[derive(Debug, Clone, Copy, Deserialize)]
enum Role {
    #[serde(rename = "kv_both")]
    Both,
    #[serde(rename = "kv_producer")]
    Producer,
    #[serde(rename = "kv_consumer")]
    Consumer,
}

/// What becomes of a request whose blocks could not be fetched.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::simulator) enum FailurePolicy {
    /// Its prompt is read here.
    #[default]
    Recompute,
    /// It fails.
    Fail,
}

/// What the connector alone reads.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Extra {
    /// Seconds. 0.13.0 does not know it: it has [`Environment::lease`].
    kv_lease_duration: Option<f64>,
    enforce_handshake_compat: Option<bool>,
}

impl FromStr for Config {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let config: Self = serde_json::from_str(text)
            .map_err(|error| format!("1 validation error for KVTransferConfig\n  {error}"))?;
        if config.kv_connector.is_some() && config.kv_role.is_none() {
            return Err(
                "Please specify kv_role when kv_connector is set, supported roles are \
                 ('kv_producer', 'kv_both', 'kv_consumer')"
                    .to_owned(),
            );
        }
        Ok(config)
    }
}

impl Config {
    /// Why an engine cannot start with this connector, as the last line of a traceback.
    pub(in crate::simulator) fn refusal(&self) -> Option<String> {
        match self.kv_connector.as_deref() {
            None | Some(NIXL) => None,
            Some(other) if OTHERS.contains(&other) => Some(format!(
                "{other} is not simulated: only {NIXL} is, and servers without a connector"
            )),
            Some(unknown) => Some(format!("Unsupported connector type: {unknown}")),
        }
    }

    /// Whether there is a connector at all.
    pub(in crate::simulator) fn connects(&self) -> bool {
        self.kv_connector.is_some()
    }

    /// The engine's name among those that it hands its blocks to: a new one at each start.
    pub(super) fn engine_id(&self) -> String {
        let random = || {
            let number = format!("{:032x}", fastrand::u128(..));
            let parts = [
                &number[..8],
                &number[8..12],
                &number[12..16],
                &number[16..20],
                &number[20..],
            ];
            parts.join("-")
        };
        self.engine_id.clone().unwrap_or_else(random)
    }

    /// What becomes of a request whose blocks could not be fetched.
    pub(super) fn failure_policy(&self) -> FailurePolicy {
        self.kv_load_failure_policy
    }

    /// Whether an engine of another version or model ends this one.
    pub(super) fn enforces_compatibility(&self) -> bool {
        self.extra.enforce_handshake_compat.unwrap_or(true)
    }

    /// How long blocks are kept for another to fetch.
    pub(super) fn lease(&self, environment: &Environment) -> Duration {
        let declared = self.extra.kv_lease_duration;
        let declared = declared.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        environment.lease.or(declared).unwrap_or(LEASE)
    }
}

/// What the environment says.
#[derive(Debug, Clone)]
pub(in crate::simulator) struct Environment {
    /// Where to listen, and what others are told to connect to.
    pub(super) host: String,
    pub(super) port: u16,
    /// How long blocks are kept.
    pub(super) lease: Option<Duration>,
}

impl Environment {
    /// That of this process.
    pub(in crate::simulator) fn read() -> Self {
        let variable = |name| std::env::var(name).ok();
        let port = variable("VLLM_NIXL_SIDE_CHANNEL_PORT");
        let lease = variable("VLLM_NIXL_ABORT_REQUEST_TIMEOUT");
        Self {
            host: variable("VLLM_NIXL_SIDE_CHANNEL_HOST").unwrap_or_else(|| "localhost".to_owned()),
            port: port.and_then(|port| port.parse().ok()).unwrap_or(5600),
            lease: lease
                .and_then(|seconds| seconds.parse().ok())
                .map(Duration::from_secs),
        }
    }

    /// Any free port of this machine.
    #[cfg(test)]
    pub(in crate::simulator) fn anywhere() -> Self {
        Self {
            host: "127.0.0.1".to_owned(),
            port: 0,
            lease: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Config {
        text.parse().expect("is a configuration")
    }

    #[test]
    fn a_connector_that_is_none_is_refused_in_vllms_words() {
        let misspelt = config(r#"{"kv_connector": "NIXLConnector", "kv_role": "kv_both"}"#);
        let refusal = misspelt.refusal().expect("no such connector");
        assert_eq!(refusal, "Unsupported connector type: NIXLConnector");
        let real = config(r#"{"kv_connector": "NixlConnector", "kv_role": "kv_producer"}"#);
        assert_eq!(real.refusal(), None);
        assert!(!config("{}").connects());
    }

    #[test]
    fn a_role_must_be_one_and_be_there() {
        for text in [
            r#"{"kv_connector": "NixlConnector"}"#,
            r#"{"kv_connector": "NixlConnector", "kv_role": "prefill"}"#,
            r#"{"kv_connector": "NixlConnector", "kv_role": "kv_both", "kv_load_failure_policy": "x"}"#,
            "NixlConnector",
        ] {
            assert!(text.parse::<Config>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_environment_decides_the_lease_then_the_configuration() {
        let declared = config(
            r#"{"kv_connector": "NixlConnector", "kv_role": "kv_both",
                "kv_connector_extra_config": {"kv_lease_duration": 60}}"#,
        );
        let silent = Environment::anywhere();
        let said = Environment {
            lease: Some(Duration::from_secs(9)),
            ..silent.clone()
        };
        assert_eq!(declared.lease(&said), Duration::from_secs(9));
        assert_eq!(declared.lease(&silent), Duration::from_secs(60));
        assert_eq!(config("{}").lease(&silent), Duration::from_secs(480));
    }

    #[test]
    fn the_failure_policy_stands_at_the_top_or_has_no_effect() {
        let at_the_top = config(r#"{"kv_load_failure_policy": "fail"}"#);
        assert_eq!(at_the_top.failure_policy(), FailurePolicy::Fail);
        let nested = config(r#"{"kv_connector_extra_config": {"kv_load_failure_policy": "fail"}}"#);
        assert_eq!(nested.failure_policy(), FailurePolicy::Recompute);
    }
}
