//! Plain data that every room shares: what is to become of each thing, and in which order.

mod address;
mod approval;
mod capacity;
mod change;
mod conditions;
pub mod effect;
mod event;
mod failure;
mod liveness;
mod order;
mod origin;
mod phase;
mod reason;
mod role;
mod rollout;
mod saved;
mod service;
mod slo;
mod stand;
mod step;
mod warning;

use serde::Serialize;

pub use address::{Address, InvalidAddress};
pub use approval::{Approval, Approved};
pub use capacity::Capacity;
pub use change::{Action, Change, Field, Planned};
pub use conditions::{GpuConditions, Look, NodeConditions, Placed, ServerConditions};
pub use effect::{Effect, Endpoint, Job, Operation, Sender, Target, WarmWhen};
pub use event::Event;
pub use failure::{Failure, FailureKind};
pub use liveness::{Counters, Liveness, LivenessProbe};
pub use order::{First, MemoryNeed, Order};
pub use origin::ManifestOrigin;
pub use phase::{Count, Part, Phase, Time};
pub use reason::{Reason, ReasonCode};
pub use role::Role;
pub use rollout::{RollingGroup, Rollout};
pub use saved::{Moved, Outline};
pub use service::{FormerStart, Offer, Readiness, Requests, Service};
pub use slo::{FailIf, Grave, Slo};
pub use stand::{Beside, Hook, NodePort, Operations, Relations, Stand};
pub use step::{Step, StepId};
pub use warning::Warning;

/// Everything that is to be done, in an order in which it can be done.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Plan {
    /// What becomes of each thing, keeps included, in the order of their needs.
    pub changes: Vec<Change>,
    /// The steps, each after everything that it waits for.
    pub steps: Vec<Step>,
    /// The nodes that did not answer, each with why.
    pub unreachable: Vec<(crate::name::NodeName, Failure)>,
    /// What runs on the nodes that is not ours and that a reader should know of.
    pub unmanaged: Vec<String>,
    /// What an apply would fail by, though nothing blocks it.
    pub warnings: Vec<Warning>,
    /// What was seen of each thing, of which anything was: what the plan rests on.
    pub seen: std::collections::BTreeMap<Address, String>,
    /// What should have changed and was not chosen, where only a part was asked for.
    pub left_out: Vec<Address>,
    /// How many serve meanwhile, where clients reach them by one address.
    pub capacity: Option<Capacity>,
}

/// How many things each action touches.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "the fields are the actions")]
pub struct Summary {
    pub keep: usize,
    pub create: usize,
    pub update: usize,
    pub replace: usize,
    pub destroy: usize,
    pub blocked: usize,
}

impl Plan {
    /// Counts the changes by their action.
    pub fn summary(&self) -> Summary {
        let mut summary = Summary::default();
        for change in &self.changes {
            let count = match change.action {
                Action::Keep => &mut summary.keep,
                Action::Create => &mut summary.create,
                Action::Update => &mut summary.update,
                Action::Replace => &mut summary.replace,
                Action::Destroy => &mut summary.destroy,
                Action::Blocked => &mut summary.blocked,
            };
            *count += 1;
        }
        summary
    }

    /// Whether every thing is as declared.
    pub fn is_converged(&self) -> bool {
        self.unreachable.is_empty() && self.changes.iter().all(|c| c.action == Action::Keep)
    }

    /// Whether everything on the nodes is as declared, whatever is still to be measured.
    pub fn is_made(&self) -> bool {
        let is_made = |change: &Change| change.is_measurement() || change.action == Action::Keep;
        self.unreachable.is_empty() && self.changes.iter().all(is_made)
    }

    /// Whether there is anything to do.
    pub fn has_work(&self) -> bool {
        self.changes.iter().any(|c| c.action.acts())
    }
}
