//! From what is declared and what was seen to a plan: pure, and the same for the same input.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::compare::{Holders, compare_all, holders};
use crate::plan::{Action, Address, Change, Effect, Plan, Step, StepId};
use crate::resource::{Observation, Resource};

/// Decides what is to become of each thing, and in which order.
///
/// The things are given each after what it needs. No node is asked, no clock is read, nothing is
/// printed: the answer rests on the arguments alone.
///
/// What rests on something that changes has a change and no steps: they are decided once that is
/// done and was seen.
pub fn decide(resources: &[Arc<dyn Resource>], seen: &Observation) -> Plan {
    let changes = compare_all(resources, seen);
    let steps = Draft::new(resources, &changes, seen).steps();
    let unreachable = seen.nodes.iter().filter_map(|(node, answers)| {
        let reason = answers.as_ref().err()?;
        Some((node.clone(), reason.clone()))
    });
    Plan {
        unreachable: unreachable.collect(),
        changes,
        steps,
        foreign: Vec::new(),
    }
}

/// The steps as they come to be: one chain for each change that acts.
struct Draft<'a> {
    resources: &'a [Arc<dyn Resource>],
    changes: &'a [Change],
    seen: &'a Observation,
    steps: Vec<Step>,
    /// The last step of each thing's chain.
    last: BTreeMap<&'a Address, StepId>,
    /// The last step that uses what only one may use at a time.
    users: BTreeMap<String, StepId>,
    /// The last step of the newest replacement in each group.
    rolled: BTreeMap<String, StepId>,
    /// The last steps that remove something from each node.
    removed: BTreeMap<String, Vec<StepId>>,
    /// What only one can have, and who has it now.
    holders: Holders,
    /// What is stopped in the chain of another thing, with the last step of that chain.
    stopped: BTreeMap<&'a Address, StepId>,
    /// What is decided anew when this plan was carried out.
    deferred: BTreeSet<&'a Address>,
}

/// What the first step of a chain waits for.
#[derive(Default)]
struct Waits {
    after: Vec<StepId>,
    behind: Vec<StepId>,
}

impl<'a> Draft<'a> {
    fn new(
        resources: &'a [Arc<dyn Resource>],
        changes: &'a [Change],
        seen: &'a Observation,
    ) -> Self {
        Self {
            resources,
            changes,
            seen,
            steps: Vec::new(),
            last: BTreeMap::new(),
            users: BTreeMap::new(),
            rolled: BTreeMap::new(),
            removed: BTreeMap::new(),
            holders: holders(resources, seen),
            stopped: BTreeMap::new(),
            deferred: BTreeSet::new(),
        }
    }

    fn steps(mut self) -> Vec<Step> {
        for (resource, change) in self.resources.iter().zip(self.changes) {
            if !change.action.acts() {
                continue;
            }
            if self.is_deferred(resource.as_ref()) {
                self.deferred.insert(&change.address);
            } else {
                let waits = self.waits(resource.as_ref(), change);
                let in_the_way = self.in_the_way(resource.as_ref(), change);
                let effects = self.effects(resource.as_ref(), change, &in_the_way);
                if let Some(last) = self.chain(&change.address, effects, waits) {
                    self.remember(resource.as_ref(), change, last);
                    let stopped = in_the_way.iter().map(|place| &self.changes[*place].address);
                    self.stopped.extend(stopped.map(|address| (address, last)));
                }
            }
        }
        self.steps
    }

    /// Says whether what this is made of changes first, or whether it needs what waits for that.
    fn is_deferred(&self, resource: &dyn Resource) -> bool {
        let changes = |one: &Address| self.last.contains_key(one);
        let waits = |one: &Address| self.deferred.contains(one);
        resource.rests_on(self.seen).iter().any(changes)
            || resource.needs().iter().any(waits)
            || resource.relies_on(self.seen).iter().any(waits)
    }

