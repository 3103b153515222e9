//! Whether two arms answered as much of what they were asked.
//!
//! The latency of those that were answered is no latency of an arm that turned the others away: an arm
//! that answers a third may answer it fast. Where the shares differ beyond noise, nothing may be said
//! of a time; what was offered counts in goodput and in the attainment of an objective.

use serde::{Deserialize, Serialize};

use super::verdict::percent;

/// Shares that are as far apart by chance in fewer than this share of cases differ.
const BY_CHANCE: f64 = 0.05;

/// What an arm answered of what it was asked, over all of its blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answered {
    /// Requests that it was asked.
    pub asked: u64,
    /// Those of them that it answered; no more than it was asked.
    pub answered: u64,
}

/// Why nothing may be said of a time: the arms answered different shares.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct UnequallyAnswered {
    /// What ours answered.
    pub ours: Answered,
    /// What theirs answered.
    pub theirs: Answered,
    /// How likely shares are that are as far apart, or farther, where nothing makes them differ.
    pub p: f64,
}

impl Answered {
    fn share(self) -> f64 {
        self.answered as f64 / self.asked as f64
    }

    fn missed(self) -> u64 {
        self.asked.saturating_sub(self.answered)
    }
}

impl UnequallyAnswered {
    /// The reason, where the shares differ beyond noise: by Fisher's exact test, at 5 %.
    pub fn of(ours: Answered, theirs: Answered) -> Option<Self> {
        let p = by_chance(ours, theirs);
        (p < BY_CHANCE).then_some(Self { ours, theirs, p })
    }

    /// It in words, with the names of the arms.
    pub fn words(&self, ours: &str, theirs: &str) -> String {
        let told = |arm: Answered| {
            let (answered, asked) = (arm.answered, arm.asked);
            format!("{answered} of {asked} ({} %)", percent(arm.share()))
        };
        format!(
            "`{ours}` answered {} and `{theirs}` {}: the times of what was answered say nothing of the \
             rest, and are not compared",
            told(self.ours),
            told(self.theirs)
        )
    }
}

/// The probability of shares as unlikely as these, or more so, if both arms were alike: Fisher's exact
/// test, two-sided (Fisher, "The logic of inductive inference", 1935).
///
/// With `m` misses in all, of `a` and `b` requests, the probability that `k` of them are ours is `C(a,k)
/// C(b,m−k) / C(a+b,m)`; each follows from the one before it: `P(k+1)/P(k) = (a−k)(m−k) /
/// ((k+1)(b−m+k+1))`. As R does, what is likelier than seen by no more than 1e-7 of it counts as equal.
fn by_chance(ours: Answered, theirs: Answered) -> f64 {
    let (a, b) = (ours.asked, theirs.asked);
    let seen = ours.missed();
    let misses = seen + theirs.missed();
    let least = misses.saturating_sub(b);
    let log_mass = (least..misses.min(a)).scan(0.0_f64, |log, k| {
        let ups = (a - k) as f64 * (misses - k) as f64;
        let downs = (k + 1) as f64 * (b + k + 1 - misses) as f64;
        *log += (ups / downs).ln();
        Some(*log)
    });
    let log_mass: Vec<f64> = std::iter::once(0.0).chain(log_mass).collect();
    let highest = log_mass.iter().copied().fold(f64::MIN, f64::max);
    let masses = || log_mass.iter().map(|log| (log - highest).exp());
    let limit = (log_mass[(seen - least) as usize] - highest).exp() * (1.0 + 1e-7);
    let unlikely: f64 = masses().filter(|mass| *mass <= limit).sum();
    (unlikely / masses().sum::<f64>()).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(answered: u64, asked: u64) -> Answered {
        Answered { asked, answered }
    }

    /// Misses of so many, twice.
    fn p(ours: (u64, u64), theirs: (u64, u64)) -> f64 {
        let arm = |(missed, asked): (u64, u64)| answered(asked - missed, asked);
        by_chance(arm(ours), arm(theirs))
    }

    #[test]
    fn it_is_fishers_exact_test() {
        // Fisher's twins and his cups of tea (R's help of `fisher.test`: 0.0005367, 0.4857), and
        // others by scipy's `fisher_exact`.
        let cases = [
            ((2, 17), (10, 13), 0.000_536_724),
            ((3, 4), (1, 4), 0.485_714_286),
            ((0, 200), (8, 200), 0.007_274_559),
            ((0, 40), (4, 40), 0.115_567_976),
            ((0, 40), (5, 40), 0.054_742_726),
            ((6, 40), (0, 40), 0.025_546_605),
            ((0, 20), (0, 20), 1.0),
            ((20, 20), (20, 20), 1.0),
            ((0, 0), (7, 20), 1.0),
        ];
        for (ours, theirs, expected) in cases {
            for seen in [p(ours, theirs), p(theirs, ours)] {
                assert!(
                    (seen - expected).abs() < 1e-8,
                    "{ours:?} {theirs:?}: {seen}"
                );
            }
        }
    }

    #[test]
    fn one_of_twenty_is_noise_and_a_third_is_not() {
        let of = UnequallyAnswered::of;
        assert_eq!(of(answered(19, 20), answered(20, 20)), None);
        assert_eq!(of(answered(20, 20), answered(20, 20)), None);
        let words = |reason: UnequallyAnswered| reason.words("split", "replicated");
        assert_eq!(
            words(of(answered(236, 400), answered(400, 400)).unwrap()),
            "`split` answered 236 of 400 (59 %) and `replicated` 400 of 400 (100 %): the times of what \
             was answered say nothing of the rest, and are not compared"
        );
        // 130 of 3541 in both arms, as somebody published.
        assert_eq!(of(answered(3411, 3541), answered(3411, 3541)), None);
        assert!(of(answered(3411, 3541), answered(3541, 3541)).is_some());
        assert!(of(answered(0, 50_000), answered(50_000, 50_000)).unwrap().p < 1e-12);
    }

    #[test]
    fn alike_arms_are_told_apart_in_one_of_twenty_cases_at_most() {
        use crate::prompts::Dice;

        let mut dice = Dice::of(7, 22);
        let mut drawn = || (0..100).filter(|_| dice.below(10) > 0).count() as u64;
        let trials = 2000;
        let told = (0..trials).filter(|_| {
            UnequallyAnswered::of(answered(drawn(), 100), answered(drawn(), 100)).is_some()
        });
        assert!(told.count() * 20 <= trials);
    }
}
