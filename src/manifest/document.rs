//! A manifest as it is written: every value parsed, and nothing looked up.

use std::collections::BTreeMap;

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::compare::CompareDeclaration;
use crate::name::{
    BenchmarkName, EngineName, InstanceName, ModelName, NodeName, SloName, TopologyName,
};
use crate::node::NodeDeclaration;
use crate::plan::Slo;
use crate::resource::benchmark::BenchmarkDeclaration;
use crate::resource::engine::EngineDeclaration;
use crate::resource::instance::{InstanceDeclaration, KvDeclaration};
use crate::resource::model::ModelDeclaration;
use crate::resource::proxy::ProxyDeclaration;

/// A serving topology: what runs where, and what is measured of it.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(
    title = "replica topology",
    // A place for anchors, as in compose files.
    extend("patternProperties" = {"^x-": {}})
)]
pub(super) struct Document {
    /// The name of what runs. Two manifests of one name are two states of the same thing: applying
    /// one after the other changes only what differs.
    #[serde(rename = "topology")]
    pub(super) name: TopologyName,
    /// The machines, each by a name of your own.
    pub(super) nodes: BTreeMap<NodeName, NodeDeclaration>,
    /// The vLLM builds that serve, or simulated ones, each by a name of your own.
    #[serde(default)]
    pub(super) engines: BTreeMap<EngineName, EngineDeclaration>,
    /// The models, each by the name that clients ask for.
    #[serde(default)]
    pub(super) models: BTreeMap<ModelName, ModelDeclaration>,
    /// The servers: each an engine that serves a model on a node.
    #[serde(default)]
    pub(super) instances: BTreeMap<InstanceName, InstanceDeclaration>,
    /// How instances hand over what they have computed of a prompt, where some read prompts and others
    /// write the answers.
    pub(super) kv: Option<KvDeclaration>,
    /// The proxy before the instances: the one address that clients talk to.
    pub(super) proxy: Option<ProxyDeclaration>,
    /// Service level objectives, each by a name of your own; benchmarks name them.
    #[serde(default)]
    pub(super) slos: BTreeMap<SloName, Slo>,
    /// The measurements to make once everything is ready, in this order.
    #[serde(default)]
    pub(super) benchmarks: IndexMap<BenchmarkName, BenchmarkDeclaration>,
    /// Topologies to compare with each other, each a set of changes to this one; `replica compare`
    /// measures them in turn.
    #[schemars(with = "Option<CompareDeclaration>")]
    pub(super) compare: Option<CompareDeclaration>,
}
