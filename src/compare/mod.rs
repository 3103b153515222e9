//! Arms, re-converged and interleaved, and what may be said of them.
//!
//! The unit of evidence is a block: one run of a benchmark under one arm. A round is a block of every
//! arm, in an [order](rounds) by which what drifts hits all alike. Two blocks of one round are a pair;
//! pairs become a [`Ratio`] with its interval, and a ratio becomes a [`Verdict`].
//!
//! What stands here computes: it opens no connection and knows no manifest.

mod order;
mod ratio;
mod student;
mod verdict;

pub use order::rounds;
pub use ratio::Ratio;
pub use verdict::{Aim, FEWEST_PAIRS, MARGIN, Verdict};
