//! What stands in the way of a plan without blocking it.

use serde::Serialize;

use crate::name::NodeName;

/// Something of the machines by which an apply of this plan is likely to fail, or to take a machine with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Warning {
    /// The number of the check that found it, as `doctor` says it: `M1`.
    pub id: String,
    /// The nodes that it is about.
    pub nodes: Vec<NodeName>,
    /// What is so, one line.
    pub text: String,
    /// What mends it: a line to type, or to write.
    pub hint: String,
}
