//! Walks a plan: performs each chain of steps when what it waits for has ended. It decides nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::num::NonZeroUsize;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::interrupt::Interrupt;
use crate::english::list;
use crate::plan::{Action, Address, Change, Effect, Event, Failure, Phase, Plan, Step, StepId};
use crate::resource::{Fact, Observation, Resource};

/// What is observed and changed: the nodes, or in tests a model of them.
pub trait World: Send + Sync + 'static {
    /// Asks every node what these things ask of it, and what is asked of all.
    fn observe(
        &self,
        resources: &[Arc<dyn Resource>],
        standing: &[Fact],
    ) -> impl Future<Output = Observation> + Send;

    /// Performs one step. What it says while it works goes to `say`; what it returns says what was
    /// seen at its end.
    fn perform(
        &self,
        step: &Step,
        say: &Say,
    ) -> impl Future<Output = Result<String, Failure>> + Send;

    /// Why what a step has started is gone, as far as that said so: the end of its log, and the cause that
    /// it names. Nothing where there is none to be had.
    fn last_words(&self, _: &Step) -> impl Future<Output = Option<Failure>> + Send {
        std::future::ready(None)
    }
}

/// Takes what a step says while it works.
#[derive(Debug, Clone)]
pub struct Say {
    address: Address,
    events: mpsc::UnboundedSender<Event>,
}

impl Say {
    /// Says what is being done, and how far that has come.
    pub fn phase(&self, phase: Phase) {
        self.send(Event::Progress {
            address: self.address.clone(),
            phase,
        });
    }

    fn step(&self, step: &Step, is_done: bool) {
        self.send(Event::Step {
            address: step.address.clone(),
            node: step.node.clone(),
            verb: step.verb(),
            is_done,
        });
    }

    fn send(&self, event: Event) {
        // Nobody may be listening any more; the work goes on all the same.
        let _ = self.events.send(event);
    }
}

/// What became of a plan.
#[derive(Debug, Default)]
pub struct Report {
    /// The changes that were made, in the order of the plan.
    pub applied: Vec<Address>,
    /// The changes that failed, each with its cause.
    pub failed: Vec<(Address, Failure)>,
    /// The changes that were not tried, each with the reason.
    pub skipped: Vec<(Address, String)>,
}

impl Report {
    /// What failed or was not tried.
    pub fn undone(self) -> impl Iterator<Item = Address> {
        let failed = self.failed.into_iter().map(|(address, _)| address);
        let skipped = self.skipped.into_iter().map(|(address, _)| address);
        failed.chain(skipped)
    }
}

#[derive(Debug, Clone)]
enum ChainState {
    Pending,
    Done,
    Failed(Failure),
    Skipped(String),
    /// Nothing was to be done yet, and nothing failed: it is planned anew.
    Left,
}

/// What came first, by what became of it.
#[derive(Default)]
struct Waited {
    done: BTreeSet<Address>,
    undone: Vec<Address>,
}

/// All steps of one change, one after another.
struct Chain {
    change: Change,
    steps: Vec<Step>,
    requires: Vec<Awaited>,
    after: Vec<Awaited>,
    say: Say,
    interrupt: Interrupt,
    places: Option<Arc<Semaphore>>,
}

/// Another chain, as the one that waits for it sees it.
#[derive(Clone)]
struct Awaited {
    address: Address,
    outcome: watch::Receiver<ChainState>,
}

/// Performs the changes of a plan for which `wanted` says so. What nothing ties runs side by side, where
/// `parallelism` is given so many at a time; a failure stops what depends on it and nothing else.
pub(super) async fn execute<W: World>(
    plan: &Plan,
    wanted: impl Fn(&Change) -> bool,
    world: &Arc<W>,
    events: &mpsc::UnboundedSender<Event>,
    interrupt: &Interrupt,
    parallelism: Option<NonZeroUsize>,
) -> Report {
    let places = parallelism.map(|many| Arc::new(Semaphore::new(many.get())));
    let mut chain_of: BTreeMap<StepId, Awaited> = BTreeMap::new();
    let mut walking = JoinSet::new();
    let mut ends = Vec::new();
    for change in plan.changes.iter().filter(|change| wanted(change)) {
        let own = |step: &&Step| step.address == change.address;
        let steps: Vec<_> = plan.steps.iter().filter(own).cloned().collect();
        let Some(first) = steps.first() else { continue };
        let (sender, receiver) = watch::channel(ChainState::Pending);
        let awaited = Awaited {
            address: change.address.clone(),
            outcome: receiver,
        };
        let of = |ids: &[StepId]| {
            ids.iter()
                .filter_map(|id| chain_of.get(id).cloned())
                .collect()
        };
        let chain = Chain {
            change: change.clone(),
            requires: of(&first.requires),
            after: of(&first.after),
            say: Say {
                address: change.address.clone(),
                events: events.clone(),
            },
            interrupt: interrupt.clone(),
            places: places.clone(),
            steps: steps.clone(),
        };
        chain_of.extend(steps.iter().map(|step| (step.id, awaited.clone())));
        ends.push(awaited);
        let world = Arc::clone(world);
        walking.spawn(async move {
            let outcome = chain.walk(world.as_ref()).await;
            let _ = sender.send(outcome);
        });
    }
    while walking.join_next().await.is_some() {}
    for awaited in &ends {
        awaited.report_crash(events);
    }
    report(&ends)
}

