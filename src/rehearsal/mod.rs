//! What a topology will do under its benchmarks, before any server runs.
//!
//! A [`Rehearsal`] is played in a time of its own: engines without a clock (those of the simulator) step
//! as their physics says, the proxy's own policies choose among them, loads are driven by their own
//! pacing, and what comes of it is summed up as a real measurement is. Nothing sleeps, nothing is sent,
//! and the same seed makes the same rehearsal.
//!
//! What it rests on is a profile of how fast a device computes. Where servers are simulated, that is what
//! they do; where they are real, it is a prediction, and how fast prompts are read is so uncertain that it
//! is asked at several speeds ([`PrefillSpeed`]).
//!
//! - `servers`: who is asked. `script`: what. `play`: what happens. `drive`: a load. `costs`: what a request
//!   costs beside its engine. `fitting`: a profile of what was measured. `why_not`: what cannot be rehearsed. `predict`: all benchmarks, each with how
//!   uncertain it is.

mod arms;
mod costs;
mod drive;
mod fitting;
mod play;
mod predict;
mod request;
mod script;
mod servers;
mod speed;
mod why_not;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;

pub use self::arms::table as published_arms;
use self::drive::drive;
pub use self::fitting::{
    CannotFit, FittedCell, FittedFigure, FittedProfile, ProfileTerm, ProfiledEngine, Uncertain,
    fit_profile,
};
use self::play::Play;
pub use self::predict::{Interval, Predicted, Prediction, predict};
use self::script::{Place, Script};
use self::servers::{Imitated, Servers, imitated};
pub use self::speed::PrefillSpeed;
pub use self::why_not::CannotRehearse;
use crate::load::are_enough_rounds;
use crate::name::{BenchmarkName, InstanceName};
use crate::resource::Topology;
use crate::resource::benchmark::Measurement;
use crate::results::{Attained, Record, Summary};
use crate::shape::{Found, Shape, Skipped, Stopped, Went};

/// What a benchmark comes to in a rehearsal.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Rehearsal {
    /// What each load comes to, in the order in which they were driven.
    pub loads: Vec<Rehearsed>,
    /// What was not driven, and why.
    pub skipped: Vec<Skipped>,
    /// What a search has found.
    pub found: Option<Found>,
    /// The share of each instance's KV cache that was in use at the most.
    pub kv: BTreeMap<InstanceName, f64>,
    /// Prompts that were kept for another instance, and gone before it had fetched them.
    pub expired: usize,
}

/// What one load comes to in a rehearsal.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Rehearsed {
    /// The load.
    pub load: Shape,
    /// What its requests come to, by the definitions of every result.
    pub summary: Summary,
    /// How it stands to the objective of its benchmark.
    pub slo: Option<Attained>,
    /// Why it was stopped before its end.
    pub stopped: Option<Stopped>,
}

impl Rehearsal {
    /// What one of its loads comes to.
    pub fn load(&self, load: &Shape) -> Option<&Rehearsed> {
        self.loads.iter().find(|it| it.load == *load)
    }
}

/// By which profiles the servers compute that a benchmark asks, and whether it is uncertain of any of them how
/// fast it reads prompts: of a real one, unless that was fitted to measurements of it. Those profiles lie in
/// `folder`.
///
/// # Errors
///
/// When it cannot be rehearsed.
pub fn profiles(
    topology: &Topology,
    benchmark: &BenchmarkName,
    folder: &Path,
) -> Result<(Vec<String>, bool), CannotRehearse> {
    let asked = imitated(topology, named(topology, benchmark)?, folder)?;
    let mut names: Vec<_> = asked.iter().map(Imitated::name).collect();
    names.sort_unstable();
    names.dedup();
    Ok((names, asked.iter().any(|it| !it.is_certain())))
}

/// Rehearses a benchmark of a topology. Files that it names lie in `folder`; what is drawn is drawn from
/// `seed`; real servers read prompts at this speed, and simulated ones as they do.
///
/// # Errors
///
/// When it cannot be rehearsed, and says why.
pub fn rehearse(
    topology: &Topology,
    benchmark: &BenchmarkName,
    folder: &Path,
    seed: u64,
    prefill: PrefillSpeed,
) -> Result<Rehearsal, CannotRehearse> {
    // Policies draw from the dice of their thread: those of nobody else are touched.
    let rehearsed = std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            fastrand::seed(seed);
            on_this_thread(topology, benchmark, folder, prefill)
        });
        thread.join()
    });
    rehearsed.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

fn named<'a>(
    topology: &'a Topology,
    benchmark: &BenchmarkName,
) -> Result<&'a Measurement, CannotRehearse> {
    let named = topology.benchmarks.get(benchmark);
    named.ok_or_else(|| CannotRehearse::NoSuchBenchmark(benchmark.clone()))
}

fn on_this_thread(
    topology: &Topology,
    name: &BenchmarkName,
    folder: &Path,
    prefill: PrefillSpeed,
) -> Result<Rehearsal, CannotRehearse> {
    let benchmark = named(topology, name)?;
    let servers = Servers::of(topology, benchmark, folder, prefill)?;
    let is_read = servers.proxy.as_ref().is_some_and(|proxy| proxy.reads);
    let script = Script::of(benchmark, folder, is_read)?;
    let mut load = benchmark.load.clone();
    if load.read_of_trace().is_some_and(<[_]>::is_empty) {
        load.read(folder).map_err(CannotRehearse::Trace)?;
    }
    let mut play = Play::of(servers, benchmark.timeout.duration());
    let mut walk = load.walk();
    let mut loads = Vec::new();
    while let Some(shape) = walk.next_load() {
        let point = u32::try_from(loads.len()).unwrap_or(u32::MAX);
        let rehearsed = one(&mut play, &script, benchmark, &shape, point);
        walk.went(&shape, &went(&rehearsed, load.is_search()));
        loads.push(rehearsed);
    }
    let kv = play.usage().map(|(name, most, _)| (name.clone(), most));
    Ok(Rehearsal {
        kv: kv.collect(),
        expired: play.expired,
        skipped: walk.skipped(),
        found: walk.found(),
        loads,
    })
}

/// Drives one load as often as a measurement does.
fn one(
    play: &mut Play,
    script: &Script,
    benchmark: &Measurement,
    load: &Shape,
    point: u32,
) -> Rehearsed {
    let mut records: Vec<Record> = Vec::new();
    let mut stopped = None;
    let is_once = benchmark.repeats.is_none() && load.is_timed();
    for round in 0.. {
        let first = Place {
            point,
            round,
            index: 0,
        };
        let ask = |place| script.question(place);
        let driven = drive(play, &ask, load.schedule(), first);
        records.extend(driven.records);
        stopped = driven.stopped;
        let is_over = is_once || stopped.is_some();
        if is_over || are_enough_rounds(&records, benchmark.repeats, true) {
            break;
        }
    }
    let summary = Summary::of(load, &records);
    let slo = benchmark.slo.as_ref();
    Rehearsed {
        slo: slo.map(|slo| Attained::of(slo, load, &records, &summary)),
        load: load.clone(),
        summary,
        stopped,
    }
}

/// How a load went, for what is driven after it: as a measurement says it, but for what only real servers
/// can have.
fn went(rehearsed: &Rehearsed, is_search: bool) -> Went {
    let missed = rehearsed.slo.as_ref().filter(|slo| is_search && !slo.met);
    match (rehearsed.stopped, missed) {
        (Some(stopped), _) => Went::Badly(stopped.to_string()),
        (None, Some(slo)) => Went::Badly(format!("{} of {} met it", slo.good, slo.offered)),
        (None, None) => Went::Well,
    }
}
