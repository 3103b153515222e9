//! What follows from blocks whose results are made up.

use std::path::Path;

use indexmap::IndexMap;

use super::cell::{Measured, cells};
use super::*;
use crate::name::{ArmName, BenchmarkName};
use crate::plan::{Action, GpuConditions, NodeConditions, WarmWhen};
use crate::results::{Anomaly, BenchResult, Conditions, Severity, WarmupRequest};
use crate::verdict::scene::{notebook_run, warmed};

/// Five arms over two simulated instances; `batch` and `rate` are measured.
pub(crate) fn experiment() -> Experiment {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/manifests/valid/compare.yaml");
    crate::manifest::load(&path, crate::manifest::Variables::default())
        .unwrap()
        .experiment
        .unwrap()
}

/// The same, of two arms and one benchmark.
fn two(arm: &str, other: &str) -> Experiment {
    let mut experiment = experiment();
    experiment
        .arms
        .retain(|name, _| [arm, other].contains(&name.as_str()));
    experiment.against = vec![other.parse().unwrap()];
    experiment.benchmarks = vec!["batch".parse().unwrap()];
    experiment
}

/// The same, decided by a time.
fn by_latency(arm: &str, other: &str) -> Experiment {
    let mut experiment = two(arm, other);
    experiment.decide = Some("e2el.mean".parse().unwrap());
    experiment
}

/// A result that may be believed, with this throughput and a few answers.
fn result(output_tps: f64) -> BenchResult {
    let mut result = notebook_run();
    result.warmup = warmed(&["a", "b"]);
    let point = &mut result.points[0];
    point.anomalies.clear();
    point.summary.metrics.output_tps = Some(output_tps);
    result.valid = true;
    result
}

/// Noise of a percent or so, another in every block.
fn noise(block: u32) -> f64 {
    1.0 + 0.01 * (f64::from(block) * 2.4).sin()
}

/// Blocks, as they were measured.
struct Blocks {
    experiment: Experiment,
    outcome: Outcome,
    measured: Vec<Stored>,
    /// What the idle nodes of every arm were like.
    idle: Conditions,
}

type Stored = (
    u32,
    ArmName,
    IndexMap<BenchmarkName, BenchResult>,
    IndexMap<BenchmarkName, Vec<Digests>>,
);

impl Blocks {
    /// Every block of an experiment, with what each shows.
    fn of(experiment: Experiment, shows: impl Fn(&str, u32) -> BenchResult) -> Self {
        let started = "2026-11-28T07:00:00Z".parse().unwrap();
        let outcome = Outcome::begin(&experiment, "t", None, started);
        let mut measured = Vec::new();
        for (round, arm) in outcome.rest() {
            let names = experiment.benchmarks.iter();
            let results = names.map(|name| (name.clone(), shows(arm.as_str(), round)));
            measured.push((round, arm.clone(), results.collect(), IndexMap::new()));
        }
        Self {
            experiment,
            outcome,
            measured,
            idle: Conditions::default(),
        }
    }

    /// The same with the digests of answers.
    fn answering(mut self, says: impl Fn(&str, u32) -> Vec<&'static str>) -> Self {
        for (round, arm, _, texts) in &mut self.measured {
            let told = says(arm.as_str(), *round);
            let told: Digests = (0..).zip(told).map(|(n, it)| (n, it.to_owned())).collect();
            texts.insert("batch".parse().unwrap(), vec![told]);
        }
        self
    }

    fn cell(&self) -> Cell {
        cells(&self.experiment, &self.outcome.contrasts, &self.read()).remove(0)
    }

    fn read(&self) -> Vec<Measured<'_>> {
        let measured = self.measured.iter();
        let measured = measured.map(|(round, arm, results, texts)| Measured {
            round: *round,
            arm,
            results,
            texts,
            idle: &self.idle,
        });
        measured.collect()
    }

    fn said(&self) -> Said {
        self.cell().said.remove(0)
    }
}

/// What going over to an arm did: for one of them an engine is started each time.
fn switch_to(arm: &ArmName) -> Switch {
    let started = if arm.as_str() == "split" {
        vec!["a"]
    } else {
        Vec::new()
    };
    let engines = started
        .iter()
        .map(|name| (format!("here/instance.{name}"), Action::Replace));
    let changes = engines.chain([("here/proxy".to_owned(), Action::Update)]);
    Switch {
        changes: changes
            .map(|(address, action)| (address.parse().unwrap(), action))
            .collect(),
        started: started.iter().map(|name| (*name).to_owned()).collect(),
    }
}

