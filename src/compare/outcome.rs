//! What a comparison came to, as it is stored: `replica.compare/1`. It is written after every block, so
//! that one that was interrupted can go on.

use std::path::PathBuf;

use indexmap::IndexMap;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::cell::Cell;
use super::cell::{Measured, cells};
use super::differs::Difference;
use super::experiment::Experiment;
use super::moved::Moved;
use super::nodes::NodeCanary;
use super::order::rounds;
use super::switch::{Fresh, Switch};
use super::tuned::Trial;
use super::verdict::Aim;
use crate::hex::hex;
use crate::name::{ArmName, BenchmarkName};
use crate::plan::ManifestOrigin;
use crate::results::{Conditions, Tool};
use sha2::{Digest, Sha256};

/// The name of this form.
pub const SCHEMA: &str = "replica.compare/1";

/// A comparison: its arms, the order of its blocks, those that were measured, and what follows from them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// [`SCHEMA`].
    pub schema: String,
    /// What measured.
    pub tool: Tool,
    /// The topology that the arms are changes to.
    pub topology: String,
    /// The manifest that declares it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest: Option<ManifestOrigin>,
    /// The digest of all that its results depend on: one of another digest is another comparison.
    pub digest: String,
    /// When it began.
    pub started: Timestamp,
    /// When the last block was measured, once it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Timestamp>,
    /// Whether any of its servers only pretended to be vLLM.
    pub simulated: bool,
    /// Whether any of its servers was a build of vLLM for CPUs.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub on_cpus: bool,
    /// Whether the engines of all arms were up at the same time, once that is decided; nothing where arms have
    /// no engines of their own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub co_resident: Option<bool>,
    /// The share by which two arms may differ and still be equivalent.
    pub margin: f64,
    /// Decides the order.
    pub seed: u64,
    /// The arms.
    pub arms: IndexMap<ArmName, ArmFacts>,
    /// Each arm with one that it is held against, and what is declared otherwise in it.
    pub contrasts: Vec<Contrast>,
    /// Who is measured when: a list of all arms for each round.
    pub order: Vec<Vec<ArmName>>,
    /// What was measured, in the order in which it was.
    pub blocks: Vec<Block>,
    /// What follows: a cell for each load of each benchmark. Nothing before the last block.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cells: Vec<Cell>,
}

/// An arm, as it was measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ArmFacts {
    /// What it declares of engines, instances, kv and proxy.
    pub settings: Value,
    /// How many GPUs answer.
    pub gpus: u64,
    /// What really went from instance to instance, where anything did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moved: Option<Moved>,
    /// The values that were tried by now, while something is looked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub trying: Vec<TriedFacts>,
    /// What was found to be best, where something was looked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tuned: Option<TunedFacts>,
}

/// What was looked for, and what was found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TunedFacts {
    /// The argument.
    pub argument: String,
    /// By which benchmark.
    pub by: BenchmarkName,
    /// The value that the arm has.
    pub chosen: Value,
    /// Why that one, in words.
    pub why: String,
    /// Every value that was tried.
    pub tried: Vec<TriedFacts>,
    /// What looking took, in seconds.
    pub took_s: f64,
}

/// A value that was tried.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TriedFacts {
    /// The value.
    pub value: Value,
    /// What came of it.
    #[serde(flatten)]
    pub trial: Trial,
    /// Which way what it shows is better.
    #[serde(default)]
    pub aim: Aim,
    /// What making and measuring it took, in seconds.
    #[serde(default)]
    pub took_s: f64,
    /// The result, relative to the folder of results.
    pub result: PathBuf,
}

/// An arm and one that it is held against.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Contrast {
    /// The arm.
    pub arm: ArmName,
    /// The other.
    pub against: ArmName,
    /// What is declared otherwise. More than one thing is confounded: no difference is due to one of them.
    pub differences: Vec<Difference>,
    /// How often each began a block with engines that had just been started, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fresh: Option<Fresh>,
    /// What differs between the two beside what is declared: it is in every ratio of theirs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<String>,
}

impl Contrast {
    /// The things that differ, where they are more than one.
    pub fn confounded(&self) -> Option<String> {
        let things: Vec<&str> = self.differences.iter().map(|it| it.what.as_str()).collect();
        (things.len() > 1).then(|| things.join(" and "))
    }
}

