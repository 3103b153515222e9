//! A result to compare with: the notebook's `baseline_metrics.json` or `replicated_metrics.json`,
//! one of `vllm bench serve`, or one of ours, by its own name or by that of the `latest.json` that
//! points at it. It is read with suspicion: the rules look at it as they look at our own.

use std::fs;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde_json::Value;

use super::facts::JobFacts;
use super::figures::Figures;
use super::headline::Headline;
use super::notebook::Notebook;
use super::result::{BenchResult, Point, SCHEMA, is_simulated};
use super::slo::Attained;
use super::store::POINTER;
use super::stored::pointed;
use super::summary::Metrics;
use super::vllm::{VllmResult, is_vllm};
use crate::plan::Failure;
use crate::shape::Shape;

/// A result to compare with.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Baseline {
    /// Where it was read.
    pub(crate) path: PathBuf,
    /// Who wrote it.
    pub(crate) origin: Origin,
    /// The model that it names.
    pub(crate) model: Option<String>,
    /// Whether its servers only pretended to be vLLM.
    pub(crate) simulated: bool,
    /// What it claims, load by load.
    claims: Vec<Claim>,
}

/// Who wrote a baseline.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Origin {
    /// A notebook, which tells nothing of its definitions.
    Notebook {
        /// Whether it measured over HTTP, through a router, and not within the process.
        served: bool,
    },
    /// `vllm bench serve`, whose definitions are known and whose prompts are not kept.
    Vllm {
        /// Whether it spoke the chat API.
        is_chat: bool,
        /// The share of its requests that failed.
        failed_share: f64,
        /// The mean length of its prompts, in tokens.
        input_each: Option<f64>,
        /// The mean length of its answers, in tokens.
        output_each: f64,
        /// Requests a second, where it sent them by the clock.
        rate: Option<f64>,
    },
    /// We did.
    Ours {
        /// What was asked.
        job: Box<JobFacts>,
        /// When it began.
        started: Timestamp,
        /// Whether it could be believed.
        valid: bool,
    },
}

/// What a baseline claims of one load.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Claim {
    /// The load, where the baseline tells it.
    pub(crate) load: Option<Shape>,
    /// What it claims.
    pub(crate) figures: Figures,
    /// Its numbers beyond the figures.
    pub(crate) headline: Headline,
    /// All of its metrics, where it is one of ours.
    pub(crate) metrics: Option<Box<Metrics>>,
    /// How it stood to its objective.
    pub(crate) slo: Option<Attained>,
}

/// Looks whether a file is a baseline.
///
/// # Errors
///
/// With why it is none.
pub fn check(path: &Path) -> Result<(), Failure> {
    read(path).map(drop)
}

/// Whether a file is one that a benchmark's first result will bring about: the pointer at the newest.
pub fn is_pointer(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name == POINTER)
}

/// Reads the baseline that is to be compared with. Where it is the newest of our results, and there
/// is none yet, there is nothing to compare with.
pub(crate) fn baseline_at(path: &Path) -> Result<Option<Baseline>, Failure> {
    if is_pointer(path) && !path.exists() {
        return Ok(None);
    }
    read(path).map(Some)
}

/// Reads a baseline.
pub(crate) fn read(path: &Path) -> Result<Baseline, Failure> {
    let path = &pointed(path).unwrap_or_else(|| path.to_owned());
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
    if is_vllm(&value) {
        let result: VllmResult =
            serde_json::from_value(value).map_err(|error| unreadable(&error))?;
        if !result.has_answers() {
            return Err(unreadable(&"none of its requests was answered"));
        }
        return Ok(Baseline::vllm(path, &result));
    }
    let notebook: Notebook = serde_json::from_value(value).map_err(|error| unreadable(&error))?;
    let baseline = Baseline::notebook(path, &notebook);
    if baseline.claims.iter().all(Claim::is_empty) {
        let why = "it has neither `single_request` nor `batch_processing`";
        return Err(unreadable(&why).hinted(
            "a baseline is a result of `bench` (or the `latest.json` beside it), one of `vllm bench \
             serve --save-result`, or the notebook's metrics file",
        ));
    }
    Ok(baseline)
}

impl Claim {
    /// What one of our loads claims.
    pub(super) fn of(point: &Point) -> Self {
        Self {
            load: Some(point.load.clone()),
            figures: Figures::of(point).unwrap_or_default(),
            headline: Headline::of(point),
            metrics: Some(Box::new(point.summary.metrics.clone())),
            slo: point.slo.clone(),
        }
    }

    fn is_empty(&self) -> bool {
        self.figures == Figures::default()
    }
}

impl Baseline {
    /// What it claims of a load: of the very same, or of the only one that it has.
    pub(crate) fn claim(&self, load: &Shape) -> Option<&Claim> {
        let same = |claim: &&Claim| claim.load.as_ref() == Some(load);
        let only = || self.claims.first().filter(|_| self.claims.len() == 1);
        self.claims.iter().find(same).or_else(only)
    }

    /// Lets it claim what one of our loads came to.
    #[cfg(test)]
    pub(crate) fn set_claim(&mut self, point: &Point) {
        self.claims = vec![Claim::of(point)];
    }

    fn notebook(path: &Path, notebook: &Notebook) -> Self {
        let config = &notebook.config;
        Self {
            path: path.to_owned(),
            origin: Origin::Notebook {
                served: config.contains_key("routing") || config.contains_key("num_instances"),
            },
            model: notebook.model.clone(),
            simulated: notebook.is_simulated(),
            claims: vec![Claim {
                load: None,
                figures: notebook.figures(),
                headline: Headline::default(),
                metrics: None,
                slo: None,
            }],
        }
    }

    fn vllm(path: &Path, result: &VllmResult) -> Self {
        Self {
            path: path.to_owned(),
            origin: Origin::Vllm {
                is_chat: result.is_chat(),
                failed_share: result.failed_share(),
                input_each: result.input_each(),
                output_each: result.output_each(),
                rate: result.rate(),
            },
            model: Some(result.model_id.clone()),
            simulated: result.is_simulated(),
            claims: vec![Claim {
                load: result.load(),
                figures: result.figures(),
                headline: result.headline(),
                metrics: None,
                slo: None,
            }],
        }
    }

    fn ours(path: &Path, result: BenchResult) -> Self {
        Self {
            path: path.to_owned(),
            model: Some(result.job.model.clone()),
            simulated: is_simulated(&result.topology),
            claims: result.points.iter().map(Claim::of).collect(),
            origin: Origin::Ours {
                valid: result.valid,
                started: result.run.started,
                job: Box::new(result.job),
            },
        }
    }
}
