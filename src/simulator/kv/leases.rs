//! Blocks that are kept for another engine to fetch. Without a clock: whoever asks says what time it is.

use std::collections::HashMap;
use std::time::Duration;

use crate::simulator::prefix_cache::Held;

/// All that is kept, by the request that computed it.
#[derive(Debug, Default)]
pub(in crate::simulator) struct Leases(HashMap<String, Lease>);

#[derive(Debug)]
struct Lease {
    held: Held,
    until: Duration,
}

impl Leases {
    /// Keeps blocks; returns those that were kept under the same name.
    pub(in crate::simulator) fn keep(
        &mut self,
        request: String,
        held: Held,
        until: Duration,
    ) -> Option<Held> {
        let before = self.0.insert(request, Lease { held, until });
        before.map(|lease| lease.held)
    }

    /// What was kept for a request, if it still is.
    pub(in crate::simulator) fn take(&mut self, request: &str) -> Option<Held> {
        self.0.remove(request).map(|lease| lease.held)
    }

    /// What nobody has fetched in time.
    pub(in crate::simulator) fn take_expired(&mut self, now: Duration) -> Vec<(String, Held)> {
        let expired = self.0.extract_if(|_, lease| lease.until <= now);
        expired
            .map(|(request, lease)| (request, lease.held))
            .collect()
    }

    /// When the first of them expires.
    pub(in crate::simulator) fn next_end(&self) -> Option<Duration> {
        self.0.values().map(|lease| lease.until).min()
    }
}
