//! What somebody asked for by a command, beside what is declared.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::plan::Address;

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
