//! What all benchmarks of a topology are predicted to come to, each with how uncertain that is.

use std::path::Path;

use serde::Serialize;

use super::{CannotRehearse, PrefillSpeed, Rehearsal, Rehearsed, profiles, rehearse};
use crate::name::BenchmarkName;
use crate::quantity::Rate;
use crate::resource::Topology;
use crate::resource::benchmark::Way;
use crate::shape::Shape;

/// What one benchmark is predicted to come to. All of it is simulated: nothing was measured.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Prediction {
    /// The benchmark.
    pub benchmark: BenchmarkName,
    /// Always true: where numbers of measurements are told apart from others, these are others.
    pub simulated: bool,
    /// The profiles by which its servers compute.
    pub profiles: Vec<String>,
    /// How fast prompts were read in each rehearsal, in tokens a second; nothing where its servers are
    /// simulated, and read as fast as they do.
    pub prefill_tokens_per_s: Vec<f64>,
    /// What each load comes to.
    pub points: Vec<Predicted>,
    /// The rate that a search finds, in requests a second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub knee: Option<Interval>,
    /// What is to be known beside it.
    pub notes: Vec<String>,
    /// Why nothing is predicted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why_not: Option<String>,
}

/// What one load is predicted to come to, by the definitions of every result.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Predicted {
    /// The load.
    pub load: Shape,
    /// Tokens a second.
    pub output_tps: Option<Interval>,
    /// The median time to the first token, in milliseconds.
    pub ttft_p50_ms: Option<Interval>,
    /// The median time for each token after it, in milliseconds.
    pub tpot_p50_ms: Option<Interval>,
    /// The share of requests that are answered whole.
    pub answered: Option<Interval>,
    /// The share of requests that meet the objective.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attainment: Option<Interval>,
}

/// A value with the least and the most that it can be.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Interval {
    /// The least.
    pub least: f64,
    /// By what is likely.
    pub likely: f64,
    /// The most.
    pub most: f64,
}

impl Interval {
    /// Of values from the slowest reading to the fastest; the one in the middle is the likely one.
    fn of(values: &[f64]) -> Option<Self> {
        Some(Self {
            least: values.iter().copied().reduce(f64::min)?,
            likely: *values.get(values.len() / 2)?,
            most: values.iter().copied().reduce(f64::max)?,
        })
    }
}

/// Predicts what the benchmarks of a topology come to, whose files lie in `folder`. No node is asked.
pub fn predict(topology: &Topology, folder: &Path, seed: u64) -> Vec<Prediction> {
    let names = topology.benchmarks.keys();
    names
        .map(|name| Prediction::of(topology, name, folder, seed))
        .collect()
}

impl Prediction {
    /// What one benchmark comes to.
    pub fn of(topology: &Topology, name: &BenchmarkName, folder: &Path, seed: u64) -> Self {
        let mut prediction = Self {
            benchmark: name.clone(),
            simulated: true,
            profiles: Vec::new(),
            prefill_tokens_per_s: Vec::new(),
            points: Vec::new(),
            knee: None,
            notes: Vec::new(),
            why_not: None,
        };
        match prediction.fill(topology, folder, seed) {
            Ok(()) => {}
            Err(why) => prediction.why_not = Some(why.to_string()),
        }
        prediction
    }

    fn fill(
        &mut self,
        topology: &Topology,
        folder: &Path,
        seed: u64,
    ) -> Result<(), CannotRehearse> {
        let (profiles, is_uncertain) = profiles(topology, &self.benchmark, folder)?;
        self.profiles = profiles;
        let speeds = if is_uncertain {
            &PrefillSpeed::ALL[..]
        } else {
            &PrefillSpeed::ALL[..1]
        };
        let rehearsed = at_each(topology, &self.benchmark, folder, seed, speeds)?;
        if is_uncertain {
            self.prefill_tokens_per_s = speeds.iter().map(|it| it.tokens_per_second()).collect();
        }
        let knees = rehearsed.iter().filter_map(|it| it.found.as_ref()?.answer);
        let knees: Vec<_> = knees.map(Rate::per_s).collect();
        self.knee = Interval::of(&knees);
        self.points = points(&rehearsed);
        self.notes = notes(&rehearsed);
        let benchmark = topology.benchmarks.get(&self.benchmark);
        if benchmark.is_some_and(|it| it.endpoint == Way::EachInstance) {
            self.notes
                .push("it is predicted through the proxy alone".to_owned());
        }
        Ok(())
    }
}

/// A rehearsal at each of these speeds, side by side.
fn at_each(
    topology: &Topology,
    name: &BenchmarkName,
    folder: &Path,
    seed: u64,
    speeds: &[PrefillSpeed],
) -> Result<Vec<Rehearsal>, CannotRehearse> {
    std::thread::scope(|scope| {
        let one = |speed| scope.spawn(move || rehearse(topology, name, folder, seed, speed));
        let threads: Vec<_> = speeds.iter().copied().map(one).collect();
        let ended = threads.into_iter().map(|thread| {
            let ended = thread.join();
            ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        });
        ended.collect()
    })
}

/// What each load comes to that was driven at every speed. Those that a search tries hang on the speed.
fn points(rehearsed: &[Rehearsal]) -> Vec<Predicted> {
    let Some(first) = rehearsed.first() else {
        return Vec::new();
    };
    let loads = first.loads.iter().map(|it| &it.load);
    loads
        .filter_map(|load| {
            let of_it = rehearsed.iter().map(|it| it.load(load));
            Some(point(load, &of_it.collect::<Option<Vec<_>>>()?))
        })
        .collect()
}

fn point(load: &Shape, rehearsed: &[&Rehearsed]) -> Predicted {
    let of = |value: &dyn Fn(&Rehearsed) -> Option<f64>| {
        let values: Vec<_> = rehearsed.iter().filter_map(|it| value(it)).collect();
        Interval::of(&values).filter(|_| values.len() == rehearsed.len())
    };
    Predicted {
        load: load.clone(),
        output_tps: of(&|it| it.summary.metrics.output_tps),
        ttft_p50_ms: of(&|it| Some(it.summary.metrics.ttft.as_ref()?.p50.value)),
        tpot_p50_ms: of(&|it| Some(it.summary.metrics.tpot.as_ref()?.p50.value)),
        answered: of(&|it| Some(it.summary.metrics.attainment)),
        attainment: of(&|it| Some(it.slo.as_ref()?.attainment)),
    }
}

/// What hangs together with the numbers, and is in none of them.
fn notes(rehearsed: &[Rehearsal]) -> Vec<String> {
    let mut notes = Vec::new();
    let likely = rehearsed.get(rehearsed.len() / 2);
    for (instance, share) in likely.iter().flat_map(|it| &it.kv) {
        if *share > 0.95 {
            notes.push(format!("the KV cache of `{instance}` is full at times"));
        }
    }
    let expired = rehearsed.iter().map(|it| it.expired).max().unwrap_or(0);
    if expired > 0 {
        notes.push(format!(
            "{expired} prompts that were read are gone before they are fetched: `kv.lease` is too short"
        ));
    }
    let stopped = likely.iter().flat_map(|it| &it.loads);
    let stopped = stopped.filter_map(|it| Some(format!("{}: {}", it.load.label(), it.stopped?)));
    let skipped = likely.iter().flat_map(|it| &it.skipped);
    let skipped = skipped.map(|it| format!("{}: not driven, {}", it.load.label(), it.why));
    notes.extend(stopped.chain(skipped));
    notes
}
