//! What really went from instance to instance, as those count it that fetch it.

use serde::{Deserialize, Serialize};

use super::cell::Measured;
use crate::name::ArmName;
use crate::results::{HandOver, Point, ServerMetrics};

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

/// What went from instance to instance under one load of an arm, over all blocks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HandedOver {
    /// How long it took the proxy to go from the one to the other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy: Option<HandOver>,
    /// What the instances fetched of each other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fetched: Option<Moved>,
}

impl HandedOver {
    /// Nothing where nothing was handed over.
    pub(super) fn of<'a>(points: impl Iterator<Item = &'a Point>) -> Option<Self> {
        let points: Vec<&Point> = points.collect();
        let proxy = points.iter().filter_map(|point| point.hand_over.as_ref());
        let handed = Self {
            proxy: HandOver::together(proxy),
            fetched: Moved::under(points.iter().copied()),
        };
        (handed.proxy.is_some() || handed.fetched.is_some()).then_some(handed)
    }
}

impl Moved {
    /// Nothing where no instance fetched anything.
    pub(super) fn of(blocks: &[Measured<'_>], arm: &ArmName) -> Option<Self> {
        let results = blocks.iter().filter(|block| block.arm == arm);
        let results = results.flat_map(|block| block.results.values());
        Self::under(results.flat_map(|result| &result.points))
    }

    fn under<'a>(points: impl Iterator<Item = &'a Point>) -> Option<Self> {
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
