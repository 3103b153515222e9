//! What the engine counts. Names and buckets are those of vLLM 0.13.0 (`v1/metrics/loggers.py`).

use std::time::Duration;

use super::kv::pull::Outcome;

const FIRST_TOKEN: &[f64] = &[
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
    20.0, 40.0, 80.0, 160.0, 640.0, 2560.0,
];
const TOKEN: &[f64] = &[
    0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0,
    40.0, 80.0,
];
const REQUEST: &[f64] = &[
    0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0, 120.0, 240.0,
    480.0, 960.0, 1920.0, 7680.0,
];
const STEP_TOKENS: &[f64] = &[
    1.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 2048.0, 4096.0, 8192.0, 16384.0,
];
/// Seconds; the first is not among those of a transfer.
const POST: &[f64] = &[
    0.001, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 5.0,
];
const DESCRIPTORS: &[f64] = &[
    10.0, 20.0, 30.0, 50.0, 75.0, 100.0, 200.0, 400.0, 1000.0, 2000.0, 4000.0, 10000.0, 20000.0,
    50000.0,
];
const CHOICES: &[f64] = &[1.0, 2.0, 5.0, 10.0, 20.0];

/// A histogram of Prometheus.
#[derive(Debug, Clone)]
pub(super) struct Histogram {
    bounds: Vec<f64>,
    counts: Vec<u64>,
    sum: f64,
    count: u64,
}

impl Histogram {
    fn new(bounds: &[f64]) -> Self {
        Self {
            bounds: bounds.to_vec(),
            counts: vec![0; bounds.len()],
            sum: 0.0,
            count: 0,
        }
    }

    /// Counts one value.
    pub(super) fn observe(&mut self, value: f64) {
        if let Some(bucket) = self.bounds.iter().position(|bound| value <= *bound) {
            self.counts[bucket] += 1;
        }
        self.sum += value;
        self.count += 1;
    }

    fn observe_time(&mut self, time: Duration) {
        self.observe(time.as_secs_f64());
    }

    /// Each upper bound with how many values are at most that.
    pub(super) fn buckets(&self) -> impl Iterator<Item = (f64, u64)> {
        self.bounds
            .iter()
            .zip(&self.counts)
            .scan(0, |total, (bound, count)| {
                *total += count;
                Some((*bound, *total))
            })
    }

    /// The sum of all values.
    pub(super) fn sum(&self) -> f64 {
        self.sum
    }

    /// How many values there were.
    pub(super) fn count(&self) -> u64 {
        self.count
    }
}

/// How a request ended, in the order in which vLLM lists the reasons.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FinishReason {
    Stop,
    Length,
    Abort,
    Error,
}

/// Everything that is counted.
#[derive(Debug, Clone)]
pub(super) struct Stats {
    pub(super) prefix_queries: u64,
    pub(super) prefix_hits: u64,
    pub(super) external_queries: u64,
    pub(super) external_hits: u64,
    pub(super) preemptions: u64,
    pub(super) prompt_tokens: u64,
    pub(super) generation_tokens: u64,
    /// By [`FinishReason`].
    pub(super) ended: [u64; 4],
    pub(super) request_prompt_tokens: Histogram,
    pub(super) request_generation_tokens: Histogram,
    pub(super) step_tokens: Histogram,
    pub(super) max_generation_tokens: Histogram,
    pub(super) params_n: Histogram,
    pub(super) params_max_tokens: Histogram,
    pub(super) first_token: Histogram,
    pub(super) inter_token: Histogram,
    pub(super) time_per_token: Histogram,
    pub(super) whole: Histogram,
    pub(super) queue: Histogram,
    pub(super) inference: Histogram,
    pub(super) prefill: Histogram,
    pub(super) decode: Histogram,
    pub(super) computed_tokens: Histogram,
    pub(super) nixl: Nixl,
}

/// What the connector counts: blocks that were fetched, on the side that fetches, and blocks that
/// nobody fetched, on the side that keeps them.
#[derive(Debug, Clone)]
pub(super) struct Nixl {
    pub(super) transfer_time: Histogram,
    pub(super) post_time: Histogram,
    pub(super) bytes: Histogram,
    pub(super) descriptors: Histogram,
    pub(super) failed_transfers: u64,
    pub(super) failed_notifications: u64,
    pub(super) expired: u64,
}

impl Nixl {
    fn new() -> Self {
        // 2 KiB to 8 GiB.
        let bytes: Vec<_> = (11..35).step_by(2).map(|power| 2_f64.powi(power)).collect();
        Self {
            transfer_time: Histogram::new(&POST[1..]),
            post_time: Histogram::new(POST),
            bytes: Histogram::new(&bytes),
            descriptors: Histogram::new(DESCRIPTORS),
            failed_transfers: 0,
            failed_notifications: 0,
            expired: 0,
        }
    }

