//! A result to compare with: the notebook's `baseline_metrics.json` or `replicated_metrics.json`,
//! or one of ours. It is read with suspicion: the rules look at it as they look at our own.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::facts::JobFacts;
use super::figures::{BatchFigures, Figures, SingleFigures};
use super::headline::Headline;
use super::notebook::Notebook;
use super::result::{BenchResult, SCHEMA};
use crate::plan::Failure;
use crate::shape::LoadShape;

/// A result to compare with.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Baseline {
    /// Where it was read.
    pub(crate) path: PathBuf,
    /// Who wrote it.
    pub(crate) origin: Origin,
    /// The model that it names.
    pub(crate) model: Option<String>,
    /// What it claims.
    pub(crate) figures: Figures,
}

/// Who wrote a baseline.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Origin {
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

/// Reads a baseline.
pub(crate) fn read(path: &Path) -> Result<Baseline, Failure> {
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
