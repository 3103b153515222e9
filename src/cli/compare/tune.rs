//! Looking for the best value of an argument, before anything is compared.

use std::collections::BTreeMap;

use serde_json::Value;

use super::Comparison;
use super::block::{Done, Measuring};
use crate::cli::error::Error;
use crate::compare::{
    Aim, Arm, Chosen, Kept, Outcome, Trial, TriedFacts, Tune, TunedFacts, deciding,
};
use crate::load::Measurement;
use crate::name::ArmName;
use crate::view::compare as view;

impl Comparison<'_> {
    /// Looks for the best value of every argument that is tuned, and gives it to its arm. What was found
    /// before is not looked for again. Says no where somebody stopped it.
    pub(super) async fn tune(&mut self, outcome: &mut Outcome) -> Result<bool, Error> {
        let tuned = self.experiment.arms.iter();
        let tuned = tuned.filter_map(|(name, arm)| Some((name.clone(), arm.tune.clone()?)));
        for (name, tune) in tuned.collect::<Vec<_>>() {
            let known = outcome.arms[&name].tuned.clone();
            let found = match known {
                Some(found) => found,
                None => match self.search(outcome, &name, &tune).await? {
                    Some(found) => found,
                    None => return Ok(false),
                },
            };
            let chosen = tune
                .variants
                .iter()
                .find(|(value, _)| *value == found.chosen);
            if let Some((
                _,
                Arm {
                    topology, settings, ..
                },
            )) = chosen
            {
                outcome.arms[&name].settings.clone_from(settings);
                self.experiment = self.experiment.clone().with(&name, topology.clone());
            }
            outcome.arms[&name].tuned = Some(found);
            self.write(outcome)?;
        }
        Ok(true)
    }

    /// Measures every value once that was not tried yet; each is kept, so that a search that is
    /// interrupted goes on. Nothing where somebody stopped it.
    async fn search(
        &self,
        outcome: &mut Outcome,
        name: &ArmName,
        tune: &Tune,
    ) -> Result<Option<TunedFacts>, Error> {
        for (value, arm) in &tune.variants {
            if outcome.arms[name]
                .trying
                .iter()
                .any(|it| it.value == *value)
            {
                self.screen.note(&view::tried_before(name, tune, value));
                continue;
            }
            if self.stop.is_set() {
                return Ok(None);
            }
            let heading = view::trying(name, tune, value, self.screen.talk());
            self.screen.say(&heading);
            let Some(done) = self.try_value(name, tune, (value, arm)).await? else {
                return Ok(None);
            };
            let mut measured = done.run.measured.iter();
            let own = measured.find(|it| it.result.job.name == tune.by.as_str());
            if let Some(own) = own {
                let (trial, aim) = self.trial(own);
                outcome.arms[name].trying.push(TriedFacts {
                    value: value.clone(),
                    trial,
                    aim,
                    took_s: done.switched_s + done.measured_s,
                    result: self.store.relative(&own.path),
                });
                self.write(outcome)?;
            }
        }
        let tried = std::mem::take(&mut outcome.arms[name].trying);
        self.chosen(tune, tried).map(Some)
    }

    /// The best of the values that were tried.
    fn chosen(&self, tune: &Tune, tried: Vec<TriedFacts>) -> Result<TunedFacts, Error> {
        let trials: Vec<Trial> = tried.iter().map(|it| it.trial).collect();
        let aim = tried.first().map(|it| it.aim).unwrap_or_default();
        let chosen = Chosen::of(&trials, aim).ok_or_else(|| nothing_chosen(&tune.argument))?;
        let found = view::tuned(tune, &tried, &chosen, self.screen.talk());
        self.screen.say(&found);
        Ok(TunedFacts {
            argument: tune.argument.clone(),
            by: tune.by.clone(),
            chosen: tried[chosen.trial].value.clone(),
            why: chosen.why.words(),
            took_s: tried.iter().map(|it| it.took_s).sum(),
            tried,
        })
    }

    /// Makes the arm with one value and runs the benchmark that it is tuned by.
    async fn try_value(
        &self,
        name: &ArmName,
        tune: &Tune,
        (value, arm): (&Value, &Arm),
    ) -> Result<Option<Done>, Error> {
        let mut topology = arm.topology.clone();
        topology.benchmarks.retain(|it, _| *it == tune.by);
        let measuring = Measuring {
            screen: self.screen,
            workspace: &self.workspace.arm(&topology),
            benchmarks: std::slice::from_ref(&tune.by),
            nodes: &self.experiment.nodes(),
            tags: BTreeMap::from([
                ("arm".to_owned(), name.to_string()),
                ("tune".to_owned(), format!("{}={value}", tune.argument)),
            ]),
        };
        measuring.measure().await
    }

    /// What came of a value, and which way that is better.
    fn trial(&self, measured: &Measurement) -> (Trial, Aim) {
        let result = &measured.result;
        let (metric, aim) = deciding(&self.experiment, result);
        // What a search finds has met the objective.
        let points = result.search.is_none().then_some(&result.points);
        let slo = points.and_then(|points| points.last()?.slo.as_ref());
        let trial = Trial {
            metric: metric.ok(),
            objective: slo.map(|slo| Kept {
                attainment: slo.attainment,
                met: slo.met,
            }),
            valid: measured.valid,
        };
        (trial, aim)
    }
}

fn nothing_chosen(argument: &str) -> Error {
    Error::refused(
        format!("no value of `{argument}` could be measured so that it can be believed"),
        "look at the results above: an arm is tuned by what is valid",
    )
}
