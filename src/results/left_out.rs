//! Metrics that are left out because the streams were not read as they were written.
//!
//! A proxy that buffers, a compressor, or a client without a CPU hands on several events at once.
//! Their tokens share a stamp: the gaps between them are 0, and the first seems to have come when the
//! last of them had. What such streams say of the time between tokens is wrong, and no average of
//! it is right; what they say of their ends stands.

use serde::{Deserialize, Serialize};

use super::record::Record;

/// A TPOT that falls short by more than this share is none.
const TOLERATED: f64 = 0.05;

/// So large a share of requests may be beyond that, and of events may share a read.
const SHARE: f64 = 0.05;

/// A metric that is absent though requests were ok, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    /// Its name, as in [`FORMULAS`](super::FORMULAS).
    pub metric: String,
    /// Why it is left out.
    pub why: String,
}

/// How the events of streams came.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Reads {
    /// Requests that are ok and brought tokens in several events.
    pub(crate) requests: usize,
    /// Those of them whose TPOT falls short by more than a twentieth.
    pub(crate) short: usize,
    /// Those of them that came in one read.
    pub(crate) in_one: usize,
    /// Their events.
    pub(crate) events: usize,
    /// Events that shared the read of the one before.
    pub(crate) merged: usize,
}

impl Reads {
    pub(crate) fn of(ok: &[&Record]) -> Self {
        let several = ok.iter().filter(|r| r.tokens.len() > 1);
        several.fold(Self::default(), |sum, record| {
            let (events, reads) = record.events_and_reads();
            Self {
                requests: sum.requests + 1,
                short: sum.short + usize::from(record.tpot_lost() > TOLERATED),
                in_one: sum.in_one + usize::from(record.is_in_one_read()),
                events: sum.events + events,
                merged: sum.merged + events - reads,
            }
        })
    }

    /// Whether too many first tokens came with the last.
    pub(crate) fn spoil_ttft(self) -> bool {
        are_many(self.in_one, self.requests)
    }

    /// Whether too many TPOTs fall short.
    pub(crate) fn spoil_tpot(self) -> bool {
        are_many(self.short, self.requests)
    }

    /// Whether too many gaps between events are none.
    pub(crate) fn spoil_gaps(self) -> bool {
        self.spoil_tpot() || are_many(self.merged, self.events)
    }

    /// The metrics that are to be left out.
    pub(super) fn left_out(self) -> Vec<LeftOut> {
        let Self {
            requests,
            short,
            in_one,
            events,
            merged,
        } = self;
        let whole = format!("{in_one} of {requests} answers came in one read");
        let bursts = format!("{short} of {requests} answers began with a burst");
        let gaps = format!("{merged} of {events} token events came in one read with another");
        let all = [
            (self.spoil_ttft(), "ttft", &whole),
            (self.spoil_tpot(), "tpot", &bursts),
            (self.spoil_tpot(), "tok_s_user", &bursts),
            (self.spoil_gaps(), "itl", &gaps),
            (self.spoil_gaps(), "icl", &gaps),
        ];
        let left = all.into_iter().filter(|(is_left, ..)| *is_left);
        left.map(|(_, metric, why)| LeftOut {
            metric: metric.to_owned(),
            why: why.clone(),
        })
        .collect()
    }
}

fn are_many(some: usize, of: usize) -> bool {
    some as f64 > SHARE * of as f64
}
