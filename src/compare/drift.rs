//! Whether the machines changed in the course of an experiment.
//!
//! The order of blocks cancels a drift that is even; that there was one must be said all the same, as
//! what changed by itself may have changed for one arm alone.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::student;
use super::verdict::{Aim, Side, percent, side, within};
use crate::results::quantile::tidy;

/// One block of an experiment, in so far as it tells of a drift.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BlockValue {
    /// As which block of all it ran, from 0. One that has no value is left out, and its place stays
    /// empty.
    pub place: u32,
    /// The number of its arm.
    pub arm: usize,
    /// What was measured.
    pub value: f64,
}

/// By how much everything changed from the first block to the last.
///
/// The logarithm of each block's value is a mean of its arm and a slope times its place, fitted by
/// least squares (the analysis of covariance: Fisher, "Statistical Methods for Research Workers", 1932).
/// About the means of its arm, with `x` a place and `y` a logarithm, the slope is `Σxy / Σx²` and its
/// error `√(Σ(y − slope·x)² / (n − arms − 1) / Σx²)`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Drift {
    /// The last block's value of the first's, if both were of the same arm: 1 is no drift.
    pub change: f64,
    /// The lower bound of its interval of 95 %.
    pub low: f64,
    /// The upper bound.
    pub high: f64,
    /// How many blocks it is of.
    pub blocks: u32,
}

impl Drift {
    /// The drift of blocks; nothing where there are too few for one, or where a value is not above nought.
    pub fn of(blocks: &[BlockValue]) -> Option<Self> {
        let is_sound = |block: &BlockValue| block.value.is_finite() && block.value > 0.0;
        if !blocks.iter().all(is_sound) {
            return None;
        }
        let first = blocks.iter().map(|block| block.place).min()?;
        let last = blocks.iter().map(|block| block.place).max()?;
        let mut arms: BTreeMap<usize, Vec<(f64, f64)>> = BTreeMap::new();
        for block in blocks {
            let point = (f64::from(block.place), block.value.ln());
            arms.entry(block.arm).or_default().push(point);
        }
        let freedom = blocks.len().checked_sub(arms.len() + 1)?;
        let freedom = u32::try_from(freedom).ok().filter(|it| *it > 0)?;
        let points: Vec<(f64, f64)> = arms.values().flat_map(|points| centred(points)).collect();
        let (slope, error) = line(&points, freedom)?;
        let whole = f64::from(last - first);
        let half = student::quantile(0.975, freedom) * error;
        let at = |slope: f64| tidy((slope * whole).exp());
        Some(Self {
            change: at(slope),
            low: at(slope - half),
            high: at(slope + half),
            blocks: u32::try_from(blocks.len()).ok()?,
        })
    }

    /// Whether it is to be told of: the interval excludes that nothing changed, and does not lie within
    /// the margin. The same question as of a ratio, and for the same reason: see [`Verdict`].
    ///
    /// [`Verdict`]: super::Verdict
    pub fn matters(&self, margin: f64) -> bool {
        let bounds = (self.low, self.high);
        side(bounds).is_some() && !within(bounds, margin)
    }

    /// It in words, where it matters.
    pub fn words(&self, aim: Aim, margin: f64) -> Option<String> {
        let side = side((self.low, self.high)).filter(|_| self.matters(margin))?;
        let faster = (side == Side::Above) == (aim == Aim::More);
        let became = if faster { "faster" } else { "slower" };
        let share = |change: f64| percent((change - 1.0).abs());
        let (near, far) = match side {
            Side::Above => (self.low, self.high),
            Side::Below => (self.high, self.low),
        };
        Some(format!(
            "everything became {} % {became} ({} to {}) from the first block to the last",
            share(self.change),
            share(near),
            share(far)
        ))
    }
}

/// Points about their mean.
fn centred(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let n = points.len() as f64;
    let x_mean = points.iter().map(|(x, _)| x).sum::<f64>() / n;
    let y_mean = points.iter().map(|(_, y)| y).sum::<f64>() / n;
    let about = |(x, y): &(f64, f64)| (x - x_mean, y - y_mean);
    points.iter().map(about).collect()
}

/// The slope through centred points, and its error; nothing where all have one place.
fn line(points: &[(f64, f64)], freedom: u32) -> Option<(f64, f64)> {
    let across: f64 = points.iter().map(|(x, _)| x * x).sum();
    if across <= 0.0 {
        return None;
    }
    let slope = points.iter().map(|(x, y)| x * y).sum::<f64>() / across;
    let left = points.iter().map(|(x, y)| (y - slope * x).powi(2));
    let error = (left.sum::<f64>() / f64::from(freedom) / across).sqrt();
    Some((slope, error))
}

#[cfg(test)]
mod tests {
    use super::super::order::rounds;
    use super::super::verdict::MARGIN;
    use super::*;
    use crate::prompts::Dice;

