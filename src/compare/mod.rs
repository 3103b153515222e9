//! Arms, re-converged and interleaved, and what may be said of them.
//!
//! The unit of evidence is a block: one run of a benchmark under one arm. A round is a block of every
//! arm, in an [order](rounds) by which what drifts hits all alike. Two blocks of one round are a pair;
//! pairs become a [`Ratio`] with its interval, and a ratio becomes a [`Verdict`]. Beside it stands whether
//! the machines changed meanwhile ([`Drift`]), and whether times may be compared at all
//! ([`UnequallyAnswered`]). An opponent may be tuned first ([`Chosen`]).
//!
//! What stands here computes: it opens no connection and knows no manifest.

mod answered;
mod drift;
mod order;
mod ratio;
mod student;
mod tuned;
mod verdict;

pub use answered::{Answered, UnequallyAnswered};
pub use drift::{BlockValue, Drift};
pub use order::rounds;
pub use ratio::Ratio;
pub use tuned::{Chosen, Kept, Trial, WhyChosen};
pub use verdict::{Aim, FEWEST_PAIRS, MARGIN, Verdict};