/// A comparison of three arms that was measured: one is better, and one is only so by the GPU.
pub(crate) fn concluded() -> Outcome {
    let mut experiment = experiment();
    let wanted = ["single", "replicated", "split"];
    experiment
        .arms
        .retain(|name, _| wanted.contains(&name.as_str()));
    experiment.against = vec!["replicated".parse().unwrap()];
    experiment.benchmarks = vec!["batch".parse().unwrap()];
    let shows = |arm: &str, round: u32| match arm {
        "single" => result(60.0 * noise(round)),
        "split" => result(104.0 * noise(round + 7).powi(4)),
        _ => result(100.0 * noise(round)),
    };
    let blocks = Blocks::of(experiment, shows);
    let mut outcome = blocks.outcome.clone();
    for (round, arm) in blocks.outcome.rest() {
        outcome.blocks.push(Block {
            switch: Some(switch_to(&arm)),
            round,
            arm,
            started: outcome.started,
            switched_s: 1.0,
            measured_s: 2.0,
            canaries: Vec::new(),
            idle: Conditions::default(),
            results: IndexMap::new(),
        });
    }
    outcome.conclude(&blocks.experiment, &blocks.read());
    outcome
}

#[test]
fn an_arm_that_is_faster_in_every_round_is_better() {
    let shows = |arm: &str, round| {
        let tps = if arm == "split" { 110.0 } else { 100.0 };
        result(tps * noise(round))
    };
    let blocks = Blocks::of(two("split", "replicated"), shows);
    let (cell, said) = (blocks.cell(), blocks.said());
    assert_eq!(cell.metric, "output_tps");
    assert_eq!(said.verdict, Some(Verdict::Better));
    let ratio = said.ratio.unwrap();
    assert!(
        (ratio.ratio - 1.1).abs() < 1e-6 && ratio.pairs == 6,
        "{ratio:?}"
    );
    assert!(!said.per_gpu && said.reasons.is_empty(), "{said:?}");
    assert!(!cell.has_worse() && !cell.is_inconclusive());
}

#[test]
fn what_cannot_be_believed_is_no_pair_and_says_why() {
    let broken = |mut result: BenchResult| {
        let anomaly = notebook_run().points[0].anomalies[0].clone();
        result.points[0].anomalies = vec![Anomaly {
            id: "A6".to_owned(),
            severity: Severity::Error,
            message: "`b` was cold".to_owned(),
            ..anomaly
        }];
        result
    };
    let shows = |spoilt: u32| {
        move |arm: &str, round: u32| {
            let good = result(100.0 * noise(round + u32::from(arm == "split")));
            if arm == "split" && round < spoilt {
                broken(good)
            } else {
                good
            }
        }
    };
    let one = Blocks::of(two("split", "replicated"), shows(1));
    assert_eq!(one.said().ratio.unwrap().pairs, 5);
    assert_eq!(
        one.cell().arms[&"split".parse::<ArmName>().unwrap()][0],
        None
    );
    let three = Blocks::of(two("split", "replicated"), shows(3)).said();
    assert_eq!(three.verdict, Some(Verdict::TooFew));
    assert_eq!(
        three.reasons,
        ["split, round 1: A6: `b` was cold (and 2 more like it)"]
    );
}

#[test]
fn a_block_that_began_cold_is_no_pair() {
    let is_cold = |arm: &str, round: u32| arm == "split" && round < 2;
    let shows = |arm: &str, round: u32| {
        let mut result = result(100.0 * noise(round));
        match round {
            0 if is_cold(arm, round) => result.warmup = warmed(&["a"]),
            _ if is_cold(arm, round) => {
                let times = [90.0, 70.0, 50.0];
                let request = result.warmup.instances[1].requests[0].clone();
                let took = times.map(|ms| WarmupRequest {
                    e2el_ms: Some(ms),
                    ..request.clone()
                });
                result.warmup.instances[1].requests = took.to_vec();
                result.job.warm_when = Some(WarmWhen {
                    within: 0.05,
                    max: 3,
                });
            }
            _ => {}
        }
        result
    };
    let said = Blocks::of(two("split", "replicated"), shows).said();
    assert_eq!(said.verdict, Some(Verdict::TooFew));
    assert_eq!(
        said.reasons,
        [
            "split, round 1: cold: `b` was not warmed",
            "split, round 2: cold: `b` did not become stable: of 3 warm-up requests no two in a row \
             took as long as each other"
        ]
    );
}

#[test]
fn other_numbers_of_gpus_compare_by_the_gpu_and_never_by_their_times() {
    let shows = |arm: &str, round| {
        let tps = if arm == "single" { 60.0 } else { 100.0 };
        result(tps * noise(round))
    };
    let said = Blocks::of(two("single", "replicated"), shows).said();
    assert!(said.per_gpu);
    assert!((said.ratio.unwrap().ratio - 1.2).abs() < 1e-6);
    assert_eq!(said.verdict, Some(Verdict::Better));
    let said = Blocks::of(by_latency("single", "replicated"), shows).said();
    assert_eq!(said.verdict, None);
    assert!(said.reasons[0].contains("not as many GPUs"), "{said:?}");
}

