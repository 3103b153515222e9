//! Ending processes: ours by their mark, what is not ours by pid, start and boot.

use std::time::Duration;

use serde::Serialize;

use crate::plan::Address;

/// A process of ours to stop, with everything that belongs to its session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Stop {
    /// What it is.
    pub address: Address,
    /// The beginning of its mark, up to the generation: `v1:demo:instance/a:`.
    pub mark_prefix: String,
    /// Ports that must be free when it is gone.
    pub ports: Vec<u16>,
    /// How long the process may take after SIGTERM before everything of its session gets SIGKILL.
    /// Nothing where it ends by itself and is only waited for, however long that takes.
    pub grace: Option<Duration>,
}

/// Processes to end that carry no mark: each is known by its pid, its start, and the boot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct KillUnmanaged {
    /// What they are.
    pub address: Address,
    /// The boot that the pids belong to.
    pub boot_id: String,
    /// Each as its pid and when it started, in clock ticks since the boot. What they have started
    /// belongs to them.
    pub processes: Vec<(u32, u64)>,
    /// The ports that they listen on.
    pub ports: Vec<u16>,
    /// How long they may take after SIGTERM before all that is left of them gets SIGKILL.
    pub grace: Duration,
}
