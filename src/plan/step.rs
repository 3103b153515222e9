//! One effect on one node, and what it waits for.

use std::path::PathBuf;
use std::time::Duration;

use crate::node::{Copy, End, Launch, Ready, Stop, Work};
use crate::proxy::control;

use super::{Address, Job};
use crate::name::NodeName;

/// The number of a step in its plan.
pub type StepId = usize;

/// One operation of a plan, performed when all that it waits for has ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// Its number: its place in [`super::Plan::steps`].
    pub id: StepId,
    /// The thing that it is done for.
    pub address: Address,
    /// The node that performs it; nothing where this machine does.
    pub node: Option<NodeName>,
    /// What is done.
    pub effect: Effect,
    /// The steps that must have succeeded first, as systemd's `Requires`.
    pub requires: Vec<StepId>,
    /// The steps that must have ended first, however they ended, as systemd's `After`.
    pub after: Vec<StepId>,
}

/// An effect and the node that performs it: a thing may span several nodes.
#[derive(Debug, Clone, PartialEq)]
pub struct Operation {
    /// The node; nothing where this machine performs it.
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

/// The verbs of a node. A new kind of thing is made of these; it adds none.
#[derive(Debug, Clone, PartialEq)]
#[allow(unpredictable_function_pointer_comparisons)]
pub enum Effect {
    /// Puts a file of this machine on the node.
    Upload {
        /// The file here.
        source: PathBuf,
        /// Where it goes: absolute, or `~/…` for the node's home.
        target: String,
        /// The digest of its content, in hex; checked on the node before it takes its place.
        sha256: String,
    },
    /// Removes files of ours.
    Remove {
        /// What is removed: absolute, or `~/…`.
        paths: Vec<String>,
    },
    /// Does something that takes minutes, while somebody watches.
    Work(Box<Work>),
    /// Copies a model from another node.
    Copy(Box<Copy>),
    /// Starts a process of ours, marked.
    Start(Box<Launch>),
    /// Ends a process of ours and everything it started.
    Stop(Stop),
    /// Ends processes of somebody else, where the manifest says so.
    End(End),
    /// Waits until what was started answers and is what was started.
    Await(Box<Ready>),
    /// Says something to a running process of ours through its control socket.
    Tell {
        /// The address of the process.
        to: Address,
        /// The program that speaks to it: absolute, or `~/…`.
        program: String,
        /// The folder that holds its control socket: absolute, or `~/…`.
        folder: String,
        /// What is said.
        request: Box<control::Request>,
        /// How long the answer may take; nothing for as long as it takes.
        timeout: Option<Duration>,
    },
    /// Measures, from this machine.
    Measure(Box<Job>),
}
