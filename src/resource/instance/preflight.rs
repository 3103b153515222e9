//! What would make a start fail, as far as it can be seen before: arguments, disk, compiler, headers.

use super::Instance;
use super::known::{Known, knows_type, release};
use super::toolchain::Toolchain;
use crate::plan::{Reason, ReasonCode};
use crate::resource::contract::Observation;
use crate::resource::engine::VllmEngine;
use crate::resource::facts::Facts;
use crate::resource::machine::{Bytes, Machine};
use crate::resource::model::Cached;
use crate::resource::node_files::NodeFiles;

/// What a start writes at least, in logs and compiled kernels.
const ROOM: Bytes = Bytes(256 << 20);

/// What a server that hands over by RDMA pins at least: a KV cache of less is of no use.
const PINNED: Bytes = Bytes(1 << 30);

impl Instance {
    /// Each reason why its start would fail, where its engine is a real one.
    pub(super) fn would_fail(&self, observed: &Observation) -> Vec<Reason> {
        let (Some(facts), Some(vllm)) =
            (observed.of(&self.managed.node), self.server.runtime.vllm())
        else {
            return Vec::new();
        };
        let engine = &vllm.engine;
        let (machine, toolchain) = (Machine::read(facts), self.toolchain(engine, facts));
        let mut reasons = self.unknown_arguments(engine, &toolchain);
        reasons.extend(self.unknown_type(&toolchain, facts));
        reasons.extend(self.lacks_beside(facts));
        reasons.extend(disk_full(&machine));
        // What has served there once has what it takes, wherever it found it.
        if !self.has_ever_served(facts) {
            reasons.extend(self.no_compiler(engine, &machine));
            reasons.extend(no_headers(&toolchain));
        }
        reasons
    }

    /// That the GPUs of its node cannot be asked: a start may do without, and no longer fails for
    /// reasons of its own.
    pub(super) fn gpus_untold(&self, observed: &Observation) -> Option<Reason> {
        let engine = &self.server.runtime.vllm()?.engine;
        let machine = Machine::read(observed.of(self.node())?);
        let trouble = machine.gpu_trouble.as_ref()?;
        (!engine.is_for_cpus()).then(|| {
            let text = format!("nvidia-smi on {} {trouble}", self.node());
            let hint = "mend its driver first: a server that starts now may find no GPU";
            Reason::new(ReasonCode::NoGpu, text).hinted(hint)
        })
    }

    /// That a server which hands over what it computes may pin little memory on its node: it is started all the
    /// same, as another way than RDMA may do.
    pub(super) fn little_to_pin(&self, observed: &Observation) -> Option<Reason> {
        self.server.runtime.vllm()?;
        self.server.kv.as_ref()?;
        let machine = Machine::read(observed.of(self.node())?);
        let most = machine.pins.filter(|pins| *pins < PINNED)?.0 >> 20;
        let text = format!(
            "a process of {} may pin {most} MiB of memory at most",
            self.node()
        );
        let hint = "what NIXL hands over by RDMA is pinned first: give this user of the node `hard memlock unlimited` \
                    in /etc/security/limits.conf, where its sshd uses PAM";
        Some(Reason::new(ReasonCode::LittleToPin, text).hinted(hint))
    }

    fn has_ever_served(&self, facts: &Facts) -> bool {
        let files = NodeFiles::read(&self.managed.folder, facts);
        let generations = 1..=files.last_generation(&self.managed.address);
        generations
            .rev()
            .any(|generation| files.has_served(&self.managed.address, generation))
    }

    fn unknown_arguments(&self, engine: &VllmEngine, toolchain: &Toolchain) -> Vec<Reason> {
        let declared = &engine.version;
        let installed = toolchain.vllm.as_deref().unwrap_or_default();
        // The one that is installed tells nothing of the one that is to take its place.
        let own = toolchain.known.clone();
        let own = own.filter(|_| installed == release(declared));
        let Some(known) = own.or_else(|| Known::listed(declared)) else {
            return Vec::new();
        };
        let unknown = self.server.args.names().filter(|name| !known.has(name));
        let reason = |name: &String| {
            let version = release(declared);
            let nearest = known.nearest(name);
            let nearest: Vec<_> = nearest.iter().map(|near| format!("`{near}`")).collect();
            let hint = if nearest.is_empty() {
                "`vllm serve --help=all` on the node lists those that it knows".to_owned()
            } else {
                format!("did you mean {}?", nearest.join(" or "))
            };
            let text = format!("vLLM {version} knows no argument `{name}`");
            Reason::new(ReasonCode::UnknownArgument, text).hinted(hint)
        };
        unknown.map(reason).collect()
    }

