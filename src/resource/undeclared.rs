//! What is on the nodes and not in the manifest: ours, which goes; and vLLM that is not ours, which
//! is shown, and stopped only where the manifest says so.

use std::sync::Arc;

use super::contract::{Observation, Resource};
use super::facts::Fact;
use super::node_files::StateFolder;
use super::orphan::Orphan;
use super::prerequisites::Prerequisites;
use super::topology::Topology;
use super::unmanaged::{Unmanaged, left_alone};
use crate::plan::Address;

/// What nobody declares.
#[derive(Default)]
pub struct Undeclared {
    /// What is to go, each after what it serves.
    pub resources: Vec<Arc<dyn Resource>>,
    /// What is not ours and is left alone, in words.
    pub unmanaged: Vec<String>,
}

impl Undeclared {
    /// What every node is asked so that it is found.
    pub fn facts(topology: &Topology) -> Vec<Fact> {
        let folder = StateFolder::of(topology.name.as_str());
        let mut facts = Orphan::facts(topology.name.as_str());
        facts.push(Prerequisites::fact(&folder));
        facts
    }

    /// What nobody declares beside these things.
    pub fn beside(
        topology: &Topology,
        declared: &[Arc<dyn Resource>],
        observed: &Observation,
    ) -> Self {
        let declared: Vec<Address> = declared.iter().map(|it| it.address().clone()).collect();
        let unmanaged = Unmanaged::find(&topology.nodes, observed);
        let orphans = Orphan::undeclared(topology.name.as_str(), observed, &declared);
        Self {
            unmanaged: left_alone(&topology.nodes, observed, &unmanaged),
            // They may hold what every thing of ours waits for.
            resources: shared(unmanaged).chain(shared(orphans)).collect(),
        }
    }

    /// Everything of a topology, for whoever declares nothing. What is not ours stays.
    pub fn all(topology: &Topology, observed: &Observation) -> Self {
        let orphans = Orphan::all(topology.name.as_str(), observed);
        Self {
            unmanaged: left_alone(&topology.nodes, observed, &[]),
            resources: shared(orphans).collect(),
        }
    }
}

fn shared<R: Resource + 'static>(things: Vec<R>) -> impl Iterator<Item = Arc<dyn Resource>> {
    things
        .into_iter()
        .map(|it| Arc::new(it) as Arc<dyn Resource>)
}
