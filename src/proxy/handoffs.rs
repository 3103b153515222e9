//! What became of requests whose prompt one instance reads for another, counted.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use super::backend::count;
use super::counts::Times;

/// Counts for all requests.
#[derive(Debug)]
pub(super) struct Handoffs {
    /// What one instance had computed was named to another.
    pub(super) handed_over: AtomicU64,
    /// An instance has read a prompt, and holds nothing of it: another reads it again.
    pub(super) missing: AtomicU64,
    /// One instance has to do all of it, by what is asked.
    pub(super) bypassed: AtomicU64,
    /// One instance has to do all of it, as its prompt is too short to be read for another.
    pub(super) short: AtomicU64,
    /// One instance has to do all of it, as it has read so much of the prompt already that the rest is too short.
    pub(super) cached: AtomicU64,
    /// One instance did all of it, as nobody was ready who could do the other part.
    pub(super) collapsed: AtomicU64,
    /// The prompt was read a second time, as what was computed was lost, or could not be fetched.
    pub(super) read_again: AtomicU64,
    /// What nobody waits for any more was fetched, so that it is held no longer; and was left to be
    /// forgotten, as nobody had room to fetch it.
    pub(super) released: AtomicU64,
    pub(super) unreleased: AtomicU64,
    /// From the last byte of one instance's answer to the first byte that is sent to the other.
    pub(super) took: Times,
    /// How many are being released.
    pub(super) releasing: AtomicUsize,
    is_warned: AtomicBool,
}

impl Default for Handoffs {
    fn default() -> Self {
        Self {
            handed_over: AtomicU64::default(),
            missing: AtomicU64::default(),
            bypassed: AtomicU64::default(),
            short: AtomicU64::default(),
            cached: AtomicU64::default(),
            collapsed: AtomicU64::default(),
            read_again: AtomicU64::default(),
            released: AtomicU64::default(),
            unreleased: AtomicU64::default(),
            took: Times::short(),
            releasing: AtomicUsize::default(),
            is_warned: AtomicBool::default(),
        }
    }
}

impl Handoffs {
    /// Counts a prompt that was read, and of which this instance holds nothing.
    pub(super) fn is_missing(&self, instance: &str) {
        count(&self.missing);
        if !self.is_warned.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                instance,
                "it has read a prompt, and holds nothing of it for others: was it started with a \
                 `--kv-transfer-config`? The prompt is read again by who answers"
            );
        }
    }

    /// All of them but the times, by their names.
    pub(super) fn read(&self) -> [(&'static str, u64); 9] {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        [
            ("handed_over", read(&self.handed_over)),
            ("missing", read(&self.missing)),
            ("bypassed", read(&self.bypassed)),
            ("short", read(&self.short)),
            ("cached", read(&self.cached)),
            ("collapsed", read(&self.collapsed)),
            ("read_again", read(&self.read_again)),
            ("released", read(&self.released)),
            ("unreleased", read(&self.unreleased)),
        ]
    }
}
