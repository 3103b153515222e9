//! What became of the requests of one start of an instance.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

use super::backend::Backend;
use super::control::{FormerStart, Requests};
use super::requests::{Ledger, Outcome};

/// How many of those that get no requests any more are remembered.
pub(super) const REMEMBERED: usize = 32;

/// Counts the requests that went to one start.
#[derive(Debug, Default)]
pub(super) struct Account {
    ends: Ledger,
    /// Attempts after which the request went to another.
    retried: AtomicU64,
    /// In flight when it was given up, and not waited for.
    abandoned: AtomicU64,
    /// In flight at the proxy before, as it said last.
    in_flight_before: AtomicU64,
}

impl Account {
    /// Counts the end of a request that it had last.
    pub(super) fn ended(&self, outcome: Outcome) {
        self.ends.count(outcome);
    }

    /// Counts a request that goes to another.
    pub(super) fn goes_elsewhere(&self) {
        self.retried.fetch_add(1, Ordering::Relaxed);
    }

    /// Notes that it is about to be stopped with so many requests in flight.
    pub(super) fn is_abandoned(&self, in_flight: u64) {
        self.abandoned.store(in_flight, Ordering::Relaxed);
    }

    /// All of it, of the start of this name which is known by this text.
    pub(super) fn read(&self, (name, start): Start<'_>, in_flight: u64) -> FormerStart {
        let Requests {
            ok,
            refused,
            failed,
            cut,
        } = self.ends.read();
        let own_errors = self.ends.ended(Outcome::ProxyError);
        let here = in_flight.max(self.abandoned.load(Ordering::Relaxed));
        FormerStart {
            name: name.to_owned(),
            start: start.map(str::to_owned),
            ok,
            refused,
            // The proxy's own were among them.
            failed: failed.saturating_sub(own_errors),
            own_errors,
            cut,
            retried: self.retried.load(Ordering::Relaxed),
            in_flight: here + self.in_flight_before.load(Ordering::Relaxed),
        }
    }

    /// The same as it is told to the next proxy.
    fn told(&self, start: Start<'_>, in_flight: u64) -> Told {
        let FormerStart {
            name,
            start,
            retried,
            in_flight,
            ..
        } = self.read(start, in_flight);
        Told {
            name,
            start,
            ended: self.ends.counts(),
            retried,
            in_flight,
        }
    }

    /// Adds what the proxy before has counted, but for what it had counted `before` and was added then.
    fn add(&self, told: &Told, before: Option<&Told>) {
        let nothing = Told::default();
        let before = before.unwrap_or(&nothing);
        self.ends.add_since(&told.ended, &before.ended);
        let retried = told.retried.saturating_sub(before.retried);
        self.retried.fetch_add(retried, Ordering::Relaxed);
        self.in_flight_before
            .store(told.in_flight, Ordering::Relaxed);
    }
}

/// What a start is called, and what tells it from all others, where anything does.
pub(super) type Start<'a> = (&'a str, Option<&'a str>);

/// What one proxy tells the next of the requests that went to one start.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Told {
    name: String,
    start: Option<String>,
    ended: BTreeMap<String, u64>,
    retried: u64,
    in_flight: u64,
}

impl Told {
    fn start(&self) -> Start<'_> {
        (&self.name, self.start.as_deref())
    }
}

/// What the proxy before has counted of starts that this one sends nothing to.
#[derive(Debug, Default)]
pub(super) struct Inherited(VecDeque<(Told, Account)>);

impl Inherited {
    fn add(&mut self, told: &Told, before: Option<&Told>) {
        let known = self.0.iter().find(|(it, _)| it.start() == told.start());
        if let Some((_, account)) = known {
            return account.add(told, before);
        }
        let account = Account::default();
        account.add(told, before);
        self.0.push_back((told.clone(), account));
        let surplus = self.0.len().saturating_sub(REMEMBERED);
        self.0.drain(..surplus);
    }

    /// Each of them, oldest first.
    pub(super) fn read(&self) -> impl Iterator<Item = FormerStart> {
        let all = self.0.iter();
        all.map(|(of, account)| account.read(of.start(), 0))
    }
}

/// What is told of all: of `backends`, and what was `inherited`. One start may be several backends.
pub(super) fn tell<'a>(
    backends: impl Iterator<Item = &'a Arc<Backend>>,
    inherited: &Inherited,
) -> Vec<Told> {
    let before = inherited.0.iter();
    let mut all: Vec<Told> = before
        .map(|(of, account)| account.told(of.start(), 0))
        .collect();
    for backend in backends {
        let told = backend.account.told(backend.start(), backend.in_flight());
        match all.iter_mut().find(|it| it.start() == told.start()) {
            Some(known) => {
                for (outcome, count) in told.ended {
                    *known.ended.entry(outcome).or_default() += count;
                }
                known.retried += told.retried;
                known.in_flight += told.in_flight;
            }
            None => all.push(told),
        }
    }
    all
}

/// Counts on from what the proxy before tells: at the same start where there is one, else beside. `before`
/// is what was counted on from already.
pub(super) fn count_on(
    backends: &[&Arc<Backend>],
    inherited: &mut Inherited,
    told: &[Told],
    before: &[Told],
) {
    for told in told {
        let before = before.iter().find(|it| it.start() == told.start());
        match backends.iter().find(|it| it.start() == told.start()) {
            Some(backend) => backend.account.add(told, before),
            None => inherited.add(told, before),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_end_is_told_once() {
        let account = Account::default();
        for outcome in Outcome::ALL {
            account.ended(outcome);
        }
        account.goes_elsewhere();
        account.is_abandoned(3);
        let told = account.read(("a", Some("replica-1")), 0);
        let ends = told.ok + told.refused + told.failed + told.own_errors + told.cut;
        assert_eq!(ends, Outcome::ALL.len() as u64);
        assert_eq!((told.failed, told.retried, told.in_flight), (4, 1, 3));
    }

    /// Twice, as the proxy before does: when it hands over, and when it ends.
    #[test]
    fn the_next_proxy_counts_on() {
        let before = Account::default();
        before.ended(Outcome::Ok);
        let start = ("a", Some("replica-1"));
        let first = before.told(start, 2);
        let mut inherited = Inherited::default();
        let read = |inherited: &Inherited| {
            let it = inherited.read().next().unwrap();
            (it.ok, it.cut, it.retried, it.in_flight)
        };
        count_on(&[], &mut inherited, std::slice::from_ref(&first), &[]);
        assert_eq!(read(&inherited), (1, 0, 0, 2));
        before.ended(Outcome::Ok);
        before.ended(Outcome::Cut);
        before.goes_elsewhere();
        let last = before.told(start, 0);
        count_on(&[], &mut inherited, std::slice::from_ref(&last), &[first]);
        assert_eq!(read(&inherited), (2, 1, 1, 0));
        assert_eq!(tell(std::iter::empty(), &inherited), [last]);
    }
}
