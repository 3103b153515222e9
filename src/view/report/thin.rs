//! Leaving out what nobody could see, so that a page of 10,000 requests stays a page.

use crate::results::Record;

/// So many of a list at most, equally far from each other, the first and the last among them.
pub(super) fn evenly<T: Clone>(all: &[T], most: usize) -> Vec<T> {
    if all.len() <= most || most < 2 {
        return all.to_vec();
    }
    let last = all.len() - 1;
    let place = |i: usize| i * last / (most - 1);
    (0..most).map(|i| all[place(i)].clone()).collect()
}

/// The requests that a timeline shows, in the order of sending: so many of them at most, and those
/// that failed or were slowest in any case.
pub(super) fn requests(all: &[Record], most: usize) -> Vec<&Record> {
    let mut order: Vec<&Record> = all.iter().filter(|it| it.stamps.sent.is_some()).collect();
    order.sort_by_key(|it| (it.stamps.sent, it.round, it.index));
    if order.len() <= most {
        return order;
    }
    let mut shown = evenly(&order, most * 3 / 4);
    let failed: Vec<&Record> = order.iter().copied().filter(|it| !it.is_ok()).collect();
    shown.extend(evenly(&failed, most / 5));
    let mut slow = order;
    slow.sort_by_key(|it| {
        std::cmp::Reverse(it.stamps.ended.saturating_sub(it.stamps.sent.unwrap_or(0)))
    });
    shown.extend(slow.into_iter().take(most / 20));
    shown.sort_by_key(|it| (it.stamps.sent, it.round, it.index));
    shown.dedup_by_key(|it| (it.round, it.index));
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::Status;
    use crate::verdict::scene::request;

    #[test]
    fn a_few_of_many_are_equally_far_from_each_other() {
        let all: Vec<usize> = (0..=100).collect();
        assert_eq!(evenly(&all, 5), [0, 25, 50, 75, 100]);
        assert_eq!(evenly(&all, 500).len(), 101);
        assert_eq!(evenly(&all[..1], 1), [0]);
    }

    #[test]
    fn what_failed_and_what_was_slow_is_shown_of_however_many() {
        let mut all: Vec<_> = (0..10_000)
            .map(|i| request(i, "a", f64::from(i), f64::from(i) + 1.0, f64::from(i) + 5.0))
            .collect();
        all[777].status = Status::Timeout;
        all[4321].stamps.ended += 60_000_000;
        let shown = requests(&all, 300);
        assert!(shown.len() <= 300, "{}", shown.len());
        let has = |index| shown.iter().any(|it| it.index == index);
        assert!(has(0) && has(777) && has(4321) && has(9_999));
        assert!(shown.is_sorted_by_key(|it| it.stamps.sent));
        assert_eq!(requests(&all[..200], 300).len(), 200);
    }
}
