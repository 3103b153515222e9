//! A comparison as it is meant: arms, each a topology of its own, and how they are measured.

use std::collections::BTreeSet;

use indexmap::IndexMap;
use serde_json::{Value, json};

use super::differs::{Difference, differences};
use crate::name::{ArmName, BenchmarkName};
use crate::resource::Topology;
use crate::results::Metric;

/// Arms to compare, and how. It is made of a text by [`crate::manifest`], whose rules it keeps: every arm
/// is a good topology, and every name is good.
#[derive(Debug, Clone, PartialEq)]
pub struct Experiment {
    /// The arms, in the order in which they were written.
    pub arms: IndexMap<ArmName, Arm>,
    /// Those that every other is held against.
    pub against: Vec<ArmName>,
    /// The benchmarks that are measured of each.
    pub benchmarks: Vec<BenchmarkName>,
    /// How often each is measured.
    pub rounds: u32,
    /// The share by which two may differ and still be equivalent.
    pub margin: f64,
    /// What decides, where that is said.
    pub decide: Option<Metric>,
    /// Decides the order.
    pub seed: u64,
    /// Whether the engines of all arms may be up at the same time.
    pub co_resident: bool,
}

/// One of the topologies that are compared.
#[derive(Debug, Clone, PartialEq)]
pub struct Arm {
    /// The topology; its benchmarks are those of the comparison.
    pub topology: Topology,
    /// What it declares of engines, instances, kv and proxy, by which arms are told apart.
    pub settings: Value,
    /// What is looked for before it is compared.
    pub tune: Option<Tune>,
}

/// An argument whose best value is looked for.
#[derive(Debug, Clone, PartialEq)]
pub struct Tune {
    /// The argument.
    pub argument: String,
    /// By which benchmark.
    pub by: BenchmarkName,
    /// The arm with each of the values, in the order in which they were written.
    pub variants: Vec<(Value, Arm)>,
}

impl Experiment {
    /// Each arm with one that it is held against.
    pub fn contrasts(&self) -> Vec<(&ArmName, &ArmName)> {
        let arms = self.arms.keys();
        let pairs = arms.flat_map(|arm| self.against.iter().map(move |other| (arm, other)));
        let mut seen = BTreeSet::new();
        let mut is_new = |arm, other| seen.insert(BTreeSet::from([arm, other]));
        let mut pairs: Vec<_> = pairs.filter(|(arm, other)| arm != other).collect();
        pairs.retain(|(arm, other)| is_new(*arm, *other));
        pairs
    }

    /// What is declared otherwise in one arm than in another.
    pub fn differences(&self, arm: &ArmName, other: &ArmName) -> Vec<Difference> {
        let Some((arm, other)) = self.arms.get(arm).zip(self.arms.get(other)) else {
            return Vec::new();
        };
        let mut found = differences(&arm.settings, &other.settings);
        let tuned = [&arm.tune, &other.tune].into_iter().flatten();
        found.extend(tuned.map(|tune| Difference::tuned(&tune.argument)));
        found.sort_by(|a, b| a.what.cmp(&b.what));
        found.dedup_by(|a, b| a.what == b.what);
        found
    }

    /// The arms with one of them as it was found to be best.
    #[must_use]
    pub fn with(mut self, name: &ArmName, mut topology: Topology) -> Self {
        let benchmarks = &self.benchmarks;
        topology
            .benchmarks
            .retain(|name, _| benchmarks.contains(name));
        if let Some(arm) = self.arms.get_mut(name) {
            arm.topology = topology;
        }
        self
    }

    /// All that its results depend on, of which a digest tells two comparisons apart: of every arm the
    /// whole topology, its nodes and models too. A verdict depends on more, and can be had anew.
    pub fn terms(&self) -> Value {
        // What a topology means has no other written form than this.
        let written = |arm: &Arm| format!("{:?}", arm.topology);
        let arms = self.arms.iter().map(|(name, arm)| {
            let tune = arm.tune.as_ref().map(|tune| {
                let variants = tune.variants.iter().map(|(_, variant)| written(variant));
                json!([tune.argument, tune.by, variants.collect::<Vec<_>>()])
            });
            json!([name, written(arm), tune])
        });
        json!({
            "arms": arms.collect::<Vec<_>>(),
            "rounds": self.rounds,
            "seed": self.seed,
        })
    }
}

impl Arm {
    /// How many GPUs answer: of every server behind the proxy, as many as it is split over.
    pub fn gpus(&self) -> u64 {
        let proxy = self.topology.proxy.as_ref();
        let servers = self.topology.instances.iter();
        let answering = servers.filter(|(name, _)| proxy.is_none_or(|it| it.serves_from(name)));
        answering.map(|(_, server)| server.gpus()).sum()
    }
}
