//! One load of one benchmark, in every arm: what was measured, block by block, and what follows.

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use super::answered::{Answered, UnequallyAnswered};
use super::decides::{Decides, knee};
use super::drift::{BlockValue, Drift};
use super::experiment::Experiment;
use super::moved::HandedOver;
use super::outcome::Contrast;
use super::ratio::Ratio;
use super::texts::{Answers, Digests, Texts};
use super::unlike::unlike;
use super::verdict::{Aim, Verdict};
use crate::name::{ArmName, BenchmarkName};
use crate::results::{BenchResult, Conditions};

/// The metrics beside the one that decides.
const BESIDE: [&str; 6] = [
    "output_tps",
    "ttft.mean",
    "ttft.p99",
    "tpot.mean",
    "itl.p99",
    "e2el.mean",
];

/// One load of one benchmark, in every arm.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cell {
    /// The benchmark.
    pub benchmark: BenchmarkName,
    /// The load: `concurrency 8`.
    pub load: String,
    /// What decides: `output_tps`; `knee` is the highest rate that met the objective, in requests a second.
    pub metric: String,
    /// Which way it is better.
    pub aim: Aim,
    /// What each arm showed, a value for each round. Nothing where it could not be believed.
    pub arms: IndexMap<ArmName, Vec<Option<f64>>>,
    /// What was handed over under this load, in the arms whose instances share requests.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub handed_over: IndexMap<ArmName, HandedOver>,
    /// What is said of each arm beside each that it is held against.
    pub said: Vec<Said>,
    /// Whether everything became faster or slower from the first block to the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drift: Option<Drift>,
}

/// What is said of an arm beside another.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Said {
    /// The arm.
    pub arm: ArmName,
    /// The other.
    pub against: ArmName,
    /// The ratio of the two, a GPU where they have not as many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ratio: Option<Ratio>,
    /// Whether it is of one GPU, as the arms have not as many.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub per_gpu: bool,
    /// What follows; nothing where nothing can.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Verdict>,
    /// Why nothing follows, or what to know.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<String>,
    /// Whether the two answer the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub texts: Option<Texts>,
    /// The ratios of other metrics, which decide nothing.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub beside: IndexMap<String, Ratio>,
}

impl Cell {
    /// Whether an arm is worse than one that it is held against.
    pub fn has_worse(&self) -> bool {
        self.said
            .iter()
            .any(|said| said.verdict == Some(Verdict::Worse))
    }

    /// Whether anything is left open.
    pub fn is_inconclusive(&self) -> bool {
        self.said.iter().any(|said| match said.verdict {
            Some(Verdict::Better | Verdict::Worse | Verdict::Equivalent) => false,
            Some(Verdict::Inconclusive { .. } | Verdict::TooFew) | None => true,
        })
    }
}

/// A block with its results.
#[derive(Debug, Clone, Copy)]
pub struct Measured<'a> {
    /// The round.
    pub round: u32,
    /// The arm.
    pub arm: &'a ArmName,
    /// The result of each benchmark.
    pub results: &'a IndexMap<BenchmarkName, BenchResult>,
    /// The answers of each benchmark, load by load.
    pub texts: &'a IndexMap<BenchmarkName, Vec<Digests>>,
    /// What the nodes were like that the arm leaves idle.
    pub idle: &'a Conditions,
}

/// What follows from the blocks of a comparison: a cell for each load of each benchmark.
pub fn cells(
    experiment: &Experiment,
    contrasts: &[Contrast],
    blocks: &[Measured<'_>],
) -> Vec<Cell> {
    let cells = experiment.benchmarks.iter().flat_map(|benchmark| {
        let results = blocks
            .iter()
            .filter_map(|block| block.results.get(benchmark));
        let loads = results
            .map(loads_of)
            .max_by_key(Vec::len)
            .unwrap_or_default();
        let blocks = Blocks {
            experiment,
            benchmark,
            measured: blocks,
        };
        let cells = loads.into_iter().enumerate();
        cells
            .map(move |(at, load)| blocks.cell(at, load, contrasts))
            .collect::<Vec<_>>()
    });
    cells.collect()
}

/// The loads of a result, of each of which a cell is made; of a search, the search.
fn loads_of(result: &BenchResult) -> Vec<String> {
    match &result.search {
        Some(_) => vec!["knee".to_owned()],
        None => result
            .points
            .iter()
            .map(|point| point.load.label())
            .collect(),
    }
}

/// The blocks, looked at for one benchmark.
#[derive(Clone, Copy)]
struct Blocks<'a> {
    experiment: &'a Experiment,
    benchmark: &'a BenchmarkName,
    measured: &'a [Measured<'a>],
}