/// One run of all benchmarks under one arm.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Block {
    /// The round, from 0.
    pub round: u32,
    /// The arm.
    pub arm: ArmName,
    /// When it began.
    pub started: Timestamp,
    /// What it took until the arm was as declared, in seconds.
    pub switched_s: f64,
    /// What was done for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub switch: Option<Switch>,
    /// What the benchmarks took, in seconds.
    pub measured_s: f64,
    /// What every node showed, before the first benchmark and after the last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub canaries: Vec<NodeCanary>,
    /// What the nodes were like that the arm leaves idle, before the first benchmark and after the last.
    #[serde(default, skip_serializing_if = "Conditions::is_empty")]
    pub idle: Conditions,
    /// The result of each benchmark, relative to the folder of results.
    pub results: IndexMap<BenchmarkName, PathBuf>,
}

impl Outcome {
    /// A comparison of which nothing was measured yet.
    pub fn begin(
        experiment: &Experiment,
        topology: &str,
        manifest: Option<ManifestOrigin>,
        started: Timestamp,
    ) -> Self {
        let names: Vec<&ArmName> = experiment.arms.keys().collect();
        let order = rounds(names.len(), experiment.rounds, experiment.seed);
        let named = |round: &Vec<usize>| round.iter().map(|at| names[*at].clone()).collect();
        let facts = |(name, arm): (&ArmName, &super::Arm)| {
            let facts = ArmFacts {
                settings: arm.settings.clone(),
                gpus: arm.gpus(),
                moved: None,
                trying: Vec::new(),
                tuned: None,
            };
            (name.clone(), facts)
        };
        let contrasts = experiment
            .contrasts()
            .into_iter()
            .map(|(arm, against)| Contrast {
                arm: arm.clone(),
                against: against.clone(),
                differences: experiment.differences(arm, against),
                fresh: None,
                reasons: Vec::new(),
            });
        Self {
            schema: SCHEMA.to_owned(),
            tool: Tool::this(),
            topology: topology.to_owned(),
            manifest,
            digest: digest(experiment),
            started,
            ended: None,
            simulated: false,
            on_cpus: false,
            co_resident: None,
            margin: experiment.margin,
            seed: experiment.seed,
            arms: experiment.arms.iter().map(facts).collect(),
            contrasts: contrasts.collect(),
            order: order.iter().map(named).collect(),
            blocks: Vec::new(),
            cells: Vec::new(),
        }
    }

    /// The blocks that are still to be measured, in order: each a round and an arm.
    pub fn rest(&self) -> Vec<(u32, ArmName)> {
        let all = (0..).zip(&self.order).flat_map(|(round, arms)| {
            let arms = arms.iter();
            arms.map(move |arm| (round, arm.clone()))
        });
        all.skip(self.blocks.len()).collect()
    }

    /// How many blocks there are, measured or not.
    pub fn size(&self) -> usize {
        self.order.iter().map(Vec::len).sum()
    }

    /// Says what follows from all blocks.
    pub fn conclude(&mut self, experiment: &Experiment, blocks: &[Measured<'_>]) {
        self.cells = cells(experiment, &self.contrasts, blocks);
        for contrast in &mut self.contrasts {
            let Contrast { arm, against, .. } = &contrast;
            let fresh = Fresh::of(&self.blocks, arm, against);
            contrast.reasons = fresh
                .and_then(|it| it.words(arm, against))
                .into_iter()
                .collect();
            contrast.fresh = fresh;
        }
        for (name, arm) in &mut self.arms {
            arm.moved = Moved::of(blocks, name);
        }
    }

    /// What its numbers are of, where they are not of GPUs: `simulated`, `on CPUs`.
    pub fn not_of_gpus(&self) -> Option<&'static str> {
        match (self.simulated, self.on_cpus) {
            (true, _) => Some("simulated"),
            (false, true) => Some("on CPUs"),
            (false, false) => None,
        }
    }

    /// Whether all was measured.
    pub fn is_over(&self) -> bool {
        self.blocks.len() == self.size()
    }

    /// What is said of every arm beside those that it is held against, cell by cell.
    pub fn has_worse(&self) -> bool {
        self.cells.iter().any(Cell::has_worse)
    }

    /// Whether any cell tells nothing.
    pub fn is_inconclusive(&self) -> bool {
        self.cells.is_empty() || self.cells.iter().any(Cell::is_inconclusive)
    }
}

/// The digest by which one comparison is told from another.
pub fn digest(experiment: &Experiment) -> String {
    hex(&Sha256::digest(experiment.terms().to_string()))
}
