//! A model that goes from one node to another, as a value.

use std::path::PathBuf;
use std::time::Duration;

use crate::name::NodeName;

/// A model to copy to a node from another, straight and not by way of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copy {
    /// The node that has it.
    pub from: NodeName,
    /// The address on which that one offers it, as it calls it itself.
    pub listen: String,
    /// How the node that lacks it dials the other.
    pub dial: String,
    /// The folder of the repository in the cache of the other, absolute.
    pub source: String,
    /// The folder of the repository in the cache of this one, absolute.
    pub target: String,
    /// The commit; without one, what the other's `refs/main` says, which is then named here too.
    pub revision: Option<String>,
    /// The program of the node that has it.
    pub sender: CopyProgram,
    /// The program of the node that lacks it.
    pub receiver: CopyProgram,
    /// A file of the node that lacks it, whose lock is held meanwhile.
    pub lock: String,
    /// How long nothing may be heard of it before it counts as stalled.
    pub patience: Duration,
}

/// The `replica` that one end of a copy runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyProgram {
    /// Where it stands on the node: absolute, or `~/…`.
    pub path: String,
    /// What is put there first, and removed in the end; nothing where it is there anyway.
    pub brought: Option<Brought>,
}

/// A file of this machine that a node has for as long as it needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Brought {
    /// The file here.
    pub source: PathBuf,
    /// The digest of its content, in hex.
    pub sha256: String,
}
