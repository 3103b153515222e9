//! What an instance is, as one normalised value: carried by the process, compared field by field.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{Instance, Runtime, VllmRuntime};
use crate::resource::contract::Observation;
use crate::resource::engine;
use crate::resource::environment::EnvValue;
use crate::resource::model::Cached;
use crate::resource::process::secret_digest;

impl Instance {
    /// The specification. Settings that need no restart are no part of it; of a secret,
    /// only a keyed digest is.
    pub(super) fn specify(&self, observed: &Observation) -> Value {
        let mut spec = json!({
            "model": self.server.model,
            "listen": {"host": self.listens.on, "port": self.server.port},
            "engine": self.engine_spec(observed),
            "args": self.server.args,
            "env": self.env_spec(),
        });
        if let Some((revision, _)) = self.snapshot(observed) {
            spec["revision"] = revision.into();
        }
        spec
    }

    /// What its engine is: as declared, and with the versions that are there, or will be.
    fn engine_spec(&self, observed: &Observation) -> Value {
        match &self.server.runtime {
            Runtime::Simulated(engine) => json!({"simulate": {"profile": engine.profile}}),
            Runtime::Vllm(VllmRuntime { engine, .. }) => json!({
                "vllm": engine.version,
                "venv": engine.venv,
                "packages": engine.packages,
                "installed": engine::versions(engine, observed.of(&self.managed.node)),
            }),
        }
    }

    /// The variables whose values are secret, each with the variable here that holds it.
    pub(super) fn secrets(&self) -> BTreeMap<String, String> {
        let secret = |(name, value): (&String, &EnvValue)| match value {
            EnvValue::FromEnv(source) => Some((name.clone(), source.clone())),
            EnvValue::Plain(_) => None,
        };
        self.server.env.iter().filter_map(secret).collect()
    }

    fn env_spec(&self) -> Value {
        let mut spec = Map::new();
        for (name, value) in &self.server.env {
            let shown = match value {
                EnvValue::Plain(text) => text.clone(),
                EnvValue::FromEnv(source) => {
                    let value = std::env::var(source).unwrap_or_default();
                    secret_digest(self.managed.topology.as_str(), name, &value)
                }
            };
            spec.insert(name.clone(), shown.into());
        }
        Value::Object(spec)
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
