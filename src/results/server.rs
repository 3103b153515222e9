//! What the engines themselves counted while a load was measured, server by server: vLLM's
//! `/metrics`, by the names of its versions 0.10 to 0.13 (`vllm/v1/metrics/loggers.py`).

use serde::{Deserialize, Serialize};

use super::fetched::Fetched;
use super::quantile::tidy;
use crate::prometheus::Page;

/// A page of a server's metrics, and when it was had, in microseconds since the run began.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Scraped {
    pub(crate) at_us: u64,
    pub(crate) page: Page,
}

/// What one server counted of a load.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ServerMetrics {
    /// What its counters grew by, from before the first request until after the last.
    pub delta: Delta,
    /// What its requests took on the mean, by its own clock.
    pub mean: MeanTimes,
    /// The most that its gauges showed, looked at every second.
    pub peak: Gauges,
    /// What its gauges showed, each time.
    pub samples: Vec<GaugeSample>,
}

/// What counters grew by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Delta {
    /// Requests that ended well, and those that it gave up.
    pub requests: Option<u64>,
    /// Tokens of prompts.
    pub prompt_tokens: Option<u64>,
    /// Tokens of answers.
    pub generation_tokens: Option<u64>,
    /// Requests that lost their place in the cache of keys and values, and were begun anew.
    pub preemptions: Option<u64>,
    /// Prompt tokens that were looked for in the prefix cache.
    pub prefix_queries: Option<u64>,
    /// Those of them that it had.
    pub prefix_hits: Option<u64>,
    /// What it fetched of what others had computed, where it can.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fetched: Option<Fetched>,
}

/// What requests took on the mean (`Δsum / Δcount` of histograms), in ms.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct MeanTimes {
    /// From its arrival until it was first scheduled.
    pub queue_ms: Option<f64>,
    /// From there to its first token.
    pub prefill_ms: Option<f64>,
    /// From there to its last.
    pub decode_ms: Option<f64>,
    /// From its arrival to its first token.
    pub ttft_ms: Option<f64>,
    /// From its arrival to its last.
    pub e2el_ms: Option<f64>,
}

/// What gauges show.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Gauges {
    /// Requests in the running batch.
    pub running: Option<f64>,
    /// Requests that wait for a place in it.
    pub waiting: Option<f64>,
    /// The share of the cache of keys and values that is in use, from 0 to 1.
    pub kv_usage: Option<f64>,
}

/// What gauges showed at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct GaugeSample {
    /// When, in microseconds since the run began.
    pub at_us: u64,
    /// What they showed.
    #[serde(flatten)]
    pub gauges: Gauges,
}

/// Counters that only ever grow. What counts requests has a label for each way to end.
const REQUESTS: &[&str] = &["vllm:request_success_total"];
const PROMPT_TOKENS: &[&str] = &["vllm:prompt_tokens_total"];
const GENERATION_TOKENS: &[&str] = &["vllm:generation_tokens_total"];
const PREEMPTIONS: &[&str] = &["vllm:num_preemptions_total"];
const PREFIX_QUERIES: &[&str] = &[
    "vllm:prefix_cache_queries_total",
    "vllm:gpu_prefix_cache_queries_total",
];
const PREFIX_HITS: &[&str] = &[
    "vllm:prefix_cache_hits_total",
    "vllm:gpu_prefix_cache_hits_total",
];
const KV_USAGE: &[&str] = &["vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc"];

impl ServerMetrics {
    /// What a server counted between two pages, and showed at those in between. Nothing where it was
    /// started anew meanwhile: its counters began again.
    pub(crate) fn between(before: &Scraped, after: &Scraped, seen: &[GaugeSample]) -> Option<Self> {
        let delta = Delta::between(&before.page, &after.page)?;
        let within = |it: &&GaugeSample| (before.at_us..=after.at_us).contains(&it.at_us);
        let samples: Vec<GaugeSample> = seen.iter().filter(within).copied().collect();
        let most = |of: fn(&Gauges) -> Option<f64>| {
            let shown = samples.iter().filter_map(|it| of(&it.gauges));
            shown.max_by(f64::total_cmp)
        };
        Some(Self {
            delta,
            mean: MeanTimes::between(&before.page, &after.page),
            peak: Gauges {
                running: most(|it| it.running),
                waiting: most(|it| it.waiting),
                kv_usage: most(|it| it.kv_usage),
            },
            samples,
        })
    }
}

