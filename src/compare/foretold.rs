//! What a comparison will come to, by a rehearsal of every arm, before anything runs.
//!
//! A rehearsal has no noise; what it does not know is how fast real servers read prompts. So each arm is
//! rehearsed at several speeds, and what is foretold holds at all of them, or is said to depend on it.

use std::path::Path;

use indexmap::IndexMap;
use serde::Serialize;

use super::decides::Decides;
use super::experiment::{Arm, Experiment};
use super::tuned::{Chosen, Kept, Trial};
use super::verdict::Aim;
use crate::name::{ArmName, BenchmarkName};
use crate::rehearsal::{CannotRehearse, PrefillSpeed, Rehearsal, profiles, rehearse};
use crate::results::Metric;

/// What is foretold of a comparison.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Foretold {
    /// A cell for each load of each benchmark.
    pub cells: Vec<ForetoldCell>,
    /// The value that each tuned arm has, and why.
    pub tuned: IndexMap<ArmName, (serde_json::Value, String)>,
    /// What one block of each arm takes, in seconds, without what going from arm to arm takes.
    pub block_s: IndexMap<ArmName, f64>,
    /// Whether it hangs on how fast real servers read prompts: then every value is one at each speed.
    pub is_uncertain: bool,
}

/// One load of one benchmark, foretold.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ForetoldCell {
    /// The benchmark.
    pub benchmark: BenchmarkName,
    /// The load.
    pub load: String,
    /// What decides.
    pub metric: String,
    /// Which way it is better.
    pub aim: Aim,
    /// What each arm shows at each speed, from the slowest; one value where nothing is uncertain.
    pub arms: IndexMap<ArmName, Vec<Option<f64>>>,
    /// What is foretold of each arm beside each that it is held against.
    pub said: Vec<ForetoldOf>,
}

/// What is foretold of an arm beside another.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ForetoldOf {
    /// The arm.
    pub arm: ArmName,
    /// The other.
    pub against: ArmName,
    /// The lowest ratio of all speeds, and the highest; of one GPU where the arms have not as many.
    pub ratios: Option<[f64; 2]>,
    /// Whether it is of one GPU.
    pub per_gpu: bool,
    /// What follows.
    pub prospect: Prospect,
    /// The same ratios of what one request waits for, which decides nothing.
    pub beside: IndexMap<String, [f64; 2]>,
}

/// The metrics beside the one that decides.
const BESIDE: [&str; 2] = ["ttft.mean", "tpot.mean"];

/// What is foretold, at every speed alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Prospect {
    /// Better by more than the margin.
    Better,
    /// Worse by more than the margin.
    Worse,
    /// Within the margin.
    Equivalent,
    /// One at one speed and another at another.
    Depends,
    /// Nothing: an arm shows nothing there.
    Unknown,
}

impl Prospect {
    fn of(ratios: Option<[f64; 2]>, aim: Aim, margin: f64) -> Self {
        let Some([low, high]) = ratios else {
            return Self::Unknown;
        };
        let (least, most) = (1.0 / (1.0 + margin), 1.0 + margin);
        let is_more = low > most;
        let is_less = high < least;
        if (is_more && aim == Aim::More) || (is_less && aim == Aim::Less) {
            Self::Better
        } else if is_more || is_less {
            Self::Worse
        } else if low >= least && high <= most {
            Self::Equivalent
        } else {
            Self::Depends
        }
    }
}

/// The rehearsals of an arm: of each benchmark, one at each speed.
pub(super) type Rehearsals = IndexMap<BenchmarkName, Vec<Rehearsal>>;

