//! What may be said of a ratio.
//!
//! # When an arm is better
//!
//! Equivalence is asked first: the whole interval lies within the margin. Where it does not, better
//! or worse is what lies wholly on one side **of 1**. The other reading, wholly beyond 1 ± the margin,
//! cannot be meant: a true ratio of 1.05 lies two points beyond a margin of 3 %, and five pairs that
//! differ by 2 % would find it once in three times (0.38). Beyond 1 they find it in 0.977, and at
//! equality say better or worse in 0.023: the interval excludes 1 in 5 % of all trials, by its
//! definition, and in half of those it lies within the margin.
//!
//! What 2 % is of matters. Where each block has a noise of 2 %, so that a ratio has one of 2.8 %,
//! 1.05 is found by 5 pairs in 0.82, by 6 in 0.92 and by 8 in 0.985, and false verdicts are 0.039:
//! an experiment should have six rounds, which is even too. A model of all blocks with a line for
//! the drift has more degrees of freedom, and would find it by 5 in 0.91, but only where rounds have nothing
//! in common: with 4 % that both blocks of a round share it finds 0.35, and pairs still 0.82.

use serde::{Deserialize, Serialize};

use super::ratio::Ratio;
use super::student;
use crate::results::Metric;
use crate::results::quantile::tidy;

/// Below this many pairs nothing is said: the interval hangs on a spread that nobody knows.
pub const FEWEST_PAIRS: u32 = 5;

/// The margin within which arms are equivalent, where none is asked for: 3 %.
pub const MARGIN: f64 = 0.03;

/// More pairs than this are none that one could ask for.
const MOST_PAIRS: u32 = 100;

/// Which way a metric is better.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Aim {
    /// More is better: tokens a second.
    #[default]
    More,
    /// Less is better: a time.
    Less,
}

impl From<Metric> for Aim {
    fn from(metric: Metric) -> Self {
        if metric.is_time() {
            Self::Less
        } else {
            Self::More
        }
    }
}

/// What is said of our arm beside theirs.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "verdict", rename_all = "snake_case")]
pub enum Verdict {
    /// Ours is better: the interval excludes equality.
    Better,
    /// Ours is worse: the interval excludes equality.
    Worse,
    /// The whole interval lies within the margin.
    Equivalent,
    /// The interval allows for both.
    Inconclusive {
        /// The least difference, as a share, that so many pairs of this spread find in nine of ten
        /// times.
        finds: f64,
        /// With how many pairs of this spread arms that are equal would be called equivalent, and arms
        /// that differ by the margin better or worse, in nine of ten times; nothing where they are
        /// more than anybody would run.
        takes: Option<u32>,
    },
    /// Fewer pairs than anything can be said of.
    TooFew,
}

impl Verdict {
    /// What may be said of a ratio, when arms that differ by less than the margin (a share: 0.03) are
    /// as good as each other.
    ///
    /// The margin reaches from 1/(1+margin) to 1+margin, so that exchanged arms have the mirrored
    /// verdict.
    pub fn of(ratio: &Ratio, aim: Aim, margin: f64) -> Self {
        Self::decided(ratio, aim, margin).unwrap_or_else(|| Self::Inconclusive {
            finds: finds(ratio),
            takes: takes(ratio, margin),
        })
    }

    /// The verdict, where there is one: nothing is inconclusive.
    fn decided(ratio: &Ratio, aim: Aim, margin: f64) -> Option<Self> {
        if ratio.pairs < FEWEST_PAIRS {
            return Some(Self::TooFew);
        }
        let bounds = (ratio.low, ratio.high);
        if within(bounds, margin) {
            return Some(Self::Equivalent);
        }
        let more = side(bounds)? == Side::Above;
        let better = more == (aim == Aim::More);
        Some(if better { Self::Better } else { Self::Worse })
    }

    /// It in words, with what it would take.
    pub fn words(&self) -> String {
        match self {
            Self::Better => "better".to_owned(),
            Self::Worse => "worse".to_owned(),
            Self::Equivalent => "equivalent".to_owned(),
            Self::Inconclusive { finds, takes } => {
                let finds = percent(*finds);
                match takes {
                    Some(pairs) => format!(
                        "inconclusive: so few pairs find a difference of {finds} % or more, and about \
                         {pairs} would tell"
                    ),
                    None => format!(
                        "inconclusive: so few pairs find a difference of {finds} % or more, and not even \
                         {MOST_PAIRS} would tell; measure longer blocks, or allow for a wider margin"
                    ),
                }
            }
            Self::TooFew => format!("too few pairs: {FEWEST_PAIRS} are the least"),
        }
    }
}

/// On which side of 1 an interval lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    /// Below it.
    Below,
    /// Above it.
    Above,
}

/// Whether an interval lies within the margin.
pub(super) fn within((low, high): (f64, f64), margin: f64) -> bool {
    low > 1.0 / (1.0 + margin) && high < 1.0 + margin
}

/// The side of 1 on which an interval wholly lies.
pub(super) fn side((low, high): (f64, f64)) -> Option<Side> {
    if low > 1.0 {
        Some(Side::Above)
    } else if high < 1.0 {
        Some(Side::Below)
    } else {
        None
    }
}

