//! What happens while a plan is carried out, as data; the views are its readers.

use std::time::Duration;

use super::{Address, Change, Failure, Phase};
use crate::name::NodeName;

/// One thing that happened.
#[derive(Debug, Clone)]
pub enum Event {
    /// A change begins.
    Started {
        /// The change.
        change: Change,
    },
    /// A step of a change begins, or is done.
    Step {
        /// The thing.
        address: Address,
        /// The node that performs it; none where it is this machine.
        node: Option<NodeName>,
        /// What is done there: [`super::Step::verb`].
        verb: &'static str,
        /// Whether it is done.
        is_done: bool,
    },
    /// Something is under way.
    Progress {
        /// The thing.
        address: Address,
        /// What is being done, and how far that has come.
        phase: Phase,
    },
    /// A change is complete, and was seen to be.
    Finished {
        /// The thing.
        address: Address,
        /// What was seen: `pid 4711, ready in 3.2 s`.
        outcome: String,
        /// How long it took.
        took: Duration,
    },
    /// A change failed.
    Failed {
        /// The thing.
        address: Address,
        /// What went wrong.
        failure: Failure,
        /// Whether steps of it had been done before, so that it is not as it was.
        partly: bool,
    },
    /// A change was not tried.
    Skipped {
        /// The thing.
        address: Address,
        /// Why: the address of what failed before it, or an interrupt.
        because: String,
    },
    /// A line of talk that belongs to no change, such as a node that answers late.
    Note(String),
}
