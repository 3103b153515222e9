//! The story of a measurement: who answers, warm, send, read, sum up, judge, write.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::bench::Bench;
use super::conclude::{Beside, conclude};
use super::counts::{Counts, Stage};
use super::key::ApiKeys;
use super::limits;
use super::thread::{on_own_thread, watched};
use crate::plan::{Failure, Job, Phase};
use crate::results::{self, Anomaly, BenchResult, Conditions, Run, Surveyed, UnderWay};

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

/// Measures a job, and writes what came of it. `keys` are the API keys of the job, by the addresses
/// that they are shown to; `tell` hears about the progress four times a second; `survey` looks at the
/// machines of the servers, before and after.
///
/// Where `stop` comes first, nothing more is sent, and what has ended by then is written as a result
/// that was interrupted: it is kept, and stands for nothing.
///
/// All connections live on a thread of their own, which does nothing else; dropping the future ends
/// it.
///
/// # Errors
///
/// Fails where there is nothing to judge: an instance that is not the one that was started or that
/// answers no warm-up, a stop before a request has ended, a key that no header holds, an unreadable
/// baseline, a folder that cannot be written. What was measured and cannot be believed is an
/// [`Measurement`] that is not `valid`.
pub async fn measure<S: Future<Output = Surveyed> + Send>(
    job: &Job,
    keys: &BTreeMap<String, String>,
    stop: impl Future<Output = ()> + Send + 'static,
    mut tell: impl FnMut(Phase) + Send,
    survey: impl Fn() -> S + Send,
) -> Result<Measurement, Failure> {
    check(job)?;
    let keys = ApiKeys::new(keys)?;
    limits::make_room_for(&job.load.schedules())?;
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
    let counts = Arc::new(Counts::new());
    let bench = Bench::new(job, keys, &run, &counts);
    let under_way = UnderWay::begin(job, &run)?;
    let sampler = bench.sampler();
    let before = survey().await;
    let work = on_own_thread(bench.perform(under_way, stop))?;
    let measured = watched(work, &counts, &mut tell).await?;
    let seen = Beside {
        gauges: sampler.end(),
        conditions: Conditions {
            before,
            after: survey().await,
        },
    };
    counts.enter(Stage::Summarising, 0);
    tell(counts.phase());
    conclude(job, run, measured, seen, baseline.as_ref())
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
