//! How long requests were between two instances: from the last byte of who has read a prompt to the first
//! byte that is sent to who answers, as the proxy counts it by itself.

use serde::{Deserialize, Serialize};

use super::quantile::tidy;
use crate::prometheus::Histogram;

/// The histogram of the proxy that counts it.
pub(crate) const SECONDS: &str = "replica_proxy_handoff_seconds";

/// How long hand-overs took. A histogram tells bounds: half of them took at most `p50_at_most_ms`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HandOver {
    /// How many there were.
    pub count: u64,
    /// What they took on the mean, in ms.
    pub mean_ms: f64,
    /// The least bound that half of them kept, in ms; nothing where they took longer than any bound.
    pub p50_at_most_ms: Option<f64>,
    /// The least bound that 95 in a hundred kept, in ms.
    pub p95_at_most_ms: Option<f64>,
    /// How many took at most as long as each bound, in ms.
    pub at_most_ms: Vec<(f64, u64)>,
}

impl HandOver {
    /// What was counted between two looks at the proxy; nothing where nothing was, or where it was
    /// started anew.
    pub(crate) fn between(before: &Histogram, after: &Histogram) -> Option<Self> {
        let counted = after.since(before).filter(|counted| counted.count > 0)?;
        let bounds = counted.at_most.iter();
        let at_most_ms = bounds.map(|(seconds, count)| (tidy(seconds * 1000.0), *count));
        Some(Self::of(
            counted.count,
            counted.sum * 1000.0,
            at_most_ms.collect(),
        ))
    }

    /// Several of one proxy taken together; nothing of none.
    pub(crate) fn together<'a>(all: impl Iterator<Item = &'a Self>) -> Option<Self> {
        let sum = |one: Self, other: &Self| {
            let total = one.total_ms() + other.total_ms();
            let same = |bound: f64| {
                let mut bounds = other.at_most_ms.iter();
                bounds.find(|(it, _)| it.total_cmp(&bound).is_eq())
            };
            let bounds = one.at_most_ms.iter();
            let both = bounds.filter_map(|(bound, count)| Some((*bound, count + same(*bound)?.1)));
            Self::of(one.count + other.count, total, both.collect())
        };
        let mut all = all;
        let first = all.next()?.clone();
        Some(all.fold(first, sum))
    }

    fn of(count: u64, total_ms: f64, at_most_ms: Vec<(f64, u64)>) -> Self {
        let kept_by = |share: f64| {
            let mut bounds = at_most_ms.iter();
            let kept = bounds.find(|(_, kept)| *kept as f64 >= share * count as f64);
            kept.map(|(bound, _)| *bound)
        };
        Self {
            count,
            mean_ms: tidy(total_ms / count.max(1) as f64),
            p50_at_most_ms: kept_by(0.50),
            p95_at_most_ms: kept_by(0.95),
            at_most_ms,
        }
    }

    fn total_ms(&self) -> f64 {
        self.mean_ms * self.count as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A page of the proxy on which so many hand-overs took at most 0.1, 0.25, 0.5 ms, and however long.
    fn page(counts: [u64; 4], sum: f64) -> Histogram {
        let bounds = ["0.0001", "0.00025", "0.0005", "+Inf"];
        let lines = bounds.iter().zip(counts);
        let lines = lines.map(|(le, n)| format!("{SECONDS}_bucket{{le=\"{le}\"}} {n}\n"));
        let text = lines.collect::<String>();
        let count = counts[3];
        let text = format!("{text}{SECONDS}_sum {sum}\n{SECONDS}_count {count}\n");
        Histogram::read(&text, SECONDS).unwrap()
    }

    #[test]
    fn what_was_handed_over_between_two_looks() {
        let before = page([10, 10, 10, 10], 0.001);
        let after = page([14, 18, 19, 20], 0.004);
        let seen = HandOver::between(&before, &after).unwrap();
        assert_eq!((seen.count, seen.mean_ms), (10, 0.3));
        assert_eq!(seen.p50_at_most_ms, Some(0.25));
        // One in ten took longer than any bound.
        assert_eq!(seen.p95_at_most_ms, None);
        assert_eq!(seen.at_most_ms, [(0.1, 4), (0.25, 8), (0.5, 9)]);
        let json = serde_json::to_value(&seen).unwrap();
        assert_eq!(serde_json::from_value::<HandOver>(json).unwrap(), seen);
        assert_eq!(HandOver::between(&after, &after), None);
        assert_eq!(HandOver::between(&after, &before), None);
    }

    #[test]
    fn blocks_are_taken_together() {
        let none = page([0; 4], 0.0);
        let one = HandOver::between(&none, &page([9, 10, 10, 10], 0.001)).unwrap();
        let other = HandOver::between(&none, &page([0, 5, 10, 10], 0.003)).unwrap();
        let both = HandOver::together([&one, &other].into_iter()).unwrap();
        assert_eq!((both.count, both.mean_ms), (20, 0.2));
        assert_eq!(both.p50_at_most_ms, Some(0.25));
        assert_eq!(both.p95_at_most_ms, Some(0.5));
        assert_eq!(HandOver::together([].into_iter()), None);
    }
}
