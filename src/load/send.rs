//! The sending part of a measurement: everything that talks to the servers, on one machine.
//!
//! An [`Errand`] says all that it needs to know, and [`Sent`] is all that comes of it. While it works
//! it tells of it ([`Told`]), and once all is warm it waits for a word ([`Teller`]). It reads no file of
//! results and writes none: that, and what is thought of it, is [`measure`](super::measure())'s.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

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
    /// All is warm, and the requests that count wait for the word to begin.
    Warm,
    /// They have ended.
    Over,
}

/// The end of whoever sends: it tells of it, and before the requests that count it waits for the word
/// to begin, so that the machines can be looked at between the warm-up and those.
#[derive(Debug)]
pub struct Teller {
    told: mpsc::UnboundedSender<Told>,
    begin: Begin,
}

/// The end of whoever hears of it, and gives the word to begin.
#[derive(Debug)]
pub struct Hearer {
    told: mpsc::UnboundedReceiver<Told>,
    begin: Option<oneshot::Sender<()>>,
}

/// Comes with the word to begin. Whoever has gone away need not be waited for: it counts as the word.
pub type Begin = oneshot::Receiver<()>;

/// Both ends of what is said while requests are sent.
pub fn telling() -> (Teller, Hearer) {
    let (teller, heard) = mpsc::unbounded_channel();
    let (word, begin) = oneshot::channel();
    let teller = Teller {
        told: teller,
        begin,
    };
    let hearer = Hearer {
        told: heard,
        begin: Some(word),
    };
    (teller, hearer)
}

impl Teller {
    /// Its two sides: who hears, of whom whoever has gone away hears nothing, and the word to begin.
    pub fn apart(self) -> (mpsc::UnboundedSender<Told>, Begin) {
        (self.told, self.begin)
    }
}

impl Hearer {
    /// The next thing that is told; nothing once nobody tells any more.
    pub async fn hear(&mut self) -> Option<Told> {
        self.told.recv().await
    }

    /// What was told and not heard yet.
    pub fn heard(&mut self) -> Option<Told> {
        self.told.try_recv().ok()
    }

    /// Gives the word to begin, once.
    pub fn begin(&mut self) {
        if let Some(word) = self.begin.take() {
            // Who has ended meanwhile does not begin.
            let _ = word.send(());
        }
    }
}

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
    teller: Teller,
) -> Result<Sent, Failure> {
    let (told, begin) = teller.apart();
    let keys = ApiKeys::new(keys)?;
    limits::make_room_for(&errand.job.load.schedules())?;
    let counts = Arc::new(Counts::new());
    let bench = Bench::new(errand, keys, &counts);
    let sampler = bench.sampler();
    let tell = told.clone();
    let work = on_own_thread(bench.perform(tell, begin, stop))?;
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
