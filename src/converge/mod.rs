//! The corridor: observe (ask), decide (pure), execute (walk). It names no kind.
//!
//! ```text
//! observe(fleet, resources)          -> Observation      one round trip a node
//! assess(resources, &observation)    -> [Stand]          how each thing stands, as values
//! decide(stands, &observation)       -> Plan             pure and deterministic
//! execute(&plan, world, events)      -> Report           steps out to nodes, events back
//! Run::converge(desired, plan)       -> Converged        rounds of these, until all is keep
//! ```

mod ask_for_life;
mod assess;
mod budget;
mod capacity;
mod decide;
mod execute;
mod interrupt;
mod live;
mod observe;
mod rounds;
mod select;
mod serving;
mod start_first;

pub use ask_for_life::OnWaiting;
pub use assess::assess;
pub use budget::{Budget, NextStart};
pub use decide::decide;
pub use execute::{Report, Say, World};
pub use interrupt::Interrupt;
pub use live::{Live, survey};
pub use rounds::{Converged, Desired, Run, plan};
pub use select::{LeftOut, Selection};
pub use serving::{keep_serving, repair_first};