    /// Returns everything that is done for one change: it is stopped, and what is in its way with
    /// it; then its own other effects, and what others must be told when it runs again.
    fn effects(
        &self,
        resource: &dyn Resource,
        change: &Change,
        in_the_way: &[usize],
    ) -> Vec<Effect> {
        let is_stop = |effect: &Effect| matches!(effect, Effect::Stop(_));
        let mut effects = self.stop(resource, change);
        for place in in_the_way {
            let (other, change) = (&self.resources[*place], &self.changes[*place]);
            effects.extend(self.stop(other.as_ref(), change));
        }
        let own = resource.effects(change, self.seen);
        effects.extend(own.into_iter().filter(|effect| !is_stop(effect)));
        if change.action != Action::Destroy {
            for other in self.others_that_serve(resource) {
                effects.extend(other.regain(&change.address, self.seen));
            }
        }
        effects
    }

    /// Returns how a thing comes to its end: others are told first. Nothing where it is stopped
    /// already, or goes on.
    fn stop(&self, resource: &dyn Resource, change: &Change) -> Vec<Effect> {
        if !change.action.stops() || self.stopped.contains_key(&change.address) {
            return Vec::new();
        }
        let told = self
            .others_that_serve(resource)
            .flat_map(|other| other.release(&change.address, self.seen));
        let own = resource.effects(change, self.seen).into_iter();
        told.chain(own.filter(|effect| matches!(effect, Effect::Stop(_))))
            .collect()
    }

    /// Returns those that have what this is to have and whose own turn comes later: two that swap
    /// their ports are both stopped before either is started.
    fn in_the_way(&self, resource: &dyn Resource, change: &Change) -> Vec<usize> {
        let holders = self.holders_before(resource, change);
        let is_later = |place: &usize| {
            let address = &self.changes[*place].address;
            !self.last.contains_key(address) && !self.stopped.contains_key(address)
        };
        holders.filter(is_later).collect()
    }

    /// Returns the others that are to stop and have what this is to have.
    fn holders_before(
        &self,
        resource: &dyn Resource,
        change: &Change,
    ) -> impl Iterator<Item = usize> {
        let claimed = change.action.starts().then(|| resource.claims()).flatten();
        let holders = claimed.and_then(|claimed| self.holders.get(&claimed));
        let stops = |place: &usize| {
            let holder = &self.changes[*place];
            holder.address != change.address && holder.action.stops()
        };
        holders.into_iter().flatten().copied().filter(stops)
    }

