//! Converging: a plan is carried out, everything is observed again, and what is left is planned
//! anew, until what is observed is what is desired. The last word is what was seen, never the path
//! that was taken.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;
use std::sync::Arc;

use tokio::sync::mpsc;

use super::execute::{Report, World, execute};
use super::interrupt::Interrupt;
use crate::plan::{Action, Address, Approval, Change, Effect, Event, Failure, Plan, Step};
use crate::resource::{Fact, Observation, Resource};

/// How often a plan is carried out before what is left is called a failure. The first round
/// installs and fetches, the second starts what is made of that, the third routes to what the
/// proxy had not yet seen; a fourth would find nothing new.
const ROUNDS: usize = 3;

/// What a command wants to be.
pub trait Desired: Sync {
    /// The things that are to be, made anew for each round: a measurement finds the result that
    /// was written in the one before.
    fn resources(&self) -> Vec<Arc<dyn Resource>>;

    /// What every node is asked, whatever is to be on it.
    fn standing(&self) -> Vec<Fact>;

    /// What is to be done, given what was observed, so that these things are and nothing else of
    /// ours is.
    fn plan(&self, resources: &[Arc<dyn Resource>], observed: &Observation) -> Plan;
}

/// A run: the world that it changes, who hears of it, and whether it is to come to its end.
#[derive(Debug)]
pub struct Run<W> {
    /// The nodes, or in tests a model of them.
    pub world: Arc<W>,
    /// Who hears what happens.
    pub events: mpsc::UnboundedSender<Event>,
    /// Set when nothing more is to be begun.
    pub interrupt: Interrupt,
    /// What may be done without asking again.
    pub approval: Approval,
    /// How many changes are made at once; nothing for all that wait for nothing.
    pub parallelism: Option<NonZeroUsize>,
}

/// What a run came to.
#[derive(Debug)]
pub struct Converged {
    /// What was observed at its end.
    pub observed: Observation,
    /// What was left to do by then.
    pub left: Plan,
    /// What was done of what was planned, in the order in which it was; measurements are none of it.
    pub applied: Vec<Change>,
}

/// Observes everything that is desired and plans what is to be done.
pub async fn plan<W: World>(world: &W, desired: &impl Desired) -> (Observation, Plan) {
    let resources = desired.resources();
    let observed = world.observe(&resources, &desired.standing()).await;
    let plan = desired.plan(&resources, &observed);
    (observed, plan)
}

impl<W: World> Run<W> {
    /// Carries out the changes of a plan for which `wanted` says so.
    pub async fn execute(&self, plan: &Plan, wanted: impl Fn(&Change) -> bool) -> Report {
        execute(
            plan,
            wanted,
            &self.world,
            &self.events,
            &self.interrupt,
            self.parallelism,
        )
        .await
    }

    /// Makes the nodes as desired, beginning with this plan, and then measures: only what is as
    /// declared is worth measuring.
    pub async fn converge(&self, desired: &impl Desired, plan: Plan) -> Converged {
        let mut left = plan;
        let mut undone = BTreeSet::new();
        let mut applied = Vec::new();
        let mut started = BTreeMap::new();
        let mut round = 0;
        loop {
            let wanted = |change: &Change| {
                !change.is_measurement()
                    && !undone.contains(&change.address)
                    && self.approval.covers(change)
            };
            let report = self.execute(&left, wanted).await;
            applied.extend(done(&left, &report));
            started.extend(starts(&left));
            undone.extend(report.undone());
            let observed;
            (observed, left) = self::plan(self.world.as_ref(), desired).await;
            // What failed is not tried again within a run, nor what would only come after it: the
            // cause is told once, and whoever mends it applies again.
            let unasked = left.changes.iter().filter(|it| !self.approval.covers(it));
            let unasked = unasked.filter(|it| it.action.acts());
            undone.extend(unasked.map(|it| it.address.clone()));
            // What dies of its start takes its node with it where it is started again and again.
            for change in did_not_stay(&left, &applied) {
                if undone.insert(change.address.clone()) {
                    // Rare, and else every step of a run would be as large.
                    Box::pin(self.tell_lost(change, started.get(&change.address))).await;
                }
            }
            undone = with_dependents(undone, &left);
            round += 1;
            if round == ROUNDS || !is_worth_another_round(&left, &undone) {
                let made = Converged {
                    observed,
                    left,
                    applied,
                };
                return self.measure(desired, made).await;
            }
        }
    }

