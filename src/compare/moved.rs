//! What really went from instance to instance, as those count it that fetch it.

use serde::{Deserialize, Serialize};

use super::cell::Measured;
use crate::name::ArmName;
use crate::results::ServerMetrics;

/// The keys and values that an arm's instances fetched of each other, over all blocks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Moved {
    /// How often something was.
    pub transfers: u64,
    /// The bytes of it.
    pub bytes: u64,
    /// The tokens of prompts that were had in this way.
    pub tokens: u64,
    /// The tokens of all prompts that were asked there.
    pub of_tokens: u64,
    /// How long a transfer took on the mean, in ms.
    pub mean_ms: f64,
    /// How often it could not be fetched, or was forgotten before.
    pub lost: u64,
}

impl Moved {
    /// Nothing where no instance fetched anything.
    pub(super) fn of(blocks: &[Measured<'_>], arm: &ArmName) -> Option<Self> {
        let results = blocks.iter().filter(|block| block.arm == arm);
        let results = results.flat_map(|block| block.results.values());
        let points = results.flat_map(|result| &result.points);
        let mut moved = Self::default();
        let mut ms = 0.0;
        for server in points.flat_map(|point| point.server.values()) {
            let ServerMetrics { delta, .. } = server;
            let Some(fetched) = delta.fetched else {
                continue;
            };
            moved.lost += fetched.failed + fetched.expired;
            if fetched.transfers == 0 {
                continue;
            }
            moved.transfers += fetched.transfers;
            moved.bytes += fetched.bytes;
            moved.tokens += fetched.tokens;
            moved.of_tokens += delta.prompt_tokens.unwrap_or_default();
            ms += fetched.mean_ms.unwrap_or_default() * fetched.transfers as f64;
        }
        moved.mean_ms = ms / moved.transfers.max(1) as f64;
        (moved.transfers > 0 || moved.lost > 0).then_some(moved)
    }
}