    const TRIALS: u64 = 20_000;

    /// Five rounds of two arms, of which one does twice what the other does, with a noise of 2 %.
    fn measured(drift: f64, seed: u64) -> Drift {
        let mut dice = Dice::of(seed, 21);
        let order = rounds(2, 5, seed).concat();
        let blocks = (0..).zip(order).map(|(place, arm)| {
            let true_value = [100.0, 200.0][arm] * (1.0 + drift * f64::from(place) / 9.0);
            let value = true_value * (0.02 * dice.normal()).exp();
            BlockValue { place, arm, value }
        });
        Drift::of(&blocks.collect::<Vec<_>>()).unwrap()
    }

    fn share_told_of(drift: f64) -> f64 {
        let told = (0..TRIALS).filter(|seed| measured(drift, *seed).matters(MARGIN));
        told.count() as f64 / TRIALS as f64
    }

    #[test]
    fn a_drift_of_10_percent_is_told_of_and_none_is_not() {
        for drift in [0.1, -0.1] {
            let told = share_told_of(drift);
            assert!(told >= 0.95, "{drift}: {told}");
        }
        let told = share_told_of(0.0);
        assert!(told <= 0.05, "{told}");
    }

    #[test]
    fn without_noise_it_is_the_whole_change_of_every_arm() {
        let value =
            |place: u32, arm: usize| [3.0, 70.0][arm] * 1.21_f64.powf(f64::from(place) / 4.0);
        let block = |(place, arm)| BlockValue {
            place,
            arm,
            value: value(place, arm),
        };
        // The block at place 3 is lost.
        let blocks = [(0, 0), (1, 1), (2, 1), (4, 0)].map(block);
        let seen = Drift::of(&blocks).unwrap();
        assert!((seen.change - 1.21).abs() < 1e-6 && seen.blocks == 4);
        assert!((seen.low - 1.21).abs() < 1e-6 && (seen.high - 1.21).abs() < 1e-6);
    }

    /// Ten values at the places 0 to 9, and what least squares by the normal equations of `y ~ arm + place` says of
    /// them (numpy, with scipy's quantile).
    #[test]
    fn its_interval_is_that_of_a_linear_model() {
        let logs = [
            0.10, 0.72, 0.69, 0.14, 0.16, 0.80, 0.79, 0.15, 0.21, 0.83_f64,
        ];
        let arms = [0, 1, 1, 0, 0, 1, 1, 0, 0, 1];
        let blocks = (0..).zip(logs.iter().zip(arms));
        let blocks = blocks.map(|(place, (log, arm))| BlockValue {
            place,
            arm,
            value: log.exp(),
        });
        let seen = Drift::of(&blocks.collect::<Vec<_>>()).unwrap();
        let logs = [seen.low, seen.change, seen.high].map(|it| it.ln() / 9.0);
        for (ours, theirs) in logs
            .into_iter()
            .zip([0.007_366_818, 0.013_810_680, 0.020_254_541])
        {
            assert!((ours - theirs).abs() < 1e-6, "{ours} {theirs}");
        }
    }

    #[test]
    fn its_words_say_which_way_and_how_far() {
        let drift = |change, low, high| Drift {
            change,
            low,
            high,
            blocks: 10,
        };
        let slower = drift(0.96, 0.94, 0.98);
        let words = |drift: Drift, aim| drift.words(aim, MARGIN);
        assert_eq!(
            words(slower, Aim::More).unwrap(),
            "everything became 4 % slower (2 to 6) from the first block to the last"
        );
        assert_eq!(
            words(drift(1.12, 1.005, 1.23), Aim::Less).unwrap(),
            "everything became 12 % slower (0.5 to 23) from the first block to the last"
        );
        assert!(
            words(slower, Aim::Less)
                .unwrap()
                .contains("4 % faster (2 to 6)")
        );
        // Sure and small, and not sure.
        assert_eq!(words(drift(1.01, 1.005, 1.015), Aim::Less), None);
        assert_eq!(words(drift(1.10, 0.99, 1.22), Aim::Less), None);
    }

    #[test]
    fn too_few_blocks_have_no_drift() {
        let block = |place, arm, value| BlockValue { place, arm, value };
        assert_eq!(Drift::of(&[]), None);
        assert_eq!(
            Drift::of(&[block(0, 0, 1.0), block(1, 1, 1.0), block(2, 1, 1.0)]),
            None
        );
        let apart = [0, 1, 2, 3].map(|place| block(place, place as usize, 1.0));
        assert_eq!(Drift::of(&apart), None);
        let nought = [1.0, 1.0, 1.0, 0.0].map(|value| block(0, 0, value));
        assert_eq!(Drift::of(&nought), None);
    }
}
