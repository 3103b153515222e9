//! From how things stand to a plan: pure, and the same for the same input.

use std::collections::{BTreeMap, BTreeSet};

use super::assess::{Occupants, block, occupants};
use super::capacity::{Span, capacity};
use super::start_first::start_first;
use crate::name::NodeName;
use crate::plan::{Action, Address, Hook, Operation, Plan, RollingGroup, Stand, Step, StepId};
use crate::resource::Observation;

/// Decides what is to become of each thing, and in which order.
///
/// The things are given each after what it requires. No node is asked, no clock is read, nothing is
/// printed: the answer rests on the arguments alone.
///
/// What is made of something that changes has a change and no steps: it is planned anew once that
/// is done and was seen.
pub fn decide(mut stands: Vec<Stand>, observed: &Observation) -> Plan {
    start_first(&mut stands);
    block(&mut stands);
    let Draft {
        steps,
        spans,
        hooks,
        deferred,
        ..
    } = Draft::new(&stands).drawn();
    let served = |stand: &Stand| hooks.serves.contains(&stand.address().anywhere());
    let capacity = capacity(&stands, served, &spans, &deferred);
    let seen = stands.iter().filter_map(|stand| {
        let seen = stand.seen.clone()?;
        Some((stand.address().clone(), seen))
    });
    Plan {
        seen: seen.collect(),
        unreachable: observed.unreachable(),
        changes: stands.into_iter().map(|stand| stand.change).collect(),
        steps,
        unmanaged: Vec::new(),
        warnings: Vec::new(),
        left_out: Vec::new(),
        capacity,
    }
}

/// The steps as they come to be: one chain for each change that acts.
///
/// A replace of `a`, which the proxy serves from, and whose new port `b` has until it is replaced
/// too, becomes one chain of steps of `a`, each after the one before:
///
/// ```text
/// a: check           what must succeed before anything is stopped, of b too
/// proxy: drain a     hooks of others on the stop of a
/// a: stop
/// proxy: drain b     b is in the way: it is stopped here, and only started in its own chain
/// b: stop
/// a: start, wait     its own operations
/// proxy: admit a     hooks of others on the start of a
/// ```
///
/// One that starts first, on a port that is free, ends what it took over from in the same chain; where it
/// comes from another node, that is a chain of its own, which requires this one:
///
/// ```text
/// a: start, wait
/// proxy: admit a
/// proxy: a takes over   what is in flight at the former one comes to its end
/// a: stop               the former one alone
/// ```
struct Draft<'a> {
    stands: &'a [Stand],
    steps: Vec<Step>,
    /// The last step of each thing's chain.
    last: BTreeMap<&'a Address, StepId>,
    /// The last step of each concurrency group.
    groups: BTreeMap<&'a str, StepId>,
    /// The last step of each replacement in a rolling group, in the order in which they begin.
    rolled: BTreeMap<&'a str, Vec<StepId>>,
    /// What each chain comes to for those who serve.
    spans: Vec<Span>,
    /// The last steps that remove something from each node.
    removed: BTreeMap<&'a NodeName, Vec<StepId>>,
    /// What is stopped in the chain of another thing, with the last step of that chain.
    stopped: BTreeMap<&'a Address, StepId>,
    /// What is planned anew once this plan was carried out.
    deferred: BTreeSet<&'a Address>,
    occupants: Occupants<'a>,
    hooks: Hooks<'a>,
}

/// The hooks of the things that go on serving, by the thing that they are about.
struct Hooks<'a> {
    drain: BTreeMap<&'a Address, Vec<&'a Hook>>,
    admit: BTreeMap<&'a Address, Vec<&'a Hook>>,
    take_over: BTreeMap<&'a Address, Vec<&'a Hook>>,
    /// What clients reach by way of them.
    serves: BTreeSet<&'a Address>,
}

impl<'a> Hooks<'a> {
    fn new(stands: &'a [Stand]) -> Self {
        let mut hooks = Self {
            drain: BTreeMap::new(),
            admit: BTreeMap::new(),
            take_over: BTreeMap::new(),
            serves: BTreeSet::new(),
        };
        for stand in stands.iter().filter(|it| it.goes_on()) {
            for hook in &stand.relations.drain {
                hooks.drain.entry(&hook.of).or_default().push(hook);
            }
            hooks.serves.extend(&stand.relations.serves);
            for hook in &stand.relations.admit {
                hooks.admit.entry(&hook.of).or_default().push(hook);
            }
            for hook in &stand.relations.take_over {
                hooks.take_over.entry(&hook.of).or_default().push(hook);
            }
        }
        hooks
    }
}

