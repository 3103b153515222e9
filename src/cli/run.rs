//! Runs that people watch and may interrupt.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::exit::Exit;
use super::workspace::Workspace;
use crate::converge::{Converged, Desired, Interrupt, Live, Report, Run};
use crate::load::Measurement;
use crate::plan::{Approval, Plan};
use crate::view::{Progress, Screen, Tally, bench};

/// A run that is under way: people watch it, and may interrupt.
pub(super) struct WatchedRun {
    run: Run<Live>,
    follower: JoinHandle<Tally>,
    watcher: JoinHandle<()>,
    screen: Screen,
    began: Instant,
}

/// A run that has ended.
pub(super) struct RunOutcome {
    pub(super) tally: Tally,
    pub(super) measured: Vec<Measurement>,
    pub(super) interrupted: bool,
    pub(super) took: Duration,
    screen: Screen,
}

impl WatchedRun {
    pub(super) fn begin(workspace: &Workspace, screen: &Screen, approval: Approval) -> Self {
        let (events, receiver) = mpsc::unbounded_channel();
        let interrupt = Interrupt::new(AtomicBool::new(false));
        Self {
            follower: tokio::spawn(Progress::new(screen.clone()).follow(receiver)),
            watcher: tokio::spawn(watch(Arc::clone(&interrupt), screen.clone())),
            run: Run {
                world: Arc::new(workspace.live()),
                events,
                interrupt,
                approval,
            },
            screen: screen.clone(),
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
            approval: _,
        } = self.run;
        drop(events);
        self.watcher.abort();
        RunOutcome {
            tally: self.follower.await.unwrap_or_default(),
            measured: world.take_measured(),
            interrupted: interrupt.load(Ordering::SeqCst),
            took: self.began.elapsed(),
            screen: self.screen,
        }
    }
}

impl RunOutcome {
    /// Whether every measurement that was made can be believed.
    pub(super) fn is_valid(&self) -> bool {
        self.measured.iter().all(|outcome| outcome.valid)
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
        self.measured
            .iter()
            .map(|outcome| bench::render(&outcome.result, Some(&outcome.path), self.screen.out()))
    }
}

/// Waits for Ctrl-C: the first lets what runs come to its end, the second leaves at once.
async fn watch(interrupt: Interrupt, screen: Screen) {
    if tokio::signal::ctrl_c().await.is_err() {
        return;
    }
    interrupt.store(true, Ordering::SeqCst);
    screen.warning(
        "interrupted: what is under way is finished, nothing more is begun; press again to leave \
         at once (a later apply goes on from either)",
    );
    if tokio::signal::ctrl_c().await.is_ok() {
        leave();
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the second Ctrl-C leaves at once, on purpose"
)]
fn leave() {
    std::process::exit(i32::from(Exit::Interrupted as u8));
}
