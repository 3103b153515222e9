//! A node that a first manifest is written for.

use super::survey::Surveyed;
use crate::name::NodeName;
use crate::node::Reach;

/// A node that was looked at.
#[derive(Debug, Clone)]
pub struct Place {
    /// What it is called in the manifest.
    pub name: NodeName,
    /// How it is reached.
    pub reach: Reach,
    /// What it said of itself.
    pub surveyed: Surveyed,
}
