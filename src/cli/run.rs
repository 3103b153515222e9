//! Runs that people watch and may interrupt.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::exit::Exit;
use super::workspace::Workspace;
use crate::converge::{Converged, Desired, Interrupt, Live, Report, Run};
use crate::load::Measurement;
use crate::plan::{Address, Approval, Plan};
use crate::view::words::list;
use crate::view::{Progress, Screen, Tally, bench, pasteable};

/// A run that is under way: people watch it, and may interrupt.
pub(super) struct WatchedRun {
    run: Run<Live>,
    follower: JoinHandle<Tally>,
    watcher: JoinHandle<()>,
    screen: Screen,
    /// What hints name, as the user named it; nothing where there is no manifest.
    manifest: Option<String>,
    began: Instant,
}

/// A run that has ended.
pub(super) struct RunOutcome {
    pub(super) tally: Tally,
    pub(super) measured: Vec<Measurement>,
    pub(super) interrupted: bool,
    pub(super) took: Duration,
    screen: Screen,
    manifest: Option<String>,
}

impl WatchedRun {
    pub(super) fn begin(workspace: &Workspace, screen: &Screen, approval: Approval) -> Self {
        let run = Self::in_world(workspace.live(), Some(workspace.file()), screen, approval);
        Self {
            run: Run {
                parallelism: workspace.parallelism,
                ..run.run
            },
            ..run
        }
    }

    /// Begins where there is no manifest, and no node.
    pub(super) fn begin_without_nodes(world: Live, screen: &Screen) -> Self {
        Self::in_world(world, None, screen, Approval::Everything)
    }

    fn in_world(
        world: Live,
        manifest: Option<String>,
        screen: &Screen,
        approval: Approval,
    ) -> Self {
        let (events, receiver) = mpsc::unbounded_channel();
        let interrupt = Interrupt::default();
        let world = Arc::new(world.until(interrupt.clone()));
        // Where there is no manifest, nothing that is said names a command that takes one.
        let named = manifest.clone().unwrap_or_default();
        Self {
            follower: tokio::spawn(Progress::new(screen.clone(), named).follow(receiver)),
            watcher: tokio::spawn(watch(interrupt.clone(), Arc::clone(&world), screen.clone())),
            run: Run {
                world,
                events,
                interrupt,
                approval,
                parallelism: None,
            },
            screen: screen.clone(),
            manifest,
            began: Instant::now(),
        }
    }

    /// Carries out a whole plan, once.
    pub(super) async fn execute(&self, plan: &Plan) -> Report {
        self.run.execute(plan, |_| true).await
    }

    /// Makes the nodes as desired, beginning with a plan that somebody has seen.
    pub(super) async fn converge(&self, desired: &impl Desired, plan: Plan) -> Converged {
        self.run.converge(desired, plan).await
    }

    /// Ends it, and returns what came of it.
    pub(super) async fn end(self) -> RunOutcome {
        let Run {
            world,
            events,
            interrupt,
            ..
        } = self.run;
        drop(events);
        self.watcher.abort();
        RunOutcome {
            tally: self.follower.await.unwrap_or_default(),
            measured: world.take_measured(),
            interrupted: interrupt.is_set(),
            took: self.began.elapsed(),
            screen: self.screen,
            manifest: self.manifest,
        }
    }
}

impl RunOutcome {
    /// Whether every measurement that was made can be believed.
    pub(super) fn is_valid(&self) -> bool {
        self.measured.iter().all(|outcome| outcome.valid)
    }

    /// Whether a measurement missed what it was held against.
    pub(super) fn has_missed(&self) -> bool {
        let mut results = self.measured.iter().map(|outcome| &outcome.result);
        results.any(crate::results::BenchResult::has_missed)
    }

    /// Each result as its own document.
    pub(super) fn documents(&self) -> Vec<serde_json::Value> {
        let results = self.measured.iter().map(|outcome| &outcome.result);
        results
            .map(|result| serde_json::to_value(result).unwrap_or_default())
            .collect()
    }

    /// Each result as a table.
    pub(super) fn tables(&self) -> impl Iterator<Item = String> {
        self.measured.iter().map(|outcome| {
            let hinted = |hint: &str| match &self.manifest {
                Some(manifest) => pasteable(hint, manifest).into_owned(),
                None => hint.to_owned(),
            };
            let result = outcome.result.clone().hinting(hinted);
            bench::render(&result, Some(&outcome.path), self.screen.out())
        })
    }
}

/// Waits for Ctrl-C: the first lets what runs come to its end, the second leaves at once.
async fn watch(interrupt: Interrupt, world: Arc<Live>, screen: Screen) {
    if tokio::signal::ctrl_c().await.is_err() {
        return;
    }
    interrupt.set();
    screen.warning(
        "interrupted: a measurement ends now and keeps what it has, other steps are finished, and \
         nothing more is begun; press again to leave at once (a later apply goes on from either)",
    );
    if tokio::signal::ctrl_c().await.is_ok() {
        screen.warning(&left_behind(&world.under_way()));
        leave();
    }
}

/// What becomes of what is under way when nobody waits for it any more.
fn left_behind(under_way: &[Address]) -> String {
    let named = |measured: bool| -> Vec<String> {
        let things = under_way.iter().filter(|it| it.node.is_none() == measured);
        things.map(ToString::to_string).collect()
    };
    let (measured, made) = (named(true), named(false));
    let lost = (!measured.is_empty()).then(|| format!("{} is lost", list(&measured)));
    let open = (!made.is_empty()).then(|| {
        format!(
            "nobody waited for the end of {}: plan shows it",
            list(&made)
        )
    });
    let said: Vec<String> = lost.into_iter().chain(open).collect();
    match said.as_slice() {
        [] => "left; nothing was under way".to_owned(),
        said => format!("left at once: {}", said.join("; ")),
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the second Ctrl-C leaves at once, on purpose"
)]
fn leave() {
    std::process::exit(i32::from(Exit::Interrupted as u8));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_leaves_at_once_is_told_what_is_lost() {
        let said = |under_way: &[&str]| {
            let under_way: Vec<Address> = under_way.iter().map(|it| it.parse().unwrap()).collect();
            left_behind(&under_way)
        };
        insta::assert_snapshot!(said(&["benchmark.batch"]), @"left at once: benchmark.batch is lost");
        insta::assert_snapshot!(said(&["n/instance.a", "n/instance.b"]), @"left at once: nobody waited for the end of n/instance.a and n/instance.b: plan shows it");
        insta::assert_snapshot!(said(&[]), @"left; nothing was under way");
    }
}
