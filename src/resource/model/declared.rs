//! A model as a manifest declares it.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::resource::environment::EnvValue;

/// A model: a revision in the Hugging Face cache of the nodes that serve it (`repo`), or what is in a
/// folder of theirs, which is served where it is (`path`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("oneOf" = [{"required": ["repo"]}, {"required": ["path"]}]))]
pub struct ModelDeclaration {
    /// The repository: `meta-llama/Llama-3.1-8B-Instruct`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(regex(pattern = r"^[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*$"))]
    pub repo: String,
    /// Instead of a repository, a folder of the node that holds the files, or a file of GGUF: it is
    /// served in place, read and never written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The commit, 40 hex digits; without it, what the node's `refs/main` says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^[0-9a-f]{40}$"))]
    pub revision: Option<String>,
    /// The cache on the node, where it is not the one that the Hugging Face tools would use, nor the
    /// one that the environment of its servers names (`HF_HOME`, `HF_HUB_CACHE`).
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

/// What makes the cache of the Hugging Face tools another one, the strongest first, and where the
/// cache is below what it says.
const CACHE_VARIABLES: [(&str, &str); 4] = [
    ("HF_HUB_CACHE", ""),
    ("HUGGINGFACE_HUB_CACHE", ""),
    ("HF_HOME", "/hub"),
    ("XDG_CACHE_HOME", "/huggingface/hub"),
];

/// Whether a variable says where the cache is.
pub fn is_of_cache(variable: &str) -> bool {
    CACHE_VARIABLES.iter().any(|(name, _)| *name == variable)
}

impl ModelDeclaration {
    /// The same model as a server with this environment has it, which may name another cache.
    #[must_use]
    pub fn in_environment(&self, env: &BTreeMap<String, EnvValue>) -> Self {
        let mut variables = CACHE_VARIABLES.iter();
        let named = variables.find_map(|(name, below)| match env.get(*name)? {
            EnvValue::Plain(place) => Some(format!("{}{below}", place.trim_end_matches('/'))),
            EnvValue::FromEnv(_) => None,
        });
        Self {
            cache: self.cache.clone().or(named),
            ..self.clone()
        }
    }

    /// What it is, in words: its repository, or its place.
    pub fn words(&self) -> &str {
        self.path.as_deref().unwrap_or(&self.repo)
    }

    /// The hub, in words.
    pub(super) fn hub(&self) -> &str {
        self.endpoint.as_deref().unwrap_or("the hub")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_moves_the_cache_as_the_tools_have_it() {
        let moved = |declared: Option<&str>, variables: &[(&str, &str)]| {
            let model = ModelDeclaration {
                cache: declared.map(str::to_owned),
                ..ModelDeclaration::default()
            };
            let plain = |(name, value): &(&str, &str)| {
                ((*name).to_owned(), EnvValue::Plain((*value).to_owned()))
            };
            let env = variables.iter().map(plain).collect();
            model.in_environment(&env).cache.unwrap_or_default()
        };
        assert_eq!(moved(None, &[]), "");
        assert_eq!(moved(None, &[("HF_HOME", "/data/hf/")]), "/data/hf/hub");
        assert_eq!(
            moved(None, &[("XDG_CACHE_HOME", "~/c")]),
            "~/c/huggingface/hub"
        );
        let both = [("HF_HOME", "/h"), ("HF_HUB_CACHE", "/c d")];
        assert_eq!(moved(None, &both), "/c d");
        assert_eq!(moved(Some("/own"), &both), "/own");
    }
}
