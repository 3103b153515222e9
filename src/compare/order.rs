//! In which order the blocks of an experiment run.
//!
//! A machine that warms up, fills its disk or ages in any other way favours whoever runs first. Two
//! remedies: every second round is its forerunner mirrored, so that each arm's mean place is the
//! middle (what drifts evenly cancels, and the arm that ran last need not be started anew), and
//! the forerunners are the rows of a balanced Latin square, so that each arm stands at each place, and
//! next to each other arm, as often as any (Williams, "Experimental designs balanced for the
//! estimation of residual effects of treatments", 1949). Two arms come as ABBA BAAB or as BAAB ABBA.

use crate::prompts::Dice;

/// For each round, in which order the arms run, by their numbers from 0. Which arm takes which place of
/// the square is drawn with the seed.
pub fn rounds(arms: usize, rounds: u32, seed: u64) -> Vec<Vec<usize>> {
    let mut drawn: Vec<usize> = (0..arms).collect();
    Dice::of(seed, 0).shuffle(&mut drawn);
    let round = |number: u32| {
        let row = (number / 2) as usize;
        let places = zigzag(arms).map(|place| drawn[(place + row) % arms]);
        let mut order: Vec<usize> = places.collect();
        if number % 2 == 1 {
            order.reverse();
        }
        order
    };
    (0..rounds).map(round).collect()
}

/// The first row of the square: 0, 1, n−1, 2, n−2 and so on. Its steps differ all, which is
/// what gives each arm other neighbours in each row.
fn zigzag(arms: usize) -> impl Iterator<Item = usize> {
    (0..arms).map(move |place| {
        let step = place.div_ceil(2);
        if place % 2 == 1 {
            step
        } else {
            (arms - step) % arms
        }
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// How often each arm stands at each place.
    fn places(order: &[Vec<usize>]) -> BTreeMap<(usize, usize), usize> {
        let mut seen = BTreeMap::new();
        for round in order {
            for (place, arm) in round.iter().enumerate() {
                *seen.entry((*arm, place)).or_default() += 1;
            }
        }
        seen
    }

    fn letters(order: &[Vec<usize>]) -> String {
        let name = |arm: &usize| ["A", "B", "C", "D"][*arm];
        let word = |round: &Vec<usize>| round.iter().map(name).collect::<String>();
        order.iter().map(word).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn two_arms_come_as_abba_or_as_baab_by_the_seed() {
        let seen: Vec<String> = (0..20).map(|seed| letters(&rounds(2, 4, seed))).collect();
        assert!(
            seen.iter()
                .all(|it| it == "AB BA BA AB" || it == "BA AB AB BA")
        );
        assert!(seen.iter().any(|it| it.starts_with('A')));
        assert!(seen.iter().any(|it| it.starts_with('B')));
    }

    #[test]
    fn three_arms_come_in_each_of_their_six_orders() {
        let mut order = rounds(3, 6, 5);
        order.sort_unstable();
        assert_eq!(letters(&order), "ABC ACB BAC BCA CAB CBA");
    }

    proptest! {
        #[test]
        fn every_round_holds_every_arm_and_every_second_is_mirrored(
            arms in 1_usize..9, count in 0_u32..40, seed: u64,
        ) {
            let order = rounds(arms, count, seed);
            prop_assert_eq!(order.len(), count as usize);
            for round in &order {
                let mut sorted = round.clone();
                sorted.sort_unstable();
                prop_assert_eq!(sorted, (0..arms).collect::<Vec<_>>());
            }
            for two in order.chunks_exact(2) {
                let mirrored: Vec<usize> = two[0].iter().rev().copied().collect();
                prop_assert_eq!(&two[1], &mirrored);
            }
            prop_assert_eq!(order, rounds(arms, count, seed));
        }

        #[test]
        fn the_mean_place_of_every_arm_is_the_middle(
            arms in 1_usize..9, pairs in 1_u32..20, seed: u64,
        ) {
            let order = rounds(arms, 2 * pairs, seed);
            let mut sums = vec![0; arms];
            for ((arm, place), times) in places(&order) {
                sums[arm] += place * times;
            }
            let middle = (arms - 1) * pairs as usize;
            prop_assert!(sums.iter().all(|sum| *sum == middle), "{sums:?}");
        }

        #[test]
        fn every_arm_stands_at_every_place_as_often_as_any(
            arms in 2_usize..9, squares in 1_u32..4, seed: u64,
        ) {
            let order = rounds(arms, 2 * squares * u32::try_from(arms).unwrap(), seed);
            let times = places(&order);
            prop_assert_eq!(times.len(), arms * arms);
            prop_assert!(times.values().all(|it| *it == 2 * squares as usize), "{times:?}");
        }

        #[test]
        fn every_arm_follows_every_other_in_a_round_as_often_as_any(
            arms in 2_usize..9, seed: u64,
        ) {
            let order = rounds(arms, 2 * u32::try_from(arms).unwrap(), seed);
            let mut follows: BTreeMap<(usize, usize), usize> = BTreeMap::new();
            for neighbours in order.iter().flat_map(|round| round.windows(2)) {
                *follows.entry((neighbours[0], neighbours[1])).or_default() += 1;
            }
            prop_assert_eq!(follows.len(), arms * (arms - 1));
            prop_assert!(follows.values().all(|times| *times == 2), "{follows:?}");
        }
    }
}
