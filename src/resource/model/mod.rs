//! The room of the model: a revision in the Hugging Face cache of a node, or a folder that is served
//! where it is.
//!
//! It is recognised from files alone, whole or not. What falls short is copied from a node that has
//! it, else taken from a folder of its own node, else fetched from the hub by the tool in the
//! environment of the engine that serves it.

mod cached;
mod declared;
mod fetching;
mod layout;
mod source;
mod wanted;
mod whole;

use std::collections::BTreeSet;

pub use cached::{Cached, cache_of, folder_of};
pub use declared::*;
pub use source::Sharing;
pub use wanted::*;

use source::Source;
use whole::Shortfall;

use super::contract::{Observation, Resource};
use super::facts::Fact;
use super::program;
use crate::name::{ModelName, NodeName};
use crate::plan::{
    Action, Address, Change, Effect, LivenessProbe, Operation, Operations, Reason, ReasonCode,
    Relations, Stand,
};

/// What this kind is called.
pub const KIND: &str = "model";

/// A model that a node is to have.
pub struct Model {
    address: Address,
    node: NodeName,
    declared: ModelDeclaration,
    wanted: BTreeSet<Wanted>,
    fetcher: Fetcher,
    sharing: Sharing,
}

/// The engine of the same node, whose environment holds the hub's tool.
#[derive(Debug, Clone)]
pub struct Fetcher {
    /// The engine.
    pub engine: Address,
    /// Its environment on the node.
    pub venv: String,
}

impl Model {
    /// The model, as one node is to have it.
    pub fn new(
        node: &NodeName,
        name: &ModelName,
        declared: &ModelDeclaration,
        wanted: BTreeSet<Wanted>,
        fetcher: Fetcher,
        sharing: Sharing,
    ) -> Self {
        Self {
            address: Address::on(node, KIND, Some(name.as_str())),
            node: node.clone(),
            declared: declared.clone(),
            wanted,
            fetcher,
            sharing,
        }
    }

    fn cached(&self, observed: &Observation) -> Cached {
        let facts = observed.of(&self.node);
        facts.map_or_else(Cached::default, |facts| Cached::read(&self.declared, facts))
    }

    /// Why it cannot be fetched, where that can be told before.
    fn obstacle(cached: &Cached) -> Option<Reason> {
        if cached.cache.is_empty() {
            let text = "it did not say where its cache is";
            return Some(Reason::new(ReasonCode::NotWritable, text));
        }
        if !cached.is_writable {
            let text = format!("{} cannot be written by this user", cached.cache);
            return Some(Reason::new(ReasonCode::NotWritable, text));
        }
        (cached.free == Some(0)).then(|| {
            Reason::new(
                ReasonCode::DiskFull,
                format!("the disk of {} is full", cached.cache),
            )
        })
    }

    /// That all of it was fetched and that it is as it was then: fetching it again brings the same.
    fn fetched_in_vain(&self, cached: &Cached, source: &Source) -> Option<Reason> {
        let hub = self.declared.hub();
        let is_fetched = cached.fetched_from.as_deref() == Some(hub);
        if !is_fetched || matches!(source, Source::Peer { .. }) {
            return None;
        }
        let text = format!("all that {hub} has of it was fetched, and that is no whole model");
        let note = fetching::note(&self.declared, cached);
        let hint = format!(
            "name another `repo` or `revision`; to have this one fetched again, remove {note} there"
        );
        Some(Reason::new(ReasonCode::NotCached, text).hinted(hint))
    }

    /// That the disk has no room for it, where its size is known before.
    fn no_room(&self, cached: &Cached, source: &Source, observed: &Observation) -> Option<Reason> {
        let Source::Peer { node, .. } = source else {
            return None;
        };
        let other = self.cached_on(node, observed)?;
        let (lacks, free) = (cached.lacks(&other), cached.free?);
        let mb = |bytes: u64| bytes.div_ceil(1_000_000);
        (lacks > free).then(|| {
            let text = format!(
                "{} MB of it are lacking, and the disk of {} has {} MB left",
                mb(lacks),
                cached.cache,
                mb(free)
            );
            Reason::new(ReasonCode::DiskFull, text)
        })
    }
}

impl Model {
    /// The tool that fetches comes with the engine; what is copied has to be there first.
    fn waits_for(&self, observed: &Observation) -> Vec<Address> {
        if self.declared.path.is_some() {
            return Vec::new();
        }
        match self.source(observed) {
            Source::Directory(_) => Vec::new(),
            Source::Hub => vec![self.fetcher.engine.clone()],
            Source::Peer { node, .. } => {
                vec![Address::on(&node, KIND, self.address.name.as_deref())]
            }
        }
    }

    /// What of it is there, in one text.
    fn seen(&self, observed: &Observation) -> Option<String> {
        let cached = self.cached(observed);
        let held: u64 = cached.files.values().sum();
        let files = cached.files.len();
        (files > 0).then(|| format!("{}, {files} files, {held} bytes", cached.revision))
    }

