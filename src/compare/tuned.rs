//! Which of several values of an argument an arm is to be given.
//!
//! An opponent left at a default that suits it badly is none. So an arm may be tried at several
//! values first, and runs at the best: the best metric of those that keep the objective.

use serde::{Deserialize, Serialize};

use super::verdict::{Aim, percent};

/// What a trial of one value came to.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Trial {
    /// The metric that is to be best; nothing where it was not measured.
    pub metric: Option<f64>,
    /// How the trial stood to the objective, where there is one.
    pub objective: Option<Kept>,
    /// Whether the result can be believed.
    pub valid: bool,
}

/// How a trial stood to its objective.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Kept {
    /// The share of requests that kept it.
    pub attainment: f64,
    /// Whether that is as much as was asked.
    pub met: bool,
}

/// Which trial was chosen, and why.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Chosen {
    /// Its number, from 0, among the trials.
    pub trial: usize,
    /// WhyChosen it was.
    #[serde(flatten)]
    pub why: WhyChosen,
}

/// WhyChosen a trial was chosen.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "why", rename_all = "snake_case")]
pub enum WhyChosen {
    /// No objective was asked: the best metric of all that are valid.
    Best {
        /// So many were valid.
        of: usize,
    },
    /// The best metric of those that met the objective.
    BestThatMet {
        /// So many met it.
        met: usize,
        /// So many were valid.
        of: usize,
    },
    /// None met the objective: this one came nearest.
    NoneMet {
        /// The share of requests that kept it.
        attainment: f64,
        /// So many were valid.
        of: usize,
    },
}

impl Chosen {
    /// The best of some trials; nothing where no result is valid. Of two that are as good, the first.
    pub fn of(trials: &[Trial], aim: Aim) -> Option<Self> {
        let asked = trials.iter().any(|trial| trial.objective.is_some());
        let valid: Vec<Candidate> = (0..)
            .zip(trials)
            .filter(|(_, trial)| trial.valid && trial.objective.is_some() == asked)
            .filter_map(|(number, trial)| {
                let metric = trial.metric.filter(|metric| metric.is_finite())?;
                let height = if aim == Aim::More { metric } else { -metric };
                let objective = trial.objective;
                Some(Candidate {
                    number,
                    height,
                    objective,
                })
            })
            .collect();
        let of = valid.len();
        if !asked {
            let trial = highest(valid.iter().map(|it| (it.number, it.height)))?;
            return Some(Self {
                trial,
                why: WhyChosen::Best { of },
            });
        }
        let met: Vec<&Candidate> = valid.iter().filter(|it| it.has_met()).collect();
        if let Some(trial) = highest(met.iter().map(|it| (it.number, it.height))) {
            let why = WhyChosen::BestThatMet { met: met.len(), of };
            return Some(Self { trial, why });
        }
        let trial = highest(valid.iter().map(|it| (it.number, it.attainment())))?;
        let attainment = trials[trial].objective?.attainment;
        let why = WhyChosen::NoneMet { attainment, of };
        Some(Self { trial, why })
    }
}

impl WhyChosen {
    /// It in words, as they follow the value.
    pub fn words(&self) -> String {
        match self {
            Self::Best { of } => format!("the best of {of}"),
            Self::BestThatMet { met, of } => {
                format!("the best of the {met} of {of} that met the objective")
            }
            Self::NoneMet { attainment, of } => format!(
                "none of {of} met the objective, and this came nearest: {} % of its requests kept it",
                percent(*attainment)
            ),
        }
    }
}

/// A trial that may be chosen.
struct Candidate {
    number: usize,
    /// The metric, the way that more is better.
    height: f64,
    objective: Option<Kept>,
}

impl Candidate {
    fn has_met(&self) -> bool {
        self.objective.is_some_and(|kept| kept.met)
    }

    fn attainment(&self) -> f64 {
        self.objective.map_or(0.0, |kept| kept.attainment)
    }
}

/// The number of the first that is as high as any.
fn highest(candidates: impl Iterator<Item = (usize, f64)>) -> Option<usize> {
    let first_of_equals = |best: (usize, f64), next: (usize, f64)| {
        if next.1 > best.1 { next } else { best }
    };
    candidates.reduce(first_of_equals).map(|(number, _)| number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(metric: f64) -> Trial {
        Trial {
            metric: Some(metric),
            objective: None,
            valid: true,
        }
    }

    fn held(metric: f64, attainment: f64) -> Trial {
        let objective = Some(Kept {
            attainment,
            met: attainment >= 0.9,
        });
        Trial {
            objective,
            ..plain(metric)
        }
    }

    fn spoiled(trial: Trial) -> Trial {
        Trial {
            valid: false,
            ..trial
        }
    }

    fn words(trials: &[Trial], aim: Aim) -> Option<(usize, String)> {
        let chosen = Chosen::of(trials, aim)?;
        Some((chosen.trial, chosen.why.words()))
    }

    #[test]
    fn without_an_objective_it_is_the_best_metric() {
        let trials = [plain(10.0), plain(30.0), plain(30.0), spoiled(plain(40.0))];
        assert_eq!(
            words(&trials, Aim::More),
            Some((1, "the best of 3".to_owned()))
        );
        assert_eq!(
            words(&trials, Aim::Less),
            Some((0, "the best of 3".to_owned()))
        );
    }

    #[test]
    fn with_an_objective_it_is_the_best_that_met_it() {
        let trials = [
            held(50.0, 0.4),
            held(30.0, 0.95),
            held(20.0, 1.0),
            spoiled(held(45.0, 1.0)),
        ];
        let expected = "the best of the 2 of 3 that met the objective".to_owned();
        assert_eq!(words(&trials, Aim::More), Some((1, expected)));
    }

    #[test]
    fn where_none_met_it_the_nearest_is_taken_and_said_to_have_missed() {
        let trials = [held(50.0, 0.4), held(10.0, 0.71), spoiled(held(20.0, 1.0))];
        let expected =
            "none of 2 met the objective, and this came nearest: 71 % of its requests kept it";
        assert_eq!(words(&trials, Aim::More), Some((1, expected.to_owned())));
    }

    #[test]
    fn what_is_invalid_or_was_not_measured_is_never_chosen() {
        let unmeasured = Trial {
            metric: None,
            ..plain(0.0)
        };
        let nothing = Trial {
            metric: Some(f64::NAN),
            ..plain(0.0)
        };
        assert_eq!(Chosen::of(&[], Aim::More), None);
        assert_eq!(
            Chosen::of(&[spoiled(plain(1.0)), unmeasured, nothing], Aim::More),
            None
        );
        let trials = [unmeasured, nothing, plain(1.0)];
        assert_eq!(Chosen::of(&trials, Aim::Less).map(|it| it.trial), Some(2));
        // Where an objective was asked, a trial that tells nothing of it is none.
        let trials = [plain(9.0), held(1.0, 0.1)];
        assert_eq!(Chosen::of(&trials, Aim::More).map(|it| it.trial), Some(1));
    }

    #[test]
    fn a_choice_is_read_back_as_it_was_written() {
        let chosen = Chosen::of(&[held(50.0, 0.4)], Aim::More).unwrap();
        let json = serde_json::json!(chosen);
        assert_eq!(
            json,
            serde_json::json!({"trial": 0, "why": "none_met", "attainment": 0.4, "of": 1})
        );
        assert_eq!(serde_json::from_value::<Chosen>(json).unwrap(), chosen);
    }
}
