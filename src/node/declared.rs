//! A node as a manifest declares it.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::network_address::NetworkAddress;
use crate::net::Authority;
use crate::quantity::Bandwidth;

/// One machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NodeDeclaration {
    /// How it is reached: `user@host`, `user@host:port`, an alias of `~/.ssh/config`, or `local`
    /// for this machine.
    pub ssh: Reach,
    /// Its addresses by network, as other nodes dial them:
    /// `{lan: 192.168.1.76, fabric: 192.168.100.10}`. A node without any is dialled as SSH does.
    /// Models that go from node to node are encrypted, but where both say
    /// `fabric: {address: 192.168.100.10, trusted: true}`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub addresses: BTreeMap<String, NetworkAddress>,
    /// What becomes of vLLM servers there that `replica` did not start: they are shown (`leave`), or
    /// stopped (`stop`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unmanaged: Option<UnmanagedPolicy>,
    /// What looks after the processes there once they are started: the systemd of the user
    /// (`systemd`), which starts them again after a crash and after a reboot; nobody (`session`); or
    /// systemd for whatever starts anew where that user has one that outlives a login (`auto`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub supervisor: Option<SupervisorPolicy>,
    /// Where the secrets of its processes lie for as long as they run, where systemd starts them again: in
    /// a file for its user alone (`disk`), or in memory (`memory`), which a reboot empties: what has secrets
    /// stays down after one, until an apply.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secrets: Option<SecretsPolicy>,
    /// How fast its GPUs read their memory, each for itself: `273 GB/s`. Measurements are held against
    /// what that allows; of common cards it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bandwidth: Option<Bandwidth>,
    /// What `unmanaged` was called before.
    // No alias: whoever stands in for a node that could not be read would fill in both names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("deprecated" = true))]
    pub stale: Option<UnmanagedPolicy>,
}

/// What becomes of the vLLM servers of a node that nobody declares.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum UnmanagedPolicy {
    /// They are shown, and left alone.
    #[default]
    Leave,
    /// They are stopped, as long as they are of the user that `replica` logs in as.
    Stop,
}

/// What looks after the processes of a node once they are started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SupervisorPolicy {
    /// The systemd of the user for what starts anew, where there is one that outlives a login, and the
    /// node is not this machine. What runs stays as it was started.
    #[default]
    Auto,
    /// The systemd of the user. What was started otherwise is replaced.
    Systemd,
    /// Nobody: each leads a session of its own. What systemd looks after is replaced.
    Session,
}

/// Where the secrets of a process lie for as long as it runs, where systemd starts it again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SecretsPolicy {
    /// In a file beside its unit, for its user alone to read.
    #[default]
    Disk,
    /// In memory, and on no disk. After a reboot it stays down, until an apply starts it.
    Memory,
}

impl SecretsPolicy {
    /// As a manifest has it.
    pub fn word(self) -> &'static str {
        match self {
            SecretsPolicy::Disk => "disk",
            SecretsPolicy::Memory => "memory",
        }
    }
}

impl NodeDeclaration {
    /// What looks after the processes there.
    pub fn supervisor(&self) -> SupervisorPolicy {
        self.supervisor.unwrap_or_default()
    }

    /// Where the secrets of its processes lie, where nothing else is said of one.
    pub fn secrets(&self) -> SecretsPolicy {
        self.secrets.unwrap_or_default()
    }

    /// What becomes of the vLLM servers there that nobody declares, by whichever of its names.
    pub fn unmanaged(&self) -> UnmanagedPolicy {
        self.unmanaged.or(self.stale).unwrap_or_default()
    }

    /// The address on a network by which other nodes dial this one.
    ///
    /// A node of which no address is declared is dialled as SSH does, and this machine by its
    /// loopback. Nothing is returned for a node whose addresses are all on other networks.
    pub fn address(&self, network: &str) -> Option<&str> {
        let declared = self.addresses.get(network).map(|it| it.address.as_str());
        declared.or(match &self.ssh {
            Reach::Local => Some("127.0.0.1"),
            Reach::Ssh { host, .. } if self.addresses.is_empty() => Some(host),
            Reach::Ssh { .. } => None,
        })
    }

    /// Whether nobody else reads or changes what goes over a network to and from this node.
    pub fn trusts(&self, network: &str) -> bool {
        let declared = self.addresses.get(network);
        declared.is_some_and(|it| it.is_trusted)
    }
}

/// How a node is reached.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(into = "String")]
#[schemars(with = "String")]
pub enum Reach {
    /// It is this machine.
    Local,
    /// By SSH.
    Ssh {
        /// The user, where the manifest names one.
        user: Option<String>,
        /// A host name, an address, or an alias of the SSH configuration.
        host: String,
        /// The port, where the manifest names one.
        port: Option<u16>,
    },
}

/// Why a text does not say how a node is reached.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a way to reach a node: write `user@host`, `user@host:port`, an alias of ~/.ssh/config, or `local`"
)]
pub struct InvalidReach(String);

impl FromStr for Reach {
    type Err = InvalidReach;

    fn from_str(text: &str) -> Result<Self, InvalidReach> {
        let invalid = || InvalidReach(text.to_owned());
        if text == "local" {
            return Ok(Reach::Local);
        }
        let (user, rest) = match text.rsplit_once('@') {
            Some(("", _)) => return Err(invalid()),
            Some((user, rest)) => (Some(user.to_owned()), rest),
            None => (None, text),
        };
        // `[::1]:22` and `::1` are addresses too.
        let (host, port) = if let Some(inner) = rest.strip_prefix('[') {
            let (host, after) = inner.split_once(']').ok_or_else(invalid)?;
            match after.strip_prefix(':') {
                Some(port) => (host, Some(port)),
                None if after.is_empty() => (host, None),
                None => return Err(invalid()),
            }
        } else {
            match rest.split_once(':') {
                Some((host, port)) if !port.contains(':') => (host, Some(port)),
                _ => (rest, None),
            }
        };
        let port = match port.map(str::parse::<u16>) {
            None => None,
            Some(Ok(port)) if port > 0 => Some(port),
            Some(_) => return Err(invalid()),
        };
        let plain = |c: char| !c.is_whitespace() && !c.is_control() && c != '/';
        // A leading dash would be read as an option by `ssh -G`.
        if host.is_empty() || host.starts_with('-') || !host.chars().all(plain) {
            return Err(invalid());
        }
        if user
            .as_deref()
            .is_some_and(|u| u.starts_with('-') || !u.chars().all(plain))
        {
            return Err(invalid());
        }
        Ok(Reach::Ssh {
            user,
            host: host.to_owned(),
            port,
        })
    }
}

impl fmt::Display for Reach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reach::Local => f.write_str("local"),
            Reach::Ssh { user, host, port } => {
                if let Some(user) = user {
                    write!(f, "{user}@")?;
                }
                match port {
                    Some(port) => write!(f, "{}", Authority::new(host, *port)),
                    None => f.write_str(host),
                }
            }
        }
    }
}

impl From<Reach> for String {
    fn from(reach: Reach) -> Self {
        reach.to_string()
    }
}

impl<'de> Deserialize<'de> for Reach {
    fn deserialize<D: serde::Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        String::deserialize(input)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}
