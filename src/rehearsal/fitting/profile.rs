//! A profile of how fast an engine computes, as it lies in a file.

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::simulator::{Term, WrittenPace};

/// The name of this form.
pub(super) const SCHEMA: &str = "replica.profile/1";

/// How fast an engine computes, fitted to what was measured of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FittedProfile {
    /// [`SCHEMA`].
    pub schema: String,
    /// What it is of.
    pub of: ProfiledEngine,
    /// How fast it computes.
    pub pace: WrittenPace,
    /// How far each part of that may be off, as a share of it (one standard deviation).
    pub uncertain: Uncertain,
    /// The terms that the results do not tell, which are as they would be of a GB10: `context`, `prompt`,
    /// `attention`.
    pub by_default: Vec<ProfileTerm>,
    /// What it was fitted to, and how close it comes.
    pub cells: Vec<FittedCell>,
}

/// The engine that was measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProfiledEngine {
    /// The model, by its repository or its path, or by the name under which a simulated one was asked.
    pub model: String,
    /// The engine, as results tell of it.
    pub engine: Value,
    /// Its arguments.
    pub args: Map<String, Value>,
    /// The GPU, where results tell it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu: Option<String>,
}

/// A term of the time that a step takes, beside the step itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProfileTerm {
    /// Reading what is in the KV cache.
    Context,
    /// Computing the tokens of prompts.
    Prompt,
    /// The attention of prompts' tokens to each other.
    Attention,
}

/// How far the parts of a pace may be off; nothing of one that is as by default.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Uncertain {
    /// Of each point of a step.
    pub step: Vec<f64>,
    /// Of reading what is in the KV cache.
    pub context: Option<f64>,
    /// Of computing prompts.
    pub prompt: Option<f64>,
    /// Of their attention.
    pub attention: Option<f64>,
}

/// One load of a result, as it was measured and as it is simulated.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FittedCell {
    /// The result's file.
    pub result: String,
    /// The load.
    pub load: String,
    /// The mean length of prompts, in tokens.
    pub input_tokens: f64,
    /// The mean length of answers, in tokens.
    pub output_tokens: f64,
    /// Its figures.
    pub figures: Vec<FittedFigure>,
}

/// One figure of a load.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FittedFigure {
    /// Which metric it is: `ttft.mean`.
    pub metric: String,
    /// As it was measured.
    pub measured: f64,
    /// As it is simulated.
    pub simulated: f64,
}

impl FittedFigure {
    /// How far off the simulation is: 0.1 is a tenth too much.
    pub fn error(&self) -> f64 {
        self.simulated / self.measured - 1.0
    }
}

impl FittedProfile {
    /// Reads the file of one, which begins where a manifest lies, or at the root.
    ///
    /// # Errors
    ///
    /// When there is none, in words.
    pub fn read(folder: &Path, file: &str) -> Result<Self, String> {
        let path = folder.join(file);
        let unreadable = |why: &dyn std::fmt::Display| {
            format!("cannot read the profile {}: {why}", path.display())
        };
        let text = fs::read_to_string(&path).map_err(|why| unreadable(&why))?;
        let value: Value = serde_json::from_str(&text).map_err(|why| unreadable(&why))?;
        if value["schema"] != SCHEMA {
            let why = format!("it does not say `\"schema\": \"{SCHEMA}\"`");
            return Err(unreadable(&why));
        }
        serde_json::from_value(value).map_err(|why| unreadable(&why))
    }

    /// Whether how fast prompts are read was told by what was measured.
    pub fn tells_prompts(&self) -> bool {
        !self.by_default.contains(&ProfileTerm::Prompt)
    }

    /// How far it is off at the most, of all figures that it was fitted to.
    pub fn worst_error(&self) -> f64 {
        let figures = self.cells.iter().flat_map(|cell| &cell.figures);
        figures
            .map(|figure| figure.error().abs())
            .fold(0.0, f64::max)
    }
}

impl From<Term> for ProfileTerm {
    fn from(term: Term) -> Self {
        match term {
            Term::Context => Self::Context,
            Term::Prompt => Self::Prompt,
            Term::Attention => Self::Attention,
        }
    }
}
