//! The sending thread's part: who answers, warm, and every load of the job, round by round.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc::UnboundedSender;

use super::ahead::Ahead;
use super::canary::CanaryProbe;
use super::client::{Client, Connection};
use super::clock::{Clock, nanoseconds};
use super::conclude::SoFar;
use super::counts::{Aim, Counts, Stage};
use super::drive::{Transport, drive};
use super::fit::fit;
use super::key::ApiKeys;
use super::overhead::overhead;
use super::pressure::Waited;
use super::request::{Place, Requests};
use super::sample::Raw;
use super::scrape::{self, Pages, Sampler};
use super::send::{Begin, Errand, Told};
use super::thread::Effort;
use super::timer::Timer;
use super::warmup::Warmer;
use super::{canary, identity, rounds, sample};
use crate::plan::{Failure, Job};
use crate::prompts::Keep;
use crate::results::{
    Canaries, Canary, Cut, HandOver, IdleCanaries, Overhead, Pressure, Record, Single, Warmup,
    by_instance, prefilled,
};
use crate::shape::{Ended, Found, Shape, Skipped, Stopped};

/// Everything that the sending thread needs.
pub(super) struct Bench {
    job: Job,
    client: Client,
    requests: Requests,
    canary: CanaryProbe,
    /// The name of the run.
    run: String,
    /// What one request alone achieves there.
    single: Option<Single>,
    counts: Arc<Counts>,
}

/// What the sending thread brings home.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Measured {
    /// What the generator itself costs here.
    pub(super) overhead: Option<Overhead>,
    pub(super) warmup: Warmup,
    pub(super) loads: Vec<Driven>,
    pub(super) canaries: Canaries,
    /// What was not driven.
    pub(super) skipped: Vec<Skipped>,
    /// What a search has found.
    pub(super) search: Option<Found>,
}

/// A load that was driven to its end, as often as it takes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Driven {
    pub(super) load: Shape,
    /// All of its requests, round by round.
    pub(super) records: Vec<Record>,
    /// Where it was interrupted before its end.
    pub(super) cut: Option<Cut>,
    /// Why it was stopped before its end.
    pub(super) stopped: Option<Stopped>,
    /// How much of a core the thread that sends used.
    pub(super) cpu: Option<f64>,
    /// What the engines had counted before it, and after.
    pub(super) before: Pages,
    pub(super) after: Pages,
    /// How long it took the proxy to go from one instance to another, where two shared requests.
    pub(super) hand_over: Option<HandOver>,
    /// How short this machine was of CPU meanwhile.
    pub(super) pressure: Option<Pressure>,
}

impl Bench {
    pub(super) fn new(errand: Errand, keys: ApiKeys, counts: &Arc<Counts>) -> Self {
        let Errand {
            job, run, single, ..
        } = errand;
        let client = Client {
            clock: Clock::start(),
            keys,
            limit: Duration::from_secs_f64(job.timeout_s),
        };
        Self {
            canary: CanaryProbe::of(&job, &client),
            requests: Requests::of(&job, &run),
            job,
            client,
            run,
            single,
            counts: Arc::clone(counts),
        }
    }

    /// Looks at the engines for as long as it is there.
    pub(super) fn sampler(&self) -> Sampler {
        Sampler::start(&self.client, &self.job.instances, &self.counts)
    }

    pub(super) async fn perform(
        mut self,
        told: UnboundedSender<Told>,
        begin: Begin,
        stop: impl Future<Output = ()>,
    ) -> Result<Measured, Failure> {
        let mut stop = pin!(stop);
        let (overhead, warmup) = tokio::select! {
            prepared = self.prepare() => prepared?,
            () = &mut stop => return Err(nothing_measured()),
        };
        let bench = Arc::new(self);
        let before = bench.canary.ask(&bench.run, canary::BEFORE).await;
        // Who hears nothing any more has let go of this too.
        let _ = told.send(Told::Warm);
        tokio::select! {
            _ = begin => {}
            () = &mut stop => return Err(nothing_measured()),
        }
        let is_warm = match bench.job.instances.as_slice() {
            [] => !warmup.instances.is_empty(),
            known => known.iter().all(|it| warmup.warmed(&it.name)),
        };
        let mut walk = bench.job.load.walk();
        let mut so_far = SoFar::of(&bench.job, overhead.as_ref());
        let mut loads = Vec::new();
        while let Some(load) = walk.next_load() {
            let place = Part {
                number: loads.len(),
                of: walk.of(),
            };
            let driven = bench.load(place, &load, is_warm, &mut stop).await;
            if driven.cut.is_some() && driven.records.is_empty() && loads.is_empty() {
                return Err(nothing_measured());
            }
            let is_cut = driven.cut.is_some();
            if !is_cut && walk.asks() {
                let single = bench.single.as_ref();
                walk.went(&load, &so_far.went(&bench.job, &driven, &warmup, single));
            }
            loads.push(driven);
            if is_cut {
                break;
            }
        }
        let _ = told.send(Told::Over);
        Ok(Measured {
            overhead,
            warmup,
            skipped: walk.skipped(),
            search: walk.found(),
            canaries: bench.canaries(before, &loads).await,
            loads,
        })
    }

