//! The story of a measurement: look at the machines, send, look again, sum up, judge, write.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::pin::pin;
use std::time::Duration;

use tokio::sync::mpsc;

use super::conclude::{Beside, conclude};
use super::send::{Errand, Sent, Teller, Told, send};
use crate::plan::{Failure, Job, Phase};
use crate::results::{self, Anomaly, BenchResult, Conditions, Measuring, Run, Surveyed, UnderWay};

/// What a measurement leaves.
#[derive(Debug, Clone, PartialEq)]
pub struct Measurement {
    /// The result.
    pub result: BenchResult,
    /// Where it lies.
    pub path: PathBuf,
    /// Where its requests lie, a line each.
    pub requests: PathBuf,
    /// Where the notebook's keys were written; an invalid result is not passed on.
    pub saved: Option<PathBuf>,
    /// Whether the result may be believed; the exit code is 7 if not.
    pub valid: bool,
    /// What speaks against it, and what to know of the baseline.
    pub anomalies: Vec<Anomaly>,
}

/// Measures a job from this machine, and writes what came of it. `keys` are the API keys of the job,
/// by the addresses that they are shown to; `tell` hears about the progress four times a second;
/// `survey` looks at the machines of the servers, before and after.
///
/// Where `stop` comes first, nothing more is sent, and what has ended by then is written as a result
/// that was interrupted: it is kept, and stands for nothing.
///
/// # Errors
///
/// As [`measure_by`].
pub async fn measure<S: Future<Output = Surveyed> + Send>(
    job: &Job,
    keys: &BTreeMap<String, String>,
    stop: impl Future<Output = ()> + Send + 'static,
    tell: impl FnMut(Phase) + Send,
    survey: impl Fn() -> S + Send,
) -> Result<Measurement, Failure> {
    let sender = |errand, told| send(errand, keys, stop, told);
    measure_by(job, sender, tell, survey).await
}

/// Measures a job by whoever sends its requests, and writes what came of it: a [`send`] on this
/// machine, or on another.
///
/// # Errors
///
/// Fails where there is nothing to judge, with what the sender says of it; at an unreadable baseline
/// and a folder that cannot be written. What was measured and cannot be believed is a
/// [`Measurement`] that is not `valid`.
pub async fn measure_by<F, S>(
    job: &Job,
    sender: impl FnOnce(Errand, Teller) -> F,
    mut tell: impl FnMut(Phase) + Send,
    survey: impl Fn() -> S + Send,
) -> Result<Measurement, Failure>
where
    F: Future<Output = Result<Sent, Failure>> + Send,
    S: Future<Output = Surveyed> + Send,
{
    check(job)?;
    let baseline = job
        .baseline
        .as_deref()
        .map(results::baseline_at)
        .transpose()?
        .flatten();
    let run = Run {
        id: format!("{:016x}", fastrand::u64(..)),
        started: jiff::Timestamp::now(),
    };
    let mut note = Note::of(UnderWay::begin(job, &run)?);
    let errand = Errand::of(job, &run);
    let single = errand.single.clone();
    let before = survey().await;
    let (teller, told) = mpsc::unbounded_channel();
    let sent = heard(sender(errand, teller), told, &mut note, &mut tell).await?;
    let beside = Beside {
        conditions: Conditions {
            before,
            after: survey().await,
        },
        others: note.others(),
        single,
        baseline,
    };
    tell(Phase::new("summarising"));
    conclude(job, run, sent.brought_home(job), beside)
}

/// Waits for what is sent, and hears of it meanwhile.
async fn heard(
    sending: impl Future<Output = Result<Sent, Failure>>,
    mut told: mpsc::UnboundedReceiver<Told>,
    note: &mut Note,
    tell: &mut (impl FnMut(Phase) + Send),
) -> Result<Sent, Failure> {
    let mut hear = |told| match told {
        Told::Phase(phase) => tell(phase),
        Told::Begun => note.begin(),
        Told::Over => note.end(),
    };
    let mut sending = pin!(sending);
    let sent = loop {
        tokio::select! {
            sent = &mut sending => break sent,
            Some(told) = told.recv() => hear(told),
        }
    };
    while let Ok(told) = told.try_recv() {
        hear(told);
    }
    sent
}

/// The note of this measurement among those of others, until the requests that count have ended.
struct Note {
    under_way: Option<UnderWay>,
    others: Vec<Measuring>,
}

impl Note {
    fn of(under_way: UnderWay) -> Self {
        Self {
            under_way: Some(under_way),
            others: Vec::new(),
        }
    }

    fn begin(&mut self) {
        if let Some(under_way) = &mut self.under_way {
            under_way.measure();
        }
    }

    fn end(&mut self) {
        if let Some(under_way) = self.under_way.take() {
            self.others = under_way.end();
        }
    }

    /// Who else measured the topology while the requests that count were sent.
    fn others(mut self) -> Vec<Measuring> {
        self.end();
        self.others
    }
}

fn check(job: &Job) -> Result<(), Failure> {
    let lacks = |what: &str| Err(Failure::new(format!("benchmark `{}` {what}", job.name)));
    match job {
        _ if job.prompts.count() == Some(0) => lacks("has no prompts"),
        _ if job.max_tokens == 0 => lacks("asks for no tokens"),
        _ if Duration::try_from_secs_f64(job.timeout_s).map_or(true, |t| t.is_zero()) => {
            lacks("has a timeout that is no time")
        }
        _ => Ok(()),
    }
}
