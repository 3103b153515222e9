//! Chance that repeats: the same seed draws the same numbers on every machine, in every version.

use std::f64::consts::TAU;

/// SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014).
#[derive(Debug, Clone)]
pub(crate) struct Dice(u64);

impl Dice {
    /// The dice of one of many things that are drawn with a seed: each thing has its own, so that one
    /// can be drawn without those before it.
    pub(crate) fn of(seed: u64, thing: u64) -> Self {
        let mut seeded = Self(seed);
        let start = seeded.next();
        let mut own = Self(thing);
        Self(start ^ own.next().rotate_left(32))
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`, by multiplication: none is likelier than another by more than 2^-32.
    pub(crate) fn below(&mut self, end: u32) -> u32 {
        ((u64::from(end) * (self.next() >> 32)) >> 32) as u32
    }

    /// A number above 0, and 1 at most.
    fn share(&mut self) -> f64 {
        ((self.next() >> 11) + 1) as f64 / (1_u64 << 53) as f64
    }

    /// A number of the standard normal distribution (Box and Muller, 1958).
    pub(crate) fn normal(&mut self) -> f64 {
        let (radius, angle) = (self.share(), self.share());
        (-2.0 * radius.ln()).sqrt() * (TAU * angle).cos()
    }

    /// Puts things into an order that is drawn (Fisher and Yates).
    pub(crate) fn shuffle<T>(&mut self, things: &mut [T]) {
        for last in (1..things.len()).rev() {
            let end = u32::try_from(last + 1).unwrap_or(u32::MAX);
            things.swap(last, self.below(end) as usize);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first numbers of SplitMix64 with the seed 1234567, as its reference code prints them.
    #[test]
    fn it_is_the_splitmix_of_its_authors() {
        let mut dice = Dice(1_234_567);
        assert_eq!(
            [dice.next(), dice.next(), dice.next()],
            [
                6_457_827_717_110_365_317,
                3_203_168_211_198_807_973,
                9_817_491_932_198_370_423
            ]
        );
    }

    #[test]
    fn each_thing_has_dice_of_its_own() {
        let drawn = |seed, thing| Dice::of(seed, thing).next();
        assert_eq!(drawn(1, 7), drawn(1, 7));
        assert_ne!(drawn(1, 7), drawn(1, 8));
        assert_ne!(drawn(1, 7), drawn(2, 7));
        assert_ne!(drawn(1, 2), drawn(2, 1));
    }

    #[test]
    fn a_normal_number_has_its_mean_and_its_spread() {
        let mut dice = Dice::of(3, 0);
        let drawn: Vec<f64> = (0..20_000).map(|_| dice.normal()).collect();
        let mean = drawn.iter().sum::<f64>() / drawn.len() as f64;
        let square = drawn.iter().map(|it| it * it).sum::<f64>() / drawn.len() as f64;
        assert!(
            mean.abs() < 0.03 && (square - 1.0).abs() < 0.05,
            "{mean} {square}"
        );
    }

    #[test]
    fn a_shuffle_loses_nothing() {
        let mut things: Vec<u32> = (0..100).collect();
        Dice::of(5, 0).shuffle(&mut things);
        assert_ne!(things, (0..100).collect::<Vec<_>>());
        things.sort_unstable();
        assert_eq!(things, (0..100).collect::<Vec<_>>());
    }
}
