//! `replica compare`: measures arms in turn, and says which is better.

mod block;
mod predict;
mod resident;
mod tune;

use std::path::PathBuf;

use indexmap::IndexMap;
use jiff::Timestamp;

use self::block::{Measuring, Went};
use super::Global;
use super::asking::confirm;
use super::error::Error;
use super::exit::Exit;
use super::workspace::Workspace;
use crate::compare::{Experiment, Measured, Outcome, Store, digest, seconds_of};
use crate::converge::Interrupt;
use crate::view::compare::{self as view, Document};
use crate::view::{Question, Screen, command, plan};

/// Measure topologies in turn, and say which is better
///
/// The arms that the manifest's `compare` names are made, warmed and measured one after another, round
/// after round, in an order by which whatever drifts hits all of them alike. What is said follows from
/// pairs of one round: a ratio with its interval of 95 %, and a verdict.
///
/// A comparison that was interrupted goes on where it was.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The manifest [default: topology.yaml]
    file: Option<PathBuf>,
    /// Exit with 7 where anything is left inconclusive
    #[arg(long)]
    strict: bool,
    /// Begin anew, though one that was interrupted could go on
    #[arg(long)]
    anew: bool,
    /// Show what was compared last, and measure nothing
    #[arg(long, conflicts_with = "anew")]
    show: bool,
    /// Say what is to be expected, by a model of every arm in simulated time, and ask no node
    #[arg(long, conflicts_with_all = ["anew", "show", "strict"])]
    predict: bool,
}

pub(super) async fn run(global: &Global, args: &Args) -> Result<Exit, Error> {
    let screen = global.screen();
    if args.predict {
        return predict::run(global, args.file.as_deref(), &screen).await;
    }
    let workspace = Workspace::open(global, args.file.as_deref(), &screen).await?;
    let Some(experiment) = workspace.manifest.experiment.clone() else {
        return Err(compares_nothing(&workspace.file()));
    };
    let store = Store::of(workspace.results(), workspace.topology().name.as_str());
    let comparison = Comparison {
        global,
        args,
        screen: &screen,
        workspace: &workspace,
        experiment,
        store,
        stop: Interrupt::default(),
    };
    if args.show {
        return comparison.show_last();
    }
    let work = comparison.perform();
    workspace.locked(work).await
}

fn compares_nothing(file: &str) -> Error {
    Error::refused(
        format!("{file} compares nothing"),
        "declare the arms under `compare:`, as in manifests/local-experiment.yaml",
    )
}

/// A comparison that is made.
struct Comparison<'a> {
    global: &'a Global,
    args: &'a Args,
    screen: &'a Screen,
    workspace: &'a Workspace,
    experiment: Experiment,
    store: Store,
    /// Set when no further block is to be begun.
    stop: Interrupt,
}

/// Waits for Ctrl-C as long as the comparison is made: also where no run is under way that would hear it.
async fn watch(stop: Interrupt) {
    if tokio::signal::ctrl_c().await.is_ok() {
        stop.set();
    }
}

