//! The result file of `vllm bench serve`, as `--save-result` writes it: read as a baseline, written
//! for its readers.
//!
//! The keys are those of vLLM 0.13 (`vllm/benchmarks/serve.py`). Its TTFT begins before the
//! connection is made, and over chat it ends with the message that only names the role; its TPOT is
//! `(e2el − ttft) / (n − 1)`, as ours is.

use serde::Deserialize;
use serde_json::Value;

use super::figures::{BatchFigures, Figures, SingleFigures, SteadyFigures};
use super::headline::Headline;
use crate::shape::{Load, Requests, Several, Shape};

/// What it writes for a rate that is none: all requests at once.
pub(super) const AT_ONCE: &str = "inf";

/// A result of `vllm bench serve`, as far as it is compared.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(super) struct VllmResult {
    pub(super) model_id: String,
    num_prompts: u32,
    backend: Option<String>,
    endpoint_type: Option<String>,
    request_rate: Option<Value>,
    max_concurrency: Option<u32>,
    completed: u32,
    failed: Option<u32>,
    total_input_tokens: Option<f64>,
    total_output_tokens: f64,
    output_throughput: f64,
    mean_ttft_ms: Option<f64>,
    median_ttft_ms: Option<f64>,
    mean_tpot_ms: Option<f64>,
    median_tpot_ms: Option<f64>,
    mean_e2el_ms: Option<f64>,
    /// A tag of ours, where we wrote it.
    simulated: Option<bool>,
}

/// Whether a file is one of vLLM's, by the keys that no other has together.
pub(super) fn is_vllm(value: &Value) -> bool {
    let has = |key: &str| value.get(key).is_some();
    has("model_id") && has("num_prompts") && has("total_output_tokens")
}

impl VllmResult {
    pub(super) fn is_simulated(&self) -> bool {
        self.simulated == Some(true)
    }

    /// Whether it spoke the chat API, where its first token is none.
    pub(super) fn is_chat(&self) -> bool {
        let backend = self.backend.as_ref().or(self.endpoint_type.as_ref());
        backend.is_some_and(|backend| backend.contains("chat"))
    }

    /// The requests that failed, of all.
    pub(super) fn failed_share(&self) -> f64 {
        let failed = self
            .failed
            .unwrap_or(self.num_prompts.saturating_sub(self.completed));
        f64::from(failed) / f64::from((failed + self.completed).max(1))
    }

    /// Whether anything was answered.
    pub(super) fn has_answers(&self) -> bool {
        self.completed > 0 && self.total_output_tokens > 0.0
    }

    /// The mean length of a prompt, in tokens.
    pub(super) fn input_each(&self) -> Option<f64> {
        Some(self.total_input_tokens? / f64::from(self.completed))
    }

    /// The load as we write it; one by the clock has no such form.
    pub(super) fn load(&self) -> Option<Shape> {
        let requests = self.num_prompts;
        let load = match (self.rate(), self.max_concurrency) {
            (Some(_), _) => return None,
            (None, Some(1)) => Load {
                sequential: Some(requests),
                ..Load::default()
            },
            (None, None) if requests == 1 => Load {
                sequential: Some(requests),
                ..Load::default()
            },
            (None, Some(width)) => Load {
                concurrency: Some(Several::One(width)),
                requests: Some(Requests::All(requests)),
                ..Load::default()
            },
            (None, None) => Load {
                batch: Some(requests),
                ..Load::default()
            },
        };
        load.try_into().ok()
    }

    /// Requests a second, where they were sent by the clock.
    pub(super) fn rate(&self) -> Option<f64> {
        self.request_rate.as_ref()?.as_f64()
    }

    /// What it claims.
    pub(super) fn figures(&self) -> Figures {
        let none = Figures::default();
        let Some(mean_latency_ms) = self.mean_latency_ms() else {
            return none;
        };
        let (tokens, tokens_per_s) = (self.total_output_tokens, self.output_throughput);
        match (self.rate(), self.max_concurrency) {
            (None, Some(1)) => self.alone(mean_latency_ms),
            (None, None) if self.num_prompts == 1 => self.alone(mean_latency_ms),
            (None, None) => Figures {
                batch: Some(BatchFigures {
                    size: f64::from(self.completed),
                    tokens,
                    tokens_per_s,
                    mean_latency_ms,
                }),
                ..none
            },
            _ => Figures {
                steady: Some(SteadyFigures {
                    tokens,
                    tokens_per_s,
                    mean_latency_ms,
                }),
                ..none
            },
        }
    }

    fn alone(&self, latency_ms: f64) -> Figures {
        let tokens = self.output_each();
        Figures {
            single: Some(SingleFigures {
                latency_ms,
                tokens,
                tokens_per_s: tokens / latency_ms * 1000.0,
            }),
            ..Figures::default()
        }
    }

    /// The mean length of an answer, in tokens.
    pub(super) fn output_each(&self) -> f64 {
        self.total_output_tokens / f64::from(self.completed)
    }

    /// The mean time to the last token. It is in the file only where it was asked for; where all
    /// answers are equally long it is what the other two make.
    fn mean_latency_ms(&self) -> Option<f64> {
        let made = || Some(self.mean_ttft_ms? + self.mean_tpot_ms? * (self.output_each() - 1.0));
        self.mean_e2el_ms.or_else(made).filter(|ms| *ms > 0.0)
    }

    /// Its numbers beyond the figures.
    pub(super) fn headline(&self) -> Headline {
        Headline {
            ok: self.completed as usize,
            failed: self.failed.unwrap_or(0) as usize,
            output_tps: Some(self.output_throughput),
            ttft_p50_ms: self.median_ttft_ms,
            tpot_p50_ms: self.median_tpot_ms,
            e2el_mean_ms: self.mean_latency_ms(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn result(rate: &Value, width: Option<u32>, requests: u32) -> VllmResult {
        let value = json!({
            "backend": "openai", "model_id": "llama", "num_prompts": requests,
            "request_rate": rate, "max_concurrency": width, "completed": requests, "failed": 0,
            "total_input_tokens": 10 * requests, "total_output_tokens": 100 * requests,
            "output_throughput": 120.0, "mean_ttft_ms": 100.0, "median_ttft_ms": 90.0,
            "mean_tpot_ms": 10.0, "median_tpot_ms": 9.0, "std_tpot_ms": 1.0,
        });
        assert!(is_vllm(&value));
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn its_load_is_told_as_we_write_it() {
        let label = |it: VllmResult| it.load().map(|load| load.label());
        let cases = [
            (json!("inf"), None, 8, Some("batch 8")),
            (json!("inf"), Some(4), 8, Some("concurrency 4 x 8")),
            (json!("inf"), Some(1), 8, Some("sequential 8")),
            (json!("inf"), None, 1, Some("sequential 1")),
            (json!(2.5), Some(4), 8, None),
        ];
        for (rate, width, requests, expected) in cases {
            let made = label(result(&rate, width, requests));
            assert_eq!(made.as_deref(), expected);
        }
    }

    #[test]
    fn the_mean_latency_is_what_its_parts_make() {
        let batch = result(&json!("inf"), None, 8).figures().batch.unwrap();
        assert!((batch.mean_latency_ms - 1090.0).abs() < 1e-9);
        let single = result(&json!("inf"), Some(1), 3).figures().single.unwrap();
        assert!(!single.contradicts_itself());
        assert!((single.tokens - 100.0).abs() < 1e-9);
        let steady = result(&json!(2.5), None, 8).figures().steady.unwrap();
        assert!((steady.tokens_per_s - 120.0).abs() < 1e-9);
    }
}
