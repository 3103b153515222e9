//! A result to compare with: the notebook's `baseline_metrics.json` or `replicated_metrics.json`,
//! or one of ours. It is read with suspicion: the rules look at it as they look at our own.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::facts::JobFacts;
use super::figures::Figures;
use super::headline::Headline;
use super::notebook::Notebook;
use super::result::{BenchResult, Point, SCHEMA, is_simulated};
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
    /// We did.
    Ours {
        /// What was asked.
        job: Box<JobFacts>,
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
}

/// Looks whether a file is a baseline.
///
/// # Errors
///
/// With why it is none.
pub fn check(path: &Path) -> Result<(), Failure> {
    read(path).map(drop)
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
    if baseline.claims.iter().all(Claim::is_empty) {
        let why = "it has neither `single_request` nor `batch_processing`";
        return Err(unreadable(&why)
            .hinted("a baseline is the notebook's metrics file, or a result of `bench`"));
    }
    Ok(baseline)
}

impl Claim {
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
            }],
        }
    }

    fn ours(path: &Path, result: BenchResult) -> Self {
        let claim = |point: &Point| Claim {
            load: Some(point.load.clone()),
            figures: Figures::of(point, result.job.max_tokens).unwrap_or_default(),
            headline: Headline::of(point),
        };
        Self {
            path: path.to_owned(),
            model: Some(result.job.model.clone()),
            simulated: is_simulated(&result.topology),
            claims: result.points.iter().map(claim).collect(),
            origin: Origin::Ours {
                valid: result.valid,
                job: Box::new(result.job),
            },
        }
    }
}
