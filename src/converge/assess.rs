//! Asks every room how its things stand, and blocks what cannot be beside the others.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::name::NodeName;
use crate::plan::{
    Action, Address, Change, NodePort, Readiness, Reason, ReasonCode, Relations, Service, Stand,
};
use crate::resource::{Observation, Resource, unmet};

/// How every thing stands, as each says itself. Of a thing with a node that did not answer nothing
/// is known: it is never taken for absent.
pub fn assess(resources: &[Arc<dyn Resource>], observed: &Observation) -> Vec<Stand> {
    let one = |resource: &Arc<dyn Resource>| {
        let stand = resource.stand(observed);
        match silent_node(resource.as_ref(), observed) {
            Some(node) => unknown(stand, &node),
            None => possible(stand, observed),
        }
    };
    resources.iter().map(one).collect()
}

/// Nothing is done on a node that lacks what all that is done there needs.
fn possible(stand: Stand, observed: &Observation) -> Stand {
    let node = stand.change.node.as_ref();
    let acting = node.filter(|_| stand.change.action.acts());
    let reasons = acting.map_or_else(Vec::new, |node| unmet(node, observed));
    if reasons.is_empty() {
        return stand;
    }
    let change = Change::new(stand.address(), Action::Blocked, reasons);
    Stand {
        change: change.described(&stand.change.summary),
        ..stand
    }
}

fn silent_node(resource: &dyn Resource, observed: &Observation) -> Option<NodeName> {
    let asked = resource.facts().into_iter().map(|(node, _)| node);
    let mut nodes = resource.address().node.iter().cloned().chain(asked);
    nodes.find(|node| observed.of(node).is_none())
}

fn unknown(stand: Stand, node: &NodeName) -> Stand {
    let text = format!("{node} did not answer: what runs there is unknown");
    let change = Change::blocked(stand.address(), Reason::unreachable(text.clone()));
    let service = stand.service.map(|service| Service {
        readiness: Readiness::NotReady(text),
        ..service
    });
    Stand {
        change,
        service,
        ..stand
    }
}

/// Who listens on each port now, each by its place in the list.
pub(super) type Occupants<'a> = BTreeMap<&'a NodePort, Vec<usize>>;

pub(super) fn occupants(stands: &[Stand]) -> Occupants<'_> {
    let mut occupants = Occupants::new();
    for (place, stand) in stands.iter().enumerate() {
        for port in &stand.relations.occupies {
            occupants.entry(port).or_default().push(place);
        }
    }
    occupants
}

/// Blocks every change that cannot be made beside the others.
pub(super) fn block(stands: &mut [Stand]) {
    let index = Index::new(stands);
    // A change that is blocked blocks what requires it, which may stand before it in the list: so
    // the list is walked until a whole walk blocks nothing. Every walk blocks one at least.
    loop {
        let mut blocked_any = false;
        for place in 0..stands.len() {
            if let Some(reason) = index.obstacle(stands, place) {
                let change = &mut stands[place].change;
                let summary = std::mem::take(&mut change.summary);
                *change = Change::blocked(&change.address, reason).described(summary);
                blocked_any = true;
            }
        }
        if !blocked_any {
            return;
        }
    }
}

/// What serves from the start that this takes over from cannot be told to: then both go on.
fn cannot_take_over(stands: &[Stand], stand: &Stand) -> Option<Reason> {
    if !stand.is_begun() {
        return None;
    }
    let what = stand.address().anywhere();
    let mut blocked = stands
        .iter()
        .filter(|it| it.change.action == Action::Blocked);
    let serves = |it: &&Stand| it.relations.take_over.iter().any(|hook| hook.of == what);
    let front = blocked.find(serves)?;
    let text = format!(
        "{} is blocked, and serves from the start before it",
        front.address()
    );
    Some(Reason::new(ReasonCode::NeedBlocked, text))
}

/// Where everything stands in the list, as far as blocking asks for it.
struct Index {
    places: BTreeMap<Address, usize>,
    occupants: BTreeMap<NodePort, Vec<usize>>,
    /// What clients reach by way of a thing whose node did not answer, with that thing.
    served_unseen: BTreeMap<Address, Address>,
}

impl Index {
    fn new(stands: &[Stand]) -> Self {
        let mut index = Self {
            places: BTreeMap::new(),
            occupants: BTreeMap::new(),
            served_unseen: BTreeMap::new(),
        };
        for (port, places) in occupants(stands) {
            index.occupants.insert(port.clone(), places);
        }
        for (place, stand) in stands.iter().enumerate() {
            index.places.insert(stand.address().clone(), place);
            if stand.change.is_out_of_reach() {
                let comes_after = stand.relations.after.iter().cloned();
                let served = comes_after.map(|one| (one, stand.address().clone()));
                index.served_unseen.extend(served);
            }
        }
        index
    }

    fn obstacle(&self, stands: &[Stand], place: usize) -> Option<Reason> {
        let stand = &stands[place];
        if !stand.change.action.acts() {
            return None;
        }
        self.blocked_requirement(stands, stand)
            .or_else(|| self.taken_port(stands, place))
            .or_else(|| self.cannot_be_drained(stand))
            .or_else(|| cannot_take_over(stands, stand))
    }

    /// Something that it requires, or waits for, cannot be brought about.
    fn blocked_requirement(&self, stands: &[Stand], stand: &Stand) -> Option<Reason> {
        let Relations {
            requires,
            waits_for,
            ..
        } = &stand.relations;
        let is_blocked = |one: &&Address| {
            let place = self.places.get(*one);
            place.is_some_and(|place| stands[*place].change.action == Action::Blocked)
        };
        let one = requires.iter().chain(waits_for).find(is_blocked)?;
        Some(Reason::new(
            ReasonCode::NeedBlocked,
            format!("{one} is blocked"),
        ))
    }

    /// A port that it is to listen on stays with another.
    fn taken_port(&self, stands: &[Stand], place: usize) -> Option<Reason> {
        let stand = &stands[place];
        if !stand.change.action.starts() {
            return None;
        }
        stand.relations.wants_ports.iter().find_map(|port| {
            let stays = |other: &usize| *other != place && !stands[*other].leaves(port);
            let occupants = self.occupants.get(port)?;
            let occupant = occupants.iter().copied().find(stays)?;
            let occupant = stands[occupant].address();
            let text = format!("{port} is held by {occupant}, which stays as it is");
            Some(Reason::new(ReasonCode::PortTaken, text))
        })
    }

    /// Clients may reach it by way of something that cannot be told to leave it alone, as it would
    /// have to be before this stops.
    fn cannot_be_drained(&self, stand: &Stand) -> Option<Reason> {
        let unseen = self.served_unseen.get(stand.address())?;
        (stand.change.action == Action::Replace).then(|| {
            let text =
                format!("{unseen} may serve from it and cannot be told to stop: it did not answer");
            Reason::unreachable(text)
        })
    }
}
