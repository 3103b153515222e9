//! A model that goes from one node to another, as a value.

use std::path::PathBuf;

use crate::name::NodeName;

/// A model to copy to a node from another, straight and not by way of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copy {
    /// The node that has it.
    pub from: NodeName,
    /// The address on which that one offers it.
    pub listen: String,
    /// The address by which the node that lacks it dials the other.
    pub dial: String,
    /// The folder of the repository in the cache of the other, absolute.
    pub source: String,
    /// The folder of the repository in the cache of this one, absolute.
    pub target: String,
    /// The commit; without one, what the other's `refs/main` says, which is then named here too.
    pub revision: Option<String>,
    /// A file of this node whose lock is held meanwhile: absolute.
    pub lock: String,
    /// The program that the other runs.
    pub sender: Brought,
    /// The program that this one runs.
    pub receiver: Brought,
}

/// A program that a node has for as long as a copy takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Brought {
    /// The file here.
    pub source: PathBuf,
    /// The digest of its content, in hex.
    pub sha256: String,
    /// Where it stands on the node: absolute, or `~/…`.
    pub path: String,
}
