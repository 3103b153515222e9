//! The room of the engine: a vLLM build in a virtual environment of a node.
//!
//! It is recognised from files alone; Python is never started for it, which would take ten seconds
//! and touch the GPU. What falls short is installed in place, and nothing else of the environment
//! is touched; vLLM and torch are judged together, because they must be built for one CUDA.

mod cause;
mod declared;
mod install;
mod installed;
mod shortfall;
mod version;

use std::collections::BTreeMap;

pub use declared::*;
pub use installed::Installed;
use installed::{Stands, TORCH, provider, venv, wanted};
use shortfall::Shortfall;

use super::contract::{Answers, Observation, Question, Resource};
use crate::name::{EngineName, NodeName};
use crate::plan::{Action, Address, Change, Effect, Field, Planned, Reason};

/// What this kind is called.
pub const KIND: &str = "engine";

/// A vLLM build that a node is to have.
pub struct Engine {
    address: Address,
    node: NodeName,
    declared: EngineDeclaration,
}

impl Engine {
    /// Returns the engine, as one node is to have it.
    pub fn new(node: &NodeName, name: &EngineName, declared: &EngineDeclaration) -> Self {
        Self {
            address: Address::on(node, KIND, Some(name.as_str())),
            node: node.clone(),
            declared: declared.clone(),
        }
    }

    fn installed(&self, seen: &Observation) -> Installed {
        seen.of(&self.node)
            .map(|answers| Installed::read(&self.declared, answers))
            .unwrap_or_default()
    }

    fn create(&self) -> Change {
        let venv = venv(&self.declared);
        let text = format!("there is no virtual environment at {venv}");
        let fields = wanted(&self.declared).into_iter();
        let fields = fields.map(|(path, version)| Field {
            path,
            old: None,
            new: Planned::Known(version.into()),
            forces_replacement: false,
        });
        Change::new(
            &self.address,
            Action::Create,
            vec![Reason::new("absent", text)],
        )
        .with_fields(fields.collect())
        .described(self.title())
    }

    fn title(&self) -> String {
        let version = self.declared.vllm.as_deref().unwrap_or("?");
        format!("vLLM {version} in {}", venv(&self.declared))
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
            venv(&self.declared)
        );
        Reason::new("no_interpreter", text)
    }

    fn blocked(&self, reason: Reason, advice: &str) -> Change {
        let advice = Reason::new("advice", advice);
        Change::new(&self.address, Action::Blocked, vec![reason, advice])
    }
}

impl Resource for Engine {
    fn address(&self) -> &Address {
        &self.address
    }

    fn questions(&self) -> Vec<Question> {
        vec![installed::question(&self.declared)]
    }

    fn compare(&self, seen: &Observation) -> Change {
        let found = self.installed(seen);
        match found.stands {
            Stands::Nothing => return self.create(),
            Stands::Folder => {
                let venv = venv(&self.declared);
                let text = format!("{venv} is a folder and no virtual environment");
                let reason = Reason::new("other_folder", text);
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
        let shortfalls = found.shortfalls(&self.declared);
        if shortfalls.is_empty() && no_python.is_none() {
            let version = found.version(&self.declared);
            return Change::keep(&self.address, format!("vLLM {version}, as declared"));
        }
        self.mend(&shortfalls, no_python)
    }

    fn effects(&self, change: &Change, seen: &Observation) -> Vec<Effect> {
        if change.action.acts() {
            let work = install::work(&self.declared, &self.installed(seen));
            vec![Effect::Work(Box::new(work))]
        } else {
            Vec::new()
        }
    }

    fn exclusive(&self) -> Option<String> {
        // Two engines may stand in one environment.
        Some(format!("{} of {}", venv(&self.declared), self.node))
    }
}

/// Returns the versions that a server of this engine runs, or will once what falls short is
/// installed: of vLLM, of torch and those of one build with it, and of the declared packages.
pub fn versions(
    declared: &EngineDeclaration,
    answers: Option<&Answers>,
) -> BTreeMap<String, String> {
    let found = answers.map(|answers| Installed::read(declared, answers));
    let found = found.unwrap_or_default();
    let wanted = wanted(declared);
    let names = wanted.keys().map(String::as_str).chain(TORCH);
    let mut versions: BTreeMap<_, _> = names
        .chain([provider(declared).as_str()])
        .filter_map(|name| Some((name.to_owned(), found.told(name)?.to_owned())))
        .collect();
    let changing = found.shortfalls(declared).into_iter();
    for shortfall in changing.filter(Shortfall::changes_version) {
        versions.insert(shortfall.name, shortfall.wanted);
    }
    if found.stands != Stands::Venv {
        versions = wanted;
    }
    versions
}
