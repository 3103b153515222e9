//! The story of a measurement: look at the machines, warm, look, send, look again, sum up, judge, write.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::pin::pin;
use std::time::Duration;

use tokio::sync::oneshot;

use super::conclude::{Beside, conclude};
use super::send::{Errand, Hearer, Sent, Teller, Told, send, telling};
use crate::plan::{Failure, Job, Look, Phase};
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
/// `survey` looks at the machines of the servers: before, once all is warm, and after.
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
    survey: impl Fn(Look) -> S + Send + Sync,
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
    survey: impl Fn(Look) -> S + Send + Sync,
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
    let before = survey(Look::Whole).await;
    let (teller, hearer) = telling();
    let mut onlooker = Onlooker {
        hearer,
        note: &mut note,
        tell: &mut tell,
    };
    let quick = || survey(Look::Quick);
    let (sent, begun) = onlooker.watch(sender(errand, teller), quick).await?;
    let beside = Beside {
        conditions: Conditions {
            before,
            begun,
            after: survey(Look::Whole).await,
        },
        others: note.others(),
        single,
        baseline,
    };
    tell(Phase::new("summarising"));
    conclude(job, run, sent.brought_home(job), beside)
}

/// Whoever hears of what is sent.
struct Onlooker<'a, T> {
    hearer: Hearer,
    note: &'a mut Note,
    tell: &'a mut T,
}

impl<T: FnMut(Phase) + Send> Onlooker<'_, T> {
    /// Waits for what is sent, and hears of it meanwhile. Once all is warm the machines are looked at,
    /// and only then the word to begin is given: what they do from then on they do while measured.
    async fn watch<S: Future<Output = Surveyed> + Send>(
        &mut self,
        sending: impl Future<Output = Result<Sent, Failure>>,
        quick: impl FnOnce() -> S,
    ) -> Result<(Sent, Surveyed), Failure> {
        let (warm, is_warm) = oneshot::channel();
        let mut warm = Some(warm);
        let mut looking = pin!(async {
            // Nobody looks where it never becomes warm.
            match is_warm.await {
                Ok(()) => quick().await,
                Err(_) => Surveyed::new(),
            }
        });
        let mut sending = pin!(sending);
        let mut begun = None;
        let sent = loop {
            tokio::select! {
                sent = &mut sending => break sent,
                seen = &mut looking, if begun.is_none() => {
                    begun = Some(seen);
                    self.note.begin();
                    self.hearer.begin();
                }
                Some(told) = self.hearer.hear() => match told {
                    Told::Warm => drop(warm.take().map(|warm| warm.send(()))),
                    told => self.hear(told),
                },
            }
        };
        while let Some(told) = self.hearer.heard() {
            self.hear(told);
        }
        Ok((sent?, begun.unwrap_or_default()))
    }

    fn hear(&mut self, told: Told) {
        match told {
            Told::Phase(phase) => (self.tell)(phase),
            Told::Warm => {}
            Told::Over => self.note.end(),
        }
    }
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
