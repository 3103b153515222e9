//! How long a comparison takes, before anything of it ran: the loads of every block, what is sent before
//! and after them, and what goes by beside that.
//!
//! Four blocks of `manifests/local-experiment.yaml` took 6.7 to 7.9 s where this says 7.2.

use std::path::Path;

use super::experiment::{Arm, Experiment};
use super::foretold::{Rehearsals, rehearsals, seconds};
use crate::name::BenchmarkName;
use crate::rehearsal::{CannotRehearse, PrefillSpeed, rehearse};
use crate::resource::Topology;
use crate::resource::benchmark::Measurement;
use crate::results::Metric;
use crate::shape::{Course, Load};

/// What a benchmark takes beside its requests, in seconds: its machines are looked at three times, and the
/// generator measures what it costs itself.
const BESIDE_REQUESTS_S: f64 = 0.8;

/// What going over to an arm takes where no engine is started, in seconds.
const GOING_OVER_S: f64 = 0.4;

/// As many requests alone tell how long one takes.
const ALONE: u32 = 2;

/// As many requests are at once in a warm-up, at most.
const AT_ONCE: u32 = 64;

/// How long a comparison takes, in seconds: all rounds of every arm, and what is tuned, each warmed and
/// with its canaries. What starting engines takes is none of it. Nothing where an arm cannot be
/// rehearsed.
pub fn seconds_of(experiment: &Experiment, folder: &Path) -> Option<f64> {
    let mut all = 0.0;
    for arm in experiment.arms.values() {
        let block = seconds_of_block(experiment, arm, folder).ok()?;
        all += block * f64::from(experiment.rounds);
        for (tune, (_, variant)) in arm
            .tune
            .iter()
            .flat_map(|it| it.variants.iter().map(move |v| (it, v)))
        {
            let by = Experiment {
                benchmarks: vec![tune.by.clone()],
                ..experiment.clone()
            };
            all += seconds_of_block(&by, variant, folder).ok()?;
        }
    }
    Some(all)
}

/// What a block of an arm takes.
fn seconds_of_block(
    experiment: &Experiment,
    arm: &Arm,
    folder: &Path,
) -> Result<f64, CannotRehearse> {
    let loads: Rehearsals = rehearsals(experiment, arm, folder, &[PrefillSpeed::Mid])?;
    let beside = experiment.benchmarks.iter().map(|name| {
        let sent = seconds_of_warming(&arm.topology, name, folder, experiment.seed)?;
        Ok(sent + BESIDE_REQUESTS_S)
    });
    let beside: f64 = beside.sum::<Result<f64, CannotRehearse>>()?;
    Ok(GOING_OVER_S + seconds(&loads) + beside)
}

/// What the warm-up of a benchmark and its canaries take: one request after another, as many at once as
/// the load has in flight, one through the endpoint, and a short answer before and after.
fn seconds_of_warming(
    topology: &Topology,
    name: &BenchmarkName,
    folder: &Path,
    seed: u64,
) -> Result<f64, CannotRehearse> {
    let Some(benchmark) = topology.benchmarks.get(name) else {
        return Ok(0.0);
    };
    let played = |load: Load| {
        let topology = under(topology, name, load);
        rehearse(&topology, name, folder, seed, PrefillSpeed::Mid)
    };
    let alone = played(Load {
        sequential: Some(ALONE),
        ..Load::default()
    })?;
    let together = played(Load {
        batch: Some(at_once(benchmark)),
        ..Load::default()
    })?;
    let seconds = |played: &crate::rehearsal::Rehearsal| {
        let loads = played.loads.iter();
        loads.map(|load| load.summary.seconds()).sum::<f64>()
    };
    let one = seconds(&alone) / f64::from(ALONE);
    let tpot_ms = "tpot.mean".parse::<Metric>().ok().and_then(|tpot| {
        let load = alone.loads.first()?;
        tpot.value(&load.summary.metrics, None).ok()
    });
    let canaries = 2.0 * f64::from(benchmark.canary) * tpot_ms.unwrap_or_default() / 1000.0;
    let requests = benchmark.warmup.per_instance.max(2) + 1;
    Ok(f64::from(requests) * one + seconds(&together) + canaries)
}

/// The same topology, in which a benchmark has another load.
fn under(topology: &Topology, name: &BenchmarkName, load: Load) -> Topology {
    let mut topology = topology.clone();
    let course = Course::try_from(load).ok();
    if let Some((benchmark, load)) = topology.benchmarks.get_mut(name).zip(course) {
        benchmark.load = load;
        benchmark.repeats = Some(1);
        benchmark.slo = None;
    }
    topology
}

/// How many requests a warm-up has at once, over all instances.
fn at_once(benchmark: &Measurement) -> u32 {
    let schedules = benchmark.load.schedules();
    let most = schedules.iter().filter_map(|it| it.in_flight).max();
    most.unwrap_or(AT_ONCE).clamp(1, AT_ONCE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comparison_takes_its_blocks_and_what_is_tuned() {
        let manifests = Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests");
        let read = crate::manifest::load(
            &manifests.join("local-experiment.yaml"),
            crate::manifest::Variables::default(),
        );
        let experiment = read.unwrap().experiment.unwrap();
        let takes = |experiment: &Experiment| seconds_of(experiment, &manifests).unwrap();
        let all = takes(&experiment);
        let each = all / f64::from(2 * experiment.rounds);
        // The requests of a block take 0.6 s, by the results that were measured of it.
        let beside = BESIDE_REQUESTS_S + GOING_OVER_S;
        assert!((each - beside - 0.6).abs() < 0.15, "{each}");
        let twice = Experiment {
            rounds: 2 * experiment.rounds,
            ..experiment.clone()
        };
        assert!((takes(&twice) - 2.0 * all).abs() < 1e-9);
        let mut tuned = experiment;
        let arm = tuned.arms.values_mut().next().unwrap();
        let variant = (512.into(), arm.clone());
        arm.tune = Some(super::super::Tune {
            argument: "max_num_batched_tokens".to_owned(),
            by: "chat".parse().unwrap(),
            variants: vec![variant],
        });
        assert!((takes(&tuned) - all - each).abs() < 0.1 * each);
    }
}