    /// Counts what came of fetching.
    pub(super) fn count(&mut self, outcome: &Outcome) {
        match outcome {
            Outcome::Fetched { transfer, .. } => {
                self.transfer_time.observe_time(transfer.time);
                self.post_time.observe_time(transfer.post);
                self.bytes.observe(transfer.bytes as f64);
                self.descriptors.observe(transfer.descriptors as f64);
            }
            Outcome::Lost => self.failed_transfers += 1,
            Outcome::NotTold => self.failed_notifications += 1,
            Outcome::Told | Outcome::Fatal(_) => {}
        }
    }
}

/// When the stations of one request were, and its size: what its histograms need.
#[derive(Debug, Clone, Copy)]
pub(super) struct RequestTimes {
    pub(super) arrived: Duration,
    pub(super) scheduled: Duration,
    pub(super) first_token: Duration,
    pub(super) last_token: Duration,
    pub(super) prompt_tokens: usize,
    pub(super) cached_tokens: usize,
    pub(super) generated_tokens: usize,
    pub(super) max_tokens: usize,
}

impl Stats {
    /// Zeros for a model with contexts of at most `max_model_len` tokens.
    pub(super) fn new(max_model_len: usize) -> Self {
        let lengths = Histogram::new(&one_two_five(max_model_len));
        let (token, request) = (Histogram::new(TOKEN), Histogram::new(REQUEST));
        Self {
            prefix_queries: 0,
            prefix_hits: 0,
            external_queries: 0,
            external_hits: 0,
            preemptions: 0,
            prompt_tokens: 0,
            generation_tokens: 0,
            ended: [0; 4],
            request_prompt_tokens: lengths.clone(),
            request_generation_tokens: lengths.clone(),
            step_tokens: Histogram::new(STEP_TOKENS),
            max_generation_tokens: lengths.clone(),
            params_n: Histogram::new(CHOICES),
            params_max_tokens: lengths.clone(),
            first_token: Histogram::new(FIRST_TOKEN),
            inter_token: token.clone(),
            time_per_token: token,
            whole: request.clone(),
            queue: request.clone(),
            inference: request.clone(),
            prefill: request.clone(),
            decode: request,
            computed_tokens: lengths,
            nixl: Nixl::new(),
        }
    }

    /// Counts a request that has ended of its own accord.
    pub(super) fn finish(&mut self, course: &RequestTimes, ended: FinishReason) {
        self.ended[ended as usize] += 1;
        self.request_prompt_tokens
            .observe(course.prompt_tokens as f64);
        self.request_generation_tokens
            .observe(course.generated_tokens as f64);
        self.max_generation_tokens
            .observe(course.generated_tokens as f64);
        self.params_n.observe(1.0);
        self.params_max_tokens.observe(course.max_tokens as f64);
        self.whole
            .observe_time(course.last_token.saturating_sub(course.arrived));
        self.queue
            .observe_time(course.scheduled.saturating_sub(course.arrived));
        self.inference
            .observe_time(course.last_token.saturating_sub(course.scheduled));
        self.prefill
            .observe_time(course.first_token.saturating_sub(course.scheduled));
        let decode = course.last_token.saturating_sub(course.first_token);
        self.decode.observe_time(decode);
        self.computed_tokens
            .observe((course.prompt_tokens - course.cached_tokens) as f64);
        // vLLM counts a request of one token as zero seconds a token.
        let gaps = course.generated_tokens.saturating_sub(1).max(1);
        self.time_per_token
            .observe(decode.as_secs_f64() / gaps as f64);
    }
}

/// 1, 2, 5, 10, 20, 50 … up to `largest`.
fn one_two_five(largest: usize) -> Vec<f64> {
    let steps = (0..).flat_map(|power| [1, 2, 5].map(|digit| digit * 10_usize.pow(power)));
    steps
        .take_while(|bound| *bound <= largest)
        .map(|bound| bound as f64)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_cumulative() {
        let mut histogram = Histogram::new(&[1.0, 2.0, 5.0]);
        for value in [0.5, 1.0, 3.0, 9.0] {
            histogram.observe(value);
        }
        assert_eq!(
            histogram.buckets().collect::<Vec<_>>(),
            [(1.0, 2), (2.0, 2), (5.0, 3)]
        );
        assert_eq!((histogram.count(), histogram.sum()), (4, 13.5));
    }

    #[test]
    fn bounds_of_lengths_end_at_the_longest_context() {
        assert_eq!(one_two_five(100), [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0]);
        assert_eq!(one_two_five(49).last(), Some(&20.0));
    }
}
