//! How many serve while a plan is carried out: walked through in a time of its own, in which each chain of
//! steps takes as long as any other.

use std::collections::{BTreeMap, BTreeSet};

use crate::plan::{Action, Address, Capacity, Stand, StepId};

/// A chain of steps, as far as it matters to those who serve.
pub(super) struct Span {
    /// The last steps of the chains that it waits for.
    pub(super) waits_for: Vec<StepId>,
    /// Its own last step.
    pub(super) last: StepId,
    /// How many who serve are stopped in it.
    pub(super) loses: usize,
    /// How many serve once it is done, and did not before or were stopped.
    pub(super) gains: usize,
}

impl Span {
    /// Whether one more serves once this is changed than while it is.
    pub(super) fn gains(stand: &Stand) -> bool {
        let comes = match stand.change.action {
            Action::Create | Action::Replace => !stand.is_succeeded(),
            Action::Update => !stand.is_ready(),
            Action::Keep | Action::Destroy | Action::Blocked => false,
        };
        // What it takes over from has served all the while.
        comes && is_behind_one_address(stand) && stand.relations.takes_over_from.is_none()
    }
}

fn is_behind_one_address(stand: &Stand) -> bool {
    let group = stand.relations.rolling_group.as_ref();
    group.is_some_and(|group| group.rollout.is_some())
}

/// How many serve, from the first chain to the last. Nothing where nobody is served from by another thing.
pub(super) fn capacity(
    stands: &[Stand],
    served: impl Fn(&Stand) -> bool,
    spans: &[Span],
    deferred: &BTreeSet<&Address>,
) -> Option<Capacity> {
    let is_declared =
        |it: &&Stand| is_behind_one_address(it) && it.change.action != Action::Destroy;
    let declared = stands.iter().filter(is_declared).count();
    let is_serving = |it: &&Stand| it.is_ready() && served(it);
    let serving = stands.iter().filter(is_serving).count();
    if declared == 0 || !stands.iter().any(&served) {
        return None;
    }
    let mut moments = Moments::default();
    for span in spans {
        moments.walk(span);
    }
    // What is planned anew comes after all of this, one after another.
    let anew = stands.iter().filter(|it| deferred.contains(it.address()));
    for (at, stand) in (moments.end..).zip(anew) {
        let stops = stand.change.action.stops() && stand.is_ready() && served(stand);
        moments.add(at, usize::from(stops), usize::from(Span::gains(stand)));
    }
    Some(Capacity {
        declared,
        serving: moments.from(serving),
    })
}

/// Who comes and goes, and when.
#[derive(Default)]
struct Moments {
    /// When each chain has ended, by its last step.
    ended: BTreeMap<StepId, usize>,
    lost: BTreeMap<usize, usize>,
    gained: BTreeMap<usize, usize>,
    end: usize,
}

impl Moments {
    fn walk(&mut self, span: &Span) {
        let ended = span.waits_for.iter().filter_map(|it| self.ended.get(it));
        let at = ended.copied().max().unwrap_or(0);
        self.ended.insert(span.last, at + 1);
        self.add(at, span.loses, span.gains);
    }

    fn add(&mut self, at: usize, loses: usize, gains: usize) {
        *self.lost.entry(at).or_default() += loses;
        *self.gained.entry(at + 1).or_default() += gains;
        self.end = self.end.max(at + 1);
    }

    /// How many serve from the first moment on. Who has come to serve does so before the next is stopped:
    /// that one waited for it.
    fn from(&self, serving: usize) -> Vec<usize> {
        let mut all = vec![serving];
        let mut now = serving;
        for at in 0..=self.end {
            now += self.gained.get(&at).copied().unwrap_or(0);
            all.push(now);
            now -= self.lost.get(&at).copied().unwrap_or(0).min(now);
            all.push(now);
        }
        all.dedup();
        all
    }
}
