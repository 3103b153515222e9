//! Starting a process.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use serde::Serialize;

use super::{LogReader, Secret};
use crate::plan::Address;

/// A process to start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Launch {
    /// What it is.
    pub address: Address,
    /// Its mark, the value of `REPLICA_MARK`.
    pub mark: String,
    /// The beginning that the marks of all starts of it have in common.
    pub mark_prefix: String,
    /// Its whole normalised specification, the value of `REPLICA_SPEC`. It holds no secret: in its
    /// `env`, the digest of each takes the place of what stands there, made with the node's key.
    pub spec: String,
    /// The program and its arguments; a leading `~/` of a word stands for the node's home.
    pub argv: Vec<String>,
    /// Folders that stand before the node's own in its `PATH`: absolute, or `~/…`.
    pub path: Vec<String>,
    /// Its environment beyond `HOME`, `PATH`, `USER`, `LANG`; no secrets.
    pub env: BTreeMap<String, String>,
    /// Variables whose values are secret.
    pub secret_env: BTreeMap<String, Secret>,
    /// The file of the random key that digests of secrets are made with: absolute, or `~/…`.
    pub node_key: String,
    /// Its working folder, made if missing: absolute, or `~/…`.
    pub folder: String,
    /// Where its output goes: absolute, or `~/…`. Always a new file.
    pub log: String,
    /// Who understands its log, should it end at once.
    pub log_reader: LogReader,
    /// What looks after it from then on.
    pub supervisor: Supervisor,
    /// Whether the units of former starts that run stay as they are, until those are stopped: after a reboot
    /// they are what serves.
    pub is_beside: bool,
}

/// What looks after a process once it is started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Supervisor {
    /// Nobody: it leads a session of its own.
    Session,
    /// The systemd of its user: it is a unit, which is started again after a crash and after a reboot.
    Systemd(Box<Unit>),
}

/// A unit of systemd, and when it may be started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Unit {
    /// Its name, without `.service`.
    pub name: String,
    /// What it is, for whoever lists units.
    pub description: String,
    /// How long it may take after SIGTERM before everything in its cgroup gets SIGKILL.
    pub grace: Duration,
    /// How many bytes of memory must be available before it is started.
    pub memory_floor: u64,
    /// The address that the machine must have before it is started: after a boot it may come late.
    pub address: Option<Ipv4Addr>,
    /// Whether its secrets are kept in memory alone: without them it is not started.
    pub secrets_in_memory: bool,
    /// The port that it listens on once it has loaded: until then no other such unit is started again on its
    /// node. Nothing of what may load beside others.
    pub loads_until: Option<u16>,
}