/// Rehearses every arm, and says what is to be expected. `folder` is that of the manifest.
///
/// # Errors
///
/// When a benchmark cannot be rehearsed.
pub fn foretell(experiment: &Experiment, folder: &Path) -> Result<Foretold, CannotRehearse> {
    let mut tuned = IndexMap::new();
    let mut arms: IndexMap<ArmName, Rehearsals> = IndexMap::new();
    let mut is_uncertain = false;
    for (name, arm) in &experiment.arms {
        let speeds = speeds(experiment, arm, folder)?;
        is_uncertain |= speeds.len() > 1;
        let mut arm = arm;
        if let Some((chosen, value, why)) = best(experiment, arm, folder)? {
            arm = chosen;
            tuned.insert(name.clone(), (value, why));
        }
        arms.insert(name.clone(), rehearsals(experiment, arm, folder, &speeds)?);
    }
    Ok(Foretold {
        cells: cells(experiment, &arms),
        block_s: arms
            .iter()
            .map(|(name, it)| (name.clone(), seconds(it)))
            .collect(),
        tuned,
        is_uncertain,
    })
}

/// The speeds at which an arm is rehearsed.
fn speeds(
    experiment: &Experiment,
    arm: &Arm,
    folder: &Path,
) -> Result<Vec<PrefillSpeed>, CannotRehearse> {
    let mut benchmarks = experiment.benchmarks.iter();
    let uncertain = benchmarks.try_fold(false, |known, name| {
        Ok::<_, CannotRehearse>(known || profiles(&arm.topology, name, folder)?.1)
    })?;
    Ok(if uncertain {
        PrefillSpeed::ALL.to_vec()
    } else {
        vec![PrefillSpeed::Mid]
    })
}

pub(super) fn rehearsals(
    experiment: &Experiment,
    arm: &Arm,
    folder: &Path,
    speeds: &[PrefillSpeed],
) -> Result<Rehearsals, CannotRehearse> {
    let names = experiment.benchmarks.iter();
    let rehearsed = names.map(|name| {
        let at =
            |speed: &PrefillSpeed| rehearse(&arm.topology, name, folder, experiment.seed, *speed);
        let each: Result<Vec<_>, _> = speeds.iter().map(at).collect();
        Ok((name.clone(), each?))
    });
    rehearsed.collect()
}

/// The best value of what an arm tunes, at a speed in the middle.
fn best<'a>(
    experiment: &Experiment,
    arm: &'a Arm,
    folder: &Path,
) -> Result<Option<(&'a Arm, serde_json::Value, String)>, CannotRehearse> {
    let Some(tune) = &arm.tune else {
        return Ok(None);
    };
    let mut trials = Vec::new();
    let mut aim = Aim::More;
    for (_, variant) in &tune.variants {
        let (topology, speed) = (&variant.topology, PrefillSpeed::Mid);
        let rehearsed = rehearse(topology, &tune.by, folder, experiment.seed, speed)?;
        let last = rehearsed.loads.len().saturating_sub(1);
        let decides = decides(experiment, &rehearsed, last);
        aim = decides.aim();
        // What a search finds has met the objective.
        let loads = rehearsed.found.is_none().then_some(&rehearsed.loads);
        let slo = loads.and_then(|loads| loads.last()?.slo.as_ref());
        trials.push(Trial {
            metric: value(&rehearsed, last, decides),
            objective: slo.map(|slo| Kept {
                attainment: slo.attainment,
                met: slo.met,
            }),
            valid: true,
        });
    }
    let chosen = Chosen::of(&trials, aim);
    Ok(chosen.map(|chosen| {
        let (value, variant) = &tune.variants[chosen.trial];
        (variant, value.clone(), chosen.why.words())
    }))
}

fn decides(experiment: &Experiment, rehearsal: &Rehearsal, at: usize) -> Decides {
    match rehearsal.loads.get(at) {
        Some(load) if rehearsal.found.is_none() => {
            Decides::of(experiment, load.slo.is_some(), load.load.class())
        }
        _ => Decides::Knee,
    }
}

/// What a rehearsal shows of that which decides.
fn value(rehearsal: &Rehearsal, at: usize, decides: Decides) -> Option<f64> {
    let metric: Metric = match decides {
        Decides::Metric(metric) => metric,
        Decides::Knee => return Some(rehearsal.found.as_ref()?.answer?.per_s()),
    };
    let load = rehearsal.loads.get(at)?;
    metric.value(&load.summary.metrics, load.slo.as_ref()).ok()
}

