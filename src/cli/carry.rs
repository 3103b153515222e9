//! Carrying out plans while people watch, and may interrupt.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::exit::Exit;
use super::measured;
use super::workspace::Workspace;
use crate::converge::{Interrupt, Live, execute};
use crate::load::Outcome;
use crate::plan::{Address, Change, Event, Plan};
use crate::view::{Screen, Tally};

/// A run that is under way.
pub(super) struct Carry {
    world: Arc<Live>,
    events: mpsc::UnboundedSender<Event>,
    follower: JoinHandle<Tally>,
    interrupt: Interrupt,
    watcher: JoinHandle<()>,
    screen: Screen,
    began: Instant,
}

/// A run that has ended.
pub(super) struct Carried {
    pub(super) tally: Tally,
    pub(super) outcomes: Vec<Outcome>,
    pub(super) interrupted: bool,
    pub(super) took: Duration,
    screen: Screen,
}

impl Carry {
    pub(super) fn begin(workspace: &Workspace, screen: &Screen) -> Self {
        let (events, receiver) = mpsc::unbounded_channel();
        let interrupt = Interrupt::new(AtomicBool::new(false));
        Self {
            world: Arc::new(Live::new(workspace.fleet.clone())),
            events,
            follower: tokio::spawn(screen.progress().follow(receiver)),
            watcher: tokio::spawn(watch(Arc::clone(&interrupt), screen.clone())),
            interrupt,
            screen: screen.clone(),
            began: Instant::now(),
        }
    }

    /// Carries out the part of a plan that is wanted. Returns what of it failed or was not tried.
    pub(super) async fn out(&self, plan: &Plan, wanted: impl Fn(&Change) -> bool) -> Vec<Address> {
        let report = execute(plan, wanted, &self.world, &self.events, &self.interrupt).await;
        let failed = report.failed.into_iter().map(|(address, _)| address);
        let skipped = report.skipped.into_iter().map(|(address, _)| address);
        failed.chain(skipped).collect()
    }

    pub(super) async fn end(self) -> Carried {
        drop(self.events);
        self.watcher.abort();
        Carried {
            tally: self.follower.await.unwrap_or_default(),
            outcomes: self.world.take_measured(),
            interrupted: self.interrupt.load(Ordering::SeqCst),
            took: self.began.elapsed(),
            screen: self.screen,
        }
    }
}

impl Carried {
    /// Says whether every measurement that was made can be believed.
    pub(super) fn is_valid(&self) -> bool {
        self.outcomes.iter().all(|outcome| outcome.valid)
    }

    /// Returns each result as its own document.
    pub(super) fn documents(&self) -> Vec<serde_json::Value> {
        self.outcomes.iter().map(measured::document).collect()
    }

    /// Returns each result as a table.
    pub(super) fn tables(&self) -> impl Iterator<Item = String> {
        self.outcomes
            .iter()
            .map(|outcome| measured::table(outcome, self.screen.out()))
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
