//! What an instance is, as one normalised value: carried by the process, compared field by field.

use serde_json::{Map, Value, json};

use super::{Instance, Runtime, VllmRuntime};
use crate::node::{NodeKey, variable};
use crate::resource::contract::Observation;
use crate::resource::engine;
use crate::resource::environment::EnvValue;
use crate::resource::model::{Cached, ModelDeclaration};
use crate::resource::node_files::NodeFiles;
use crate::resource::process::{PLAIN_DIGEST, fingerprint, plain_digest};

/// The key of the digest of all packages, among what is said of an engine.
pub(super) const ALL_PACKAGES: &str = "all_packages";

/// What stands for a secret until it is told apart from others.
const SECRET: &str = "secret";

/// A secret variable of a server; the value is not always at hand.
struct Secret<'a> {
    topology: &'a str,
    name: &'a str,
    value: Option<String>,
}

impl Secret<'_> {
    /// What stands for it in a specification: told apart from what stands for it in that of the
    /// server that runs, as far as that can be.
    fn stand_in(&self, old: Option<&str>, key: Option<&NodeKey>) -> String {
        let unknown = || old.unwrap_or(SECRET).to_owned();
        // What is not at hand cannot be compared: its server runs on.
        let Some(value) = &self.value else {
            return unknown();
        };
        match (old, key) {
            (Some(old), _) if old.starts_with(PLAIN_DIGEST) => {
                plain_digest(self.topology, self.name, value)
            }
            (_, Some(key)) => key.digest(self.name, value),
            (_, None) => unknown(),
        }
    }
}

impl Instance {
    /// The specification. Settings that need no restart are no part of it; of a secret,
    /// only a keyed digest is.
    pub(super) fn specify(&self, observed: &Observation) -> Value {
        let mut spec = json!({
            "model": self.server.model,
            "listen": {"host": self.listens.on, "port": self.server.port},
            "engine": self.engine_spec(observed),
            "args": self.server.args,
            "env": self.env_spec(observed),
        });
        if let Some((revision, _)) = self.snapshot(observed) {
            spec["revision"] = revision.into();
        }
        let beside = self.beside_spec(observed);
        if !beside.is_empty() {
            spec["models"] = beside.into();
        }
        // A repository is known by its commit, wherever its cache is.
        if let Some(vllm) = self.server.runtime.vllm()
            && let Some(path) = &vllm.model.path
        {
            spec["path"] = path.as_str().into();
        }
        spec
    }

    /// What the models are that it has beside the one that it serves.
    fn beside_spec(&self, observed: &Observation) -> Map<String, Value> {
        let (Some(vllm), Some(facts)) =
            (self.server.runtime.vllm(), observed.of(&self.managed.node))
        else {
            return Map::new();
        };
        let one = |declared: &ModelDeclaration| {
            let found = Cached::read(declared, facts).revision;
            let mut one = json!({"revision": declared.revision.clone().unwrap_or(found)});
            if let Some(path) = &declared.path {
                one["path"] = path.as_str().into();
            }
            one
        };
        let beside = vllm.beside.iter();
        beside
            .map(|(name, declared)| (name.to_string(), one(declared)))
            .collect()
    }

    /// What its engine is: as declared, and with the versions that are there, or will be.
    fn engine_spec(&self, observed: &Observation) -> Value {
        match &self.server.runtime {
            Runtime::Simulated(engine) => json!({"simulate": {"profile": engine.profile}}),
            Runtime::Vllm(VllmRuntime { engine, .. }) => {
                let facts = observed.of(&self.managed.node);
                let mut spec = json!({
                    "vllm": engine.version,
                    "venv": engine.venv,
                    "packages": engine.packages,
                    "installed": engine::versions(engine, facts),
                });
                // Recorded and not compared: it changes with whatever else is installed there.
                if let Some(all) = facts.and_then(|facts| engine::packages(engine, facts)) {
                    spec[ALL_PACKAGES] = fingerprint(&json!(all)).into();
                }
                spec
            }
        }
    }

