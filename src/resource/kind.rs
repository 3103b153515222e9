//! The two sorts of kinds that need no static side of their own.

use super::contract::{Answers, Found, Kind, Listed, Question};
use super::place::Folder;
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

    fn questions(&self, folder: &Folder) -> Vec<Question> {
        found::questions(folder)
    }

    fn found(&self, topology: &str, node: &NodeName, answers: &Answers) -> Vec<Found> {
        found::found(|kind| kind == self.name, topology, node, answers)
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

    fn questions(&self, _: &Folder) -> Vec<Question> {
        Vec::new()
    }

    fn found(&self, _: &str, _: &NodeName, _: &Answers) -> Vec<Found> {
        Vec::new()
    }
}
