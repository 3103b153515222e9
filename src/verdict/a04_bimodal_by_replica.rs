//! A4: replicas that are each of one mind, and not of the same: their mean describes neither.
//!
//! It speaks where one replica takes more than 1.3 times what the others of its role take, in nearly
//! all observations and more often than chance would have it. Requests that are decoded together are
//! one observation, so that a batch is as many as it has rounds. Of fewer than five, all must say so,
//! and the difference must be beyond three times what the replicas' own requests spread
//! (interquartile range), with nine of ten of the slow one's requests above nine of ten of the
//! others'.
//!
//! Beyond a factor of two the result is invalid; below, a topology may have unequal nodes, and the
//! reader is warned.

use serde_json::json;

use super::observation::{COUNTED, are_nearly_all, is_no_chance};
use super::{Case, Finding, MATTERS_MS, Rule, latencies, round};
use crate::results::quantile::quantile;
use crate::results::{Anomaly, Record, Severity, by_instance};

const RATIO: f64 = 1.3;
const INVALID_RATIO: f64 = 2.0;
const SPREADS: f64 = 3.0;
const FEWEST: usize = 2;

/// The latencies of one replica, or of all others.
struct Mode<'a> {
    replicas: Vec<&'a str>,
    n: usize,
    p10: f64,
    median: f64,
    p90: f64,
    spread: f64,
}

/// How a replica stood beside the others.
struct Beside<'a> {
    slow: Mode<'a>,
    others: Mode<'a>,
    /// The observations in which both served.
    observations: usize,
    /// Those in which it took that much longer.
    slower: usize,
}

pub(super) const RULE: Rule = Rule {
    id: "A4",
    name: "bimodal by replica",
    check,
};

fn check(case: &Case<'_>) -> Vec<Anomaly> {
    let observations = case.observations();
    let peers = case.peers();
    let slowest = peers
        .iter()
        .filter_map(|peers| slowest(&observations, peers));
    slowest
        .filter(Beside::speaks)
        .map(|beside| beside.told())
        .collect()
}

/// Whether a single round sets a replica so far behind that it should be seen again.
pub(super) fn is_doubtful(round: &[&Record]) -> bool {
    let peers: Vec<&str> = by_instance(round.iter().copied()).into_keys().collect();
    let beside = slowest(&[round.to_vec()], &peers);
    beside.is_some_and(|it| it.slower > 0 && it.gap() > MATTERS_MS)
}

