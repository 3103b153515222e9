//! What a machine is like while something of it is measured.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::name::NodeName;

/// A server that is looked at before a measurement and after it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placed {
    /// The instance.
    pub instance: String,
    /// Where it runs.
    pub node: NodeName,
    /// The mark of its leader.
    pub mark: String,
    /// Its log, a path of the node.
    pub log: String,
}

/// How closely a machine is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// At all that can be told.
    Whole,
    /// At what changes meanwhile and is told at once, since somebody waits for it: no GPU is asked, and
    /// no log for names.
    Quick,
}

/// What a node showed when it was looked at.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct NodeConditions {
    /// Which boot of it this is.
    pub boot_id: Option<String>,
    /// How long some task of it has waited for a CPU since it booted, in microseconds
    /// (`/proc/pressure/cpu`, `some`).
    pub cpu_waited_us: Option<u64>,
    /// How long it has run, in microseconds.
    pub uptime_us: Option<u64>,
    /// Its GPUs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gpus: Vec<GpuConditions>,
    /// The measured servers that run there, by instance.
    pub servers: BTreeMap<String, ServerConditions>,
}

/// What `nvidia-smi` tells of a GPU, each in its own words; `[N/A]` is nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GpuConditions {
    /// Its name.
    pub name: Option<String>,
    /// Its id.
    pub uuid: Option<String>,
    /// The driver's version.
    pub driver: Option<String>,
    /// Its performance state: `P0`.
    pub pstate: Option<String>,
    /// The clock of its processors, in MHz.
    pub clock_mhz: Option<String>,
    /// The highest such clock.
    pub clock_max_mhz: Option<String>,
    /// Its temperature, in °C.
    pub temperature_c: Option<String>,
    /// What it draws, in W.
    pub power_w: Option<String>,
    /// What it may draw, in W.
    pub power_limit_w: Option<String>,
    /// What holds its clocks down, as a mask of bits.
    pub held_down_by: Option<String>,
}

/// What a server is, as a process.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerConditions {
    /// The leader of its session.
    pub pid: u32,
    /// When that was started, in clock ticks since the boot.
    pub start_time: u64,
    /// What its log names: back ends, kernels, the size of its cache; lines as they stand.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub named: Vec<String>,
    /// How often its log says that it compiled kernels while it answered.
    #[serde(default)]
    pub compiled_late: u64,
}