impl Delta {
    /// Nothing where a counter shrank.
    pub(crate) fn between(before: &Page, after: &Page) -> Option<Self> {
        let mut has_shrunk = false;
        let mut grown = |names: &[&str]| {
            let (before, after) = (before.first(names), after.first(names)?);
            // What counts by a label has no line before it first counted.
            let grown = after - before.unwrap_or_default();
            has_shrunk |= grown < 0.0;
            Some(grown.max(0.0) as u64)
        };
        let delta = Self {
            requests: grown(REQUESTS),
            prompt_tokens: grown(PROMPT_TOKENS),
            generation_tokens: grown(GENERATION_TOKENS),
            preemptions: grown(PREEMPTIONS),
            prefix_queries: grown(PREFIX_QUERIES),
            prefix_hits: grown(PREFIX_HITS),
            fetched: Fetched::between(before, after),
        };
        (!has_shrunk).then_some(delta)
    }
}

impl MeanTimes {
    fn between(before: &Page, after: &Page) -> Self {
        let mean = |name: &str| {
            let grown = |part: &str| {
                let name = format!("vllm:{name}_{part}");
                Some(after.sum(&name)? - before.sum(&name).unwrap_or_default())
            };
            let (sum, count) = (grown("sum")?, grown("count")?);
            (count > 0.0).then(|| tidy(sum / count * 1000.0))
        };
        Self {
            queue_ms: mean("request_queue_time_seconds"),
            prefill_ms: mean("request_prefill_time_seconds"),
            decode_ms: mean("request_decode_time_seconds"),
            ttft_ms: mean("time_to_first_token_seconds"),
            e2el_ms: mean("e2e_request_latency_seconds"),
        }
    }
}

impl GaugeSample {
    pub(crate) fn of(scraped: &Scraped) -> Self {
        let page = &scraped.page;
        Self {
            at_us: scraped.at_us,
            gauges: Gauges {
                running: page.sum("vllm:num_requests_running"),
                waiting: page.sum("vllm:num_requests_waiting"),
                kv_usage: page.first(KV_USAGE),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scraped(at_us: u64, text: &str) -> Scraped {
        let page = Page::read(text);
        Scraped { at_us, page }
    }

    #[test]
    fn what_was_counted_between_two_pages() {
        let before = scraped(
            10,
            "vllm:prompt_tokens_total 100\nvllm:generation_tokens_total 50\n\
             vllm:request_queue_time_seconds_sum 1\nvllm:request_queue_time_seconds_count 10\n",
        );
        let during = scraped(
            20,
            "vllm:num_requests_running 4\nvllm:num_requests_waiting 2\n",
        );
        let later = scraped(40, "vllm:num_requests_running 9\n");
        let after = scraped(
            30,
            "vllm:prompt_tokens_total 160\nvllm:generation_tokens_total 250\n\
             vllm:request_success_total{finished_reason=\"length\"} 2\n\
             vllm:request_queue_time_seconds_sum 1.5\nvllm:request_queue_time_seconds_count 12\n",
        );
        let seen = [&during, &later].map(GaugeSample::of);
        let metrics = ServerMetrics::between(&before, &after, &seen).unwrap();
        assert_eq!(metrics.delta.prompt_tokens, Some(60));
        assert_eq!(metrics.delta.generation_tokens, Some(200));
        assert_eq!(metrics.delta.requests, Some(2));
        assert_eq!(metrics.delta.preemptions, None);
        assert_eq!(metrics.mean.queue_ms, Some(250.0));
        assert_eq!(metrics.mean.decode_ms, None);
        assert_eq!(metrics.peak.running, Some(4.0));
        assert_eq!(metrics.samples.len(), 1);
    }

    #[test]
    fn a_server_that_was_started_anew_counts_from_nothing() {
        let before = scraped(1, "vllm:generation_tokens_total 50\n");
        let after = scraped(2, "vllm:generation_tokens_total 7\n");
        assert_eq!(ServerMetrics::between(&before, &after, &[]), None);
    }
}