impl Comparison<'_> {
    /// Shows what was compared last of this very experiment.
    fn show_last(&self) -> Result<Exit, Error> {
        let digest = digest(&self.experiment);
        let all = self.store.all();
        let Some(last) = all.into_iter().find(|it| it.digest == digest) else {
            return Err(Error::refused(
                "this was not compared yet",
                format!("run `{}`", command("compare", &self.workspace.file())),
            ));
        };
        self.show(&last)
    }

    async fn perform(mut self) -> Result<Exit, Error> {
        let unfinished = self.store.unfinished(&digest(&self.experiment));
        let mut outcome = match unfinished.filter(|_| !self.args.anew) {
            Some(unfinished) => Outcome {
                margin: self.experiment.margin,
                ..unfinished
            },
            None => self.begin(),
        };
        match self.measure(&mut outcome).await {
            Ok(true) => {}
            Ok(false) => return self.interrupted(&outcome),
            Err(error) => return self.refused(&outcome, error),
        }
        outcome.ended = Some(Timestamp::now());
        self.conclude(&mut outcome);
        self.write(&outcome)?;
        self.show(&outcome)
    }

    /// Shows what is to be measured, asks, and measures it. Says no where somebody stopped it.
    async fn measure(&mut self, outcome: &mut Outcome) -> Result<bool, Error> {
        if !self.tunes() {
            self.stands_together(outcome).await;
        }
        self.preview(outcome).await?;
        let watcher = tokio::spawn(watch(self.stop.clone()));
        let made = self.blocks(outcome).await;
        watcher.abort();
        made
    }

    /// Tunes what is to be tuned and measures all blocks that are left. Says no where somebody stopped it.
    async fn blocks(&mut self, outcome: &mut Outcome) -> Result<bool, Error> {
        if !self.tune(outcome).await? {
            return Ok(false);
        }
        self.stands_together(outcome).await;
        let nodes = self.experiment.nodes();
        for (round, name) in outcome.rest() {
            if self.stop.is_set() {
                return Ok(false);
            }
            let heading = view::heading(outcome, &name, self.screen.talk());
            self.screen.say(&heading);
            let arm = &self.experiment.arms[&name];
            let measuring = Measuring {
                screen: self.screen,
                workspace: &self.workspace.arm(&arm.topology),
                benchmarks: &self.experiment.benchmarks,
                nodes: &nodes,
                tags: block::tags(outcome, &name, round),
            };
            match measuring.block(&self.store, round, &name).await? {
                Went::Interrupted => return Ok(false),
                Went::Measured {
                    block,
                    simulated,
                    on_cpus,
                } => {
                    outcome.blocks.push(*block);
                    outcome.simulated |= simulated;
                    outcome.on_cpus |= on_cpus;
                }
            }
            self.write(outcome)?;
        }
        Ok(true)
    }

    fn begin(&self) -> Outcome {
        let name = self.workspace.topology().name.as_str();
        let origin = self.workspace.origin().cloned();
        Outcome::begin(&self.experiment, name, origin, Timestamp::now())
    }

    /// Shows what is to be measured, and what the first arm changes; and asks.
    async fn preview(&self, outcome: &Outcome) -> Result<(), Error> {
        let screen = self.screen;
        if !screen.is_json() {
            self.workspace.remark(screen);
            let loads = if outcome.blocks.is_empty() {
                screen.note("rehearsing the loads, to tell how long they take");
                self.seconds().await
            } else {
                // What was measured tells it better.
                None
            };
            screen.result(&view::preview(outcome, loads, screen.out()))?;
        }
        let next = outcome.rest().into_iter().next();
        if let Some((_, name)) = next {
            let workspace = self.workspace.arm(&self.experiment.arms[&name].topology);
            let (_, plan) = workspace.plan(&workspace.without_benchmarks()).await;
            if !screen.is_json() && plan.has_work() {
                screen.result(&plan::render(&plan, &workspace.file(), screen.out()))?;
            }
        }
        if self.global.auto_approve || outcome.is_over() {
            return Ok(());
        }
        confirm(screen, Question::Compare)
    }

    /// How long all of it takes, by a rehearsal, where that can be told.
    async fn seconds(&self) -> Option<f64> {
        let experiment = self.experiment.clone();
        let folder = self.workspace.manifest.folder.clone();
        let told = tokio::task::spawn_blocking(move || seconds_of(&experiment, &folder));
        told.await.ok().flatten()
    }

    fn write(&self, outcome: &Outcome) -> Result<(), Error> {
        self.store.write(outcome).map_err(|source| Error::Here {
            what: format!("{} cannot be written", self.store.path(outcome).display()),
            source,
        })
    }

    fn interrupted(&self, outcome: &Outcome) -> Result<Exit, Error> {
        if self.screen.is_json() {
            self.screen.document(&Document::of(outcome))?;
        }
        let again = command("compare", &self.workspace.file());
        self.screen.note(&format!(
            "interrupted after {}; `{again}` goes on from there",
            view::progress(outcome)
        ));
        Ok(Exit::Interrupted)
    }

    /// Says how far it came before it could not go on: a machine reads one document.
    fn refused(&self, outcome: &Outcome, error: Error) -> Result<Exit, Error> {
        if !self.screen.is_json() {
            return Err(error);
        }
        let document = Document::of(outcome).because(error.document());
        self.screen.document(&document)?;
        self.screen.error(&error, &error.hints());
        Ok(error.exit())
    }

    /// Says what follows from all blocks, as far as their results are still there.
    fn conclude(&self, outcome: &mut Outcome) {
        let mut read = Vec::new();
        for block in &outcome.blocks {
            let (mut results, mut texts) = (IndexMap::new(), IndexMap::new());
            for (name, path) in &block.results {
                if let Some((result, digests)) = self.store.result(path) {
                    results.insert(name.clone(), result);
                    texts.insert(name.clone(), digests);
                }
            }
            let (round, arm) = (block.round, block.arm.clone());
            read.push((round, arm, block.idle.clone(), results, texts));
        }
        let measured: Vec<Measured<'_>> = read
            .iter()
            .map(|(round, arm, idle, results, texts)| Measured {
                round: *round,
                arm,
                results,
                texts,
                idle,
            })
            .collect();
        outcome.conclude(&self.experiment, &measured);
    }

    fn show(&self, outcome: &Outcome) -> Result<Exit, Error> {
        if self.screen.is_json() {
            self.screen.document(&Document::of(outcome))?;
        } else {
            let file = self.store.path(outcome);
            self.screen
                .result(&view::render(outcome, &file, self.screen.out()))?;
        }
        Ok(if outcome.has_worse() {
            Exit::Missed
        } else if self.args.strict && outcome.is_inconclusive() {
            Exit::Invalid
        } else {
            Exit::Done
        })
    }
}