    /// The variables whose values are secret, each with the variable here that holds it.
    pub(super) fn declared_secrets(&self) -> impl Iterator<Item = (&str, &str)> {
        let env = self.server.env.iter();
        env.filter_map(|(name, value)| match value {
            EnvValue::FromEnv(source) => Some((name.as_str(), source.as_str())),
            EnvValue::Plain(_) => None,
        })
    }

    fn env_spec(&self, observed: &Observation) -> Value {
        let folder = &self.managed.folder;
        let facts = observed.of(&self.managed.node);
        let files = facts.map(|facts| NodeFiles::read(folder, facts));
        let running = self.managed.running(observed).map(|session| session.spec);
        let mut spec = Map::new();
        for (name, value) in &self.server.env {
            let node_key = files.as_ref().and_then(|files| files.node_key.as_ref());
            let shown = match value {
                EnvValue::Plain(text) => text.clone(),
                EnvValue::FromEnv(_) if self.has_own_key(name) => {
                    node_key.map_or_else(|| SECRET.to_owned(), NodeKey::own_digest)
                }
                EnvValue::FromEnv(source) => {
                    let secret = Secret {
                        topology: self.managed.topology.as_str(),
                        name,
                        value: variable(source),
                    };
                    let old = running.as_ref().and_then(|spec| spec["env"][name].as_str());
                    secret.stand_in(old, node_key)
                }
            };
            spec.insert(name.clone(), shown.into());
        }
        Value::Object(spec)
    }

    /// A specification in which one word stands for every secret.
    pub(super) fn without_secrets(&self, spec: &Value) -> Value {
        let mut spec = spec.clone();
        for (name, _) in self.declared_secrets() {
            spec["env"][name] = SECRET.into();
        }
        spec
    }

    /// The revision and the path of the model on the node, where the engine is a real one
    /// and the node has it.
    pub(super) fn snapshot(&self, observed: &Observation) -> Option<(String, String)> {
        let model = &self.server.runtime.vllm()?.model;
        let cached = Cached::read(model, observed.of(&self.managed.node)?);
        let revision = model.revision.clone().unwrap_or(cached.revision);
        (!revision.is_empty()).then_some((revision, cached.path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stand_in(value: Option<&str>, old: Option<&str>, key: Option<&NodeKey>) -> String {
        let secret = Secret {
            topology: "t",
            name: "HF_TOKEN",
            value: value.map(str::to_owned),
        };
        secret.stand_in(old, key)
    }

    #[test]
    fn a_secret_is_told_apart_as_far_as_it_can_be() {
        let key: NodeKey = "0f".repeat(32).parse().unwrap();
        let keyed = key.digest("HF_TOKEN", "hush");
        let (keyed, key) = (Some(keyed.as_str()), Some(&key));
        assert_eq!(stand_in(Some("hush"), keyed, key), keyed.unwrap());
        assert_ne!(stand_in(Some("other"), keyed, key), keyed.unwrap());
        // Not at hand here, or by a key that is gone: the server runs on.
        assert_eq!(stand_in(None, keyed, key), keyed.unwrap());
        assert_eq!(stand_in(Some("other"), keyed, None), keyed.unwrap());
        assert_eq!(stand_in(Some("hush"), None, None), SECRET);
    }

    /// A newer version plans nothing for what an older one started.
    #[test]
    fn a_secret_that_an_older_version_marked_is_compared_as_it_did() {
        let key: NodeKey = "0f".repeat(32).parse().unwrap();
        let old = plain_digest("t", "HF_TOKEN", "hush");
        for key in [None, Some(&key)] {
            assert_eq!(stand_in(Some("hush"), Some(&old), key), old);
            assert_ne!(stand_in(Some("other"), Some(&old), key), old);
            assert_eq!(stand_in(None, Some(&old), key), old);
        }
    }
}
