//! A model as a manifest declares it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::resource::environment::EnvValue;

/// A revision of a model in the Hugging Face cache of the nodes that serve it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ModelDeclaration {
    /// The repository: `meta-llama/Llama-3.1-8B-Instruct`.
    #[schemars(regex(pattern = r"^[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*$"))]
    pub repo: String,
    /// The commit, 40 hex digits; without it, what the node's `refs/main` says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^[0-9a-f]{40}$"))]
    pub revision: Option<String>,
    /// The cache on the node, where it is not the one that the Hugging Face tools would use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache: Option<String>,
    /// A folder of the node that holds its files, such as a mounted disk: taken before the hub is
    /// asked. It wants a `revision`, which says what is in the folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub directory: Option<String>,
    /// What opens a repository that asks who comes: `{from_env: HF_TOKEN}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<EnvValue>,
    /// The network over which a node that lacks it copies it from one that has it; by default
    /// `fabric`, where both have such an address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub over: Option<String>,
    /// Another hub, such as a mirror: `https://hub.example`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
}
