//! The two sorts of kinds that need no static side of their own.

use super::contract::{Found, Kind, Listed};
use super::facts::{Fact, Facts};
use super::node_files::StateFolder;
use super::process::found;
use crate::name::NodeName;

/// A kind of processes of ours: its things are found by their marks and their logs.
pub(super) struct Marked {
    pub(super) name: &'static str,
    pub(super) listed: Listed,
}

impl Kind for Marked {
    fn name(&self) -> &'static str {
        self.name
    }

    fn facts(&self, folder: &StateFolder) -> Vec<Fact> {
        found::facts(folder)
    }

    fn found(&self, topology: &str, node: &NodeName, facts: &Facts) -> Vec<Found> {
        found::found(|kind| kind == self.name, topology, node, facts)
    }

    fn listed(&self) -> Listed {
        self.listed
    }
}

/// A kind whose things stay when their topology is destroyed, so that none is ever found: others
/// may use them, or they are this machine's.
pub(super) struct Kept(pub(super) &'static str);

impl Kind for Kept {
    fn name(&self) -> &'static str {
        self.0
    }

    fn facts(&self, _: &StateFolder) -> Vec<Fact> {
        Vec::new()
    }

    fn found(&self, _: &str, _: &NodeName, _: &Facts) -> Vec<Found> {
        Vec::new()
    }
}
