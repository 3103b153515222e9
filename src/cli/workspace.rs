//! What most commands begin with: the manifest, the nodes, and a look at them.

use std::path::Path;
use std::sync::Arc;

use super::Global;
use super::error::Error;
use super::lock;
use crate::converge::{decide, observe};
use crate::manifest::{self, Manifest};
use crate::node::{ConnectOptions, Fleet};
use crate::plan::Plan;
use crate::resource::program::Binaries;
use crate::resource::{
    Catalogue, Leftover, Observation, Paths, Question, Resource, Stranger, Topology, foreign,
};
use crate::view::Screen;

/// A manifest and its nodes, connected.
pub(super) struct Workspace {
    pub(super) manifest: Manifest,
    pub(super) fleet: Fleet,
    binaries: Arc<Binaries>,
    paths: Paths,
}

impl Workspace {
    /// Reads the manifest, then connects to its nodes.
    pub(super) async fn open(
        global: &Global,
        file: Option<&Path>,
        screen: &Screen,
    ) -> Result<Self, Error> {
        let manifest = manifest::load(&manifest::find(file)?)?;
        let topology = &manifest.topology;
        let binaries = crate::resource::binaries(topology, global.programs.as_deref());
        let binaries = binaries.map_err(|source| Error::Here {
            what: "the replica binaries for the nodes cannot be read".to_owned(),
            source,
        })?;
        let options = ConnectOptions {
            ssh_config: global.ssh_config.clone(),
            ..ConnectOptions::default()
        };
        let fleet = Fleet::connect(&topology.nodes, &options).await;
        for (node, hint) in fleet.hints() {
            screen.warning(&format!("{node}: {hint}"));
        }
        let results = match &global.results {
            Some(results) => results.clone(),
            None => manifest.folder.join("results"),
        };
        Ok(Self {
            paths: Paths {
                manifest: manifest.folder.clone(),
                results,
            },
            binaries,
            fleet,
            manifest,
        })
    }

    pub(super) fn topology(&self) -> &Topology {
        &self.manifest.topology
    }

    /// Returns the manifest's file, as the user named it.
    pub(super) fn file(&self) -> String {
        self.manifest.path.display().to_string()
    }

    /// Returns the things that the manifest declares, with the results that there are by now.
    pub(super) fn catalogue(&self) -> Catalogue {
        Catalogue::new(self.topology(), &self.binaries, &self.paths)
    }

    /// Does the work while this topology is locked on every node that was reached.
    pub(super) async fn locked<T>(
        &self,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        lock::locked(&self.fleet, self.topology().name.as_str(), work).await
    }

    /// Looks at every node.
    pub(super) async fn look(&self, resources: &[Arc<dyn Resource>]) -> Observation {
        self.look_further(resources, &[]).await
    }

    /// Looks at every node, and asks each a little more.
    pub(super) async fn look_further(
        &self,
        resources: &[Arc<dyn Resource>],
        more: &[Question],
    ) -> Observation {
        let mut standing = Leftover::questions(self.topology().name.as_str());
        standing.extend_from_slice(more);
        observe(&self.fleet, resources, &standing).await
    }

    /// Decides what to do so that these things are there and nothing else of ours is, nor what the
    /// manifest wants stopped.
    pub(super) fn decide(&self, declared: &[Arc<dyn Resource>], seen: &Observation) -> Plan {
        let addresses: Vec<_> = declared.iter().map(|r| r.address().clone()).collect();
        let topology = self.topology();
        let strangers = Stranger::find(&topology.nodes, seen);
        let foreign = foreign(&topology.nodes, seen, &strangers);
        let mut resources = shared(strangers);
        resources.extend(shared(Leftover::find(
            topology.name.as_str(),
            seen,
            &addresses,
        )));
        resources.extend(declared.iter().cloned());
        Plan {
            foreign,
            ..decide(&resources, seen)
        }
    }

    /// Decides what to do so that nothing of ours is there. What is not ours stays.
    pub(super) fn decide_destruction(&self, seen: &Observation) -> Plan {
        let topology = self.topology();
        let leftovers = shared(Leftover::all(topology.name.as_str(), seen));
        Plan {
            foreign: foreign(&topology.nodes, seen, &[]),
            ..decide(&leftovers, seen)
        }
    }
}

fn shared<R: Resource + 'static>(things: Vec<R>) -> Vec<Arc<dyn Resource>> {
    let things = things.into_iter();
    things.map(|it| Arc::new(it) as Arc<dyn Resource>).collect()
}
