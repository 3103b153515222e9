//! The corridor: observe (ask), decide (pure), execute (walk). It names no kind.
//!
//! ```text
//! observe(fleet, resources)          -> Observation      one round trip a node
//! decide(resources, &observation)    -> Plan             pure and deterministic
//! execute(&plan, world, events)      -> Report           steps out to nodes, events back
//! observe, decide again              -> all keep         the last word is what was seen
//! ```

mod compare;
mod decide;
mod execute;
mod live;
mod observe;

pub use decide::decide;
pub use execute::{Interrupt, Report, Say, World, execute};
pub use live::Live;
pub use observe::observe;