#[test]
fn times_of_unlike_machines_are_not_compared() {
    let shows = |arm: &str, round| {
        let mut result = result(100.0 * noise(round));
        let gpu = GpuConditions {
            driver: Some(if arm == "split" { "580.1" } else { "575.9" }.to_owned()),
            ..GpuConditions::default()
        };
        let node = NodeConditions {
            gpus: vec![gpu],
            ..NodeConditions::default()
        };
        result
            .conditions
            .before
            .insert("spark-01".parse().unwrap(), node);
        result
    };
    let said = Blocks::of(by_latency("split", "replicated"), shows).said();
    assert_eq!(said.verdict, None);
    assert_eq!(
        said.reasons,
        ["the driver of GPU 0 of spark-01 is 580.1 in `split` and 575.9 in `replicated`"]
    );
}

#[test]
fn times_of_the_answered_ones_alone_are_not_compared() {
    let shows = |arm: &str, round| {
        let mut result = result(100.0 * noise(round));
        let counts = &mut result.points[0].summary.counts;
        counts.total = 100;
        counts.ok = if arm == "split" { 40 } else { 100 };
        result
    };
    let said = Blocks::of(by_latency("split", "replicated"), shows).said();
    assert_eq!(said.verdict, None);
    assert!(said.reasons[0].contains("240 of 600"), "{said:?}");
}

#[test]
fn arms_that_answer_something_else_are_told_of() {
    let shows = |_: &str, round| result(100.0 * noise(round));
    let alike = Blocks::of(two("split", "replicated"), shows).answering(|_, _| vec!["x"; 20]);
    let texts = alike.said().texts.unwrap();
    assert_eq!((texts.between.asked, texts.between.answered), (120, 120));
    assert!(alike.said().reasons.is_empty());
    let other = |arm: &str, _| vec![if arm == "split" { "y" } else { "x" }; 20];
    let said = Blocks::of(two("split", "replicated"), shows)
        .answering(other)
        .said();
    assert!(
        said.reasons[0].contains("do not answer the same: 0 %"),
        "{said:?}"
    );
}

#[test]
fn nothing_has_no_ratio_and_that_is_said() {
    let shows = |arm: &str, round| {
        result(if arm == "split" {
            0.0
        } else {
            100.0 * noise(round)
        })
    };
    let said = Blocks::of(two("split", "replicated"), shows).said();
    assert_eq!((said.ratio, said.verdict), (None, None));
    assert_eq!(said.reasons, ["a value of 0 has no ratio"]);
}

#[test]
fn a_load_that_was_not_driven_is_no_pair_and_it_is_said_why() {
    let shows = |arm: &str, round| {
        let mut result = result(100.0 * noise(round));
        if arm == "split" && round == 1 {
            let point = result.points.remove(0);
            result.skipped.push(crate::shape::Skipped {
                load: point.load,
                why: "`concurrency 1` before it: A4: one was slow".to_owned(),
            });
        }
        result
    };
    let said = Blocks::of(two("split", "replicated"), shows).said();
    assert_eq!(
        said.reasons,
        ["split, round 2: not driven: `concurrency 1` before it: A4: one was slow"]
    );
}

#[test]
fn a_comparison_goes_on_after_the_blocks_that_it_has() {
    let experiment = experiment();
    let started = "2026-11-28T07:00:00Z".parse().unwrap();
    let mut outcome = Outcome::begin(&experiment, "t", None, started);
    assert_eq!(outcome.size(), 30);
    let (round, arm) = outcome.rest()[0].clone();
    outcome.blocks.push(Block {
        round,
        arm,
        started,
        switched_s: 1.0,
        switch: None,
        measured_s: 2.0,
        canaries: Vec::new(),
        idle: Conditions::default(),
        results: IndexMap::new(),
    });
    assert_eq!(outcome.rest().len(), 29);
    let folder = tempfile::tempdir().unwrap();
    let store = Store::of(folder.path(), "t");
    store.write(&outcome).unwrap();
    assert_eq!(store.unfinished(&digest(&experiment)), Some(outcome));
    let other = |change: fn(&mut Experiment)| {
        let mut other = experiment.clone();
        change(&mut other);
        store.unfinished(&digest(&other)).is_none()
    };
    assert!(other(|it| it.seed += 1));
    // Another machine under the same name is another comparison; another margin only another verdict.
    assert!(other(|it| {
        let nodes = it
            .arms
            .values_mut()
            .flat_map(|arm| arm.topology.nodes.values_mut());
        nodes.for_each(|node| node.ssh = "user@elsewhere".parse().unwrap());
    }));
    assert!(!other(|it| it.margin = 0.1));
}
