//! From what is declared and what was seen to a plan: pure, and the same for the same input.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::plan::{Action, Address, Change, Effect, Plan, Reason, Step, StepId};
use crate::resource::{Observation, Resource};

/// Decides what is to become of each thing, and in which order.
///
/// The things are given each after what it needs. No node is asked, no clock is read, nothing is
/// printed: the answer rests on the arguments alone.
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

/// Compares each thing; what needs something that cannot be brought about is blocked with it.
fn compare_all(resources: &[Arc<dyn Resource>], seen: &Observation) -> Vec<Change> {
    let mut blocked: Vec<Address> = Vec::new();
    let mut changes = Vec::new();
    for resource in resources {
        let change = match unreachable(resource.address(), seen) {
            Some(change) => change,
            None => resource.compare(seen),
        };
        let needs = resource.needs();
        let change = match needs.iter().find(|need| blocked.contains(need)) {
            Some(need) if change.action.acts() => Change::blocked(
                resource.address(),
                Reason::new("need_blocked", format!("{need} is blocked")),
            )
            .described(change.summary),
            _ => change,
        };
        if change.action == Action::Blocked {
            blocked.push(resource.address().clone());
        }
        changes.push(change);
    }
    changes
}

/// Returns the change of a thing whose node did not answer: unknown, never absent.
fn unreachable(address: &Address, seen: &Observation) -> Option<Change> {
    let node = address.node.as_ref()?;
    match seen.nodes.get(node) {
        Some(Ok(_)) => None,
        _ => Some(Change::blocked(
            address,
            Reason::new(
                "unreachable",
                format!("{node} did not answer: what runs there is unknown"),
            ),
        )),
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
        }
    }

    fn steps(mut self) -> Vec<Step> {
        for (resource, change) in self.resources.iter().zip(self.changes) {
            if change.action.acts() {
                let waits = self.waits(resource.as_ref(), change);
                let effects = self.effects(resource.as_ref(), change);
                if let Some(last) = self.chain(&change.address, effects, waits) {
                    self.remember(resource.as_ref(), change, last);
                }
            }
        }
        self.steps
    }

    /// Returns everything that is done for one change: what others must be told before it stops,
    /// its own effects, and what others must be told when it runs again.
    fn effects(&self, resource: &dyn Resource, change: &Change) -> Vec<Effect> {
        let mut effects = Vec::new();
        if change.action.stops() {
            for other in self.others_that_serve(resource) {
                effects.extend(other.release(&change.address, self.seen));
            }
        }
        effects.extend(resource.effects(change, self.seen));
        if change.action != Action::Destroy {
            for other in self.others_that_serve(resource) {
                effects.extend(other.regain(&change.address, self.seen));
            }
        }
        effects
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
