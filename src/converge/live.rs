//! The world as it is: steps performed on the nodes, and measurements of them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::timeout;

use super::ask_for_life::{EarlyPages, OnWaiting, ask_for_life};
use super::execute::{Say, World};
use super::interrupt::Interrupt;
use super::observe::observe;
use crate::load::{self, Measurement, Order, Sent, Teller};
use crate::name::NodeName;
use crate::node::{Fleet, Lapsed, Lease, Node, perform};
use crate::plan::{Address, Effect, Failure, Job, Look, Phase, Placed, Step};
use crate::resource::{Fact, Observation, Resource, StateFolder};
use crate::results::{self, Surveyed, throughput};

/// The folder of logs of failures, among the results of a topology.
const FAILED: &str = "failed";

/// How long a quick look takes at most: longer than an SSH command on a busy node, and too short for a
/// warm cache to be lost.
const QUICK: Duration = Duration::from_secs(5);

/// The nodes of a topology, and what was measured of them.
pub struct Live {
    fleet: Fleet,
    /// Where measurements of the topology leave their notes.
    results: PathBuf,
    waiting: OnWaiting,
    interrupt: Interrupt,
    /// The locks that steps are performed under.
    leases: BTreeMap<NodeName, Lease>,
    measured: Mutex<Vec<Measurement>>,
    under_way: Mutex<BTreeSet<Address>>,
}

impl fmt::Debug for Live {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Live");
        shown.field("fleet", &self.fleet).finish_non_exhaustive()
    }
}

impl Live {
    /// The world of these nodes. `results` is the folder of the topology's results, and `waiting`
    /// hears of servers that are waited for.
    pub fn new(fleet: Fleet, results: PathBuf, waiting: OnWaiting) -> Self {
        Self {
            fleet,
            results,
            waiting,
            interrupt: Interrupt::default(),
            leases: BTreeMap::new(),
            measured: Mutex::default(),
            under_way: Mutex::default(),
        }
    }

    /// The same, whose measurements end when this is wished.
    #[must_use]
    pub fn until(self, interrupt: Interrupt) -> Self {
        Self { interrupt, ..self }
    }

    /// The same, which performs nothing on these nodes once their locks are lost.
    #[must_use]
    pub fn holding(self, leases: BTreeMap<NodeName, Lease>) -> Self {
        Self { leases, ..self }
    }

    /// Looks whether the lock of a step's node is held still: whoever was stopped or slept for long
    /// has lost it, and others may be at work there.
    async fn confirm_lock(&self, step: &Step) -> Result<(), Failure> {
        let lease = step.node.as_ref().and_then(|node| self.leases.get(node));
        let Some(lease) = lease else { return Ok(()) };
        lease.confirm().await.map_err(|Lapsed| {
            Failure::interrupted("the lock is lost: this run was not heard of for too long").hinted(
                "nothing more is done there; run the same again, and it looks at the node anew",
            )
        })
    }

    /// The things that a step is being performed for.
    pub fn under_way(&self) -> Vec<Address> {
        locked(&self.under_way).iter().cloned().collect()
    }

    /// What was measured since this was last asked, in the order in which it was.
    pub fn take_measured(&self) -> Vec<Measurement> {
        std::mem::take(&mut locked(&self.measured))
    }

    /// The node that performs a step.
    fn node(&self, step: &Step) -> Result<&Node, Failure> {
        let Some(name) = &step.node else {
            return Err(Failure::bug("the step has no node"));
        };
        self.fleet.node(name)
    }

    async fn measure(&self, job: &Job, say: &Say) -> Result<String, Failure> {
        let keys = perform::api_keys(&self.fleet, &job.api_keys).await?;
        // All that is sent at once would make every step of a run as large.
        let sender = |errand, told| Box::pin(self.send(job, Order::new(errand, keys), told));
        let tell = |phase| say.phase(phase);
        let mut nodes: BTreeMap<NodeName, Vec<Placed>> = BTreeMap::new();
        for placed in &job.placed {
            let on = nodes.entry(placed.node.clone()).or_default();
            on.push(placed.clone());
        }
        let survey = |look| survey(self.fleet.clone(), nodes.clone(), look);
        let outcome = load::measure_by(job, sender, tell, survey).await?;
        let said = match (outcome.valid, throughput(&outcome.result.headlines())) {
            (true, Some(throughput)) => throughput,
            (true, None) => "measured".to_owned(),
            (false, _) => "the result cannot be believed".to_owned(),
        };
        let cut = outcome.result.interrupted.as_ref().map(|cut| {
            let kept = outcome.path.display();
            Failure::interrupted(format!("{cut}; what was measured is kept in {kept}"))
        });
        locked(&self.measured).push(outcome);
        cut.map_or(Ok(said), Err)
    }

