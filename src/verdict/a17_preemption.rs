//! A17: engines that ran out of room: requests lost their place in the cache of keys and values and
//! were begun anew, or waited for a place for a good part of the time to their first token. The
//! numbers are true, and they are those of a server beyond its capacity.

use serde_json::json;

use super::{Case, Finding, MATTERS_MS, Rule, round};
use crate::results::{Anomaly, ServerMetrics, Severity};

/// The share of waiting in the time to the first token from which on it decides.
const QUEUED: f64 = 0.2;

pub(super) const RULE: Rule = Rule {
    id: "A17",
    name: "out of room",
    check,
};

fn check(case: &Case<'_>) -> Vec<Anomaly> {
    let servers = case.point.server.iter();
    servers
        .filter_map(|(name, counted)| preempted(name, counted).or_else(|| queued(name, counted)))
        .collect()
}

fn preempted(name: &str, counted: &ServerMetrics) -> Option<Anomaly> {
    let times = counted.delta.preemptions.filter(|times| *times > 0)?;
    let finding = Finding {
        message: format!(
            "`{name}` threw requests out of its cache {times} times and began them anew"
        ),
        evidence: json!({"preemptions": times, "kv_usage_max": counted.peak.kv_usage}),
        cause: "the cache of keys and values has no room for so many requests of this length"
            .to_owned(),
        hint: "ask for fewer at once, or give it more: `gpu_memory_utilization`, `kv_cache_dtype`"
            .to_owned(),
    };
    Some(RULE.speak(Severity::Warning, finding).of_replica(name))
}

fn queued(name: &str, counted: &ServerMetrics) -> Option<Anomaly> {
    let (queue, ttft) = (counted.mean.queue_ms?, counted.mean.ttft_ms?);
    (queue > QUEUED * ttft && queue > MATTERS_MS).then(|| {
        let finding = Finding {
            message: format!(
                "requests waited {queue:.0} ms for a place in `{name}`, of {ttft:.0} ms to their first token"
            ),
            evidence: json!({
                "queue_ms": round(queue),
                "ttft_ms": round(ttft),
                "running_max": counted.peak.running,
                "waiting_max": counted.peak.waiting,
            }),
            cause: "more requests at once than the engine runs (`max_num_seqs`), or than its cache \
                    holds"
                .to_owned(),
            hint: "read the TTFT as that of a queue, or ask for fewer at once".to_owned(),
        };
        RULE.speak(Severity::Warning, finding).of_replica(name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_speaks_where_it_decides() {
        let mut counted = ServerMetrics::default();
        counted.mean.queue_ms = Some(900.0);
        counted.mean.ttft_ms = Some(1000.0);
        assert!(queued("a", &counted).is_some());
        counted.mean.ttft_ms = Some(9000.0);
        assert_eq!(queued("a", &counted), None);
        assert_eq!(preempted("a", &counted), None);
        counted.delta.preemptions = Some(3);
        assert!(
            preempted("a", &counted)
                .unwrap()
                .message
                .contains("3 times")
        );
    }
}
