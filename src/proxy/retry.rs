//! What second attempts rest on: a budget for all of them, and what must get none.

use super::budget::Budget;
use super::poison::Poison;

/// Shared by all requests.
#[derive(Debug, Default)]
pub(super) struct Retries {
    pub(super) budget: Budget,
    pub(super) poison: Poison,
}