    /// Sends the requests of a job, from where it says.
    async fn send(&self, job: &Job, order: Order, told: Teller) -> Result<Sent, Failure> {
        let stop = self.interrupt.wished();
        match &job.from {
            None => order.carry_out(stop, told).await,
            Some(sender) => {
                let node = self.fleet.node(&sender.node)?;
                perform::send_load(node, sender, &order, stop, told).await
            }
        }
    }
}

impl World for Live {
    async fn observe(&self, resources: &[Arc<dyn Resource>], standing: &[Fact]) -> Observation {
        let fleet = &self.fleet;
        // What is measured is not to be disturbed.
        if results::is_measured(&self.results) {
            return observe(fleet, resources, standing, None).await;
        }
        let mut early = EarlyPages::default();
        let mut observed = observe(fleet, resources, standing, Some(&mut early)).await;
        let shown = ask_for_life(fleet, resources, &observed, early, &self.waiting).await;
        observed.insert_liveness(shown);
        observed
    }

    async fn perform(&self, step: &Step, say: &Say) -> Result<String, Failure> {
        self.confirm_lock(step).await?;
        locked(&self.under_way).insert(step.address.clone());
        let done = self.carry_out(step, say).await;
        locked(&self.under_way).remove(&step.address);
        done
    }

    async fn last_words(&self, step: &Step) -> Option<Failure> {
        let Effect::Launch(launch) = &step.effect else {
            return None;
        };
        let node = self.node(step).ok()?;
        perform::last_words(node, launch).await.ok()
    }
}

impl Live {
    async fn carry_out(&self, step: &Step, say: &Say) -> Result<String, Failure> {
        let progress: perform::OnPhase<'_> = &|phase| say.phase(phase);
        match &step.effect {
            Effect::Upload(upload) => {
                say.phase(Phase::new("uploading"));
                perform::upload(self.node(step)?, upload).await?;
                Ok(String::new())
            }
            Effect::Remove { paths } => {
                perform::remove(self.node(step)?, paths, StateFolder::EMPTIED).await?;
                Ok(String::new())
            }
            Effect::KeepLog(keep) => {
                let folder = self.results.join(FAILED);
                let path = perform::keep_log(self.node(step)?, keep, &folder).await?;
                Ok(format!(
                    "the log of its last failure is kept in {}",
                    path.display()
                ))
            }
            Effect::RunScript(script) => {
                perform::run_script(self.node(step)?, script, progress).await
            }
            Effect::Copy(copy) => {
                let from = self.fleet.node(&copy.from)?;
                perform::copy(from, self.node(step)?, copy, StateFolder::EMPTIED, progress).await
            }
            Effect::Launch(launch) => {
                say.phase(Phase::new("starting"));
                let started = perform::launch(self.node(step)?, launch).await?;
                Ok(format!("pid {}", started.pid))
            }
            Effect::Stop(stop) => Ok(ended(
                &perform::stop(self.node(step)?, stop, progress).await?,
            )),
            Effect::KillUnmanaged(kill) => Ok(ended(
                &perform::kill_unmanaged(self.node(step)?, kill, progress).await?,
            )),
            Effect::WaitReady(ready) => {
                let ready = perform::wait_ready(self.node(step)?, ready, progress).await?;
                Ok(format!("ready, pid {}", ready.pid))
            }
            Effect::ProxyControl(control) => {
                let node = self.node(step)?;
                let control = perform::with_keys(&self.fleet, node, control).await?;
                let status = perform::control(node, &control, progress).await?;
                Ok(status.shortfall().unwrap_or_default().to_owned())
            }
            Effect::Measure(job) => self.measure(job, say).await,
        }
    }
}

/// Looks at nodes side by side, and at the servers that are placed on each. One that cannot be asked is left
/// out, and so is one that does not answer at once where somebody waits for it.
pub async fn survey(fleet: Fleet, nodes: BTreeMap<NodeName, Vec<Placed>>, look: Look) -> Surveyed {
    let mut looking = JoinSet::new();
    for (name, placed) in nodes {
        let fleet = fleet.clone();
        looking.spawn(async move {
            let node = fleet.node(&name).ok()?;
            let looking = perform::conditions(node, &placed, look);
            let seen = match look {
                Look::Whole => looking.await,
                Look::Quick => timeout(QUICK, looking).await.ok()?,
            };
            Some((name, seen.ok()?))
        });
    }
    looking.join_all().await.into_iter().flatten().collect()
}

fn locked<T>(it: &Mutex<T>) -> MutexGuard<'_, T> {
    it.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Says what was ended, and whether it had to be killed.
fn ended(stopped: &perform::Stopped) -> String {
    let pids: Vec<_> = stopped
        .ended
        .iter()
        .map(|process| process.pid.to_string())
        .collect();
    match (pids.is_empty(), stopped.killed()) {
        (true, _) => String::new(),
        (false, 0) => format!("stopped, pid {}", pids.join(", ")),
        (false, killed) => format!("stopped, pid {} ({killed} killed)", pids.join(", ")),
    }
}