    /// What transformers and vLLM do not know runs by code that the model brings, and none is run
    /// that nobody trusts.
    fn unknown_type(&self, toolchain: &Toolchain, facts: &Facts) -> Option<Reason> {
        let vllm = self.server.runtime.vllm()?;
        let args = &self.server.args;
        let is_overridden = args.names().any(|name| {
            let name = name.split('.').next().unwrap_or_default();
            matches!(name, "hf_overrides" | "hf_config_path" | "config_format")
        });
        if is_overridden {
            return None;
        }
        let (kind, code) = Cached::read(&vllm.model, facts).type_of_model()?;
        let (is_told, types) = (!toolchain.types.is_empty(), &toolchain.types);
        let is_known = match &kind {
            None => false,
            Some(kind) if is_told => types.contains(kind),
            Some(kind) => knows_type(&vllm.engine.version, kind)?,
        };
        let of_type = kind.map_or_else(String::new, |kind| format!(" of the type `{kind}`"));
        match code {
            _ if is_known => None,
            Some(_) if args.is_on("trust_remote_code") => None,
            Some(code) => {
                let text = format!(
                    "its model{of_type} needs {code}, and code that a model brings is not run"
                );
                let hint = "read that code, then add `trust_remote_code: true` to the arguments";
                Some(Reason::new(ReasonCode::UntrustedCode, text).hinted(hint))
            }
            // Its transformers may be newer than the one that is known here.
            None if !is_told || of_type.is_empty() => None,
            None => {
                let text = format!("this vLLM and its transformers do not know its model{of_type}");
                let hint = "it takes a newer vLLM, or a newer transformers (`packages`)";
                Some(Reason::new(ReasonCode::UnknownModel, text).hinted(hint))
            }
        }
    }

    /// Triton compiles a launcher, and Inductor its kernels; even where graphs are left out, the
    /// first request that samples needs one.
    fn no_compiler(&self, engine: &VllmEngine, machine: &Machine) -> Option<Reason> {
        // Without memory figures the machine did not answer, and nothing is known of its tools.
        machine.memory_total?;
        let (variable, wanted, package) = if engine.is_for_cpus() {
            ("CXX", ["g++", "clang++"], "g++")
        } else {
            ("CC", ["gcc", "clang"], "gcc")
        };
        let is_there = wanted.iter().any(|tool| machine.tools.contains(*tool));
        if is_there || self.server.env.contains_key(variable) {
            return None;
        }
        let text = format!(
            "the node has no compiler ({}), which vLLM needs for its kernels",
            wanted.join(" or ")
        );
        let hint = format!("install {package} there, or name one by env {variable}");
        Some(Reason::new(ReasonCode::NoCompiler, text).hinted(hint))
    }
}

fn no_headers(toolchain: &Toolchain) -> Option<Reason> {
    let (python, has_headers) = toolchain.python.as_ref()?;
    if *has_headers {
        return None;
    }
    let text = format!(
        "the headers of {python} (Python.h) are not on the node, and vLLM compiles against them"
    );
    let hint = format!("install {python}-dev there, or make the environment with a Python of uv");
    Some(Reason::new(ReasonCode::NoHeaders, text).hinted(hint))
}

fn disk_full(machine: &Machine) -> Option<Reason> {
    let free = machine.home_free.filter(|free| *free < ROOM)?;
    let mib = free.0 >> 20;
    let text = format!("its home has {mib} MiB left");
    let hint = "free some: logs and compiled kernels go there";
    Some(Reason::new(ReasonCode::DiskFull, text).hinted(hint))
}