    fn compare(&self, observed: &Observation) -> Change {
        let cached = self.cached(observed);
        let shortfalls = cached.shortfalls(&self.declared, &self.wanted);
        if shortfalls.is_empty() {
            return Change::keep(&self.address, self.summary(&cached));
        }
        if self.declared.path.is_some() {
            return self.not_to_be_served(&shortfalls);
        }
        let action = if cached.has_repo() {
            Action::Update
        } else {
            Action::Create
        };
        let reasons = shortfalls
            .into_iter()
            .map(|shortfall| Reason::new(ReasonCode::NotCached, shortfall.text));
        let source = self.source(observed);
        let obstacle = Self::obstacle(&cached)
            .or_else(|| self.fetched_in_vain(&cached, &source))
            .or_else(|| self.no_room(&cached, &source, observed));
        if let Some(obstacle) = obstacle {
            return Change::new(
                &self.address,
                Action::Blocked,
                reasons.chain([obstacle]).collect(),
            );
        }
        let from = match source {
            Source::Hub => self.declared.hub().to_owned(),
            Source::Directory(directory) => directory,
            Source::Peer {
                node,
                network,
                is_trusted,
                lacks_it,
                ..
            } => {
                let once = if lacks_it { ", once it is there" } else { "" };
                let clear = if is_trusted {
                    ", not encrypted: that network is declared `trusted`"
                } else {
                    ""
                };
                format!("{node} over {network}{once}{clear}")
            }
        };
        let reasons = reasons.chain(self.wanting(observed));
        Change::new(&self.address, action, reasons.collect()).described(format!(
            "{} from {from}{}",
            self.declared.repo,
            self.place("into")
        ))
    }

    fn summary(&self, cached: &Cached) -> String {
        let what = self.declared.words();
        let known_by: String = cached.revision.chars().take(12).collect();
        format!("{what} at {known_by}{}", self.place("in"))
    }

    /// Where its cache is, where that is another than the user's own.
    fn place(&self, preposition: &str) -> String {
        let cache = self.declared.cache.as_deref();
        cache.map_or_else(String::new, |cache| format!(" {preposition} {cache}"))
    }

    /// That what is in a place of its own is no whole model: nothing is ever put there.
    fn not_to_be_served(&self, shortfalls: &[Shortfall]) -> Change {
        let hint =
            "put it there, whole: replica writes nothing into a folder that it serves in place";
        let reasons = shortfalls.iter().enumerate().map(|(index, shortfall)| {
            let reason = Reason::new(ReasonCode::NotCached, &shortfall.text);
            if index == 0 {
                reason.hinted(hint)
            } else {
                reason
            }
        });
        Change::new(&self.address, Action::Blocked, reasons.collect())
            .described(self.declared.words())
    }

    /// What an earlier copy has left on the node that has it is removed before this one brings the
    /// same there anew.
    fn after(&self, observed: &Observation) -> Vec<Address> {
        match self.source(observed) {
            Source::Peer { node, .. } => vec![Address::on(&node, program::KIND, None)],
            Source::Directory(_) | Source::Hub => Vec::new(),
        }
    }

    fn fetch(&self, observed: &Observation) -> Vec<Operation> {
        if self.declared.path.is_some() {
            return Vec::new();
        }
        let cached = self.cached(observed);
        let work = match self.source(observed) {
            Source::Peer {
                node,
                address,
                is_trusted,
                ..
            } => {
                let copy = self.copy(&node, &address, is_trusted, observed);
                let copy = copy.map(Box::new).map(Effect::Copy);
                return copy
                    .map(|copy| Operation::on(&self.node, copy))
                    .into_iter()
                    .collect();
            }
            Source::Directory(directory) => fetching::import(&self.declared, &cached, &directory),
            Source::Hub => {
                let shortfalls = cached.shortfalls(&self.declared, &self.wanted);
                fetching::work(&self.declared, &cached, &shortfalls, &self.fetcher.venv)
            }
        };
        vec![Operation::on(&self.node, Effect::RunScript(Box::new(work)))]
    }
}

impl Resource for Model {
    fn address(&self) -> &Address {
        &self.address
    }

    fn facts(&self) -> Vec<(NodeName, Fact)> {
        vec![(self.node.clone(), cached::fact(&self.declared))]
    }

    fn liveness_probe(&self, _: &Observation) -> Option<LivenessProbe> {
        None
    }

    fn stand(&self, observed: &Observation) -> Stand {
        let change = self.compare(observed);
        // One that is whole has no source: looking for one would read the caches of all nodes.
        let seen = self.seen(observed);
        if change.action == Action::Keep {
            return Stand {
                seen,
                ..Stand::new(change)
            };
        }
        let fetch = self.fetch(observed);
        Stand {
            operations: Operations {
                start: fetch.clone(),
                update: fetch,
                ..Operations::default()
            },
            relations: Relations {
                waits_for: self.waits_for(observed),
                after: self.after(observed),
                ..Relations::default()
            },
            seen,
            ..Stand::new(change)
        }
    }
}
