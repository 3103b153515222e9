//! The story of a measurement: who answers, warm, send, read, sum up, judge, write.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use super::client::{Client, Connection};
use super::counts::{Counts, Stage};
use super::drive::{Transport, drive};
use super::key::ApiKeys;
use super::request::Requests;
use super::sample::{Ending, Raw};
use super::warmup::Warmer;
use super::wire::Clock;
use super::{identity, limits, sample};
use crate::plan::{Failure, Job, Phase};
use crate::results::{
    self, Anomaly, Baseline, BenchResult, ClientFacts, Comparison, Cut, Files, JobFacts, Measuring,
    Point, Record, Run, RunFiles, SCHEMA, Tool, UnderWay, Warmup,
};
use crate::shape::Shape;
use crate::verdict::{Case, judge};

/// How often progress is told.
const TELL_EVERY: Duration = Duration::from_millis(250);

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
/// that they are shown to; `tell` hears about the progress four times a second.
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
pub async fn measure(
    job: &Job,
    keys: &BTreeMap<String, String>,
    stop: impl Future<Output = ()> + Send + 'static,
    mut tell: impl FnMut(Phase) + Send,
) -> Result<Measurement, Failure> {
    check(job)?;
    let keys = ApiKeys::new(keys)?;
    limits::make_room(job.load.schedule().in_flight)?;
    let baseline = job
        .baseline
        .as_deref()
        .map(results::read_baseline)
        .transpose()?;
    let run = Run {
        id: format!("{:016x}", fastrand::u64(..)),
        started: jiff::Timestamp::now(),
    };
    let counts = Arc::new(Counts::new());
    let bench = Bench::new(job, keys, &run, &counts);
    let under_way = UnderWay::begin(job, &run)?;
    let work = on_own_thread(bench.perform(under_way, stop))?;
    let measured = watched(work, &counts, &mut tell).await?;
    counts.enter(Stage::Summarising, 0);
    tell(counts.phase());
    conclude(job, run, measured, baseline.as_ref())
}

fn check(job: &Job) -> Result<(), Failure> {
    let lacks = |what: &str| Err(Failure::new(format!("benchmark `{}` {what}", job.name)));
    match job {
        _ if job.prompts.is_empty() => lacks("has no prompts"),
        _ if job.max_tokens == 0 => lacks("asks for no tokens"),
        _ if Duration::try_from_secs_f64(job.timeout_s).map_or(true, |t| t.is_zero()) => {
            lacks("has a timeout that is no time")
        }
        _ => Ok(()),
    }
}

/// Everything that the sending thread needs.
struct Bench {
    job: Job,
    client: Client,
    requests: Requests,
    counts: Arc<Counts>,
}

/// What the sending thread brings home.
struct Measured {
    warmup: Warmup,
    loads: Vec<Driven>,
    /// Who else measured the topology meanwhile.
    others: Vec<Measuring>,
}

/// A load that was driven to its end.
struct Driven {
    load: Shape,
    records: Vec<Record>,
    /// Where it was stopped before that.
    cut: Option<Cut>,
}

impl Bench {
    fn new(job: &Job, keys: ApiKeys, run: &Run, counts: &Arc<Counts>) -> Self {
        Self {
            job: job.clone(),
            client: Client {
                clock: Clock::start(),
                keys,
                limit: Duration::from_secs_f64(job.timeout_s),
            },
            requests: Requests::of(job, &run.id),
            counts: Arc::clone(counts),
        }
    }

    async fn perform(
        self,
        mut under_way: UnderWay,
        stop: impl Future<Output = ()>,
    ) -> Result<Measured, Failure> {
        let mut stop = pin!(stop);
        let warmup = tokio::select! {
            warmup = self.prepare() => warmup?,
            () = &mut stop => return Err(nothing_measured()),
        };
        let bench = Arc::new(self);
        under_way.measure();
        let driven = bench.drive(&bench.job.load, stop).await;
        if driven.cut.is_some() && driven.records.is_empty() {
            return Err(nothing_measured());
        }
        let loads = vec![driven];
        let others = under_way.end();
        Ok(Measured {
            warmup,
            loads,
            others,
        })
    }

    async fn prepare(&self) -> Result<Warmup, Failure> {
        identity::verify(&self.client, &self.job.instances).await?;
        self.warm().await
    }

    async fn drive(self: &Arc<Self>, load: &Shape, stop: impl Future<Output = ()>) -> Driven {
        let schedule = load.schedule();
        let asked = schedule.requests;
        self.counts.enter(Stage::Measuring, asked);
        let answers = drive(schedule, Arc::clone(self), stop).await;
        let ended = answers.landed.len();
        Driven {
            load: load.clone(),
            cut: answers.cut.map(|in_flight| Cut {
                asked,
                ended,
                in_flight,
            }),
            records: answers
                .landed
                .into_iter()
                .map(|raw| self.read(raw))
                .collect(),
        }
    }