    /// Says of what was made in this run that it did not stay, with what it said last where it was started.
    async fn tell_lost(&self, change: &Change, start: Option<&Step>) {
        let why: Vec<String> = change.why().collect();
        let last_words = match start {
            Some(start) => self.world.last_words(start).await,
            None => None,
        };
        let failure = last_words.unwrap_or_else(|| Failure::new(why.join("; ")));
        let message = format!("it did not stay: {}", failure.message);
        let hint = "apply again makes it once more";
        let hint = failure.hint.clone().unwrap_or_else(|| hint.to_owned());
        // Whoever listened may be gone; what is left to do says it too.
        let _ = self.events.send(Event::Failed {
            address: change.address.clone(),
            failure: Failure { message, ..failure }.hinted(hint),
            partly: true,
        });
    }

    /// Measures where all else is as desired.
    async fn measure(&self, desired: &impl Desired, made: Converged) -> Converged {
        let is_made = |change: &Change| change.is_measurement() || change.action == Action::Keep;
        if !made.left.changes.iter().all(is_made) || !made.left.has_work() {
            return made;
        }
        self.execute(&made.left, Change::is_measurement).await;
        let (observed, left) = self::plan(self.world.as_ref(), desired).await;
        Converged {
            observed,
            left,
            ..made
        }
    }
}

/// The changes of a plan that were made.
fn done(plan: &Plan, report: &Report) -> Vec<Change> {
    let changes = plan.changes.iter().filter(|it| it.action.acts());
    let done = changes.filter(|it| report.applied.contains(&it.address));
    done.cloned().collect()
}

/// Whether anything is left to do on a node that was not tried in vain, and does not only speak of
/// what was.
fn is_worth_another_round(left: &Plan, undone: &BTreeSet<Address>) -> bool {
    let addresses = left.steps.iter().map(|step| &step.address);
    let wanted: BTreeSet<_> = addresses
        .filter(|address| !undone.contains(address))
        .cloned()
        .collect();
    let is_new = |step: &Step| {
        let is_wanted = step.address.node.is_some() && wanted.contains(&step.address);
        is_wanted && step.effect.clone().after(&wanted).is_some()
    };
    left.steps.iter().any(is_new)
}

/// What a plan starts, with the step that does so.
fn starts(plan: &Plan) -> impl Iterator<Item = (Address, Step)> {
    let steps = plan.steps.iter();
    let starts = steps.filter(|step| matches!(step.effect, Effect::Launch(_)));
    starts.map(|step| (step.address.clone(), step.clone()))
}

/// What was made in this run and is to be made anew.
fn did_not_stay<'a>(left: &'a Plan, applied: &[Change]) -> Vec<&'a Change> {
    let is_made = |it: &&Change| matches!(it.action, Action::Create | Action::Replace);
    let made = applied.iter().filter(is_made).map(|it| &it.address);
    let made: BTreeSet<_> = made.collect();
    let anew = left.changes.iter().filter(is_made);
    anew.filter(|it| made.contains(&it.address)).collect()
}

/// Adds to what was not done all that a plan would do only after it. Steps are in the order in
/// which they can be done, so one walk finds the dependents of dependents too.
fn with_dependents(mut undone: BTreeSet<Address>, plan: &Plan) -> BTreeSet<Address> {
    for step in &plan.steps {
        let mut required = step.requires.iter().map(|id| &plan.steps[*id].address);
        if required.any(|address| undone.contains(address)) {
            undone.insert(step.address.clone());
        }
    }
    undone
}

#[cfg(test)]
mod tests;
