//! Where a model comes from: a node of the topology that has it whole, else a folder of its own node,
//! else the hub.
//!
//! Of several nodes that lack it, the first one fetches it, and the others copy it from that one.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use super::cached::{Cached, folder};
use super::fetching::lock;
use super::{Model, ModelDeclaration};
use crate::name::NodeName;
use crate::node::NodeDeclaration;
use crate::plan::Reason;
use crate::plan::effect::{Copy, Upload};
use crate::resource::contract::Observation;
use crate::resource::node_files::{NodeFiles, StateFolder};
use crate::resource::program::{Binaries, Binary};

/// The network that is fast, where nodes have one.
const FABRIC: &str = "fabric";

/// The network that nodes share in any case.
const LAN: &str = "lan";

/// All nodes that are to have one model, and what copies it between them.
#[derive(Debug, Clone)]
pub struct Sharing {
    /// The nodes, with their addresses.
    pub nodes: Vec<(NodeName, NodeDeclaration)>,
    /// The model as each of them is to have it: their caches may be in other places.
    pub models: BTreeMap<NodeName, ModelDeclaration>,
    /// The programs at hand.
    pub binaries: Arc<Binaries>,
    /// The folder of the topology on every node.
    pub folder: StateFolder,
}

/// Where a model comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Source {
    /// Another node, at its address on a network.
    Peer {
        node: NodeName,
        network: String,
        address: String,
        /// Whether both nodes declare that network trusted.
        is_trusted: bool,
        /// Whether it has to fetch it first.
        lacks_it: bool,
    },
    /// The declared folder of this node.
    Directory(String),
    /// The hub.
    Hub,
}

impl Model {
    /// Where this node's model is to come from.
    pub(super) fn source(&self, observed: &Observation) -> Source {
        let others = || {
            self.sharing
                .nodes
                .iter()
                .filter(|(node, _)| *node != self.node)
        };
        let whole = others().find_map(|(node, declared)| {
            let cached = self.cached_on(node, observed)?;
            let source = self.peer(node, declared, false)?;
            (cached.is_whole(&self.declared, &self.wanted) && self.can_copy(node, observed))
                .then_some(source)
        });
        let before_this = others().filter(|(node, _)| *node < self.node);
        let first = || {
            let mut first = before_this.filter_map(|(node, declared)| {
                let cached = self.cached_on(node, observed)?;
                let source = self.peer(node, declared, true)?;
                let comes_to_have_it = Self::obstacle(&cached).is_none();
                (comes_to_have_it && self.can_copy(node, observed)).then_some(source)
            });
            first.next()
        };
        whole
            .or_else(|| self.directory(observed))
            .or_else(first)
            .unwrap_or(Source::Hub)
    }

    /// What would have to be at hand, where a node has it and for want of that alone it is
    /// not copied from there.
    pub(super) fn wanting(&self, observed: &Observation) -> Option<Reason> {
        if matches!(self.source(observed), Source::Peer { .. }) {
            return None;
        }
        let mut others = self.sharing.nodes.iter();
        let (node, lacking) = others.find_map(|(node, declared)| {
            let has_it = *node != self.node
                && self.peer(node, declared, false).is_some()
                && self
                    .cached_on(node, observed)?
                    .is_whole(&self.declared, &self.wanted);
            let mut ends = [node, &self.node].into_iter();
            let lacking = ends.find(|end| self.binary(end, observed).is_none())?;
            has_it.then_some((node, lacking))
        })?;
        let files = NodeFiles::read(&self.sharing.folder, observed.of(lacking)?);
        let missing = self.sharing.binaries.missing(&files.system);
        let text = format!("{node} has it, and could give it, but {}", missing.text);
        Some(Reason { text, ..missing })
    }

    fn directory(&self, observed: &Observation) -> Option<Source> {
        let directory = self.declared.directory.clone()?;
        let cached = self.cached(observed);
        // What was taken from there and is not whole can come from the hub alone.
        let is_tried = cached
            .fetched_from
            .is_some_and(|origin| origin == directory || origin == self.declared.hub());
        (cached.has_directory && !is_tried).then_some(Source::Directory(directory))
    }

    fn peer(&self, node: &NodeName, declared: &NodeDeclaration, lacks_it: bool) -> Option<Source> {
        let own = self
            .sharing
            .nodes
            .iter()
            .find(|(node, _)| *node == self.node);
        let own = &own?.1;
        let network = network(&self.declared, own, declared)?;
        Some(Source::Peer {
            node: node.clone(),
            address: declared.address(network)?.to_owned(),
            is_trusted: own.trusts(network) && declared.trusts(network),
            network: network.to_owned(),
            lacks_it,
        })
    }

    pub(super) fn cached_on(&self, node: &NodeName, observed: &Observation) -> Option<Cached> {
        let declared = self.sharing.models.get(node)?;
        Some(Cached::read(declared, observed.of(node)?))
    }

    /// Whether a program is at hand for both ends.
    fn can_copy(&self, other: &NodeName, observed: &Observation) -> bool {
        self.binary(other, observed).is_some() && self.binary(&self.node, observed).is_some()
    }

    fn binary(&self, node: &NodeName, observed: &Observation) -> Option<&Binary> {
        let files = NodeFiles::read(&self.sharing.folder, observed.of(node)?);
        self.sharing.binaries.fitting(&files.system)
    }

    /// The program that one end of this node's copy runs.
    fn brought(&self, node: &NodeName, observed: &Observation) -> Option<Upload> {
        let binary = self.binary(node, observed)?;
        // Each copy brings its own: another one that ends removes nothing of it.
        let name = format!("copy.{}.{}", self.node, self.address.local());
        Some(Upload {
            source: binary.path.clone(),
            target: self.sharing.folder.binary(&name),
        })
    }

    /// The copy from another node.
    pub(super) fn copy(
        &self,
        from: &NodeName,
        address: &str,
        is_trusted: bool,
        observed: &Observation,
    ) -> Option<Copy> {
        let own = self.cached(observed);
        let other = self.cached_on(from, observed)?;
        let repo = folder(&self.declared);
        // A name may lead to an address that the node itself does not have.
        let is_address = address.parse::<IpAddr>().is_ok();
        Some(Copy {
            from: from.clone(),
            listen: if is_address { address } else { "0.0.0.0" }.to_owned(),
            dial: address.to_owned(),
            trusted: is_trusted,
            source: format!("{}/{repo}", other.cache),
            target: format!("{}/{repo}", own.cache),
            revision: self.declared.revision.clone(),
            lock: lock(&self.declared, &own),
            sender: self.brought(from, observed)?,
            receiver: self.brought(&self.node, observed)?,
        })
    }
}

/// The network that both nodes are on: the declared one, else the fast one, else the one
/// that all share.
fn network<'a>(
    declared: &'a ModelDeclaration,
    one: &NodeDeclaration,
    other: &NodeDeclaration,
) -> Option<&'a str> {
    let both = |network: &&str| {
        let on = |node: &NodeDeclaration| node.addresses.contains_key(*network);
        on(one) && on(other)
    };
    match declared.over.as_deref() {
        Some(network) => both(&network).then_some(network),
        None => [FABRIC, LAN].into_iter().find(both),
    }
}
