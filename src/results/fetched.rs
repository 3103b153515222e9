//! What an engine fetched of the keys and values that others had computed: vLLM's NIXL connector counts
//! it where they are fetched (`vllm/distributed/kv_transfer/kv_connector/v1/nixl_connector.py`).

use serde::{Deserialize, Serialize};

use super::quantile::tidy;
use crate::prometheus::Page;

/// What was fetched between two pages of an engine.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Fetched {
    /// How often something was.
    pub transfers: u64,
    /// The bytes of it.
    pub bytes: u64,
    /// How long that took on the mean, in ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mean_ms: Option<f64>,
    /// The tokens of prompts that were had in this way, and not computed.
    pub tokens: u64,
    /// How often it could not be fetched.
    pub failed: u64,
    /// How often what was held for others was forgotten before somebody had fetched it.
    pub expired: u64,
}

const TRANSFERS: &str = "vllm:nixl_xfer_time_seconds_count";
const SECONDS: &str = "vllm:nixl_xfer_time_seconds_sum";
const BYTES: &str = "vllm:nixl_bytes_transferred_sum";
const TOKENS: &str = "vllm:external_prefix_cache_hits_total";
const FAILED: &[&str] = &["vllm:nixl_num_failed_transfers_total"];
const EXPIRED: &[&str] = &[
    "vllm:nixl_num_kv_expired_reqs_total",
    "vllm:nixl_num_kv_expired_reqs",
];

impl Fetched {
    /// Nothing where the engine has nothing that fetches.
    pub(crate) fn between(before: &Page, after: &Page) -> Option<Self> {
        let sum = |page: &Page, names: &[&str]| page.first(names);
        let grown = |names: &[&str]| {
            let grown = sum(after, names)? - sum(before, names).unwrap_or_default();
            Some(grown.max(0.0))
        };
        let whole = |names: &[&str]| grown(names).unwrap_or_default() as u64;
        let transfers = grown(&[TRANSFERS])?;
        let mean = grown(&[SECONDS]).map(|seconds| seconds / transfers * 1000.0);
        Some(Self {
            transfers: transfers as u64,
            bytes: whole(&[BYTES]),
            mean_ms: mean.filter(|_| transfers > 0.0).map(tidy),
            tokens: whole(&[TOKENS]),
            failed: whole(FAILED),
            expired: whole(EXPIRED),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_engine_that_fetches_nothing_says_nothing() {
        let page = Page::read("vllm:external_prefix_cache_hits_total 0\n");
        assert_eq!(Fetched::between(&page, &page), None);
    }

    #[test]
    fn what_was_fetched_between_two_pages() {
        let before = Page::read(
            "vllm:nixl_xfer_time_seconds_count 1\nvllm:nixl_xfer_time_seconds_sum 0.5\n\
             vllm:external_prefix_cache_hits_total 10\nvllm:nixl_bytes_transferred_sum 100\n",
        );
        let after = Page::read(
            "vllm:nixl_xfer_time_seconds_count 3\nvllm:nixl_xfer_time_seconds_sum 0.6\n\
             vllm:external_prefix_cache_hits_total 310\nvllm:nixl_bytes_transferred_sum 196708\n\
             vllm:nixl_num_failed_transfers_total 1\nvllm:nixl_num_kv_expired_reqs_total 2\n",
        );
        let fetched = Fetched::between(&before, &after).unwrap();
        assert_eq!((fetched.transfers, fetched.bytes), (2, 196_608));
        assert_eq!((fetched.tokens, fetched.mean_ms), (300, Some(50.0)));
        assert_eq!((fetched.failed, fetched.expired), (1, 2));
    }
}