fn cells(experiment: &Experiment, arms: &IndexMap<ArmName, Rehearsals>) -> Vec<ForetoldCell> {
    let mut cells = Vec::new();
    for benchmark in &experiment.benchmarks {
        let Some(first) = arms.values().find_map(|it| it.get(benchmark)?.first()) else {
            continue;
        };
        let loads: Vec<String> = match &first.found {
            Some(_) => vec!["knee".to_owned()],
            None => first.loads.iter().map(|it| it.load.label()).collect(),
        };
        for (at, load) in loads.into_iter().enumerate() {
            let decides = decides(experiment, first, at);
            let shown = |decides| shown(arms, benchmark, at, decides);
            let beside = BESIDE.iter().filter_map(|name| {
                let metric = (*name).parse().ok().filter(|_| first.found.is_none())?;
                Some(((*name).to_owned(), shown(Decides::Metric(metric))))
            });
            let (shown, beside) = (shown(decides), beside.collect());
            cells.push(ForetoldCell {
                benchmark: benchmark.clone(),
                load,
                metric: decides.name(),
                aim: decides.aim(),
                said: said(experiment, &shown, decides, &beside),
                arms: shown,
            });
        }
    }
    cells
}

/// The values of each arm, one for each speed.
type Shown = IndexMap<ArmName, Vec<Option<f64>>>;

fn shown(
    arms: &IndexMap<ArmName, Rehearsals>,
    benchmark: &BenchmarkName,
    at: usize,
    decides: Decides,
) -> Shown {
    let shown = arms.iter().map(|(name, rehearsals)| {
        let each = rehearsals.get(benchmark).into_iter().flatten();
        (
            name.clone(),
            each.map(|it| value(it, at, decides)).collect(),
        )
    });
    shown.collect()
}

fn said(
    experiment: &Experiment,
    shown: &Shown,
    decides: Decides,
    beside: &IndexMap<String, Shown>,
) -> Vec<ForetoldOf> {
    let contrasts = experiment.contrasts().into_iter();
    let said = contrasts.map(|(arm, against)| {
        let gpus = |name: &ArmName| experiment.arms[name].gpus().max(1);
        let per_gpu = gpus(arm) != gpus(against) && decides.grows_with_gpus();
        let scale = if per_gpu {
            gpus(against) as f64 / gpus(arm) as f64
        } else {
            1.0
        };
        let ratios = ratios(shown, arm, against, scale);
        // Times of unlike numbers of GPUs do not compare.
        let beside = beside.iter().filter(|_| gpus(arm) == gpus(against));
        let beside = beside.filter_map(|(name, shown)| {
            Some((name.clone(), self::ratios(shown, arm, against, 1.0)?))
        });
        ForetoldOf {
            arm: arm.clone(),
            against: against.clone(),
            prospect: Prospect::of(ratios, decides.aim(), experiment.margin),
            ratios,
            per_gpu,
            beside: beside.collect(),
        }
    });
    said.collect()
}

/// The lowest ratio of two arms at any speed, and the highest, where both show something at all of them.
fn ratios(shown: &Shown, arm: &ArmName, against: &ArmName, scale: f64) -> Option<[f64; 2]> {
    let pairs = shown[arm].iter().zip(&shown[against]);
    let ratios = pairs.map(|(ours, theirs)| {
        let ratio = ours
            .zip(*theirs)
            .map(|(ours, theirs)| ours / theirs * scale)?;
        ratio.is_finite().then_some(ratio)
    });
    let ratios: Vec<f64> = ratios.collect::<Option<_>>()?;
    let low = ratios.iter().copied().reduce(f64::min)?;
    Some([low, ratios.iter().copied().fold(low, f64::max)])
}

/// What a block takes: its loads, at a speed in the middle.
pub(super) fn seconds(rehearsals: &Rehearsals) -> f64 {
    let middle = |each: &Vec<Rehearsal>| {
        let loads = each
            .get(each.len() / 2)
            .into_iter()
            .flat_map(|it| &it.loads);
        loads.map(|load| load.summary.seconds()).sum::<f64>()
    };
    rehearsals.values().map(middle).sum()
}
