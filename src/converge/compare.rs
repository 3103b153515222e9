//! What is to become of each thing: what it says itself, and what the others say to it.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::plan::{Action, Address, Change, Reason};
use crate::resource::{Observation, Resource};

/// Compares each thing, then blocks what cannot be, until nothing more is to be blocked.
pub(super) fn compare_all(resources: &[Arc<dyn Resource>], seen: &Observation) -> Vec<Change> {
    let mut together = Together::new(resources, seen);
    while together.block_one_more() {}
    together.changes
}

/// Who has what only one can have, each by its place in the list.
pub(super) type Holders = BTreeMap<String, Vec<usize>>;

/// Returns who has what only one can have.
pub(super) fn holders(resources: &[Arc<dyn Resource>], seen: &Observation) -> Holders {
    let mut holders = Holders::new();
    for (place, resource) in resources.iter().enumerate() {
        for held in resource.holds(seen) {
            holders.entry(held).or_default().push(place);
        }
    }
    holders
}

/// All changes, as far as they are known of each other.
struct Together<'a> {
    resources: &'a [Arc<dyn Resource>],
    seen: &'a Observation,
    changes: Vec<Change>,
    /// The place of each thing in the list.
    places: BTreeMap<&'a Address, usize>,
    /// What only one can have, and who has it now.
    holders: Holders,
    /// Those that go by each thing, and whose node did not answer.
    unheard: BTreeMap<Address, &'a Address>,
}

impl<'a> Together<'a> {
    fn new(resources: &'a [Arc<dyn Resource>], seen: &'a Observation) -> Self {
        let mut together = Self {
            resources,
            seen,
            changes: Vec::new(),
            places: BTreeMap::new(),
            holders: holders(resources, seen),
            unheard: BTreeMap::new(),
        };
        for (place, resource) in resources.iter().enumerate() {
            let address = resource.address();
            together.places.insert(address, place);
            let unreachable = unreachable(address, seen);
            if unreachable.is_some() {
                let followed = resource.follows().into_iter();
                together.unheard.extend(followed.map(|one| (one, address)));
            }
            let change = unreachable.unwrap_or_else(|| resource.compare(seen));
            together.changes.push(change);
        }
        together
    }

    /// Blocks the first change that cannot be made beside the others, if there is one.
    fn block_one_more(&mut self) -> bool {
        let obstacle = |place: usize| Some((place, self.obstacle(place)?));
        let Some((place, reason)) = (0..self.changes.len()).find_map(obstacle) else {
            return false;
        };
        let change = &mut self.changes[place];
        let summary = std::mem::take(&mut change.summary);
        *change = Change::blocked(self.resources[place].address(), reason).described(summary);
        true
    }

    fn obstacle(&self, place: usize) -> Option<Reason> {
        let change = &self.changes[place];
        if !change.action.acts() {
            return None;
        }
        self.blocked_need(place)
            .or_else(|| self.kept_from(place))
            .or_else(|| self.not_to_be_told(change))
    }

    /// Something that it needs cannot be brought about.
    fn blocked_need(&self, place: usize) -> Option<Reason> {
        let resource = &self.resources[place];
        let is_blocked = |need: &Address| {
            let place = self.places.get(need);
            place.is_some_and(|place| self.changes[*place].action == Action::Blocked)
        };
        let mut needs = resource.needs().into_iter();
        let need = needs.find(is_blocked);
        let need = need.or_else(|| resource.relies_on(self.seen).into_iter().find(is_blocked))?;
        Some(Reason::new("need_blocked", format!("{need} is blocked")))
    }

    /// Something that it is to have stays with another.
    fn kept_from(&self, place: usize) -> Option<Reason> {
        if !self.changes[place].action.starts() {
            return None;
        }
        let claimed = self.resources[place].claims()?;
        let stays = |holder: &&usize| **holder != place && !self.changes[**holder].action.stops();
        let holder = self.holders.get(&claimed)?.iter().find(stays)?;
        let holder = self.resources[*holder].address();
        let text = format!("{claimed} is held by {holder}, which stays as it is");
        Some(Reason::new("port_taken", text))
    }

    /// Something goes by it that can be told nothing, as it would have to be before it stops.
    fn not_to_be_told(&self, change: &Change) -> Option<Reason> {
        let unheard = self.unheard.get(&change.address)?;
        (change.action == Action::Replace).then(|| {
            let text = format!(
                "{unheard} may serve from it and cannot be told to stop: it did not answer"
            );
            Reason::unreachable(text)
        })
    }
}

/// Returns the change of a thing whose node did not answer: unknown, never absent.
fn unreachable(address: &Address, seen: &Observation) -> Option<Change> {
    let node = address.node.as_ref()?;
    match seen.nodes.get(node) {
        Some(Ok(_)) => None,
        _ => Some(Change::blocked(
            address,
            Reason::unreachable(format!("{node} did not answer: what runs there is unknown")),
        )),
    }
}
