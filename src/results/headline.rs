//! A result in a few numbers, for whoever plans or compares.

use std::path::PathBuf;

use super::result::BenchResult;

/// A result in a few numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Headline {
    /// Requests that are ok.
    pub ok: usize,
    /// Requests that failed.
    pub failed: usize,
    /// Tokens for each second, all streams together.
    pub output_tps: Option<f64>,
    /// The median time to the first token, in ms.
    pub ttft_p50_ms: Option<f64>,
    /// The median time of each further token, in ms.
    pub tpot_p50_ms: Option<f64>,
    /// The mean time to the last token, in ms.
    pub e2el_mean_ms: Option<f64>,
}

impl Headline {
    /// Returns the headline of a result.
    pub fn of(result: &BenchResult) -> Self {
        let Some(summary) = result.summary() else {
            return Self::default();
        };
        let metrics = &summary.metrics;
        Self {
            ok: summary.counts.ok,
            failed: summary.counts.failed,
            output_tps: metrics.output_tps,
            ttft_p50_ms: metrics.ttft.as_ref().map(|d| d.p50.value),
            tpot_p50_ms: metrics.tpot.as_ref().map(|d| d.p50.value),
            e2el_mean_ms: metrics.e2el.as_ref().map(|d| d.mean),
        }
    }
}

/// What one request alone achieves.
#[derive(Debug, Clone, PartialEq)]
pub struct Single {
    /// `n / (t_last − t_sent)`, from the mean latency, in tokens/s.
    pub tokens_per_s: f64,
    /// The mean of `t_last − t_sent`, in ms.
    pub latency_ms: f64,
    /// Tokens of each request.
    pub tokens: u32,
    /// The result that says so.
    pub path: PathBuf,
}
