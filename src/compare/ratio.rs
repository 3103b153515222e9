//! What one arm does of what the other does.

use serde::{Deserialize, Serialize};

use super::student;
use crate::results::quantile::tidy;

/// How sure the interval of a ratio is.
const CONFIDENCE: f64 = 0.95;

/// Ours over theirs: the geometric mean of one ratio for each round, and its interval.
///
/// The logarithms of the ratios of `n` pairs have a mean `m` and a standard deviation `s`; the interval
/// is `exp(m ± t s/√n)`, with Student's t of n−1 degrees of freedom for 95 % ("Student", "The probable
/// error of a mean", 1908). The paired form: what both blocks of a round have in common (a machine that
/// is slow for an hour) is in none of it. Upside down, ours and theirs exchanged, it is the inverse.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Ratio {
    /// The geometric mean of the pairs' ratios.
    pub ratio: f64,
    /// The lower bound of its interval of 95 %.
    pub low: f64,
    /// The upper bound.
    pub high: f64,
    /// How many pairs it is of.
    pub pairs: u32,
}

impl Ratio {
    /// The ratio of pairs of (ours, theirs), one a round. One pair has no spread, and what is not above
    /// nought has no ratio: nothing then.
    pub fn of(pairs: &[(f64, f64)]) -> Option<Self> {
        let logs: Option<Vec<f64>> = pairs.iter().map(|pair| log_ratio(*pair)).collect();
        let logs = logs?;
        let count = u32::try_from(logs.len()).ok().filter(|count| *count > 1)?;
        let n = f64::from(count);
        let mean = logs.iter().sum::<f64>() / n;
        let squares: f64 = logs.iter().map(|log| (log - mean).powi(2)).sum();
        let error = (squares / (n - 1.0) / n).sqrt();
        let half = quantile(count) * error;
        Some(Self {
            ratio: tidy(mean.exp()),
            low: tidy((mean - half).exp()),
            high: tidy((mean + half).exp()),
            pairs: count,
        })
    }

    /// Theirs over ours.
    #[must_use]
    pub fn inverse(self) -> Self {
        Self {
            ratio: tidy(1.0 / self.ratio),
            low: tidy(1.0 / self.high),
            high: tidy(1.0 / self.low),
            pairs: self.pairs,
        }
    }

    /// The standard deviation of the logarithms of the pairs' ratios, read back from the interval.
    pub(super) fn spread(&self) -> f64 {
        let half = (self.high / self.low).ln() / 2.0;
        half / quantile(self.pairs) * f64::from(self.pairs).sqrt()
    }
}

fn log_ratio((ours, theirs): (f64, f64)) -> Option<f64> {
    let is_sound = |value: f64| value.is_finite() && value > 0.0;
    (is_sound(ours) && is_sound(theirs)).then(|| (ours / theirs).ln())
}

/// Student's t for the interval of so many pairs.
fn quantile(pairs: u32) -> f64 {
    student::quantile(f64::midpoint(1.0, CONFIDENCE), pairs - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Student's own data, the hours of sleep that two drugs gained ten patients, as logarithms: the
    /// difference is 1.58 with an interval of 0.70 to 2.46 (R's `t.test(extra ~ group, data = sleep,
    /// paired = TRUE)`: 0.7001142, 2.4598858).
    #[test]
    fn the_interval_is_students() {
        let one = [0.7_f64, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0];
        let two = [1.9_f64, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4];
        let pairs: Vec<(f64, f64)> = two
            .iter()
            .zip(one)
            .map(|(a, b)| (a.exp(), b.exp()))
            .collect();
        let seen = Ratio::of(&pairs).unwrap();
        assert!((seen.ratio.ln() - 1.58).abs() < 1e-6);
        assert!((seen.low.ln() - 0.700_114_2).abs() < 1e-6);
        assert!((seen.high.ln() - 2.459_885_8).abs() < 1e-6);
        assert_eq!(seen.pairs, 10);
        // The standard deviation of the ten differences.
        assert!((seen.spread() - 1.229_995).abs() < 1e-5);
    }

    #[test]
    fn exchanged_arms_have_the_inverse_ratio() {
        let pairs = [(100.0, 98.0), (103.0, 97.0), (99.0, 99.5)];
        let exchanged = pairs.map(|(ours, theirs)| (theirs, ours));
        let (ours, theirs) = (Ratio::of(&pairs).unwrap(), Ratio::of(&exchanged).unwrap());
        let inverse = ours.inverse();
        assert!((inverse.ratio - theirs.ratio).abs() < 2e-6);
        assert!(
            (inverse.low - theirs.low).abs() < 2e-6 && (inverse.high - theirs.high).abs() < 2e-6
        );
    }

    #[test]
    fn what_both_blocks_of_a_round_have_in_common_does_not_widen_the_interval() {
        let pairs = [(10.0, 5.0), (20.0, 10.0), (3.0, 1.5)];
        let seen = Ratio::of(&pairs).unwrap();
        assert_eq!((seen.low, seen.ratio, seen.high), (2.0, 2.0, 2.0));
    }

    #[test]
    fn one_pair_and_a_nought_have_no_ratio() {
        assert_eq!(Ratio::of(&[]), None);
        assert_eq!(Ratio::of(&[(1.0, 2.0)]), None);
        for odd in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert_eq!(Ratio::of(&[(1.0, 2.0), (odd, 2.0)]), None, "{odd}");
            assert_eq!(Ratio::of(&[(1.0, 2.0), (2.0, odd)]), None, "{odd}");
        }
    }
}
