//! By what an environment falls short of what is declared, as values: shown, and mended.

use serde_json::Value;

use super::VllmEngine;
use super::installed::{Installed, OtherPython, Stands, TORCH, normal};
use super::version::{cuda_of_vllm, labelled, pin, satisfies};
use crate::plan::{Field, Planned, Reason, ReasonCode};

/// A package that is not as it must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Shortfall {
    pub(super) name: String,
    /// The version that was found, with its build where it is known.
    pub(super) found: Option<String>,
    /// The version that must be there.
    pub(super) wanted: String,
    pub(super) fault: Fault,
}

/// What is wrong with a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fault {
    /// It is not there.
    Missing,
    /// It is another version.
    Other,
    /// Its list of files is missing: it was never installed to the end.
    Incomplete,
    /// It is there several times, as an interrupted replacement leaves it.
    Several(usize),
    /// A folder is left that was moved aside while it was replaced.
    MovedAside(String),
    /// It is built for another CUDA than the one that is needed, or for none.
    WrongCuda { is_for: String, needs: u32 },
    /// It is there and its program is not.
    NoCommand(String),
    /// Its program is run by a Python that is not the environment's.
    RunBy(String, OtherPython),
}

impl Installed {
    /// Every package that is not as it must be, in the order of their names.
    pub(super) fn shortfalls(&self, engine: &VllmEngine) -> Vec<Shortfall> {
        if self.stands != Stands::Venv {
            return Vec::new();
        }
        let wanted = engine.wanted();
        let mut found: Vec<_> = wanted
            .iter()
            .filter_map(|(name, version)| self.shortfall(name, version))
            .collect();
        for name in of_one_build(engine) {
            let is_known = found.iter().any(|shortfall| shortfall.name == name);
            let version = wanted.get(&name).map(String::as_str);
            found.extend(
                self.wrong_cuda(engine, &name, version)
                    .filter(|_| !is_known),
            );
        }
        let main = &engine.distribution;
        if let Some(fault) = self.command_fault(engine)
            && !found.iter().any(|shortfall| shortfall.name == *main)
        {
            found.push(self.of(main, &engine.version, fault));
        }
        found.sort_by(|a, b| a.name.cmp(&b.name));
        found
    }

    fn command_fault(&self, engine: &VllmEngine) -> Option<Fault> {
        let command = format!("{}/bin/vllm", engine.venv);
        if !self.has_command {
            return Some(Fault::NoCommand(command));
        }
        let run_by = self.run_by.clone()?;
        Some(Fault::RunBy(command, run_by))
    }

    fn of(&self, name: &str, wanted: &str, fault: Fault) -> Shortfall {
        Shortfall {
            name: name.to_owned(),
            found: self.told(name).map(str::to_owned),
            wanted: wanted.to_owned(),
            fault,
        }
    }

    fn shortfall(&self, name: &str, wanted: &str) -> Option<Shortfall> {
        let found = self.distributions.get(name).map_or(&[][..], Vec::as_slice);
        let fault = match found {
            [] => Fault::Missing,
            [one] if one.version.is_empty() || !one.is_complete => Fault::Incomplete,
            [one] if !satisfies(name, &one.version, wanted) => Fault::Other,
            [_] => Fault::MovedAside(self.moved_aside(name)?.to_owned()),
            several => Fault::Several(several.len()),
        };
        Some(self.of(name, wanted, fault))
    }

    /// A folder of this package that pip has moved aside: its first letters are replaced.
    pub(super) fn moved_aside(&self, name: &str) -> Option<&String> {
        self.leftovers.iter().find(|left| {
            let stem = left.split('-').next().unwrap_or_default();
            let rest = normal(stem.trim_start_matches('~'));
            rest.len() > 1 && name.ends_with(&rest)
        })
    }

    fn wrong_cuda(
        &self,
        engine: &VllmEngine,
        name: &str,
        version: Option<&str>,
    ) -> Option<Shortfall> {
        let needs = self.cuda_needed(engine)?;
        let found = self.one(name)?;
        let is_for = if name == "vllm" {
            self.linked?.to_string()
        } else {
            self.builds.get(name)?.is_for()?
        };
        let major = is_for.split('.').next().unwrap_or_default();
        (major != needs.to_string()).then(|| {
            let version = version.unwrap_or_else(|| found.split('+').next().unwrap_or_default());
            self.of(name, version, Fault::WrongCuda { is_for, needs })
        })
    }

