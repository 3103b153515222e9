//! Whether instances that hand over to each other will believe each other.
//!
//! Before one fetches from another, vLLM compares what each was started with, and the words by which each
//! was told its model are a part of that. `vllm serve` is given the folder of the model's snapshot, with
//! no links in it, so that what counts is where the files really lie on each node. In 0.13 an engine ends
//! that finds another there: it is better told before.

use std::sync::Arc;

use super::Instance;
use crate::name::{InstanceName, NodeName};
use crate::plan::{Reason, ReasonCode};
use crate::resource::contract::Observation;
use crate::resource::model::{Cached, ModelDeclaration};

/// Another instance, to which one hands over, or which hands over to it.
#[derive(Debug, Clone)]
pub struct Partner {
    /// Its name.
    pub name: InstanceName,
    /// Its node.
    pub node: NodeName,
    /// Its model, in its own environment.
    pub model: Arc<ModelDeclaration>,
}

/// Where a node has a model, or would have it: nothing of one that did not tell.
fn place(model: &ModelDeclaration, node: &NodeName, observed: &Observation) -> Option<Place> {
    let cached = Cached::read(model, observed.of(node)?);
    Some(if cached.path.is_empty() {
        Place::Cache(cached.cache()?.to_owned())
    } else {
        Place::Snapshot(cached.path)
    })
}

/// What is known of where a model lies.
#[derive(Debug, PartialEq, Eq)]
enum Place {
    /// In this folder.
    Snapshot(String),
    /// It will come into the cache in this folder.
    Cache(String),
}

impl Place {
    /// Where the two lie, if that is known to be another place for each.
    fn differs<'a>(&'a self, other: &'a Self) -> Option<(&'a str, &'a str)> {
        match (self, other) {
            (Self::Snapshot(one), Self::Snapshot(other))
            | (Self::Cache(one), Self::Cache(other)) => {
                (one != other).then_some((one.as_str(), other.as_str()))
            }
            // Links may make one of the other.
            (Self::Snapshot(_), Self::Cache(_)) | (Self::Cache(_), Self::Snapshot(_)) => None,
        }
    }
}

impl Instance {
    /// Why one of those with which it shares requests would not believe it.
    pub(super) fn model_elsewhere(&self, observed: &Observation) -> Option<Reason> {
        let vllm = self.server.runtime.vllm()?;
        let ours = place(&vllm.model, self.node(), observed)?;
        self.partners.iter().find_map(|partner| {
            let theirs = place(&partner.model, &partner.node, observed)?;
            let (ours, theirs) = ours.differs(&theirs)?;
            let text = format!(
                "its model is at {ours}, and at {theirs} for instance `{}`: vLLM hands over only between \
                 servers that were told one path",
                partner.name
            );
            let hint = "have the model at one path on both nodes (`cache:` of the model, or `path:`), or set \
                        `kv: {enforce_handshake_compat: false}`";
            Some(Reason::new(ReasonCode::OtherPath, text).hinted(hint))
        })
    }
}
