//! How often something is started anew by itself: a server that dies of its start takes its node with it
//! where it is started again and again.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::plan::Address;

/// The longest wait between two starts.
const LONGEST_WAIT: Duration = Duration::from_secs(300);

/// So many starts of each thing in so much time, each after a wait that is twice the one before.
#[derive(Debug)]
pub struct Budget {
    starts: usize,
    within: Duration,
    first_wait: Duration,
    begun: BTreeMap<Address, Vec<Instant>>,
}

/// Whether something is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NextStart {
    /// Now.
    Now,
    /// Once this has gone by.
    In(Duration),
    /// Not before one of its starts is forgotten: in this time.
    Spent(Duration),
}

impl Budget {
    /// At most so many starts of each thing within this time; the second waits as long as said here.
    pub fn new(starts: usize, within: Duration, first_wait: Duration) -> Self {
        Self {
            starts,
            within,
            first_wait,
            begun: BTreeMap::new(),
        }
    }

    /// Notes that something is started.
    pub fn begin(&mut self, address: &Address, now: Instant) {
        self.begun.entry(address.clone()).or_default().push(now);
    }

    /// Whether something may be started now.
    pub fn next_start(&self, address: &Address, now: Instant) -> NextStart {
        let all = self.begun.get(address).into_iter().flatten();
        let ages = all.map(|begun| now.saturating_duration_since(*begun));
        let recent: Vec<Duration> = ages.filter(|age| *age < self.within).collect();
        let (Some(oldest), Some(newest)) = (recent.first(), recent.last()) else {
            return NextStart::Now;
        };
        if recent.len() >= self.starts {
            return NextStart::Spent(self.within.saturating_sub(*oldest));
        }
        let doublings = u32::try_from(recent.len() - 1).unwrap_or(u32::MAX);
        let wait = self
            .first_wait
            .saturating_mul(2_u32.saturating_pow(doublings));
        match wait.min(LONGEST_WAIT).checked_sub(*newest) {
            Some(left) if !left.is_zero() => NextStart::In(left),
            _ => NextStart::Now,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn each_start_waits_twice_as_long_and_so_many_are_enough() {
        let (a, b): (Address, Address) = ("n/i.a".parse().unwrap(), "n/i.b".parse().unwrap());
        let mut budget = Budget::new(3, s(600), s(10));
        let begin = Instant::now();
        assert_eq!(budget.next_start(&a, begin), NextStart::Now);
        budget.begin(&a, begin);
        assert_eq!(budget.next_start(&a, begin + s(4)), NextStart::In(s(6)));
        assert_eq!(budget.next_start(&a, begin + s(10)), NextStart::Now);
        budget.begin(&a, begin + s(10));
        assert_eq!(budget.next_start(&a, begin + s(20)), NextStart::In(s(10)));
        budget.begin(&a, begin + s(30));
        assert_eq!(
            budget.next_start(&a, begin + s(100)),
            NextStart::Spent(s(500))
        );
        assert_eq!(
            budget.next_start(&b, begin + s(100)),
            NextStart::Now,
            "each has its own"
        );
        // The first is forgotten: one more is left.
        assert_eq!(budget.next_start(&a, begin + s(600)), NextStart::Now);
    }

    #[test]
    fn no_wait_is_longer_than_some_minutes() {
        let a: Address = "n/i.a".parse().unwrap();
        let mut budget = Budget::new(40, s(100_000), s(10));
        let begin = Instant::now();
        (0..39).for_each(|_| budget.begin(&a, begin));
        assert_eq!(budget.next_start(&a, begin + s(1)), NextStart::In(s(299)));
    }
}
