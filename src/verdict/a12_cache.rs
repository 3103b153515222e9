//! A12: prompts that came out of a cache. Every request has a salt of its own, so that no prefix is
//! shared with any other; an engine that found some all the same did less work than was asked. Where
//! prompts begin alike, or the benchmark allows what is cached (`cache: allow`), hits are asked for.
//!
//! vLLM's own benchmark warns from one in a hundred tokens on, and was off by 49 times in TTFT where
//! it did not (vllm#54227).

use serde_json::json;

use super::{Case, Finding, Rule, round};
use crate::prompts::Cache;
use crate::results::{Anomaly, Severity};

const TOLERATED: f64 = 0.01;

pub(super) const RULE: Rule = Rule {
    id: "A12",
    name: "cached prompts",
    check,
};

fn check(case: &Case<'_>) -> Vec<Anomaly> {
    if case.job.cache == Cache::Allow || case.job.prompts.shared_prefix_tokens.is_some() {
        return Vec::new();
    }
    let servers = case.point.server.iter();
    servers
        .filter_map(|(name, counted)| {
            let (hits, queries) = (counted.delta.prefix_hits?, counted.delta.prefix_queries?);
            spoken(name, hits, queries)
        })
        .collect()
}

fn spoken(name: &str, hits: u64, queries: u64) -> Option<Anomaly> {
    let share = hits as f64 / queries as f64;
    (queries > 0 && share > TOLERATED).then(|| {
        let finding = Finding {
            message: format!(
                "`{name}` took {:.0} % of its prompt tokens out of its prefix cache",
                share * 100.0
            ),
            evidence: json!({"hits": hits, "queries": queries, "share": round(share)}),
            cause: "the engine does not honour `cache_salt`, or other traffic shares prompts"
                .to_owned(),
            hint:
                "use a vLLM that knows `cache_salt` (0.9 and later), or turn the prefix cache off: \
                   `enable_prefix_caching: false`"
                    .to_owned(),
        };
        RULE.speak(Severity::Error, finding).of_replica(name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_in_a_hundred_is_let_pass() {
        assert_eq!(spoken("a", 10, 1000), None);
        assert_eq!(spoken("a", 0, 0), None);
        let five = spoken("a", 50, 1000).unwrap();
        assert!(five.message.contains("5 %") && five.invalidates());
    }
}