    /// The major version of CUDA that all of one build must be for: the declared one, else
    /// the one that vLLM itself links to.
    pub(super) fn cuda_needed(&self, engine: &VllmEngine) -> Option<u32> {
        if engine.distribution != "vllm" {
            return None;
        }
        labelled(&engine.version)
            .or(self.linked)
            .or_else(|| cuda_of_vllm(self.one("vllm").unwrap_or(&engine.version)))
    }
}

/// Those that must be of one build.
fn of_one_build(engine: &VllmEngine) -> Vec<String> {
    let mut names: Vec<_> = TORCH.iter().map(|name| (*name).to_owned()).collect();
    names.push(engine.distribution.clone());
    names
}

impl super::installed::Build {
    /// The CUDA that it is built for, where it says so.
    fn is_for(&self) -> Option<String> {
        let labelled = labelled(&self.version).map(|major| major.to_string());
        self.cuda.clone().or(labelled)
    }
}

impl Shortfall {
    /// What an installer is asked for.
    pub(super) fn pin(&self) -> String {
        pin(&self.name, &self.wanted)
    }

    /// It, as a reason of a plan.
    pub(super) fn reason(&self) -> Reason {
        let Self { name, wanted, .. } = self;
        let found = self.found.as_deref().unwrap_or("?");
        match &self.fault {
            Fault::Missing => Reason::new(
                ReasonCode::NotInstalled,
                format!("{name} {wanted} is not installed"),
            ),
            Fault::Other => Reason::new(
                ReasonCode::OtherVersion,
                format!("{name} is {found}, declared is {wanted}"),
            ),
            Fault::Incomplete => Reason::new(
                ReasonCode::Incomplete,
                format!("the installation of {name} is incomplete"),
            ),
            Fault::Several(count) => Reason::new(
                ReasonCode::Incomplete,
                format!("{name} is there {count} times: an interrupted installation"),
            ),
            Fault::MovedAside(folder) => Reason::new(
                ReasonCode::Incomplete,
                format!("`{folder}` is left of an interrupted installation of {name}"),
            ),
            Fault::WrongCuda { is_for, needs } => Reason::new(
                ReasonCode::OtherCuda,
                match is_for.as_str() {
                    "none" => {
                        format!("{name} {found} is built without CUDA, needed is CUDA {needs}")
                    }
                    _ => {
                        format!("{name} {found} is built for CUDA {is_for}, needed is CUDA {needs}")
                    }
                },
            ),
            Fault::NoCommand(command) => {
                Reason::new(ReasonCode::NoCommand, format!("{command} is missing"))
            }
            Fault::RunBy(command, python) => run_by(command, python),
        }
    }

    /// Whether another version is there when it is mended.
    pub(super) fn changes_version(&self) -> bool {
        !matches!(
            self.fault,
            Fault::MovedAside(_) | Fault::NoCommand(_) | Fault::RunBy(..)
        )
    }

    /// It, as a field that changes, where its version does.
    pub(super) fn field(&self) -> Option<Field> {
        let is_other = self.found.as_ref() != Some(&self.wanted);
        (self.changes_version() && is_other).then(|| Field {
            path: self.name.clone(),
            old: self.found.clone().map(Value::String),
            new: Planned::Known(Value::String(self.wanted.clone())),
            forces_replacement: false,
        })
    }
}

fn run_by(command: &str, python: &OtherPython) -> Reason {
    let (text, hint) = match python {
        OtherPython::Gone(path) => (
            format!("{command} is run by {path}, which is not there: the environment was moved"),
            "vllm is put into it anew; to keep it as it is, move it back to where it was made",
        ),
        OtherPython::Elsewhere(path) => (
            format!("{command} is run by {path}, which is of another environment: it is a copy"),
            "vllm is put into it anew; to run the other one, declare that as `venv`",
        ),
    };
    Reason::new(ReasonCode::NoInterpreter, text).hinted(hint)
}
