//! The sending part of a measurement: everything that talks to the servers, on one machine.
//!
//! An [`Errand`] says all that it needs to know, and [`Sent`] is all that comes of it. While it works
//! it tells of it ([`Told`]). It reads no file of results and writes none: that, and what is thought
//! of it, is [`measure`](super::measure())'s.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use super::bench::{Bench, Measured};
use super::counts::Counts;
use super::key::ApiKeys;
use super::limits;
use super::scrape::Seen;
use super::thread::{on_own_thread, watched};
use crate::plan::{Failure, Job, Phase};
use crate::results::{self, ClientFacts, JobFacts, Run, Single};
use crate::shape::TraceRequest;

/// What is to be sent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Errand {
    /// What is measured.
    pub(super) job: Job,
    /// The name of the run.
    pub(super) run: String,
    /// What one request alone achieves there, where that was measured: a load is judged by it before
    /// a higher one is sent.
    pub(super) single: Option<Single>,
    /// What was read of the trace that is replayed: the machine that sends may not have the file.
    pub(super) trace: Option<Vec<TraceRequest>>,
}

/// What is heard of it on the way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Told {
    /// How far it is.
    Phase(Phase),
    /// The requests that count begin.
    Begun,
    /// They have ended.
    Over,
}

/// Who hears of it. Whoever has gone away hears nothing.
pub type Teller = mpsc::UnboundedSender<Told>;

/// What came of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sent {
    /// What the sending thread brought home.
    pub(super) measured: Measured,
    /// What the gauges of the engines showed meanwhile.
    pub(super) gauges: Seen,
    /// The machine that sent.
    pub(super) client: ClientFacts,
}

impl Errand {
    /// The errand of a job, by what was measured before.
    pub(super) fn of(job: &Job, run: &Run) -> Self {
        let targets = JobFacts::from(job).targets;
        Self {
            job: job.clone(),
            run: run.id.clone(),
            // Of whom nothing is proved, it is not known whether they are those of another day.
            single: (!job.instances.is_empty())
                .then(|| results::single_throughput(&job.results, &job.topology, &targets))
                .flatten(),
            trace: job.load.read_of_trace().map(<[TraceRequest]>::to_vec),
        }
    }

    /// The same, as it is where it was read from a line: with the trace in its place.
    pub(super) fn unpacked(mut self) -> Self {
        if let Some(requests) = self.trace.take() {
            self.job.load = self.job.load.replaying(requests);
        }
        self
    }
}

impl Sent {
    /// The same at whoever gave the errand: it is known there which node that was, and what was read of
    /// a trace.
    pub(super) fn brought_home(mut self, job: &Job) -> Self {
        self.client.node = job.from.as_ref().map(|from| from.node.clone());
        for driven in &mut self.measured.loads {
            driven.load = job.load.as_read(driven.load.clone());
        }
        self
    }
}

/// Sends what is to be sent, from this machine. `keys` are the API keys of the job, by the addresses
/// that they are shown to.
///
/// All connections live on a thread of their own, which does nothing else; dropping the future ends
/// it.
///
/// # Errors
///
/// Fails where there is nothing to judge: an instance that is not the one that was started or that
/// answers no warm-up, a stop before a request has ended, a key that no header holds.
pub async fn send(
    errand: Errand,
    keys: &BTreeMap<String, String>,
    stop: impl Future<Output = ()> + Send + 'static,
    told: Teller,
) -> Result<Sent, Failure> {
    let keys = ApiKeys::new(keys)?;
    limits::make_room_for(&errand.job.load.schedules())?;
    let counts = Arc::new(Counts::new());
    let bench = Bench::new(errand, keys, &counts);
    let sampler = bench.sampler();
    let work = on_own_thread(bench.perform(told.clone(), stop))?;
    let mut tell = |phase| drop(told.send(Told::Phase(phase)));
    let mut measured = watched(work, &counts, &mut tell).await?;
    let overhead = measured.overhead.take();
    Ok(Sent {
        measured,
        gauges: sampler.end(),
        client: ClientFacts {
            overhead,
            ..ClientFacts::here()
        },
    })
}