/// Copies the operations of the hooks that are about a thing.
fn operations_of(hooks: &BTreeMap<&Address, Vec<&Hook>>, of: &Address) -> Vec<Operation> {
    let hooks = hooks.get(&of.anywhere()).into_iter().flatten();
    hooks
        .flat_map(|hook| hook.operations.iter().cloned())
        .collect()
}

/// What the first step of a chain waits for.
#[derive(Default)]
struct Waits {
    requires: Vec<StepId>,
    after: Vec<StepId>,
}

impl<'a> Draft<'a> {
    fn new(stands: &'a [Stand]) -> Self {
        Self {
            stands,
            steps: Vec::new(),
            last: BTreeMap::new(),
            groups: BTreeMap::new(),
            rolled: BTreeMap::new(),
            spans: Vec::new(),
            removed: BTreeMap::new(),
            stopped: BTreeMap::new(),
            deferred: BTreeSet::new(),
            occupants: occupants(stands),
            hooks: Hooks::new(stands),
        }
    }

    fn drawn(mut self) -> Self {
        for stand in self.stands {
            if !stand.change.action.acts() {
                continue;
            }
            if self.is_deferred(stand) {
                // It has no chain, so what requires it finds no step to wait for and would go
                // ahead: that is why it is remembered here and deferred in its turn.
                self.deferred.insert(stand.address());
                continue;
            }
            // Both are told from what was planned before this: they come before its own chain.
            let waits = self.waits(stand);
            let in_the_way = self.in_the_way(stand);
            let operations = self.operations(stand, &in_the_way);
            let waits_for = [&waits.requires[..], &waits.after].concat();
            let loses = self.stopping(stand, &in_the_way).count();
            if let Some(last) = self.chain(stand.address(), operations, waits) {
                self.spans.push(Span {
                    waits_for,
                    last,
                    loses,
                    gains: usize::from(Span::gains(stand)),
                });
                self.remember(stand, last);
                let stopped = in_the_way.iter().map(|other| (other.address(), last));
                self.stopped.extend(stopped);
            }
        }
        self
    }

