//! A server as it is meant: everything that its declaration names is looked up.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::InstanceDeclaration;
use super::argv::Arguments;
use super::kv::{self, KvDeclaration};
use crate::name::{ModelName, NodeName, Port};
use crate::node::SecretsPolicy;
use crate::plan::Role;
use crate::resource::argument::Argument;
use crate::resource::engine::{SimulatedEngine, VllmEngine};
use crate::resource::environment::EnvValue;
use crate::resource::model::ModelDeclaration;

/// One running server.
///
/// One that spans several nodes will have them in the place of `node`; who asks on which nodes something of it is,
/// asks [`Server::nodes`].
#[derive(Debug, Clone, PartialEq)]
pub struct Server {
    /// The node that it runs on.
    pub node: NodeName,
    /// The port that it listens on.
    pub port: Port,
    /// The address that it listens on, where it is not the one by which the proxy reaches the node.
    pub host: Option<String>,
    /// The name by which clients ask for its model.
    pub model: ModelName,
    /// What it runs.
    pub runtime: Runtime,
    /// Its arguments: the engine's, and over them its own.
    pub args: Arguments,
    /// Its environment: the engine's, and over it its own.
    pub env: BTreeMap<String, EnvValue>,
    /// Which part of a request it does.
    pub role: Role,
    /// How it hands over what it has computed, where it does.
    pub kv: Option<KvDeclaration>,
    /// Where its secrets lie, where that is not left to its node.
    pub secrets: Option<SecretsPolicy>,
    /// How long its log may stand still while it loads.
    pub ready_timeout: Duration,
    /// How long it may take to end, before its whole session is killed.
    pub stop_timeout: Duration,
}

/// What a server runs: an engine, and what such an engine needs beside it.
#[derive(Debug, Clone, PartialEq)]
pub enum Runtime {
    /// vLLM with the weights of a model.
    Vllm(VllmRuntime),
    /// The simulator, which serves any name and has no weights.
    Simulated(Arc<SimulatedEngine>),
}

/// vLLM with the weights of a model.
#[derive(Debug, Clone, PartialEq)]
pub struct VllmRuntime {
    /// The build.
    pub engine: Arc<VllmEngine>,
    /// The model that it serves.
    pub model: Arc<ModelDeclaration>,
    /// The others that its arguments name, such as a draft and adapters.
    pub beside: BTreeMap<ModelName, Arc<ModelDeclaration>>,
}

impl Server {
    /// What a declaration means, together with what it names. `runtime` may have more models beside
    /// the one that is served than the arguments name.
    pub fn new(declared: &InstanceDeclaration, runtime: Runtime) -> Self {
        let env = runtime.env().iter().chain(&declared.env);
        let env = env.map(|(name, value)| (name.clone(), value.clone()));
        let env: BTreeMap<_, _> = env.collect();
        let args = Arguments::new(runtime.args(), &declared.args);
        Self {
            node: declared.node.clone(),
            port: declared.port,
            host: declared.host.clone(),
            model: declared.model.clone(),
            role: declared.role,
            kv: None,
            secrets: declared.secrets,
            ready_timeout: declared.ready_timeout.duration(),
            stop_timeout: declared.stop_timeout.duration(),
            runtime: runtime.meant(&declared.model, &args, &env),
            args,
            env,
        }
    }

    /// The same, handing over what it computes as this says, to who asks at this address. What was
    /// declared of the variables for that counts.
    #[must_use]
    pub fn handing_over(mut self, kv: &KvDeclaration, host: &str) -> Self {
        self.args.set(kv::ARGUMENT, kv.argument());
        let declared = std::mem::replace(&mut self.env, kv.env(host));
        self.env.extend(declared);
        self.kv = Some(kv.clone());
        self
    }

    /// How many GPUs it is split over; none, where it is a build for CPUs.
    pub fn gpus(&self) -> u64 {
        let vllm = self.runtime.vllm();
        if vllm.is_some_and(|vllm| vllm.engine.is_for_cpus()) {
            return 0;
        }
        let sizes = [
            "tensor_parallel_size",
            "pipeline_parallel_size",
            "data_parallel_size",
        ];
        sizes
            .map(|size| self.args.whole(size).unwrap_or(1))
            .into_iter()
            .product()
    }

    /// The nodes that hold something of it.
    pub fn nodes(&self) -> impl Iterator<Item = &NodeName> {
        std::iter::once(&self.node)
    }
}

impl Runtime {
    /// vLLM and its model, where it runs that.
    pub fn vllm(&self) -> Option<&VllmRuntime> {
        match self {
            Self::Vllm(vllm) => Some(vllm),
            Self::Simulated(_) => None,
        }
    }

    /// The same with the models that these arguments name, where this environment says that the
    /// cache is.
    fn meant(self, served: &ModelName, args: &Arguments, env: &BTreeMap<String, EnvValue>) -> Self {
        let Self::Vllm(vllm) = self else {
            return self;
        };
        let vllm = vllm.with_named(served, &args.named());
        let beside = vllm.beside.into_iter();
        Self::Vllm(VllmRuntime {
            model: Arc::new(vllm.model.in_environment(env)),
            beside: beside
                .map(|(name, model)| (name, Arc::new(model.in_environment(env))))
                .collect(),
            engine: vllm.engine,
        })
    }

    fn args(&self) -> &BTreeMap<String, Argument> {
        match self {
            Self::Vllm(vllm) => &vllm.engine.args,
            Self::Simulated(engine) => &engine.args,
        }
    }

    fn env(&self) -> &BTreeMap<String, EnvValue> {
        match self {
            Self::Vllm(vllm) => &vllm.engine.env,
            Self::Simulated(engine) => &engine.env,
        }
    }
}
