//! What is seen of a start while it is waited for, and when it is given up.

use std::time::Duration;

use tokio::time::Instant;

use crate::logs::grammar;
use crate::node::{ExitStatus, Line, NodeError};
use crate::plan::effect::WaitReady;
use crate::plan::{Failure, Part, Phase, Time};

use super::OnPhase;
use super::log::Tail;
use super::watch::{self, ProcessState, Reading};

/// What takes less is over before anybody wonders.
const WORTH_TELLING: Duration = Duration::from_secs(5);

/// What to do where the kernel's out-of-memory killer was at work.
const OUT_OF_MEMORY: &str =
    "free memory on the node, or lower args.gpu_memory_utilization or args.max_model_len";

/// How long one that has failed may stand still: long enough for whoever would end it.
const STANDSTILL: Duration = Duration::from_secs(if cfg!(test) { 2 } else { 30 });

/// What has been seen so far.
pub(super) struct Startup {
    pub(super) seen: ProcessState,
    pub(super) pid: u32,
    /// Whether nobody listened yet when it was looked at first.
    pub(super) from_before: bool,
    pub(super) tail: Tail,
    patience: Duration,
    /// When its log grew last.
    told: Instant,
    /// Since when it has done nothing, where it does nothing.
    idle: Option<Instant>,
    /// How far it is, by its log.
    part: Part,
    expected: Option<Duration>,
    began: Instant,
}

impl Startup {
    pub(super) fn new(ready: &WaitReady, began: Instant) -> Self {
        Self {
            seen: ProcessState::Quiet,
            pid: 0,
            from_before: false,
            tail: Tail::new(grammar(ready.log_reader)),
            patience: ready.patience,
            told: began,
            idle: None,
            part: Part::default(),
            expected: ready.expected.filter(|it| *it >= WORTH_TELLING),
            began,
        }
    }

    /// When it is no longer waited for.
    pub(super) fn deadline(&self) -> Instant {
        let patient = self.told + self.patience;
        self.standstill().map_or(patient, |it| it.min(patient))
    }

    /// When one counts as stuck that named a cause, and since then neither went on nor did anything.
    /// vLLM goes on waiting where a thread of it has failed.
    fn standstill(&self) -> Option<Instant> {
        let idle = self.idle.filter(|_| self.seen == ProcessState::Quiet)?;
        self.tail
            .has_stumbled()
            .then(|| idle.max(self.told) + STANDSTILL)
    }

    /// Why it is no longer waited for.
    pub(super) fn stands_still(self, trouble: &str) -> Failure {
        let seconds = self.told.elapsed().as_secs_f64();
        self.tail.failure(format!(
            "it is not ready, and its log has stood still for {seconds:.0} s: {trouble}"
        ))
    }

    pub(super) fn take(
        &mut self,
        line: Line,
        ready: &WaitReady,
        progress: OnPhase<'_>,
    ) -> Result<(), Failure> {
        match line {
            Line::Err(line) => {
                self.told = Instant::now();
                if let Some(part) = self.tail.take(&line) {
                    self.part = part;
                    progress(self.phase());
                }
            }
            Line::Out(line) => match watch::read(&line, ready.probe.port, ready.predecessor) {
                Some(Reading::Leader(pid)) => self.pid = pid,
                Some(Reading::State(seen)) => {
                    self.from_before |= seen == ProcessState::Quiet;
                    self.seen = seen;
                }
                Some(Reading::Idle(is)) => self.idle = is.then(Instant::now),
                Some(Reading::Intruder(words)) => return Err(Failure::new(words)),
                None => {}
            },
        }
        Ok(())
    }

    /// Whether it loads and it is known how long that takes.
    pub(super) fn is_estimated(&self) -> bool {
        self.expected.is_some() && self.seen == ProcessState::Quiet
    }

    pub(super) fn phase(&self) -> Phase {
        Phase {
            time: self.expected.map(|expected| Time {
                elapsed: self.began.elapsed(),
                expected,
            }),
            ..Phase::new("loading").at(self.part.clone())
        }
    }

    /// Why it died: what the kernel kills for want of memory says nothing in its log.
    fn died(self, out_of_memory: bool) -> Failure {
        let pid = self.pid;
        if !out_of_memory {
            let otherwise = format!("it died before it was ready (pid {pid})");
            return self.tail.failure(otherwise);
        }
        let otherwise = format!(
            "it died before it was ready (pid {pid}), when the node's memory had run out and its kernel \
             killed what took most"
        );
        let failure = self.tail.failure(otherwise);
        let hint = failure.hint.clone();
        failure.hinted(hint.unwrap_or_else(|| OUT_OF_MEMORY.to_owned()))
    }

    /// Why the watch is over.
    pub(super) fn end(
        self,
        ready: &WaitReady,
        watched: Option<Result<ExitStatus, NodeError>>,
    ) -> Failure {
        match (self.seen, watched) {
            (ProcessState::Dead { out_of_memory }, _) => self.died(out_of_memory),
            (ProcessState::Gone, _) => self.tail.failure(format!(
                "no process of `{}` is running any more",
                ready.address
            )),
            (_, Some(Err(error))) => error.into(),
            (_, Some(Ok(status))) => Failure::new(format!("the watch over it ended: {status}")),
            (_, None) => Failure::new("the watch over it ended"),
        }
    }
}
