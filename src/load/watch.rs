//! How far a measurement is, told without disturbing it: the sending thread only counts, and a
//! reader on another thread looks at the counts when it likes.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// What a measurement is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Every instance is asked who it is.
    Verifying,
    /// Every instance answers its first requests.
    Warming,
    /// Requests are measured.
    Measuring,
    /// What was seen is summarised, judged and written.
    Summarising,
}

/// How far a measurement is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// What it is doing.
    pub phase: Phase,
    /// Requests of this phase that have ended.
    pub done: u32,
    /// Those of them that failed.
    pub failed: u32,
    /// Requests of this phase in all.
    pub of: u32,
}

/// The counts.
#[derive(Debug)]
pub(super) struct Watch {
    phase: Mutex<(Phase, u32)>,
    done: AtomicU32,
    failed: AtomicU32,
}

impl Watch {
    pub(super) fn new() -> Self {
        Self {
            phase: Mutex::new((Phase::Verifying, 0)),
            done: AtomicU32::new(0),
            failed: AtomicU32::new(0),
        }
    }

    /// Begins a phase of so many requests.
    pub(super) fn enter(&self, phase: Phase, of: u32) {
        let mut now = self.phase.lock().expect("no holder panics");
        self.done.store(0, Relaxed);
        self.failed.store(0, Relaxed);
        *now = (phase, of);
    }

    /// Counts a request that ended.
    pub(super) fn count(&self, ok: bool) {
        self.done.fetch_add(1, Relaxed);
        self.failed.fetch_add(u32::from(!ok), Relaxed);
    }

    pub(super) fn progress(&self) -> Progress {
        let (phase, of) = *self.phase.lock().expect("no holder panics");
        Progress {
            phase,
            done: self.done.load(Relaxed),
            failed: self.failed.load(Relaxed),
            of,
        }
    }
}