    /// What every instance showed before and, asked again, shows now: those that were measured apart from
    /// those that were idle beside them.
    async fn canaries(&self, before: Vec<Canary>, loads: &[Driven]) -> Canaries {
        let after = self.canaries_after(&before, loads).await;
        let is_measured = |canary: &Canary| {
            let mut instances = self.job.instances.iter();
            instances.any(|target| target.name == canary.instance)
        };
        let (before, idle_before) = before.into_iter().partition(is_measured);
        let (after, idle_after) = after.into_iter().partition(is_measured);
        Canaries {
            tokens: self.job.canary,
            before,
            after,
            idle: IdleCanaries {
                before: idle_before,
                after: idle_after,
            },
            history: BTreeMap::new(),
        }
    }

    /// The canaries after the last request. One that seems slow is asked once more: a slow state
    /// lasts, a hiccup does not. After a stop nobody is asked.
    async fn canaries_after(&self, before: &[Canary], loads: &[Driven]) -> Vec<Canary> {
        if loads.iter().any(|driven| driven.cut.is_some()) {
            return Vec::new();
        }
        let after = self.canary.ask(&self.run, "after").await;
        if !canary::seems_slow(before, &after) {
            return after;
        }
        let again = self.canary.ask(&self.run, "again").await;
        canary::better(after, &again)
    }

    async fn prepare(&mut self) -> Result<(Option<Overhead>, Warmup), Failure> {
        identity::verify(&self.client, &self.job.instances).await?;
        fit(&self.client, &self.job, &mut self.requests).await?;
        self.counts.enter(Stage::Calibrating, 0);
        let overhead = overhead(&self.client, &self.job).await;
        Ok((overhead, self.warm().await?))
    }

    /// Drives a load, again where one round of it is too short to tell anything.
    async fn load(
        self: &Arc<Self>,
        part: Part,
        load: &Shape,
        is_warm: bool,
        mut stop: impl Future<Output = ()> + Unpin,
    ) -> Driven {
        let targets = &[&self.job.instances[..], &self.job.idle].concat();
        let mut driven = Driven {
            load: load.clone(),
            records: Vec::new(),
            cut: None,
            stopped: None,
            cpu: None,
            before: scrape::pages(&self.client, targets).await,
            after: Pages::new(),
            hand_over: None,
            pressure: None,
        };
        let handed = scrape::hand_overs(&self.client, &self.job.endpoint).await;
        let effort = Effort::begin();
        let waited = Waited::now(self.client.clock);
        for round in 0.. {
            self.round(&mut driven, part, round, &mut stop).await;
            if driven.is_over(self.job.repeats, is_warm) {
                break;
            }
        }
        driven.cpu = effort.share();
        let waited = waited.zip(Waited::now(self.client.clock));
        driven.pressure = waited.and_then(|(before, after)| before.until(after));
        let answered = answered(&driven.records);
        let before = &driven.before;
        driven.after = scrape::pages_after(&self.client, targets, before, &answered).await;
        let since = scrape::hand_overs(&self.client, &self.job.endpoint).await;
        driven.hand_over = handed
            .zip(since)
            .and_then(|(before, after)| HandOver::between(&before, &after));
        driven
    }