impl Chain {
    async fn walk<W: World>(mut self, world: &W) -> ChainState {
        let waited = self.wait().await;
        let waited = match waited {
            Err(address) => return self.skip(format!("{address} was not done")),
            Ok(_) if self.interrupt.is_set() => return self.skip("interrupted".to_owned()),
            Ok(waited) => waited,
        };
        let steps = self.steps_after(&waited.done);
        if steps.is_empty() {
            return self.leave(&waited.undone);
        }
        // Only now: what waits for others would else hold the place that they need.
        let _place = self.place().await;
        if self.interrupt.is_set() {
            return self.skip("interrupted".to_owned());
        }
        self.perform(world, &steps).await
    }

    /// A place among those at work, where they are so many at most.
    async fn place(&self) -> Option<OwnedSemaphorePermit> {
        let places = Arc::clone(self.places.as_ref()?);
        places.acquire_owned().await.ok()
    }

    /// What is left to do, given what of that which comes first was done.
    fn steps_after(&mut self, done: &BTreeSet<Address>) -> Vec<Step> {
        let steps = std::mem::take(&mut self.steps).into_iter();
        let left = steps.filter_map(|step| {
            Some(Step {
                effect: step.effect.after(done)?,
                ..step
            })
        });
        left.collect()
    }

    /// Leaves undone what only speaks of things that were not brought about.
    fn leave(self, undone: &[Address]) -> ChainState {
        let names: Vec<_> = undone.iter().map(Address::to_string).collect();
        match names.len() {
            0 => ChainState::Left,
            1 => self.skip(format!("{} was not done", list(&names))),
            _ => self.skip(format!("{} were not done", list(&names))),
        }
    }

    fn skip(self, because: String) -> ChainState {
        self.say.send(Event::Skipped {
            address: self.change.address,
            because: because.clone(),
        });
        ChainState::Skipped(because)
    }

    /// Waits for what comes first, and returns what of it was done, and what not.
    ///
    /// # Errors
    ///
    /// With what was needed and was not done.
    async fn wait(&mut self) -> Result<Waited, Address> {
        let (mut waited, mut failed) = (Waited::default(), None);
        for awaited in &mut self.requires {
            match awaited.end().await {
                ChainState::Done => drop(waited.done.insert(awaited.address.clone())),
                _ => drop(failed.get_or_insert_with(|| awaited.address.clone())),
            }
        }
        for awaited in &mut self.after {
            let address = awaited.address.clone();
            match awaited.end().await {
                ChainState::Done => drop(waited.done.insert(address)),
                ChainState::Failed(_) | ChainState::Skipped(_) => waited.undone.push(address),
                ChainState::Pending | ChainState::Left => {}
            }
        }
        failed.map_or(Ok(waited), Err)
    }

    async fn perform<W: World>(self, world: &W, steps: &[Step]) -> ChainState {
        let began = Instant::now();
        let address = self.change.address.clone();
        // What was not there and did not come to be is as it was.
        let was_there = self.change.action != Action::Create;
        self.say.send(Event::Started {
            change: self.change,
        });
        let (mut outcome, mut is_up) = (String::new(), false);
        for (done, step) in steps.iter().enumerate() {
            self.say.step(step, false);
            match world.perform(step, &self.say).await {
                Ok(seen) => {
                    self.say.step(step, true);
                    // What it took over from is stopped last, and is not what it has come to.
                    let is_of_former = is_up && matches!(step.effect, Effect::Stop(_));
                    if !seen.is_empty() && !is_of_former {
                        outcome = seen;
                    }
                    is_up |= matches!(step.effect, Effect::WaitReady(_));
                }
                Err(failure) => {
                    self.say.send(Event::Failed {
                        address,
                        failure: failure.clone(),
                        partly: done > 0 && was_there,
                    });
                    return ChainState::Failed(failure);
                }
            }
        }
        self.say.send(Event::Finished {
            address,
            outcome,
            took: began.elapsed(),
        });
        ChainState::Done
    }
}

impl Awaited {
    async fn end(&mut self) -> ChainState {
        match self
            .outcome
            .wait_for(|outcome| !matches!(outcome, ChainState::Pending))
            .await
        {
            Ok(outcome) => outcome.clone(),
            // The task is gone without a word: it panicked.
            Err(_) => ChainState::Failed(crashed()),
        }
    }

    /// Says of a chain that crashed what it can no longer say itself.
    fn report_crash(&self, events: &mpsc::UnboundedSender<Event>) {
        if matches!(*self.outcome.borrow(), ChainState::Pending) {
            let address = self.address.clone();
            let failure = crashed();
            // Which of its steps were done nobody knows.
            let partly = true;
            let _ = events.send(Event::Failed {
                address,
                failure,
                partly,
            });
        }
    }
}

fn crashed() -> Failure {
    Failure::bug("the step crashed")
}

fn report(ends: &[Awaited]) -> Report {
    let mut report = Report::default();
    for Awaited { address, outcome } in ends {
        let address = address.clone();
        match &*outcome.borrow() {
            ChainState::Done => report.applied.push(address),
            ChainState::Failed(failure) => report.failed.push((address, failure.clone())),
            ChainState::Skipped(because) => report.skipped.push((address, because.clone())),
            ChainState::Left => {}
            ChainState::Pending => report.failed.push((address, crashed())),
        }
    }
    report
}

#[cfg(test)]
mod tests;