/// The one of several that is behind the others most often, and then by most.
fn slowest<'a>(observations: &[Vec<&'a Record>], peers: &[&'a str]) -> Option<Beside<'a>> {
    let all = peers.iter();
    let beside = all.filter_map(|name| Beside::of(name, peers, observations));
    beside.max_by(|a, b| (a.slower.cmp(&b.slower)).then(a.ratio().total_cmp(&b.ratio())))
}

impl<'a> Mode<'a> {
    fn of(replicas: Vec<&'a str>, records: &[&Record]) -> Option<Self> {
        let ms = latencies(records);
        let at = |p| quantile(&ms, p);
        Some(Self {
            replicas,
            n: ms.len(),
            p10: at(0.1)?,
            median: at(0.5)?,
            p90: at(0.9)?,
            spread: at(0.75)? - at(0.25)?,
        })
    }

    fn named(&self) -> String {
        match self.replicas.as_slice() {
            [one] => format!("`{one}`"),
            _ => "the others".to_owned(),
        }
    }
}

impl<'a> Beside<'a> {
    fn of(name: &'a str, peers: &[&'a str], observations: &[Vec<&'a Record>]) -> Option<Self> {
        let others: Vec<&str> = peers.iter().copied().filter(|it| *it != name).collect();
        let served_by = |record: &&&Record, names: &[&str]| {
            let instance = record.instance.as_deref();
            instance.is_some_and(|instance| names.contains(&instance))
        };
        let of = |records: &[&'a Record], names: &[&str]| -> Vec<&'a Record> {
            let served = records.iter().filter(|r| served_by(r, names));
            served.copied().collect()
        };
        let ratios = observations.iter().filter_map(|seen| {
            let mine = quantile(&latencies(&of(seen, &[name])), 0.5)?;
            let mut theirs: Vec<f64> = others
                .iter()
                .filter_map(|other| quantile(&latencies(&of(seen, &[*other])), 0.5))
                .collect();
            theirs.sort_by(f64::total_cmp);
            Some(mine / quantile(&theirs, 0.5)?)
        });
        let ratios: Vec<f64> = ratios.collect();
        let all: Vec<&Record> = observations.concat();
        Some(Self {
            slow: Mode::of(vec![name], &of(&all, &[name]))?,
            others: Mode::of(others.clone(), &of(&all, &others))?,
            observations: ratios.len(),
            slower: ratios.iter().filter(|ratio| **ratio > RATIO).count(),
        })
    }

    fn ratio(&self) -> f64 {
        self.slow.median / self.others.median
    }

    fn gap(&self) -> f64 {
        self.slow.median - self.others.median
    }

    fn speaks(&self) -> bool {
        let matters = self.ratio() > RATIO && self.gap() > MATTERS_MS;
        matters
            && if self.observations < COUNTED {
                self.slower > 0 && self.slower == self.observations && self.is_clear()
            } else {
                let replicas = self.others.replicas.len() + 1;
                are_nearly_all(self.slower, self.observations)
                    && is_no_chance(replicas, self.slower, self.observations)
            }
    }

    /// Whether the requests themselves lie apart.
    fn is_clear(&self) -> bool {
        let Self { slow, others, .. } = self;
        slow.n.min(others.n) >= FEWEST
            && self.gap() > SPREADS * others.spread.max(slow.spread)
            && slow.p10 > others.p90
    }

    fn told(&self) -> Anomaly {
        let severity = if self.ratio() > INVALID_RATIO {
            Severity::Error
        } else {
            Severity::Warning
        };
        let anomaly = RULE.speak(severity, self.explained());
        match self.slow.replicas.first() {
            Some(slow) => anomaly.of_replica(slow),
            None => anomaly,
        }
    }

    fn explained(&self) -> Finding {
        let Self { slow, others, .. } = self;
        let ratio = self.ratio();
        let (slow_name, others_name) = (slow.named(), others.named());
        let mode = |mode: &Mode<'_>| {
            json!({
                "replica": mode.replicas.join(", "),
                "n": mode.n,
                "median_ms": round(mode.median),
                "iqr_ms": round(mode.spread),
            })
        };
        Finding {
            message: format!(
                "{slow_name} took {ratio:.1} times as long as {others_name}: median {:.2} s against {:.2} s",
                slow.median / 1000.0,
                others.median / 1000.0
            ),
            evidence: json!({
                "fast": mode(others),
                "slow": mode(slow),
                "ratio": round(ratio),
                "observations": self.observations,
                "slower_in": self.slower,
            }),
            cause: format!(
                "{slow_name} was not in the state of {others_name}: cold, busy, or another machine"
            ),
            hint: format!(
                "read the log of {slow_name}, measure it alone, and give each replica's numbers for itself"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::verdict::scene::{batch, rounds, scene};

    fn said(scene: &crate::verdict::scene::Scene) -> Vec<String> {
        let found = scene.judge().into_iter().filter(|it| it.id == "A4");
        found.map(|it| it.message).collect()
    }

    #[test]
    fn a_replica_is_slow_that_is_so_in_nearly_all_rounds() {
        let slow = |times: &[f64]| scene(rounds(times.iter().map(|b| batch([300.0; 4], [*b; 4]))));
        assert_eq!(
            said(&slow(&[900.0, 800.0, 900.0, 700.0, 900.0])),
            ["`b` took 3.0 times as long as `a`: median 0.90 s against 0.30 s"]
        );
        let eight_of_nine = [
            900.0, 800.0, 300.0, 900.0, 700.0, 900.0, 900.0, 800.0, 900.0,
        ];
        assert_eq!(said(&slow(&eight_of_nine)).len(), 1);
        assert!(said(&slow(&[900.0, 800.0, 300.0, 300.0, 900.0])).is_empty());
    }

    #[test]
    fn now_one_and_now_the_other_is_no_fault_of_either() {
        let turns = (0..6).map(|round| match round % 2 {
            0 => batch([300.0; 4], [900.0; 4]),
            _ => batch([900.0; 4], [300.0; 4]),
        });
        assert!(said(&scene(rounds(turns))).is_empty());
    }

    #[test]
    fn roles_are_not_held_against_each_other() {
        let mut scene = scene(batch([300.0; 4], [900.0; 4]));
        assert_eq!(said(&scene).len(), 1);
        scene.job.instances[0].role = Some("prefill".to_owned());
        scene.job.instances[1].role = Some("decode".to_owned());
        assert!(said(&scene).is_empty());
    }
}
