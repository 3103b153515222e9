//! How far a measurement is, told without disturbing it: the sending thread only counts, and a
//! reader on another thread looks at the counts when it likes.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use crate::plan::{Count, Phase};

/// What a measurement is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// Every instance is asked who it is.
    Verifying,
    /// Every instance answers its first requests.
    Warming,
    /// The way through the endpoint takes its first one.
    WarmingThrough,
    /// Requests are measured.
    Measuring,
    /// What was seen is summarised, judged and written.
    Summarising,
}

/// The counts.
#[derive(Debug)]
pub(super) struct Counts {
    /// What is being done, and how many requests that takes.
    stage: Mutex<(Stage, u32)>,
    done: AtomicU32,
    failed: AtomicU32,
}

impl Counts {
    pub(super) fn new() -> Self {
        Self {
            stage: Mutex::new((Stage::Verifying, 0)),
            done: AtomicU32::new(0),
            failed: AtomicU32::new(0),
        }
    }

    /// Begins a stage of so many requests.
    pub(super) fn enter(&self, stage: Stage, of: u32) {
        let mut now = self.stage.lock().expect("no holder panics");
        self.done.store(0, Relaxed);
        self.failed.store(0, Relaxed);
        *now = (stage, of);
    }

    /// Counts a request that ended.
    pub(super) fn count(&self, ok: bool) {
        self.done.fetch_add(1, Relaxed);
        self.failed.fetch_add(u32::from(!ok), Relaxed);
    }

    /// Whether requests are measured now.
    pub(super) fn is_measuring(&self) -> bool {
        let (stage, _) = *self.stage.lock().expect("no holder panics");
        stage == Stage::Measuring
    }

    pub(super) fn phase(&self) -> Phase {
        let (stage, of) = *self.stage.lock().expect("no holder panics");
        let requests = Count::Requests {
            done: self.done.load(Relaxed).into(),
            of: of.into(),
            failed: self.failed.load(Relaxed).into(),
        };
        match stage {
            Stage::Verifying => Phase::new("verifying"),
            Stage::Warming => Phase::new("warming").counted(requests),
            Stage::WarmingThrough => Phase::new("warming").at("through the endpoint"),
            Stage::Measuring => Phase::new("measuring").counted(requests),
            Stage::Summarising => Phase::new("summarising"),
        }
    }
}
