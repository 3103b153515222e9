//! How far a measurement is, told without disturbing it: the sending thread only counts, and a
//! reader on another thread looks at the counts when it likes.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::{Duration, Instant};

use crate::plan::{Count, Phase, Time};

/// The while of which a rate is told.
const LATELY: Duration = Duration::from_secs(5);

/// A rate of less than this says nothing.
const SETTLED: Duration = Duration::from_secs(2);

/// What is over sooner is not told how long it takes.
const WORTH_TELLING: Duration = Duration::from_secs(5);

/// What a measurement is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// Every instance is asked who it is.
    Verifying,
    /// The generator measures what it costs itself.
    Calibrating,
    /// Every instance answers its first requests.
    Warming,
    /// The way through the endpoint takes its first one.
    WarmingThrough,
    /// Requests are measured.
    Measuring,
}

/// What a load is going to be, as far as that is known.
#[derive(Debug, Clone, Default)]
pub(super) struct Aim {
    /// Which load it is: `3/7 concurrency 8`.
    pub(super) part: String,
    /// How many requests it takes; 0 where that is not known.
    pub(super) requests: u32,
    /// How long requests are sent, where it is time that ends it.
    pub(super) time: Option<Duration>,
}

/// The counts.
#[derive(Debug)]
pub(super) struct Counts {
    /// What is being done, since when, and how much that is.
    stage: Mutex<(Stage, Instant, Aim)>,
    done: AtomicU32,
    failed: AtomicU32,
    /// What was whole at some moments of the last while.
    lately: Mutex<VecDeque<(Instant, u32)>>,
}

impl Counts {
    pub(super) fn new() -> Self {
        Self {
            stage: Mutex::new((Stage::Verifying, Instant::now(), Aim::default())),
            done: AtomicU32::new(0),
            failed: AtomicU32::new(0),
            lately: Mutex::default(),
        }
    }

    /// Begins a stage of so many requests.
    pub(super) fn enter(&self, stage: Stage, of: u32) {
        let requests = of;
        self.aim(
            stage,
            Aim {
                requests,
                ..Aim::default()
            },
        );
    }

    /// Begins a stage of which this is known.
    pub(super) fn aim(&self, stage: Stage, aim: Aim) {
        let mut now = self.stage.lock().expect("no holder panics");
        self.done.store(0, Relaxed);
        self.failed.store(0, Relaxed);
        self.lately.lock().expect("no holder panics").clear();
        *now = (stage, Instant::now(), aim);
    }

    /// Makes the stage one of more requests.
    pub(super) fn expect(&self, more: u32) {
        let mut now = self.stage.lock().expect("no holder panics");
        now.2.requests = now.2.requests.saturating_add(more);
    }

    /// Counts a request that ended.
    pub(super) fn count(&self, ok: bool) {
        self.done.fetch_add(1, Relaxed);
        self.failed.fetch_add(u32::from(!ok), Relaxed);
    }

    /// Whether requests are measured now.
    pub(super) fn is_measuring(&self) -> bool {
        let (stage, ..) = *self.stage.lock().expect("no holder panics");
        stage == Stage::Measuring
    }

    pub(super) fn phase(&self) -> Phase {
        let (stage, since, aim) = self.stage.lock().expect("no holder panics").clone();
        let requests = Count::Requests {
            done: self.done.load(Relaxed).into(),
            of: aim.requests.into(),
            failed: self.failed.load(Relaxed).into(),
        };
        match stage {
            Stage::Verifying => Phase::new("verifying"),
            Stage::Calibrating => Phase::new("calibrating").at("the generator itself"),
            Stage::Warming => Phase::new("warming").counted(requests),
            Stage::WarmingThrough => Phase::new("warming").at("through the endpoint"),
            Stage::Measuring => self.measuring(since, &aim, requests),
        }
    }

    /// How far a load is, how fast it goes, and how long it is going to take.
    fn measuring(&self, since: Instant, aim: &Aim, requests: Count) -> Phase {
        let (now, done) = (Instant::now(), self.done.load(Relaxed));
        let elapsed = now - since;
        let whole = done - self.failed.load(Relaxed).min(done);
        let rate = self.rate(now, whole).filter(|_| elapsed >= SETTLED);
        let rate = rate.map(|rate| format!("{rate:.1} ok/s"));
        let parts = [Some(aim.part.clone()), rate].into_iter().flatten();
        let parts: Vec<String> = parts.filter(|part| !part.is_empty()).collect();
        let phase = Phase::new("measuring")
            .at(parts.join(", "))
            .counted(requests);
        let expected = expected(aim, elapsed, done).filter(|time| *time >= WORTH_TELLING);
        Phase {
            time: expected.map(|expected| Time { elapsed, expected }),
            ..phase
        }
    }

    /// How many were whole in each second of the last while.
    fn rate(&self, now: Instant, whole: u32) -> Option<f64> {
        let mut lately = self.lately.lock().expect("no holder panics");
        lately.push_back((now, whole));
        while lately.len() > 2 && lately.front().is_some_and(|(at, _)| now - *at > LATELY) {
            lately.pop_front();
        }
        let (at, before) = *lately.front()?;
        let seconds = (now - at).as_secs_f64();
        (seconds > 0.0).then(|| f64::from(whole.saturating_sub(before)) / seconds)
    }
}

/// How long a load takes: as long as was asked, or as long as its first requests make one think.
fn expected(aim: &Aim, elapsed: Duration, done: u32) -> Option<Duration> {
    let by_requests = (done > 0 && aim.requests > 0)
        .then(|| elapsed.mul_f64(f64::from(aim.requests) / f64::from(done)));
    aim.time.or(by_requests)
}