    /// Those who serve now, and are stopped in the chain of this one.
    fn stopping<'s>(
        &'s self,
        stand: &'s Stand,
        in_the_way: &'s [&Stand],
    ) -> impl Iterator<Item = &'s Stand> {
        let all = std::iter::once(stand).chain(in_the_way.iter().copied());
        let serves =
            |it: &&Stand| it.is_ready() && self.hooks.serves.contains(&it.address().anywhere());
        let stays = |it: &&Stand| it.relations.handed_to.is_none();
        all.filter(serves)
            .filter(stays)
            .filter(|it| self.is_stopped_here(it))
    }

    /// Whether what this is made of changes first, or what it requires is deferred itself.
    fn is_deferred(&self, stand: &Stand) -> bool {
        let relations = &stand.relations;
        let changes = |one: &Address| self.last.contains_key(one);
        let mut tied = relations.requires.iter().chain(&relations.waits_for);
        relations.replan_after.iter().any(changes) || tied.any(|one| self.deferred.contains(one))
    }

    /// Everything that is done for one change: it is stopped, and what is in its way with it; then
    /// its own other operations, and what others are told when it runs again.
    fn operations(&self, stand: &Stand, in_the_way: &[&Stand]) -> Vec<Operation> {
        let all = || std::iter::once(stand).chain(in_the_way.iter().copied());
        let mut operations: Vec<_> = all().flat_map(|it| self.before_stop(it)).cloned().collect();
        operations.extend(all().flat_map(|it| self.stop(it)));
        let action = stand.change.action;
        operations.extend_from_slice(stand.operations.of(action));
        if action != Action::Destroy {
            operations.extend(operations_of(&self.hooks.admit, stand.address()));
        }
        if stand.retires_another() {
            operations.extend(operations_of(&self.hooks.take_over, stand.address()));
            operations.extend_from_slice(&stand.operations.retire);
        }
        operations
    }

    /// What must succeed first: nothing where it is stopped already.
    fn before_stop<'s>(&self, stand: &'s Stand) -> &'s [Operation] {
        let is_replaced = stand.change.action == Action::Replace;
        if is_replaced && !self.stopped.contains_key(stand.address()) {
            &stand.operations.before_stop
        } else {
            &[]
        }
    }

    /// How a thing comes to its end: others are told first. Nothing where it is stopped already, or
    /// goes on.
    fn stop(&self, stand: &Stand) -> Vec<Operation> {
        if !self.is_stopped_here(stand) {
            return Vec::new();
        }
        let told = match stand.relations.handed_to {
            Some(_) => &self.hooks.take_over,
            None => &self.hooks.drain,
        };
        let mut operations = operations_of(told, stand.address());
        operations.extend_from_slice(&stand.operations.stop);
        operations
    }

    fn is_stopped_here(&self, stand: &Stand) -> bool {
        let goes_on = !stand.change.action.stops() || stand.is_succeeded();
        !goes_on && !self.stopped.contains_key(stand.address())
    }

    /// Those that listen where this is to listen and whose own turn comes later: two that swap
    /// their ports are both stopped before either is started.
    fn in_the_way(&self, stand: &Stand) -> Vec<&'a Stand> {
        let is_later = |other: &&Stand| {
            let address = other.address();
            !self.last.contains_key(address) && !self.stopped.contains_key(address)
        };
        self.leaving(stand).filter(is_later).collect()
    }

    /// The others that are to stop and listen where this is to listen.
    fn leaving(&self, stand: &Stand) -> impl Iterator<Item = &'a Stand> {
        let starts = stand.change.action.starts();
        let ports = stand.relations.wants_ports.iter().filter(move |_| starts);
        let (stands, address) = (self.stands, stand.address());
        ports.flat_map(move |port| {
            let occupants = self.occupants.get(port).into_iter().flatten();
            let others = occupants.map(move |place| &stands[*place]);
            others.filter(move |other| other.address() != address && other.leaves(port))
        })
    }

    fn waits(&self, stand: &Stand) -> Waits {
        let (change, relations) = (&stand.change, &stand.relations);
        let last = |address: &Address| self.last.get(address).copied();
        let mut waits = Waits::default();
        let tied = relations.requires.iter().chain(&relations.waits_for);
        waits.requires.extend(tied.filter_map(last));
        waits.requires.extend(self.stopped.get(&change.address));
        let leaving = self.leaving(stand);
        waits
            .requires
            .extend(leaving.filter_map(|other| last(other.address())));
        waits.after.extend(relations.after.iter().filter_map(last));
        // What is removed may hold memory or disk that this needs, whatever it was.
        if change.action != Action::Destroy
            && let Some(removed) = change.node.as_ref().and_then(|node| self.removed.get(node))
        {
            waits.after.extend(removed);
        }
        let group = relations.concurrency_group.as_deref();
        let user = group.and_then(|group| self.groups.get(group));
        waits.after.extend(user);
        if change.action == Action::Replace {
            let group = relations.rolling_group.as_ref();
            waits.requires.extend(group.and_then(|it| self.turn(it)));
        }
        waits.tidied()
    }

    /// What must have been replaced before the next of a group is: the canary, then whoever makes room
    /// among those that are replaced at once.
    fn turn(&self, group: &RollingGroup) -> Option<StepId> {
        let rolled = self.rolled.get(group.name.as_str())?;
        let place = rolled.len().saturating_sub(group.at_once());
        rolled.get(place).copied()
    }

    /// Appends a chain of steps, each after the one before; returns the last.
    fn chain(
        &mut self,
        address: &Address,
        operations: Vec<Operation>,
        waits: Waits,
    ) -> Option<StepId> {
        let mut waits = Some(waits);
        let mut last = None;
        for Operation { node, effect } in operations {
            let Waits { requires, after } = waits.take().unwrap_or_else(|| Waits {
                requires: last.into_iter().collect(),
                after: Vec::new(),
            });
            let id = self.steps.len();
            self.steps.push(Step {
                id,
                address: address.clone(),
                node,
                effect,
                requires,
                after,
            });
            last = Some(id);
        }
        last
    }

    fn remember(&mut self, stand: &'a Stand, last: StepId) {
        let change = &stand.change;
        self.last.insert(&change.address, last);
        if let Some(group) = &stand.relations.concurrency_group {
            self.groups.insert(group, last);
        }
        match (change.action, &stand.relations.rolling_group, &change.node) {
            (Action::Replace, Some(group), _) => {
                self.rolled.entry(&group.name).or_default().push(last);
            }
            (Action::Destroy, _, Some(node)) => self.removed.entry(node).or_default().push(last),
            _ => {}
        }
    }
}

impl Waits {
    /// The same without repetition; what must have succeeded must have ended too.
    fn tidied(mut self) -> Self {
        for ids in [&mut self.requires, &mut self.after] {
            ids.sort_unstable();
            ids.dedup();
        }
        let requires = &self.requires;
        self.after.retain(|id| requires.binary_search(id).is_err());
        self
    }
}

#[cfg(test)]
mod tests;