    async fn warm(&self) -> Result<Warmup, Failure> {
        let instances = u32::try_from(self.job.instances.len()).unwrap_or(u32::MAX);
        let requests = self.job.warmup.saturating_mul(instances);
        self.counts.enter(Stage::Warming, requests);
        let warmer = Warmer {
            client: self.client.clone(),
            requests: self.requests.clone(),
            counts: Arc::clone(&self.counts),
        };
        warmer.warm(&self.job).await
    }

    fn read(&self, mut raw: Raw) -> Record {
        if raw.served_by.is_none() && raw.http_status.is_some() {
            raw.served_by = served_directly(&self.job).map(str::to_owned);
        }
        let mut record = sample::read(raw, self.job.max_tokens);
        record.error = record.error.map(|error| self.client.redact(&error));
        record
    }
}

fn nothing_measured() -> Failure {
    Failure::interrupted("interrupted before a request had ended: nothing was measured")
}

/// Who serves a request of which no header says it: the instance that is the endpoint.
fn served_directly(job: &Job) -> Option<&str> {
    let mut instances = job.instances.iter();
    let direct = instances.find(|target| target.authority == job.endpoint.authority);
    direct
        .filter(|_| !job.endpoint.is_proxy)
        .map(|target| target.name.as_str())
}

impl Transport for Bench {
    type Connection = Connection;
    type Answer = Raw;

    fn now(&self) -> Duration {
        Duration::from_nanos(self.client.clock.now())
    }

    async fn open(&self) -> Connection {
        self.client.open(&self.job.endpoint.authority).await
    }

    async fn send(&self, over: Connection, index: u32, planned: Option<Duration>) -> Raw {
        let message = self.requests.measured(index);
        let raw = self.client.complete(over, message, planned).await;
        // Whether it is ok is judged later; for the eye, a whole answer is enough.
        self.counts
            .count(raw.ending == Ending::Complete && raw.http_status == Some(200));
        raw
    }
}

/// Runs a future on a thread and a runtime of its own. Dropping the receiver ends it.
fn on_own_thread<T: Send + 'static>(
    work: impl Future<Output = T> + Send + 'static,
) -> Result<oneshot::Receiver<T>, Failure> {
    let failed = |error| Failure::new(format!("cannot start the load generator: {error}"));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(failed)?;
    let (mut done, outcome) = oneshot::channel();
    std::thread::Builder::new()
        .name("load".to_owned())
        .spawn(move || {
            let seen = runtime.block_on(async {
                tokio::select! {
                    seen = work => Some(seen),
                    () = done.closed() => None,
                }
            });
            if let Some(seen) = seen {
                let _ = done.send(seen);
            }
        })
        .map_err(failed)?;
    Ok(outcome)
}

async fn watched<T>(
    mut work: oneshot::Receiver<Result<T, Failure>>,
    counts: &Counts,
    tell: &mut (impl FnMut(Phase) + Send),
) -> Result<T, Failure> {
    let mut tick = tokio::time::interval(TELL_EVERY);
    loop {
        tokio::select! {
            seen = &mut work => {
                return seen.map_err(|_| Failure::new("the load generator stopped without a word"))?;
            }
            _ = tick.tick() => tell(counts.phase()),
        }
    }
}

/// Sums up, judges, and writes.
fn conclude(
    job: &Job,
    run: Run,
    measured: Measured,
    baseline: Option<&Baseline>,
) -> Result<Measurement, Failure> {
    let facts = JobFacts::from(job);
    let judged = |driven: &Driven| judged(job, &facts, driven, &measured, baseline);
    let points: Vec<Point> = measured.loads.iter().map(judged).collect();
    let place = RunFiles::of(job, &run);
    let result = BenchResult {
        schema: SCHEMA.to_owned(),
        tool: Tool::this(),
        run,
        client: ClientFacts::here(),
        topology: job.provenance.clone(),
        comparison: baseline.map(|baseline| Comparison::of(&facts, &points, baseline)),
        job: facts,
        warmup: measured.warmup,
        valid: points.iter().all(|point| point.valid),
        points,
        interrupted: measured.loads.iter().find_map(|driven| driven.cut),
        files: Files {
            requests: place.requests_name(),
        },
    };
    let records = measured.loads.iter().flat_map(|driven| &driven.records);
    place.write(&result, records)?;
    Ok(Measurement {
        path: place.result(),
        requests: place.requests(),
        saved: results::save_for_the_notebook(job, &result)?,
        valid: result.valid,
        anomalies: result.anomalies().cloned().collect(),
        result,
    })
}

fn judged(
    job: &Job,
    facts: &JobFacts,
    driven: &Driven,
    measured: &Measured,
    baseline: Option<&Baseline>,
) -> Point {
    let point = Point::of(&driven.load, &driven.records);
    let single = results::single_throughput(&job.results, &job.topology, &facts.targets);
    let anomalies = judge(&Case {
        job: facts,
        point: &point,
        records: &driven.records,
        warmup: &measured.warmup,
        provenance: &job.provenance,
        single: single.as_ref(),
        baseline,
        others: &measured.others,
        cut: driven.cut.as_ref(),
    });
    point.judged(anomalies)
}
