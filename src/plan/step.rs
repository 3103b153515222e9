//! One effect, where it is performed, and what it waits for.

use serde::Serialize;

use super::{Address, Effect};
use crate::name::NodeName;

/// The number of a step in its plan.
pub type StepId = usize;

/// One effect, to be performed when everything that it requires is done.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Step {
    /// Its number: its place in [`super::Plan::steps`].
    pub id: StepId,
    /// The thing that it is done for.
    pub address: Address,
    /// The node that performs it; this machine where it is none. It need not be the thing's own:
    /// an instance is drained at the node of its proxy.
    pub node: Option<NodeName>,
    /// What is done.
    pub effect: Effect,
    /// The steps that must have succeeded first.
    pub requires: Vec<StepId>,
    /// The steps that must have ended first, however they ended.
    pub after: Vec<StepId>,
}

impl Step {
    /// What is done, in one word that stays the same.
    pub fn verb(&self) -> &'static str {
        match &self.effect {
            Effect::Upload(_) => "upload",
            Effect::Remove { .. } => "remove",
            Effect::KeepLog(_) => "keep_log",
            Effect::RunScript(_) => "run_script",
            Effect::Copy(_) => "copy",
            Effect::Launch(_) => "launch",
            Effect::Stop(_) => "stop",
            Effect::KillUnmanaged(_) => "kill_unmanaged",
            Effect::WaitReady(_) => "wait_ready",
            Effect::ProxyControl(_) => "proxy_control",
            Effect::Measure(_) => "measure",
        }
    }
}
