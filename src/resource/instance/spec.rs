//! What an instance is, as one normalised value: carried by the process, compared field by field.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{Instance, argv};
use crate::resource::contract::Observation;
use crate::resource::engine;
use crate::resource::environment::EnvValue;
use crate::resource::model::Cached;
use crate::resource::process::secret_digest;

impl Instance {
    /// Returns the specification. Settings that need no restart are no part of it; of a secret,
    /// only a keyed digest is.
    pub(super) fn spec(&self, seen: &Observation) -> Value {
        let mut spec = json!({
            "model": self.declared.model,
            "listen": {"host": self.listens.on, "port": self.declared.port},
            "engine": self.engine_spec(seen),
            "args": self.args(),
            "env": self.env_spec(),
        });
        if let Some((revision, _)) = self.snapshot(seen) {
            spec["revision"] = revision.into();
        }
        spec
    }

    /// Returns what its engine is: as declared, and with the versions that are there, or will be.
    fn engine_spec(&self, seen: &Observation) -> Value {
        match &self.engine.simulate {
            Some(simulate) => json!({"simulate": simulate}),
            None => json!({
                "vllm": self.engine.vllm,
                "venv": self.engine.venv,
                "packages": self.engine.packages,
                "installed": engine::versions(&self.engine, seen.of(&self.seat.node)),
            }),
        }
    }

    /// Returns the arguments: the engine's, and over them the instance's own.
    pub(super) fn args(&self) -> BTreeMap<String, Value> {
        let all = self.engine.args.iter().chain(&self.declared.args);
        all.map(|(name, value)| (argv::normal(name), value.clone()))
            .collect()
    }

    /// Returns the environment: the engine's, and over it the instance's own.
    pub(super) fn env(&self) -> BTreeMap<String, EnvValue> {
        let mut env = self.engine.env.clone();
        env.extend(self.declared.env.clone());
        env
    }

    /// Returns the variables whose values are secret, each with the variable here that holds it.
    pub(super) fn secrets(&self) -> BTreeMap<String, String> {
        let secret = |(name, value)| match value {
            EnvValue::FromEnv(source) => Some((name, source)),
            EnvValue::Plain(_) => None,
        };
        self.env().into_iter().filter_map(secret).collect()
    }

    fn env_spec(&self) -> Value {
        let mut spec = Map::new();
        for (name, value) in self.env() {
            let shown = match value {
                EnvValue::Plain(text) => text,
                EnvValue::FromEnv(source) => {
                    let value = std::env::var(&source).unwrap_or_default();
                    secret_digest(self.seat.topology.as_str(), &name, &value)
                }
            };
            spec.insert(name, shown.into());
        }
        Value::Object(spec)
    }

    /// Returns the revision and the path of the model on the node, where the engine is a real one
    /// and the node has it.
    pub(super) fn snapshot(&self, seen: &Observation) -> Option<(String, String)> {
        let model = self.model.as_ref()?;
        let cached = Cached::read(model, seen.of(&self.seat.node)?);
        let revision = model.revision.clone().unwrap_or(cached.revision);
        (!revision.is_empty()).then_some((revision, cached.path))
    }
}
