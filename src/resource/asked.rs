//! What somebody asked for by a command, beside what is declared.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::plan::Address;

/// All that was asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Asked {
    /// What runs anew.
    pub replaced: Replaced,
    /// What gets no requests from now on, or some again.
    pub drains: Drains,
}

/// What is to be replaced though it is as declared: each thing with what was [seen](crate::plan::Stand)
/// of it then. What is seen of it once that is done is something else, and stays.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Replaced(BTreeMap<Address, String>);

impl Replaced {
    /// What was seen of a thing that is to be replaced.
    pub(super) fn of(&self, address: &Address) -> Option<&str> {
        self.0.get(address).map(String::as_str)
    }
}

impl FromIterator<(Address, String)> for Replaced {
    fn from_iter<I: IntoIterator<Item = (Address, String)>>(all: I) -> Self {
        Self(all.into_iter().collect())
    }
}

/// What is to be drained until it is undrained. Each is named without its node: one that moves stays
/// drained.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Drains {
    /// What gets no new request from now on.
    pub drained: BTreeSet<Address>,
    /// What gets requests again.
    pub undrained: BTreeSet<Address>,
    /// Whether nothing may be left that requests are passed to.
    pub allows_downtime: bool,
}

impl Drains {
    /// Whether nothing was asked for.
    pub(super) fn is_none(&self) -> bool {
        self.drained.is_empty() && self.undrained.is_empty()
    }
}
