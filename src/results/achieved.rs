//! What became of a load that comes by the clock: whether it was sent as it was meant to be.

use serde::{Deserialize, Serialize};

use super::quantile::{Distribution, Quantile, tidy};
use super::record::{Record, Status};
use crate::shape::{Class, Shape};

/// A request is late if it was sent as much as this after its moment, in ms.
const LATE_MS: f64 = 10.0;

/// Whether an open load was sent as it was meant to be. What the client could not do is no property of
/// the servers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Achieved {
    /// Requests a second, as they were asked for.
    pub requested_rps: f64,
    /// Requests a second by the moments that were drawn or read: (n − 1) / (last planned − first
    /// planned). Chance makes the difference to `requested_rps`.
    pub scheduled_rps: f64,
    /// Requests a second that were sent: (n sent − 1) / (last sent − first sent).
    pub achieved_rps: f64,
    /// How late they were sent, `t_sent − t_planned`, in ms.
    pub lag_ms: Option<Lag>,
    /// Requests that were not sent, because as many were in flight as there may be.
    pub dropped: usize,
    /// Requests that were sent more than 10 ms after their moment.
    pub late: usize,
}

/// How late requests were sent, in ms.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Lag {
    /// The median.
    pub p50: Quantile,
    /// The 99th percentile.
    pub p99: Quantile,
    /// The worst.
    pub max: f64,
}

impl Achieved {
    /// What the records of an open load tell; nothing of any other.
    pub(crate) fn of(load: &Shape, records: &[Record]) -> Option<Self> {
        let Class::Open { per_s } = load.class() else {
            return None;
        };
        let lags: Vec<f64> = records.iter().filter_map(Record::lag_ms).collect();
        let is_dropped = |record: &&Record| record.status == Status::Dropped;
        Some(Self {
            requested_rps: tidy(per_s),
            scheduled_rps: rate(records, |record| Some(record.stamps.planned)),
            achieved_rps: rate(records, |record| record.stamps.sent),
            dropped: records.iter().filter(is_dropped).count(),
            late: lags.iter().filter(|lag| **lag > LATE_MS).count(),
            lag_ms: Distribution::of_ms(lags).map(|lag| Lag {
                p50: lag.p50,
                p99: lag.p99,
                max: lag.max,
            }),
        })
    }

    /// What was sent, as a share of what was scheduled.
    pub fn share(&self) -> Option<f64> {
        (self.scheduled_rps > 0.0).then(|| self.achieved_rps / self.scheduled_rps)
    }
}

/// How many come in a second, over all rounds, by the moment that counts of each.
fn rate(records: &[Record], moment: impl Fn(&Record) -> Option<u64>) -> f64 {
    let last = records.iter().map(|record| record.round).max();
    let (mut gaps, mut seconds) = (0.0, 0.0);
    for round in 0..=last.unwrap_or(0) {
        let of_it = records.iter().filter(|record| record.round == round);
        let moments: Vec<u64> = of_it.filter_map(&moment).collect();
        let ends = moments.iter().min().zip(moments.iter().max());
        if let Some((first, last)) = ends {
            gaps += (moments.len() - 1) as f64;
            seconds += (last - first) as f64 / 1e6;
        }
    }
    if seconds > 0.0 {
        tidy(gaps / seconds)
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shape::known;
    use crate::verdict::scene::request;

    /// Requests each half a second, sent so late.
    fn sent(late_ms: impl Fn(u32) -> f64) -> Vec<Record> {
        (0..20)
            .map(|index| {
                let planned = f64::from(index) * 500.0;
                let sent = planned + late_ms(index);
                let mut record = request(index, "a", sent, sent + 10.0, sent + 100.0);
                record.stamps.planned = (planned * 1000.0) as u64;
                record
            })
            .collect()
    }

    #[test]
    fn what_is_sent_in_time_is_the_load_that_was_asked() {
        let achieved = Achieved::of(&known::rate(2.0, 10), &sent(|_| 0.5)).unwrap();
        let rates = [
            achieved.requested_rps,
            achieved.scheduled_rps,
            achieved.achieved_rps,
        ];
        assert_eq!(rates.as_slice(), [2.0; 3]);
        assert_eq!((achieved.late, achieved.dropped), (0, 0));
        assert_eq!(achieved.lag_ms.map(|lag| lag.p50.value), Some(0.5));
        assert_eq!(Achieved::of(&known::batch(20), &sent(|_| 0.5)), None);
    }

    #[test]
    fn what_falls_behind_and_what_is_dropped_is_counted() {
        // Each takes the client 600 ms.
        let mut records = sent(|index| f64::from(index) * 100.0);
        let achieved = Achieved::of(&known::rate(2.0, 10), &records).unwrap();
        assert!((achieved.share().unwrap() - 500.0 / 600.0).abs() < 1e-3);
        assert_eq!(achieved.late, 19);
        records[3].status = Status::Dropped;
        records[3].stamps.sent = None;
        let achieved = Achieved::of(&known::rate(2.0, 10), &records).unwrap();
        assert_eq!((achieved.dropped, achieved.late), (1, 18));
    }
}
