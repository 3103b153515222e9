//! A benchmark as a manifest declares it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::objective::Objective;
use super::warmup::WarmupDeclaration;
use super::way::Way;
use crate::name::{NodeName, SloName};
use crate::plan::{FailIf, Slo};
use crate::prompts::{Api, Cache, InvalidPrompts, Keep, Prompts, Sampling, Source};
use crate::quantity::Seconds;
use crate::shape::{Course, InvalidLoad, Load};

/// A measurement to have of the topology.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BenchmarkDeclaration {
    /// What is asked: `{inline: [What is a REST API?]}`, `{synthetic: {input: 256, output: 128}}`.
    pub prompts: Prompts,
    /// The route that is asked: `completions` or `chat`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub api: Api,
    /// How tokens are chosen: greedily, unless it says otherwise, as in `{temperature: 0.7, seed: 1}`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub sampling: Sampling,
    /// What servers may take out of their prefix caches: `salt`, nothing that another request left
    /// there, or `allow`, whatever is there.
    #[serde(default, skip_serializing_if = "is_default")]
    pub cache: Cache,
    /// `answers` keeps each prompt and its answer beside the numbers, in `.requests.jsonl`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep: Option<Keep>,
    /// Where requests are sent from: a node, or `local`, this machine. Unless it is said, the node of the
    /// proxy; without one, this machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<NodeName>,
    /// How many requests are sent, and when: `{sequential: 1}`, `{batch: 8}`,
    /// `{concurrency: 16, requests: 160}`, `{rate: 2/s, duration: 5m}`.
    pub load: Load,
    /// What is asked: `proxy`, or the only instance where there is none; `each_instance`, the proxy and then
    /// each instance past it, so that what the proxy costs is known; `{instance: a}`, that one past it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub endpoint: Way,
    /// Tokens that each answer has, where its prompt does not say it; the end-of-sequence token is
    /// ignored so that all are equal.
    #[serde(default = "max_tokens")]
    #[schemars(range(min = 1))]
    pub max_tokens: u32,
    /// How often the load is driven, a round each time. By itself, once where a round takes a second or
    /// more, and otherwise until there are five rounds and a second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub repeats: Option<u32>,
    /// Tokens of a short answer that every instance gives before and after, with nothing else in flight:
    /// a machine that is slow for itself shows. 0 for none.
    #[serde(default = "canary")]
    pub canary: u32,
    /// Requests that every instance answers before anything is measured: `2`, or
    /// `{per_instance: 2, until_stable: 5%, max: 10}`.
    #[serde(default)]
    pub warmup: WarmupDeclaration,
    /// How long one request may take: `120`, `120s`, `2m`.
    #[serde(default = "timeout")]
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub timeout: Seconds,
    /// How fast a request must be to be good, and how many must be: one of `slos:` by its name, or
    /// `{ttft: 2s, tpot: 100ms}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slo: Option<Objective>,
    /// When the measurement has failed though its result stands:
    /// `[{metric: output_tps, worse_than: 5%}, {metric: ttft.p95, above: 2s}]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fail_if: Vec<FailIf>,
    /// A file to compare with, relative to the manifest: a result of ours, the `latest.json` that
    /// points at the newest, one of `vllm bench serve --save-result`, or the notebook's
    /// `baseline_metrics.json`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline: Option<PathBuf>,
    /// A file to write the summary to, relative to the manifest, with the keys of the baseline:
    /// `replicated_metrics.json`. Several benchmarks may share it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub save: Option<PathBuf>,
}

/// A benchmark as it is meant.
#[derive(Debug, Clone, PartialEq)]
pub struct Measurement {
    /// What is asked, as it was written.
    pub prompts: Prompts,
    /// Where that comes from.
    pub source: Source,
    /// The route that is asked.
    pub api: Api,
    /// How tokens are chosen.
    pub sampling: Sampling,
    /// What servers may take out of their prefix caches.
    pub cache: Cache,
    /// What is kept beside the numbers.
    pub keep: Option<Keep>,
    /// Where requests are sent from, where that is said.
    pub from: Option<NodeName>,
    /// When requests are sent.
    pub load: Course,
    /// Which way the load goes.
    pub endpoint: Way,
    /// How often the load is driven, where that is said.
    pub repeats: Option<u32>,
    /// Tokens that each answer has.
    pub max_tokens: u32,
    /// Tokens of the short answer before and after.
    pub canary: u32,
    /// What every instance answers before anything is measured.
    pub warmup: WarmupDeclaration,
    /// The time that one request may take.
    pub timeout: Seconds,
    /// How fast a request must be to be good, and how many must be.
    pub slo: Option<Slo>,
    /// When the measurement has failed though its result stands.
    pub fail_if: Vec<FailIf>,
    /// The file to compare with, relative to the manifest.
    pub baseline: Option<PathBuf>,
    /// The file to write the summary to, relative to the manifest.
    pub save: Option<PathBuf>,
}

impl BenchmarkDeclaration {
    /// What it means, with these objectives; one that is not among them is none.
    ///
    /// # Errors
    ///
    /// When its load is no shape, or its prompts are no source.
    pub fn meant(&self, slos: &BTreeMap<SloName, Slo>) -> Result<Measurement, InvalidBenchmark> {
        let slo = self.slo.as_ref().and_then(|objective| match objective {
            Objective::Named(name) => slos.get(name).copied(),
            Objective::Inline(slo) => Some(*slo),
        });
        let source = self.prompts.meant().map_err(InvalidBenchmark::Prompts)?;
        let load = self.load.clone().try_into();
        Ok(Measurement {
            slo,
            fail_if: self.fail_if.clone(),
            prompts: self.prompts.clone(),
            source,
            api: self.api,
            sampling: self.sampling.clone(),
            cache: self.cache,
            keep: self.keep,
            from: self.from.clone(),
            load: load.map_err(InvalidBenchmark::Load)?,
            endpoint: self.endpoint.clone(),
            repeats: self.repeats,
            max_tokens: self.max_tokens,
            warmup: self.warmup,
            canary: self.canary,
            timeout: self.timeout,
            baseline: self.baseline.clone(),
            save: self.save.clone(),
        })
    }
}

/// Why a declared benchmark is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InvalidBenchmark {
    /// Its load is no shape.
    Load(InvalidLoad),
    /// Its prompts are no source.
    Prompts(Vec<InvalidPrompts>),
}

pub(super) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

fn max_tokens() -> u32 {
    100
}

fn canary() -> u32 {
    24
}

fn timeout() -> Seconds {
    Seconds::whole(120)
}
