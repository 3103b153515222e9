//! The environment that vLLM is given where the manifest says nothing else.
//!
//! None of it is part of what is compared: a later version of replica may give another.

use std::collections::BTreeMap;

use super::kv::KvBuffer;
use super::{Instance, Runtime};
use crate::resource::contract::Observation;
use crate::resource::engine::VllmEngine;
use crate::resource::environment::EnvValue;
use crate::resource::machine::Machine;

const DEFAULTS: &[(&str, &str)] = &[
    // The model is in the cache: nothing may be fetched, and nothing told, while it serves.
    ("HF_HUB_OFFLINE", "1"),
    ("TRANSFORMERS_OFFLINE", "1"),
    ("VLLM_NO_USAGE_STATS", "1"),
    ("DO_NOT_TRACK", "1"),
    // Its log is read while it is written.
    ("PYTHONUNBUFFERED", "1"),
    ("NO_COLOR", "1"),
];

/// By which Triton is told of an assembler; newer ones want the second for Blackwell.
const ASSEMBLERS: [&str; 2] = ["TRITON_PTXAS_PATH", "TRITON_PTXAS_BLACKWELL_PATH"];

/// By which UCX, which NIXL moves memory with, is told where its modules are.
const TRANSPORTS: &str = "UCX_MODULE_DIR";

/// The GPU that is younger than the assembler that Triton brings: `sm_121a` is unknown to it.
const YOUNG: &str = "GB10";

impl Instance {
    /// The environment, secrets left out: the defaults, and over them what is declared.
    pub(super) fn plain_env(&self, observed: &Observation) -> BTreeMap<String, String> {
        let mut env = BTreeMap::new();
        if let Runtime::Vllm(vllm) = &self.server.runtime {
            let defaults = DEFAULTS
                .iter()
                .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()));
            env.extend(defaults);
            if let Some(ptxas) = self.assembler(&vllm.engine, observed) {
                env.extend(ASSEMBLERS.map(|name| (name.to_owned(), ptxas.clone())));
            }
            let transports = self.transports(&vllm.engine, observed);
            env.extend(transports.map(|folder| (TRANSPORTS.to_owned(), folder)));
        }
        for (name, value) in &self.server.env {
            match value {
                EnvValue::Plain(text) => env.insert(name.clone(), text.clone()),
                EnvValue::FromEnv(_) => env.remove(name),
            };
        }
        env
    }

    /// The folder of NIXL's CUDA transports, where it hands over what is in the memory of a GPU and would not find
    /// them.
    fn transports(&self, engine: &VllmEngine, observed: &Observation) -> Option<String> {
        let kv = self.server.kv.as_ref()?;
        let facts = observed.of(&self.managed.node)?;
        let found = self.toolchain(engine, facts).transports;
        found.filter(|_| kv.buffer == KvBuffer::Cuda)
    }

    /// The assembler of the node's CUDA toolkit, where Triton's own may be too old.
    fn assembler(&self, engine: &VllmEngine, observed: &Observation) -> Option<String> {
        let facts = observed.of(&self.managed.node)?;
        let machine = Machine::read(facts);
        // A machine that does not tell of its GPUs may have one.
        let may_need = machine.gpus.iter().all(|gpu| gpu.name.contains(YOUNG));
        self.toolchain(engine, facts).ptxas.filter(|_| may_need)
    }

    /// The folders that come first where it looks for programs: Triton, ninja and
    /// FlashInfer start compilers and each other by name.
    pub(super) fn path(&self) -> Vec<String> {
        match &self.server.runtime {
            Runtime::Vllm(vllm) => vec![format!("{}/bin", vllm.engine.venv)],
            Runtime::Simulated(_) => Vec::new(),
        }
    }
}