    fn others_that_serve(&self, one: &dyn Resource) -> impl Iterator<Item = &'a Arc<dyn Resource>> {
        let address = one.address().clone();
        self.resources
            .iter()
            .zip(self.changes)
            .filter(move |(other, change)| {
                *other.address() != address
                    && matches!(change.action, Action::Keep | Action::Update)
            })
            .map(|(other, _)| other)
    }

    fn waits(&self, resource: &dyn Resource, change: &Change) -> Waits {
        let mut waits = Waits::default();
        let last = |address: &Address| self.last.get(address).copied();
        waits.after.extend(resource.needs().iter().filter_map(last));
        let relied_on = resource.relies_on(self.seen);
        waits.after.extend(relied_on.iter().filter_map(last));
        waits.after.extend(self.stopped.get(&change.address));
        let holders = self.holders_before(resource, change);
        let holders = holders.map(|place| &self.changes[place].address);
        waits.after.extend(holders.filter_map(last));
        waits
            .behind
            .extend(resource.follows().iter().filter_map(last));
        if change.action != Action::Destroy
            && let Some(node) = &change.node
            && let Some(removed) = self.removed.get(node.as_str())
        {
            waits.behind.extend(removed);
        }
        let user = resource.exclusive().and_then(|what| self.users.get(&what));
        waits.behind.extend(user);
        if change.action == Action::Replace {
            let canary = resource
                .rolls_with()
                .and_then(|group| self.rolled.get(&group));
            waits.after.extend(canary);
        }
        for ids in [&mut waits.after, &mut waits.behind] {
            ids.sort_unstable();
            ids.dedup();
        }
        waits.behind.retain(|id| !waits.after.contains(id));
        waits
    }

    /// Appends a chain of steps, each after the one before; returns the last.
    fn chain(&mut self, address: &Address, effects: Vec<Effect>, waits: Waits) -> Option<StepId> {
        let mut waits = Some(waits);
        let mut last = None;
        for effect in effects {
            let Waits { after, behind } = waits.take().unwrap_or_else(|| Waits {
                after: last.into_iter().collect(),
                behind: Vec::new(),
            });
            let id = self.steps.len();
            self.steps.push(Step {
                id,
                address: address.clone(),
                effect,
                after,
                behind,
            });
            last = Some(id);
        }
        last
    }

    fn remember(&mut self, resource: &dyn Resource, change: &'a Change, last: StepId) {
        self.last.insert(&change.address, last);
        if let Some(what) = resource.exclusive() {
            self.users.insert(what, last);
        }
        match change.action {
            Action::Replace => {
                if let Some(group) = resource.rolls_with() {
                    self.rolled.insert(group, last);
                }
            }
            Action::Destroy => {
                if let Some(node) = &change.node {
                    self.removed.entry(node.to_string()).or_default().push(last);
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Reason;
    use crate::resource::Question;

    /// A thing of a test: it is created, or is there.
    struct Toy {
        address: Address,
        is_there: bool,
        needs: Vec<&'static str>,
        rests_on: Vec<&'static str>,
    }

    fn at(name: &str) -> Address {
        name.parse().unwrap()
    }

    fn toy(name: &str, needs: &[&'static str], rests_on: &[&'static str]) -> Toy {
        Toy {
            address: at(name),
            is_there: false,
            needs: needs.to_vec(),
            rests_on: rests_on.to_vec(),
        }
    }

    impl Resource for Toy {
        fn address(&self) -> &Address {
            &self.address
        }

        fn needs(&self) -> Vec<Address> {
            self.needs.iter().map(|name| at(name)).collect()
        }

        fn rests_on(&self, _: &Observation) -> Vec<Address> {
            self.rests_on.iter().map(|name| at(name)).collect()
        }

        fn questions(&self) -> Vec<Question> {
            Vec::new()
        }

        fn compare(&self, _: &Observation) -> Change {
            if self.is_there {
                return Change::keep(&self.address, "");
            }
            let reason = Reason::new("absent", "it is not there");
            Change::new(&self.address, Action::Create, vec![reason])
        }

        fn effects(&self, _: &Change, _: &Observation) -> Vec<Effect> {
            vec![Effect::Remove { paths: Vec::new() }]
        }
    }

    /// Returns what a plan changes, and what of it has steps.
    fn planned(toys: Vec<Toy>) -> (usize, Vec<String>) {
        let toys: Vec<_> = toys
            .into_iter()
            .map(|toy| Arc::new(toy) as Arc<dyn Resource>)
            .collect();
        let mut seen = Observation::default();
        let node = "n".parse().unwrap();
        seen.nodes
            .insert(node, Ok(crate::resource::Answers::default()));
        let plan = decide(&toys, &seen);
        let steps = plan.steps.iter().map(|step| step.address.to_string());
        (plan.summary().create, steps.collect())
    }

    #[test]
    fn what_rests_on_something_that_changes_is_decided_anew() {
        let engine = |is_there| Toy {
            is_there,
            ..toy("n/engine.e", &[], &[])
        };
        let all = |is_there| {
            vec![
                engine(is_there),
                toy("n/instance.a", &["n/engine.e"], &["n/engine.e"]),
                toy("n/client.c", &["n/instance.a"], &[]),
                toy("n/other.o", &["n/engine.e"], &[]),
            ]
        };
        let (changes, steps) = planned(all(false));
        assert_eq!(changes, 4);
        assert_eq!(steps, ["n/engine.e", "n/other.o"]);
        let (changes, steps) = planned(all(true));
        assert_eq!(changes, 3);
        assert_eq!(steps, ["n/instance.a", "n/client.c", "n/other.o"]);
    }
}