/// A share in percent, to a decimal where it is small.
pub(super) fn percent(share: f64) -> String {
    let percent = share * 100.0;
    if percent < 9.95 {
        let text = format!("{percent:.1}");
        text.strip_suffix(".0").map(str::to_owned).unwrap_or(text)
    } else {
        format!("{percent:.0}")
    }
}

/// How far from 1 a true ratio must be to be told from it in nine of ten times: `exp((t₀.₉₇₅ + t₀.₉)
/// s/√n) − 1`, the usual minimum detectable effect.
fn finds(ratio: &Ratio) -> f64 {
    let freedom = ratio.pairs - 1;
    let error = ratio.spread() / f64::from(ratio.pairs).sqrt();
    let times = student::quantile(0.975, freedom) + student::quantile(0.90, freedom);
    tidy((times * error).exp_m1())
}

/// The least number of pairs with `(t₀.₉₇₅ + t₀.₉₅) s/√n` within the margin: two bounds may be missed at
/// equality, each in one of twenty times, and a difference as large as the margin is then found in more
/// than nine of ten.
fn takes(ratio: &Ratio, margin: f64) -> Option<u32> {
    let (spread, room) = (ratio.spread(), margin.ln_1p());
    (ratio.pairs + 1..=MOST_PAIRS).find(|pairs| {
        let error = spread / f64::from(*pairs).sqrt();
        let freedom = pairs - 1;
        let times = student::quantile(0.975, freedom) + student::quantile(0.95, freedom);
        times * error <= room
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::order::rounds;
    use super::*;
    use crate::prompts::Dice;

    const TRIALS: u64 = 20_000;

    /// An experiment of two arms of which the one does `truth` times what the other does.
    #[derive(Clone, Copy)]
    struct Scene {
        truth: f64,
        pairs: u32,
        /// The noise of each block.
        noise: f64,
        /// The noise that both blocks of a round share.
        shared: f64,
        /// By what share everything changes from the first block to the last.
        drift: f64,
    }

    const EQUAL: Scene = Scene {
        truth: 1.0,
        pairs: 5,
        noise: 0.02,
        shared: 0.0,
        drift: 0.0,
    };

    /// A noise of each block with which a ratio has one of 2 %.
    const RATIO_OF_2: f64 = 0.02 / std::f64::consts::SQRT_2;

    impl Scene {
        /// What is measured when blocks run in their order.
        fn measured(self, seed: u64) -> Ratio {
            let mut dice = Dice::of(seed, 20);
            let order = rounds(2, self.pairs, seed);
            let last = f64::from(2 * self.pairs - 1);
            let mut block = 0.0;
            let pairs = order.iter().map(|round| {
                let common = self.shared * dice.normal();
                let mut values = [0.0; 2];
                for arm in round {
                    let true_value = [self.truth, 1.0][*arm] * (1.0 + self.drift * block / last);
                    values[*arm] = true_value * (common + self.noise * dice.normal()).exp();
                    block += 1.0;
                }
                (values[0], values[1])
            });
            Ratio::of(&pairs.collect::<Vec<_>>()).unwrap()
        }

        /// In which share of the trials the verdict is one of these.
        fn share(self, wanted: impl Fn(Verdict) -> bool) -> f64 {
            let verdict = |seed| Verdict::decided(&self.measured(seed), Aim::More, MARGIN);
            let met = (0..TRIALS)
                .filter(|seed| verdict(*seed).is_some_and(&wanted))
                .count();
            met as f64 / TRIALS as f64
        }

        fn false_verdicts(self) -> f64 {
            self.share(|it| matches!(it, Verdict::Better | Verdict::Worse))
        }

        fn found(self) -> f64 {
            self.share(|it| it == Verdict::Better)
        }
    }

    #[test]
    fn at_equality_one_verdict_of_twenty_is_false_at_most() {
        for pairs in [5, 6, 8] {
            let scene = Scene { pairs, ..EQUAL };
            let seen = scene.false_verdicts();
            assert!(seen <= 0.05, "{pairs}: {seen}");
            // The control: it can be wrong.
            assert!(seen > 0.01, "{pairs}: {seen}");
            let seen = Scene {
                noise: RATIO_OF_2,
                ..scene
            };
            assert!(seen.false_verdicts() <= 0.03, "{pairs}");
        }
    }

    #[test]
    fn a_ratio_of_1_05_is_found_at_a_noise_of_2_percent() {
        let found = |pairs, noise| {
            let truth = 1.05;
            Scene {
                truth,
                pairs,
                noise,
                ..EQUAL
            }
            .found()
        };
        let of_ratios = found(5, RATIO_OF_2);
        assert!(of_ratios >= 0.97, "{of_ratios}");
        let of_blocks = [5, 6, 8].map(|pairs| found(pairs, 0.02));
        assert!(of_blocks[0] >= 0.80, "{of_blocks:?}");
        assert!(of_blocks[1] >= 0.90, "{of_blocks:?}");
        assert!(of_blocks[2] >= 0.98, "{of_blocks:?}");
    }

    #[test]
    fn what_a_round_has_in_common_hides_nothing() {
        let scene = Scene {
            truth: 1.05,
            pairs: 6,
            shared: 0.2,
            ..EQUAL
        };
        assert!(scene.found() >= 0.90);
    }

    #[test]
    fn a_drift_of_10_percent_is_cancelled_by_the_order() {
        for pairs in [6, 8] {
            let scene = Scene {
                pairs,
                drift: 0.1,
                ..EQUAL
            };
            let seen = scene.false_verdicts();
            assert!(seen <= 0.05, "{pairs}: {seen}");
            // Nor does it lean to a side.
            let better = scene.found();
            assert!((better - seen / 2.0).abs() < 0.005, "{better} of {seen}");
        }
    }

    #[test]
    fn as_many_pairs_as_it_takes_mostly_end_in_a_verdict() {
        let seen = EQUAL.measured(1);
        let Verdict::Inconclusive { takes, finds } = Verdict::of(&seen, Aim::More, MARGIN) else {
            panic!("{seen:?}");
        };
        let noise = seen.spread() / std::f64::consts::SQRT_2;
        let pairs = takes.unwrap();
        let longer = Scene {
            pairs,
            noise,
            ..EQUAL
        };
        let equivalent = longer.share(|it| it == Verdict::Equivalent);
        let truth = 1.0 + MARGIN;
        let better = Scene { truth, ..longer }.found();
        assert!(
            equivalent > 0.88 && better > 0.88,
            "{pairs}: {equivalent}, {better}"
        );
        let truth = 1.0 + finds;
        let better = Scene {
            truth,
            noise,
            ..EQUAL
        }
        .found();
        assert!((better - 0.9).abs() < 0.05, "{finds}: {better}");
    }

    #[test]
    fn verdicts_are_read_off_the_interval() {
        let of = |low, high, pairs, aim| {
            let ratio = f64::sqrt(low * high);
            Verdict::of(
                &Ratio {
                    ratio,
                    low,
                    high,
                    pairs,
                },
                aim,
                MARGIN,
            )
        };
        assert_eq!(of(1.01, 1.09, 5, Aim::More), Verdict::Better);
        assert_eq!(of(1.01, 1.09, 5, Aim::Less), Verdict::Worse);
        assert_eq!(of(0.90, 0.99, 5, Aim::Less), Verdict::Better);
        assert_eq!(of(0.90, 0.99, 5, Aim::More), Verdict::Worse);
        // Surely better, and surely by no more than the margin.
        assert_eq!(of(1.01, 1.02, 5, Aim::More), Verdict::Equivalent);
        assert_eq!(of(0.98, 1.029, 5, Aim::Less), Verdict::Equivalent);
        assert_eq!(of(1.2, 1.3, 4, Aim::More), Verdict::TooFew);
        let wide = of(0.96, 1.06, 5, Aim::More);
        assert_eq!(
            wide.words(),
            "inconclusive: so few pairs find a difference of 8 % or more, and about 26 would tell"
        );
        assert_eq!(
            of(0.5, 2.0, 5, Aim::More).words(),
            "inconclusive: so few pairs find a difference of 193 % or more, and not even 100 would \
             tell; measure longer blocks, or allow for a wider margin"
        );
        assert_eq!(
            serde_json::json!(Verdict::TooFew),
            serde_json::json!({"verdict": "too_few"})
        );
        let json = serde_json::to_string(&wide).unwrap();
        assert_eq!(serde_json::from_str::<Verdict>(&json).unwrap(), wide);
    }

    proptest! {
        #[test]
        fn exchanged_arms_have_the_mirrored_verdict(
            centre in -0.1_f64..0.1, half in 0.0_f64..0.1, pairs in 2_u32..12,
        ) {
            let (low, high) = ((centre - half).exp(), (centre + half).exp());
            let ratio = Ratio { ratio: centre.exp(), low, high, pairs };
            let edges = [0.0, MARGIN.ln_1p(), -MARGIN.ln_1p()];
            let bounds = [centre - half, centre + half];
            let is_near = |edge: f64| bounds.iter().any(|it| (it - edge).abs() < 1e-5);
            prop_assume!(!edges.into_iter().any(is_near));
            let ours = Verdict::of(&ratio, Aim::More, MARGIN);
            let theirs = Verdict::of(&ratio.inverse(), Aim::More, MARGIN);
            let mirrored = match ours {
                Verdict::Better => Verdict::Worse,
                Verdict::Worse => Verdict::Better,
                other => other,
            };
            let same = std::mem::discriminant(&mirrored) == std::mem::discriminant(&theirs);
            prop_assert!(same, "{ours:?} {theirs:?}");
            // A time that is as much longer as a rate is higher is as much worse.
            prop_assert_eq!(Verdict::of(&ratio, Aim::Less, MARGIN), {
                match ours {
                    Verdict::Better => Verdict::Worse,
                    Verdict::Worse => Verdict::Better,
                    other => other,
                }
            });
        }
    }
}