    async fn round(
        self: &Arc<Self>,
        driven: &mut Driven,
        part: Part,
        round: u32,
        stop: impl Future<Output = ()>,
    ) {
        let schedule = driven.load.schedule();
        let asked = schedule.likely.unwrap_or(0);
        let aim = Aim {
            part: part.called(&driven.load),
            requests: asked,
            time: schedule.stop.max,
        };
        self.counts.aim(Stage::Measuring, aim);
        let place = Place {
            point: u32::try_from(part.number).unwrap_or(u32::MAX),
            round,
        };
        let sending = Arc::new(Sending {
            bench: Arc::clone(self),
            ahead: Ahead::of(&self.requests, place, asked),
            timer: Timer::new(),
        });
        let answers = drive(schedule, sending, stop).await;
        driven.stopped = answers.stopped;
        let before = driven.records.len();
        driven.cut = answers.cut.map(|in_flight| Cut {
            asked,
            ended: before + answers.landed.len(),
            in_flight,
        });
        let landed = answers.landed.into_iter();
        driven
            .records
            .extend(landed.map(|raw| self.read(raw, place)));
    }

    async fn warm(&self) -> Result<Warmup, Failure> {
        self.counts.enter(Stage::Warming, 0);
        let warmer = Warmer {
            client: self.client.clone(),
            requests: self.requests.clone(),
            counts: Arc::clone(&self.counts),
        };
        warmer.warm(&self.job).await
    }

    fn read(&self, mut raw: Raw, place: Place) -> Record {
        if raw.served_by.is_none() && raw.http_status.is_some() {
            raw.served_by = served_directly(&self.job).map(str::to_owned);
        }
        let record = sample::read(raw);
        let is_kept = self.job.keep == Some(Keep::Answers);
        let answer = record.answer.filter(|_| is_kept);
        Record {
            error: record.error.map(|error| self.client.redact(&error)),
            prompt_number: Some(self.requests.number(record.index)),
            prompt: is_kept.then(|| self.requests.kept(record.index)),
            answer: answer.map(|answer| self.client.redact(&answer)),
            point: place.point,
            round: place.round,
            ..record
        }
    }
}

impl Driven {
    /// Whether it was driven as often as it takes. What says itself how long it goes on is driven once.
    fn is_over(&self, repeats: Option<u32>, is_warm: bool) -> bool {
        let is_once = repeats.is_none() && self.load.is_timed();
        let is_ended = self.cut.is_some() || self.stopped.is_some();
        is_once || is_ended || rounds::are_enough(&self.records, repeats, is_warm)
    }
}

/// Which load it is, of how many.
#[derive(Clone, Copy)]
struct Part {
    /// From 0.
    number: usize,
    of: usize,
}

impl Part {
    /// `3/7 concurrency 8`; nothing of the only one.
    fn called(self, load: &Shape) -> String {
        match self.of {
            1 => String::new(),
            of => format!("{}/{of} {}", self.number + 1, load.label()),
        }
    }
}

/// How many requests each ended: answers, and prompts that it read for others.
fn answered(records: &[Record]) -> BTreeMap<String, u64> {
    let whole = || records.iter().filter(|it| it.has_whole_answer());
    let served = by_instance(whole()).into_iter();
    let served = served.map(|(instance, own)| (instance, own.len() as u64));
    let mut answered = BTreeMap::new();
    for (instance, requests) in served.chain(prefilled(whole())) {
        *answered.entry(instance.to_owned()).or_default() += requests;
    }
    answered
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

/// One round of a load, as the driver sends it.
struct Sending {
    bench: Arc<Bench>,
    /// Its requests.
    ahead: Ahead,
    /// What wakes for the next of them; nothing where the system has no timer for it.
    timer: Option<Timer>,
}

impl Transport for Sending {
    type Connection = Connection;
    type Answer = Raw;

    fn now(&self) -> Duration {
        Duration::from_nanos(self.bench.client.clock.now())
    }

    async fn until(&self, moment: Duration) {
        let time = moment.saturating_sub(self.now());
        match &self.timer {
            Some(timer) => timer.wait(time).await,
            None => tokio::time::sleep(time).await,
        }
    }

    async fn open(&self) -> Connection {
        let Bench { client, job, .. } = &*self.bench;
        client.open(&job.endpoint.authority).await
    }

    async fn send(&self, over: Connection, index: u32, planned: Option<Duration>) -> Raw {
        let Bench { client, counts, .. } = &*self.bench;
        let message = self.ahead.take(index);
        let raw = client.complete(over, message, planned).await;
        counts.count(raw.glance().is_ok);
        raw
    }

    fn is_good(&self, connection: &Connection) -> bool {
        connection.is_good()
    }

    fn not_sent(&self, index: u32, planned: Duration) -> Raw {
        self.bench.counts.count(false);
        Raw::not_sent(&self.ahead.take(index), nanoseconds(planned))
    }

    fn ended(&self, answer: &Raw) -> Ended {
        answer.glance()
    }
}