impl Blocks<'_> {
    fn cell(&self, at: usize, load: String, contrasts: &[Contrast]) -> Cell {
        let first = self.results().next();
        let decides = match first {
            Some((_, result)) if result.search.is_some() => Decides::Knee,
            Some((_, result)) => match result.points.get(at) {
                Some(point) => {
                    Decides::of(self.experiment, point.slo.is_some(), point.load.class())
                }
                None => Decides::Knee,
            },
            None => Decides::Knee,
        };
        let shown = |arm: &ArmName| {
            let rounds = 0..self.experiment.rounds;
            rounds
                .map(|round| self.value(arm, round, at, decides).ok())
                .collect()
        };
        let arms = self.experiment.arms.keys();
        let arms: IndexMap<_, _> = arms.map(|arm| (arm.clone(), shown(arm))).collect();
        let said = contrasts.iter();
        let said = said
            .map(|contrast| self.said(at, decides, contrast))
            .collect();
        Cell {
            benchmark: self.benchmark.clone(),
            load,
            metric: decides.name(),
            aim: decides.aim(),
            drift: self.drift(at, decides),
            handed_over: self.handed_over(at, decides),
            arms,
            said,
        }
    }

    /// What was handed over under a load; under those of a search together.
    fn handed_over(&self, at: usize, decides: Decides) -> IndexMap<ArmName, HandedOver> {
        let of = |arm: &ArmName| {
            let results = self.results().filter(|(block, _)| block.arm == arm);
            let points = results.flat_map(|(_, result)| result.points.iter().enumerate());
            let own = points.filter(|(number, _)| decides == Decides::Knee || *number == at);
            HandedOver::of(own.map(|(_, point)| point))
        };
        let arms = self.experiment.arms.keys();
        arms.filter_map(|arm| Some((arm.clone(), of(arm)?)))
            .collect()
    }

    /// Whether the machines changed from block to block, whatever the arm.
    fn drift(&self, at: usize, decides: Decides) -> Option<Drift> {
        let values = (0..).zip(self.measured).filter_map(|(place, block)| {
            Some(BlockValue {
                place,
                arm: self.experiment.arms.get_index_of(block.arm)?,
                value: self.value(block.arm, block.round, at, decides).ok()?,
            })
        });
        Drift::of(&values.collect::<Vec<_>>())
    }

    /// The results of this benchmark, block by block.
    fn results(&self) -> impl Iterator<Item = (&Measured<'_>, &BenchResult)> {
        let blocks = self.measured.iter();
        blocks.filter_map(|block| Some((block, block.results.get(self.benchmark)?)))
    }

    fn result(&self, arm: &ArmName, round: u32) -> Option<&BenchResult> {
        let mut results = self.results();
        let found = results.find(|(block, _)| block.arm == arm && block.round == round);
        found.map(|(_, result)| result)
    }

    /// What an arm showed in a round.
    ///
    /// # Errors
    ///
    /// With why it showed nothing that may be believed.
    fn value(&self, arm: &ArmName, round: u32, at: usize, decides: Decides) -> Result<f64, String> {
        let result = self.result(arm, round).ok_or("it was not measured")?;
        if let Some(cold) = result.cold() {
            return Err(format!("cold: {cold}"));
        }
        let metric = match decides {
            Decides::Metric(metric) => metric,
            Decides::Knee => return knee(result),
        };
        let point = result.points.get(at).ok_or_else(|| {
            // Those that were not driven would have come after all that were.
            let skipped = at.checked_sub(result.points.len());
            let skipped = skipped.and_then(|at| result.skipped.get(at));
            skipped.map_or("not driven".to_owned(), |it| {
                format!("not driven: {}", it.why)
            })
        })?;
        if let Some(against) = point.anomalies.iter().find(|anomaly| anomaly.invalidates()) {
            return Err(format!("{}: {}", against.id, against.message));
        }
        metric.value(&point.summary.metrics, point.slo.as_ref())
    }

    /// The values of both arms, of every round in which both can be believed, and of the others why not.
    fn pairs(
        &self,
        at: usize,
        decides: Decides,
        contrast: &Contrast,
    ) -> (Vec<(f64, f64)>, Vec<String>) {
        let mut pairs = Vec::new();
        let mut reasons = Vec::new();
        for round in 0..self.experiment.rounds {
            let value = |arm| self.value(arm, round, at, decides);
            match (value(&contrast.arm), value(&contrast.against)) {
                (Ok(ours), Ok(theirs)) => pairs.push((ours, theirs)),
                (Err(why), _) => {
                    reasons.push(format!("{}, round {}: {why}", contrast.arm, round + 1));
                }
                (_, Err(why)) => {
                    reasons.push(format!("{}, round {}: {why}", contrast.against, round + 1));
                }
            }
        }
        (pairs, reasons)
    }

    fn said(&self, at: usize, decides: Decides, contrast: &Contrast) -> Said {
        let (mut pairs, mut reasons) = self.pairs(at, decides, contrast);
        let gpus = |arm: &ArmName| {
            self.experiment
                .arms
                .get(arm)
                .map_or(1, |arm| arm.gpus().max(1))
        };
        let (ours, theirs) = (gpus(&contrast.arm), gpus(&contrast.against));
        let per_gpu = ours != theirs && decides.grows_with_gpus();
        if per_gpu {
            for (our, their) in &mut pairs {
                *our /= ours as f64;
                *their /= theirs as f64;
            }
        }
        let ratio = Ratio::of(&pairs);
        if ratio.is_none() && pairs.len() > 1 {
            reasons.push("a value of 0 has no ratio".to_owned());
        }
        let refused = self.refused(at, decides, contrast, ours != theirs);
        let verdict = ratio.as_ref().filter(|_| refused.is_empty());
        let verdict = verdict.map(|it| Verdict::of(it, decides.aim(), self.experiment.margin));
        let texts = self.texts(at, contrast);
        reasons.extend(texts.and_then(|it| it.words(&contrast.arm, &contrast.against)));
        Said {
            texts,
            arm: contrast.arm.clone(),
            against: contrast.against.clone(),
            ratio,
            per_gpu,
            verdict,
            reasons: [refused, alike(reasons)].concat(),
            beside: self.beside(at, decides, contrast),
        }
    }

    /// Why a time is no evidence here.
    fn refused(
        &self,
        at: usize,
        decides: Decides,
        contrast: &Contrast,
        other_gpus: bool,
    ) -> Vec<String> {
        let mut refused = Vec::new();
        let Decides::Metric(metric) = decides else {
            return refused;
        };
        if !metric.is_time() {
            return refused;
        }
        if other_gpus {
            refused.push(
                "the arms have not as many GPUs: only what is of one GPU compares".to_owned(),
            );
        }
        let (arm, against) = (&contrast.arm, &contrast.against);
        let unequal = UnequallyAnswered::of(self.answered(at, arm), self.answered(at, against));
        refused.extend(unequal.map(|it| it.words(arm.as_str(), against.as_str())));
        refused.extend(unlike(self.measured, arm, against));
        refused
    }

    /// How many requests of an arm were answered, over all blocks.
    fn answered(&self, at: usize, arm: &ArmName) -> Answered {
        let results = self.results().filter(|(block, _)| block.arm == arm);
        let points = results.filter_map(|(_, result)| result.points.get(at));
        let none = Answered {
            asked: 0,
            answered: 0,
        };
        points.fold(none, |sum, point| Answered {
            asked: sum.asked + point.summary.counts.total as u64,
            answered: sum.answered + point.summary.counts.ok as u64,
        })
    }

    fn texts(&self, at: usize, contrast: &Contrast) -> Option<Texts> {
        let answers = self.measured.iter().filter_map(|block| {
            let digests = block.texts.get(self.benchmark)?.get(at)?;
            Some(Answers {
                arm: block.arm,
                round: block.round,
                digests,
            })
        });
        let answers: Vec<_> = answers.collect();
        Texts::of(&answers, &contrast.arm, &contrast.against)
    }

    fn beside(&self, at: usize, decides: Decides, contrast: &Contrast) -> IndexMap<String, Ratio> {
        let metrics = BESIDE.iter().filter(|name| **name != decides.name());
        let ratios = metrics.filter_map(|name| {
            let metric = Decides::Metric(name.parse().ok()?);
            let is_search = decides == Decides::Knee;
            let (pairs, _) = if is_search {
                return None;
            } else {
                self.pairs(at, metric, contrast)
            };
            Some(((*name).to_owned(), Ratio::of(&pairs)?))
        });
        ratios.collect()
    }
}

/// Reasons, those that are alike told once.
fn alike(reasons: Vec<String>) -> Vec<String> {
    let mut told: Vec<(String, usize)> = Vec::new();
    for reason in reasons {
        let key = |it: &str| {
            it.split_once(": ")
                .map_or(it.to_owned(), |(_, why)| why.chars().take(24).collect())
        };
        match told
            .iter_mut()
            .find(|(known, _)| key(known) == key(&reason))
        {
            Some((_, times)) => *times += 1,
            None => told.push((reason, 1)),
        }
    }
    let told = told.into_iter().map(|(reason, times)| match times {
        1 => reason,
        _ => format!("{reason} (and {} more like it)", times - 1),
    });
    told.collect()
}
