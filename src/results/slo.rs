//! How a load stood to its service level objective.

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use super::quantile::{quantile, tidy};
use super::record::Record;
use super::summary::Summary;
use crate::plan::Slo;
use crate::shape::Shape;

/// How a load stood to its objective. Every request that was offered counts, and what failed is a
/// miss.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Attained {
    /// The objective.
    pub objective: Slo,
    /// Requests that were offered.
    pub offered: usize,
    /// Those that were good: ok, and each time no longer than its limit.
    pub good: usize,
    /// `good / offered`.
    pub attainment: f64,
    /// The bounds of the attainment: Wilson's interval of 95 % for a binomial share, by observations
    /// (requests that are decoded together are one).
    pub ci: [f64; 2],
    /// Good requests for each second that the load was driven.
    pub goodput_rps: f64,
    /// Whether `attainment` is at least what the objective asks.
    pub met: bool,
    /// The misses, by what was missed: `failed`, `ttft`. A request may miss several.
    pub misses: IndexMap<String, usize>,
}

impl Attained {
    /// How the requests of a load stood to an objective.
    pub(crate) fn of(objective: &Slo, load: &Shape, records: &[Record], summary: &Summary) -> Self {
        let mut misses = IndexMap::new();
        let mut good = 0;
        for record in records {
            let missed = missed(objective, record);
            good += usize::from(missed.is_empty());
            for what in missed {
                *misses.entry(what.to_owned()).or_default() += 1;
            }
        }
        let offered = records.len();
        let attainment = tidy(good as f64 / offered.max(1) as f64);
        let observations = offered / load.class().together().max(1) as usize;
        let seconds = summary.seconds();
        Self {
            objective: *objective,
            offered,
            good,
            attainment,
            ci: interval(attainment, observations.clamp(1, offered.max(1))),
            goodput_rps: if seconds > 0.0 {
                tidy(good as f64 / seconds)
            } else {
                0.0
            },
            met: offered > 0 && attainment >= objective.attainment.share(),
            misses,
        }
    }
}

/// The limits that a request did not keep.
fn missed(objective: &Slo, record: &Record) -> Vec<&'static str> {
    if !record.is_ok() {
        return vec!["failed"];
    }
    let missed = objective.limits().filter(|(metric, limit)| {
        let took_ms = match *metric {
            "ttft" => record.ttft_ms(),
            "tpot" => record.tpot_ms(),
            "e2el" => record.e2el_ms(),
            _ => itl_p99_ms(record),
        };
        // One token has no time after it.
        took_ms.is_some_and(|ms| tidy(ms / 1000.0) > tidy(limit.get()))
    });
    missed.map(|(metric, _)| metric).collect()
}

fn itl_p99_ms(record: &Record) -> Option<f64> {
    let mut gaps = record.itl_ms();
    gaps.sort_by(f64::total_cmp);
    quantile(&gaps, 0.99)
}

/// Wilson's score interval of 95 % for a share `p` of `n`: `(p + z²/2n ± z √(p(1−p)/n + z²/4n²)) /
/// (1 + z²/n)` with `z = 1.96` (Wilson 1927).
fn interval(p: f64, n: usize) -> [f64; 2] {
    let (n, z) = (n as f64, 1.96_f64);
    let z2 = z * z;
    let centre = p + z2 / (2.0 * n);
    let half = z * (p * (1.0 - p) / n + z2 / (4.0 * n * n)).sqrt();
    let of = |bound: f64| tidy((bound / (1.0 + z2 / n)).clamp(0.0, 1.0));
    [of(centre - half), of(centre + half)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quantity::{Percent, Seconds};
    use crate::results::Status;
    use crate::shape::known;
    use crate::verdict::scene::request;

    fn objective() -> Slo {
        let limit = |text: &str| Some(text.parse::<Seconds>().unwrap());
        Slo {
            ttft: limit("100ms"),
            tpot: limit("10ms"),
            itl_p99: None,
            e2el: limit("1090ms"),
            attainment: Percent::whole(75),
        }
    }

    fn attained(records: &[Record]) -> Attained {
        let load = known::sequential(records.len() as u32);
        let summary = Summary::of(&load, records);
        Attained::of(&objective(), &load, records, &summary)
    }

    #[test]
    fn a_time_that_equals_its_limit_is_good_and_a_failure_is_a_miss() {
        let at_limit = |index| request(index, "a", 0.0, 100.0, 1090.0);
        let late = request(3, "a", 0.0, 100.001, 1090.001);
        let mut records = vec![at_limit(0), at_limit(1), at_limit(2), late];
        let seen = attained(&records);
        assert_eq!((seen.good, seen.offered, seen.met), (3, 4, true));
        assert!((seen.attainment - 0.75).abs() < 1e-9);
        assert_eq!(seen.misses.get("ttft"), Some(&1));
        assert_eq!(seen.misses.get("tpot"), None);
        assert!((seen.goodput_rps - 3.0 / 1.090_001).abs() < 1e-5);
        records[0].status = Status::Timeout;
        let seen = attained(&records);
        assert_eq!((seen.good, seen.met), (2, false));
        assert_eq!(seen.misses.get("failed"), Some(&1));
    }

    #[test]
    fn the_interval_is_wilsons() {
        // Nine of ten: 0.596 to 0.982, as in Agresti and Coull 1998.
        let [low, high] = interval(0.9, 10);
        assert!((low - 0.596).abs() < 0.001 && (high - 0.982).abs() < 0.001);
        assert!(interval(1.0, 5)[0] < 0.6 && interval(1.0, 400)[0] > 0.99);
        assert!((interval(0.0, 5)[0]).abs() < 1e-9);
    }

    #[test]
    fn a_batch_is_one_observation_of_an_objective_too() {
        let load = known::batch(8);
        let records: Vec<Record> = (0..8).map(|i| request(i, "a", 0.0, 50.0, 500.0)).collect();
        let summary = Summary::of(&load, &records);
        let seen = Attained::of(&objective(), &load, &records, &summary);
        assert_eq!((seen.good, seen.met), (8, true));
        assert!(seen.ci[0] < 0.3);
    }
}
