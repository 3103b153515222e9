//! A comparison as a manifest declares it.

use std::collections::BTreeMap;

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::name::{ArmName, BenchmarkName};
use crate::quantity::Percent;
use crate::resource::argument::Argument;

/// Topologies to compare with each other, each a set of changes to the one that the manifest declares.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CompareDeclaration {
    /// The topologies, each by a name of your own: `{replicated: {}, split: {instances: {a: {role: prefill}}}}`.
    /// One that changes nothing is the topology as it is declared.
    pub arms: IndexMap<ArmName, ArmDeclaration>,
    /// The arms that every other is held against. Unless it is said, the first.
    #[serde(default)]
    pub against: Vec<ArmName>,
    /// What is measured of each arm: names of `benchmarks`. Unless it is said, all of them.
    #[serde(default)]
    pub benchmarks: Option<Vec<BenchmarkName>>,
    /// How often every arm is measured, in an order that takes turns. From fewer than 5 nothing follows.
    #[serde(default = "rounds")]
    #[schemars(range(min = 1))]
    pub rounds: u32,
    /// By how much two arms may differ and still be called equivalent.
    #[serde(default = "margin")]
    pub margin: Percent,
    /// What decides: `output_tps`, `ttft.p95`. Unless it is said, `goodput_rps` of a benchmark that has an
    /// objective, the rate that a search finds, and else `output_tps`.
    #[serde(default)]
    pub decide: Option<String>,
    /// Whether the engines of all arms are up at the same time where memory allows it: arms with arguments of
    /// their own then have engines of their own beside the others, and going from arm to arm starts none.
    /// Unless it is said otherwise: true.
    #[serde(default = "yes")]
    pub co_resident: bool,
    /// Which order the arms take turns in: another seed, another order.
    #[serde(default = "seed")]
    pub seed: u64,
}

/// One of the topologies: what it changes, key by key as in the manifest itself. `null` takes a key away.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ArmDeclaration {
    /// Changes to `engines`: `{cu130: {args: {max_num_batched_tokens: 512}}}`.
    #[serde(default)]
    pub engines: Map<String, Value>,
    /// Changes to `instances`: `{a: {role: prefill}, b: {role: decode}}`.
    #[serde(default)]
    pub instances: Map<String, Value>,
    /// Changes to `kv`.
    #[serde(default)]
    pub kv: Map<String, Value>,
    /// Changes to `proxy`: `{policy: least_connections}`, `{backends: [a]}`.
    #[serde(default)]
    pub proxy: Map<String, Value>,
    /// An argument of vLLM whose best value is looked for before anything is compared.
    #[serde(default)]
    pub tune: Option<TuneDeclaration>,
}

/// An argument whose best value is looked for: each is measured once, and the best is what the arm has.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TuneDeclaration {
    /// The argument and the values that it may have: `{max_num_batched_tokens: [512, 1024, 2048]}`.
    pub args: BTreeMap<String, Vec<Argument>>,
    /// The benchmark by which the best is known: the objective is to be met, and of those that meet it
    /// the best decides.
    pub by: BenchmarkName,
}

fn rounds() -> u32 {
    6
}

fn margin() -> Percent {
    Percent::whole(3)
}

fn yes() -> bool {
    true
}

fn seed() -> u64 {
    1
}
