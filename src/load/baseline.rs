//! A result to compare with: the notebook's `baseline_metrics.json` or `replicated_metrics.json`,
//! or one of ours. It is read with suspicion: the rules look at it as they look at our own.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::notebook::Notebook;
use super::result::{BenchResult, JobFacts, SCHEMA};
use super::shape::LoadShape;
use super::store::Headline;
use crate::plan::Failure;

/// A share by which two numbers may differ and still tell the same.
const SAME: f64 = 0.02;

/// A result to compare with.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Baseline {
    /// Where it was read.
    pub(super) path: PathBuf,
    /// Who wrote it.
    pub(super) origin: Origin,
    /// The model that it names.
    pub(super) model: Option<String>,
    /// What it claims.
    pub(super) figures: Figures,
}

/// Who wrote a baseline.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Origin {
    /// A notebook, which tells nothing of its definitions.
    Notebook {
        /// Says that it measured over HTTP, through a router, and not within the process.
        served: bool,
    },
    /// We did.
    Ours {
        /// What was asked.
        job: Box<JobFacts>,
        /// Its numbers.
        headline: Headline,
        /// Whether it could be believed.
        valid: bool,
    },
}

/// What a baseline claims.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Figures {
    /// Of one request alone.
    pub(super) single: Option<SingleFigures>,
    /// Of requests sent together.
    pub(super) batch: Option<BatchFigures>,
}

/// What is claimed of one request alone.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct SingleFigures {
    pub(super) latency_ms: f64,
    pub(super) tokens: f64,
    pub(super) tokens_per_s: f64,
}

/// What is claimed of requests sent together.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct BatchFigures {
    pub(super) size: f64,
    pub(super) tokens: f64,
    pub(super) tokens_per_s: f64,
    pub(super) mean_latency_ms: f64,
}

impl SingleFigures {
    /// Returns the tokens that its speed and its time make: `tok/s · s`.
    pub(super) fn tokens_by_speed(self) -> f64 {
        self.tokens_per_s * self.latency_ms / 1000.0
    }

    /// Says that its tokens are not what its speed and its time make.
    pub(super) fn contradicts_itself(self) -> bool {
        differ(self.tokens, self.tokens_by_speed())
    }
}

impl BatchFigures {
    /// Returns the time of the whole batch: `tokens / tok/s`, in ms. Requests that are sent together
    /// take about as long each.
    pub(super) fn wall_ms(self) -> f64 {
        self.tokens / self.tokens_per_s * 1000.0
    }

    /// Says that what is called a latency is the time of the batch divided by its size. It cannot be
    /// a mean of latencies: one of them is the whole time, and the others are more than nothing.
    pub(super) fn latency_is_a_share(self) -> bool {
        self.size > 1.0 && !differ(self.mean_latency_ms * self.size, self.wall_ms())
    }

    /// Says that the mean latency is below what any batch of this duration can have.
    pub(super) fn latency_is_impossible(self) -> bool {
        self.size > 1.0 && self.mean_latency_ms * self.size < self.wall_ms() * (1.0 + SAME)
    }
}

/// Says that two numbers do not tell the same.
pub(super) fn differ(a: f64, b: f64) -> bool {
    (a - b).abs() > SAME * a.abs().max(b.abs())
}

/// Reads a baseline.
pub(super) fn read(path: &Path) -> Result<Baseline, Failure> {
    let unreadable = |why: &dyn std::fmt::Display| {
        Failure::new(format!(
            "cannot read the baseline {}: {why}",
            path.display()
        ))
    };
    let bytes = fs::read(path).map_err(|error| unreadable(&error))?;
    let value: Value = serde_json::from_slice(&bytes).map_err(|error| unreadable(&error))?;
    if value["schema"] == SCHEMA {
        let result: BenchResult =
            serde_json::from_value(value).map_err(|error| unreadable(&error))?;
        return Ok(Baseline::ours(path, result));
    }
    let notebook: Notebook = serde_json::from_value(value).map_err(|error| unreadable(&error))?;
    let baseline = Baseline::notebook(path, &notebook);
    if baseline.figures == Figures::default() {
        let why = "it has neither `single_request` nor `batch_processing`";
        return Err(unreadable(&why)
            .hinted("a baseline is the notebook's metrics file, or a result of `replica bench`"));
    }
    Ok(baseline)
}

impl Baseline {
    fn notebook(path: &Path, notebook: &Notebook) -> Self {
        let config = &notebook.config;
        Self {
            path: path.to_owned(),
            origin: Origin::Notebook {
                served: config.contains_key("routing") || config.contains_key("num_instances"),
            },
            model: notebook.model.clone(),
            figures: Figures {
                single: notebook.single_request.map(|single| SingleFigures {
                    latency_ms: single.latency_ms,
                    tokens: single.tokens,
                    tokens_per_s: single.throughput_tokens_per_sec,
                }),
                batch: notebook.batch_processing.map(|batch| BatchFigures {
                    size: batch.batch_size,
                    tokens: batch.total_tokens,
                    tokens_per_s: batch.throughput_tokens_per_sec,
                    mean_latency_ms: batch.avg_latency_ms,
                }),
            },
        }
    }

    fn ours(path: &Path, result: BenchResult) -> Self {
        Self {
            path: path.to_owned(),
            model: Some(result.job.model.clone()),
            figures: figures(&result).unwrap_or_default(),
            origin: Origin::Ours {
                headline: Headline::of(&result),
                valid: result.valid,
                job: Box::new(result.job),
            },
        }
    }
}

fn figures(result: &BenchResult) -> Option<Figures> {
    let summary = result.summary()?;
    let latency_ms = summary.metrics.e2el.as_ref()?.mean;
    let per_request = f64::from(result.job.max_tokens);
    Some(match result.job.load {
        LoadShape::Sequential(_) => Figures {
            single: Some(SingleFigures {
                latency_ms,
                tokens: per_request,
                tokens_per_s: per_request / latency_ms * 1000.0,
            }),
            batch: None,
        },
        LoadShape::Batch(_) => Figures {
            single: None,
            batch: Some(BatchFigures {
                size: summary.counts.ok as f64,
                tokens: summary.metrics.output_tokens as f64,
                tokens_per_s: summary.metrics.output_tps?,
                mean_latency_ms: latency_ms,
            }),
        },
    })
}
