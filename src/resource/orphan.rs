//! What carries the mark of a topology on a node and is declared there no longer: docker compose
//! calls these orphans.

use std::cmp::Reverse;

use super::KINDS;
use super::contract::{Found, Observation, Resource};
use super::facts::Fact;
use super::node_files::StateFolder;
use super::process;
use crate::name::NodeName;
use crate::plan::{
    Action, Address, Change, Effect, LivenessProbe, NodePort, Operation, Operations, Readiness,
    Reason, ReasonCode, Relations, Service, Stand,
};

/// A thing of ours that nothing declares: processes, or the files of one that is gone.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Orphan {
    node: NodeName,
    found: Found,
    after: Vec<Address>,
    reason: Reason,
}

/// When an orphan is destroyed: what runs before what is only files, and within that what was made
/// last first. What serves clients is so gone before what serves it, and `replica` itself is last.
type Turn = (bool, Reverse<usize>);

impl Orphan {
    /// What every node is asked so that orphans can be found.
    pub(super) fn facts(topology: &str) -> Vec<Fact> {
        let folder = StateFolder::of(topology);
        let mut facts: Vec<Fact> = Vec::new();
        for fact in KINDS.iter().flat_map(|kind| kind.facts(&folder)) {
            if !facts.contains(&fact) {
                facts.push(fact);
            }
        }
        facts
    }

    /// Everything of a topology, on every node that answered.
    pub(super) fn all(topology: &str, observed: &Observation) -> Vec<Self> {
        Self::find(
            topology,
            observed,
            &[],
            &Reason::new(ReasonCode::Asked, "as asked"),
        )
    }

    /// Everything of a topology, on every node that answered, that is not declared.
    pub(super) fn undeclared(
        topology: &str,
        observed: &Observation,
        declared: &[Address],
    ) -> Vec<Self> {
        let reason = Reason::new(ReasonCode::Undeclared, "it is not in the manifest");
        Self::find(topology, observed, declared, &reason)
    }

    fn find(
        topology: &str,
        observed: &Observation,
        declared: &[Address],
        reason: &Reason,
    ) -> Vec<Self> {
        let mut orphans: Vec<(Turn, Self)> = Vec::new();
        for (node, facts) in observed.answered() {
            let known = KINDS.iter().enumerate().flat_map(|(place, kind)| {
                let found = kind.found(topology, node, facts).into_iter();
                found.map(move |one| (place, one))
            });
            // A newer version may have kinds that this one does not know: what carries our mark is
            // ours all the same. It may serve from anything, so it goes first.
            let is_unknown = |name: &str| KINDS.iter().all(|kind| kind.name() != name);
            let unknown = process::found::found(is_unknown, topology, node, facts);
            let unknown = unknown.into_iter().map(|one| (KINDS.len(), one));
            let found = known.chain(unknown);
            let found = found.filter(|(_, one)| !declared.contains(&one.address));
            orphans.extend(found.map(|(place, found)| {
                let turn = (found.stop.is_none(), Reverse(place));
                let orphan = Self {
                    node: node.clone(),
                    found,
                    after: Vec::new(),
                    reason: reason.clone(),
                };
                (turn, orphan)
            }));
        }
        in_turn(orphans)
    }
}

/// Sorts them by their turns; each comes after all of the turns before.
fn in_turn(mut orphans: Vec<(Turn, Orphan)>) -> Vec<Orphan> {
    orphans.sort_by(|(a, one), (b, other)| (a, &one.found.address).cmp(&(b, &other.found.address)));
    let mut sorted: Vec<Orphan> = Vec::new();
    let mut before = 0;
    let mut last = None;
    for (turn, orphan) in orphans {
        if last.replace(turn) != Some(turn) {
            before = sorted.len();
        }
        let after = sorted[..before].iter();
        let after = after.map(|other| other.found.address.clone()).collect();
        sorted.push(Orphan { after, ..orphan });
    }
    sorted
}

impl Resource for Orphan {
    fn address(&self) -> &Address {
        &self.found.address
    }

    fn facts(&self) -> Vec<(NodeName, Fact)> {
        // It was found by what every node is asked.
        Vec::new()
    }

    fn liveness_probe(&self, _: &Observation) -> Option<LivenessProbe> {
        None
    }

    fn stand(&self, _: &Observation) -> Stand {
        let Found {
            address,
            summary,
            pid,
            occupies,
            stop,
            paths,
            failure,
        } = &self.found;
        let on = |effect| Operation::on(&self.node, effect);
        let remove = (!paths.is_empty()).then(|| Effect::Remove {
            paths: paths.clone(),
        });
        let keep = failure.clone().map(Effect::KeepLog);
        let remove = keep.into_iter().chain(remove);
        let stop = stop.clone().map(Effect::Stop);
        let ports = occupies.iter();
        // It answers whoever still has its address.
        let service = occupies.first().map(|port| Service {
            pid: *pid,
            readiness: Readiness::NotReady(self.reason.text.clone()),
            ..Service::stopped(NodePort::new(&self.node, *port))
        });
        let change = Change::new(address, Action::Destroy, vec![self.reason.clone()]);
        Stand {
            operations: Operations {
                stop: stop.map(on).into_iter().collect(),
                remove: remove.map(on).collect(),
                ..Operations::default()
            },
            relations: Relations {
                after: self.after.clone(),
                occupies: ports.map(|port| NodePort::new(&self.node, *port)).collect(),
                ..Relations::default()
            },
            service,
            seen: Some(summary.clone()),
            ..Stand::new(change.described(summary.clone()))
        }
    }
}
