//! Arms, re-converged and interleaved, and what may be said of them.
//!
//! The unit of evidence is a block: one run of a benchmark under one arm. A round is a block of every
//! arm, in an [order](rounds) by which what drifts hits all alike. Two blocks of one round are a pair;
//! pairs become a [`Ratio`] with its interval, and a ratio becomes a [`Verdict`]. Beside it stands whether
//! the machines changed meanwhile ([`Drift`]), and whether times may be compared at all
//! ([`UnequallyAnswered`]). An opponent may be tuned first ([`Chosen`]).
//!
//! A manifest declares an [`Experiment`]; what comes of it is an [`Outcome`], which lies in a [`Store`].
//! What is to be expected before anything runs is [`Foretold`]. All of it computes, but for the store.

mod answered;
mod cell;
mod decides;
mod declared;
mod differs;
mod drift;
mod experiment;
mod foretold;
mod idle;
mod moved;
mod nodes;
mod order;
mod outcome;
mod ratio;
mod resident;
mod store;
mod student;
mod switch;
mod takes;
mod texts;
mod tuned;
mod unlike;
mod verdict;

#[cfg(test)]
pub(crate) mod tests;

pub use answered::{Answered, UnequallyAnswered};
pub use cell::{Cell, Measured, Said, cells};
pub use decides::deciding;
pub use declared::{ArmDeclaration, CompareDeclaration, TuneDeclaration};
pub use differs::Difference;
pub use drift::{BlockValue, Drift};
pub use experiment::{Arm, Experiment, Tune};
pub use foretold::{Foretold, ForetoldCell, ForetoldOf, Prospect, foretell};
pub use idle::{held_down, idle_gpus};
pub use moved::{HandedOver, Moved};
pub use nodes::{NodeCanary, slow_nodes};
pub use order::rounds;
pub use outcome::{ArmFacts, Block, Contrast, Outcome, SCHEMA, TriedFacts, TunedFacts, digest};
pub use ratio::Ratio;
pub use store::Store;
pub use switch::{Begun, Fresh, Switch};
pub use takes::seconds_of;
pub use texts::{Digests, Texts};
pub use tuned::{Chosen, Kept, Trial, WhyChosen};
pub use verdict::{Aim, FEWEST_PAIRS, MARGIN, Verdict};
