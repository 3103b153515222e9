//! Files that go to a node: from this machine, or from another node.

use std::path::PathBuf;

use serde::Serialize;

use crate::name::NodeName;

/// A file of this machine to put on a node.
///
/// Its digest is no part of it: a plan would have to read the whole file for that. It is taken when
/// the file is sent, and checked on the node before the file takes its place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Upload {
    /// The file here.
    pub source: PathBuf,
    /// Where it goes: absolute, or `~/…` for the node's home.
    pub target: String,
}

impl Upload {
    /// The file beside the target that holds the digest which the target had when it took its place.
    pub fn note(&self) -> String {
        let (folder, name) = self.target.rsplit_once('/').unwrap_or((".", &self.target));
        format!("{folder}/.{name}.sha256")
    }
}

/// A model to copy to a node from another, straight and not by way of this machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Copy {
    /// The node that has it.
    pub from: NodeName,
    /// The address on which that one offers it.
    pub listen: String,
    /// The address by which the node that lacks it dials the other.
    pub dial: String,
    /// Whether the bytes go between them in the clear: the network is declared so.
    pub trusted: bool,
    /// The folder of the repository in the cache of the other, absolute.
    pub source: String,
    /// The folder of the repository in the cache of this one, absolute.
    pub target: String,
    /// The commit; without one, what the other's `refs/main` says, which is then named here too.
    pub revision: Option<String>,
    /// A file of this node whose lock is held meanwhile: absolute.
    pub lock: String,
    /// The program that the other runs, and has for as long as the copy takes.
    pub sender: Upload,
    /// The program that this one runs, and has for as long as the copy takes.
    pub receiver: Upload,
}
