//! A4: replicas that are each of one mind, and not of the same: their mean describes neither.
//!
//! It speaks where the medians of two replicas differ by more than 1.3 times and by more than can
//! be chance: beyond three times what their own requests spread (interquartile range), with nine of
//! ten of the slow one's requests above nine of ten of the fast one's. Beyond a factor of two the
//! result is invalid; below, a topology may have unequal nodes, and the reader is warned.

use serde_json::json;

use super::{Case, Finding, MATTERS_MS, Rule, latencies, round};
use crate::results::quantile::quantile;
use crate::results::{Anomaly, Severity};

const RATIO: f64 = 1.3;
const INVALID_RATIO: f64 = 2.0;
const SPREADS: f64 = 3.0;
const FEWEST: usize = 2;

/// The latencies of one replica.
struct Mode<'a> {
    replica: &'a str,
    n: usize,
    p10: f64,
    median: f64,
    p90: f64,
    spread: f64,
}

pub(super) const RULE: Rule = Rule {
    id: "A4",
    name: "bimodal by replica",
    check,
};

fn check(case: &Case<'_>) -> Vec<Anomaly> {
    let mut modes: Vec<Mode<'_>> = case
        .by_replica()
        .into_iter()
        .filter_map(|(replica, records)| Mode::of(replica, &latencies(&records)))
        .collect();
    modes.sort_by(|a, b| a.median.total_cmp(&b.median));
    let ends = modes.first().zip(modes.last());
    ends.and_then(|(fast, slow)| apart(fast, slow))
        .into_iter()
        .collect()
}

impl<'a> Mode<'a> {
    fn of(replica: &'a str, ms: &[f64]) -> Option<Self> {
        let at = |p| quantile(ms, p);
        (ms.len() >= FEWEST).then_some(())?;
        Some(Self {
            replica,
            n: ms.len(),
            p10: at(0.1)?,
            median: at(0.5)?,
            p90: at(0.9)?,
            spread: at(0.75)? - at(0.25)?,
        })
    }
}

fn apart(fast: &Mode<'_>, slow: &Mode<'_>) -> Option<Anomaly> {
    let (ratio, gap) = (slow.median / fast.median, slow.median - fast.median);
    let clear = ratio > RATIO
        && gap > MATTERS_MS
        && gap > SPREADS * fast.spread.max(slow.spread)
        && slow.p10 > fast.p90;
    let severity = if ratio > INVALID_RATIO {
        Severity::Error
    } else {
        Severity::Warning
    };
    clear.then(|| {
        let anomaly = RULE.speak(severity, explained(fast, slow));
        anomaly.of_replica(slow.replica)
    })
}

fn explained(fast: &Mode<'_>, slow: &Mode<'_>) -> Finding {
    let ratio = slow.median / fast.median;
    Finding {
        message: format!(
            "`{}` took {ratio:.1} times as long as `{}`: median {:.2} s against {:.2} s",
            slow.replica,
            fast.replica,
            slow.median / 1000.0,
            fast.median / 1000.0
        ),
        evidence: json!({
            "fast": {"replica": fast.replica, "n": fast.n, "median_ms": round(fast.median), "iqr_ms": round(fast.spread)},
            "slow": {"replica": slow.replica, "n": slow.n, "median_ms": round(slow.median), "iqr_ms": round(slow.spread)},
            "ratio": round(ratio),
        }),
        cause: format!(
            "`{}` was not in the state that `{}` was in: cold, busy, or another machine",
            slow.replica, fast.replica
        ),
        hint: format!(
            "read the log of `{}`, measure it alone, and give each replica's numbers for itself",
            slow.replica
        ),
    }
}
