//! How often a load is driven. Requests that are decoded together end together: a batch is one
//! observation, however many requests it has, and a round of a tenth of a second says nothing by
//! itself. So a short round is repeated.

use crate::results::Record;
use crate::verdict;

/// A round that takes as long as this stands for itself, in microseconds; shorter ones are
/// repeated until they have taken as long in all.
const LONG_ENOUGH_US: u64 = 1_000_000;

/// How many rounds there are at least where one of them is short.
const ROUNDS: u32 = 5;

/// A long round in which a replica was far behind is driven again, to tell a fault from an accident,
/// where a round takes no longer than this, in microseconds.
const WORTH_REPEATING_US: u64 = 60_000_000;

/// A load whose rounds fail at once is not tried for ever.
const AT_MOST: u32 = 100;

/// Whether what was seen is enough; of a job that says how often, when it was that often. A replica
/// that nobody `warmed` is behind for a reason that is known, and gone when it is asked again.
pub(crate) fn are_enough(records: &[Record], repeats: Option<u32>, warmed: bool) -> bool {
    let Some(last) = records.iter().map(|it| it.round).max() else {
        return true;
    };
    if let Some(repeats) = repeats {
        return last + 1 >= repeats;
    }
    let took: u64 = (0..=last).map(|round| took_us(records, round)).sum();
    let rounds = last + 1;
    let has_failed = records.iter().any(|it| !it.is_ok());
    let first = records.iter().filter(|it| it.round == 0);
    let is_doubted =
        || warmed && took_us(records, 0) <= WORTH_REPEATING_US && verdict::is_doubtful(first);
    let is_one_long = rounds == 1 && took >= LONG_ENOUGH_US && !is_doubted();
    has_failed || is_one_long || rounds >= AT_MOST || (rounds >= ROUNDS && took >= LONG_ENOUGH_US)
}

/// How long a round took, from its first sending to its last end.
fn took_us(records: &[Record], round: u32) -> u64 {
    let of_it = || records.iter().filter(move |it| it.round == round);
    let began = of_it().filter_map(|it| it.stamps.sent).min();
    let ended = of_it().map(|it| it.stamps.ended).max();
    let span = began
        .zip(ended)
        .map(|(began, ended)| ended.saturating_sub(began));
    span.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::scene::{batch, request};

    fn enough(records: &[Record]) -> bool {
        are_enough(records, None, true)
    }

    #[test]
    fn a_long_round_in_which_a_replica_is_far_behind_is_seen_again() {
        let one = |b: f64| batch([2000.0; 4], [b; 4]);
        assert!(enough(&one(2100.0)));
        assert!(!enough(&one(3000.0)));
        assert!(enough(&one(61_000.0)), "that would take too long");
        assert!(are_enough(&one(3000.0), None, false));
        assert!(are_enough(&one(3000.0), Some(1), true));
        let all = verdict::scene::rounds((0..5).map(|_| one(3000.0)));
        assert!(enough(&all) && !enough(&all[..32]));
    }

    fn rounds(of: u32, each_ms: f64) -> Vec<Record> {
        let one = |round: u32| Record {
            round,
            ..request(0, "a", 0.0, 1.0, each_ms)
        };
        (0..of).map(one).collect()
    }

    #[test]
    fn a_long_round_stands_for_itself() {
        assert!(enough(&rounds(1, 1000.0)));
        assert!(!enough(&rounds(1, 999.0)));
    }

    #[test]
    fn short_rounds_are_repeated_until_there_are_five_and_a_second() {
        assert!(!enough(&rounds(4, 900.0)));
        assert!(enough(&rounds(5, 200.0)));
        assert!(!enough(&rounds(5, 100.0)));
        assert!(enough(&rounds(10, 100.0)));
        assert!(enough(&rounds(100, 0.5)));
    }

    #[test]
    fn a_job_may_say_how_often() {
        assert!(are_enough(&rounds(1, 1.0), Some(1), true));
        assert!(!are_enough(&rounds(2, 2000.0), Some(3), true));
    }

    #[test]
    fn what_fails_is_not_repeated() {
        let mut failed = rounds(1, 3.0);
        failed[0].status = crate::results::Status::HttpError;
        assert!(enough(&failed));
        assert!(enough(&[]));
    }
}
