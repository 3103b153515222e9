//! What is done to nodes, as plain data: it can be compared, printed and written down, and holds no
//! secret, only the names of variables that do. What performs it is `node::perform`.
//!
//! A new kind of thing is made of these verbs. One that needs another verb adds a file here, and its
//! performance there.

pub mod control;
mod copy;
mod keep_log;
mod launch;
mod log;
mod measure;
mod ready;
mod script;
mod secret;
mod stop;

use std::collections::BTreeSet;

use serde::Serialize;

pub use control::ProxyControl;
pub use copy::{Copy, Upload};
pub use keep_log::KeepLog;
pub use launch::{Launch, Supervisor, Unit};
pub use log::LogReader;
pub use measure::{Endpoint, Job, Sender, Target, WarmWhen};
pub use ready::{Check, Probe, WaitReady};
pub use script::RunScript;
pub use secret::{Secret, ServerKey};
pub use stop::{KillUnmanaged, Stop};

use super::Address;
use crate::name::NodeName;

/// An effect, and the node that performs it: a thing may span several nodes.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Operation {
    /// The node that performs it; this machine where it is none.
    pub node: Option<NodeName>,
    /// What is done.
    pub effect: Effect,
}

impl Operation {
    /// An effect on a node.
    pub fn on(node: &NodeName, effect: Effect) -> Self {
        Self {
            node: Some(node.clone()),
            effect,
        }
    }

    /// An effect of this machine itself.
    pub fn here(effect: Effect) -> Self {
        Self { node: None, effect }
    }
}

/// One thing that is done.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// Puts a file of this machine on the node.
    Upload(Upload),
    /// Removes files of ours.
    Remove {
        /// What is removed: absolute, or `~/…`.
        paths: Vec<String>,
    },
    /// Keeps the log of a failure on this machine.
    KeepLog(KeepLog),
    /// Does something that takes minutes, while somebody watches.
    RunScript(Box<RunScript>),
    /// Copies a model from another node.
    Copy(Box<Copy>),
    /// Starts a process of ours, marked.
    Launch(Box<Launch>),
    /// Ends a process of ours and everything it started.
    Stop(Stop),
    /// Ends processes of somebody else, where the manifest says so.
    KillUnmanaged(KillUnmanaged),
    /// Waits until what was started answers and is what was started.
    WaitReady(Box<WaitReady>),
    /// Says something to a running proxy of ours.
    ProxyControl(Box<ProxyControl>),
    /// Measures, from this machine or a node.
    Measure(Box<Job>),
}

impl Effect {
    /// The same once other things were to come first, of which these did: what was not brought about
    /// is not spoken of. Nothing where that leaves nothing to do.
    pub fn after(self, done: &BTreeSet<Address>) -> Option<Self> {
        Some(match self {
            Self::ProxyControl(control) => Self::ProxyControl(Box::new(control.after(done)?)),
            other => other,
        })
    }
}
