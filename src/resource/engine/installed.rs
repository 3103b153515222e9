//! What a virtual environment holds, read from the files that pip and uv leave.

use std::collections::{BTreeMap, BTreeSet};

use super::VllmEngine;
use crate::node::quote_path;
use crate::resource::facts::{Fact, Facts};

/// Those that must be of one build with vLLM.
pub(super) const TORCH: [&str; 3] = ["torch", "torchvision", "torchaudio"];

/// What stands at the place of an environment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Stands {
    /// Nothing, or what an earlier installation of ours began.
    #[default]
    Nothing,
    /// A folder that holds something else.
    StateFolder,
    /// A virtual environment.
    Venv,
}

/// The distributions found, each name with every version of which a record was there. Two of one
/// name are what an interrupted installation leaves.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Installed {
    pub(super) stands: Stands,
    /// Whether we made it.
    pub(super) is_ours: bool,
    /// Whether the interpreter which it stands for is gone.
    pub(super) lacks_python: bool,
    pub(super) has_command: bool,
    /// The Python by which its command is run, where that is not its own.
    pub(super) run_by: Option<OtherPython>,
    /// What changes when any of its packages does.
    pub(super) records: String,
    pub(super) distributions: BTreeMap<String, Vec<Distribution>>,
    /// Folders that pip moves aside while it replaces something: `~orch`.
    pub(super) leftovers: Vec<String>,
    /// What packages say of their own build, by their names.
    pub(super) builds: BTreeMap<String, Build>,
    /// The major version of the CUDA library that vLLM links to.
    pub(super) linked: Option<u32>,
}

/// A Python that is not the environment's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum OtherPython {
    /// It is not there: the environment was moved.
    Gone(String),
    /// It is another environment's: this one is a copy.
    Elsewhere(String),
}

/// One record of a distribution.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Distribution {
    /// The folder of the record.
    pub(super) folder: String,
    pub(super) version: String,
    pub(super) is_complete: bool,
}

/// What `version.py` of a package says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Build {
    pub(super) version: String,
    /// The CUDA that it is built for: `13.0`, `none`; nothing where it does not say.
    pub(super) cuda: Option<String>,
}

/// The fact that [`Installed`] is read from.
pub(super) fn fact(engine: &VllmEngine) -> Fact {
    let script = format!(
        "r_venv={}\n{}{}",
        quote_path(&engine.venv),
        include_str!("site.sh"),
        include_str!("look.sh")
    );
    Fact::new(id(engine), script)
}

/// A name as PEP 503 compares it: lower case, and one dash for dots, dashes and underlines.
/// What can be in no name is left out, so that a shell can be given the rest.
pub(super) fn normal(name: &str) -> String {
    let words = name.split(|c: char| !c.is_ascii_alphanumeric());
    let words: Vec<_> = words.filter(|word| !word.is_empty()).collect();
    words.join("-").to_ascii_lowercase()
}

fn id(engine: &VllmEngine) -> String {
    format!("venv {}", engine.venv)
}

/// Whether what is told of a package outside is of one that the environment has itself: `torch 2.9.1`,
/// or `torch-2.9.1.dist-info torch 2.9.1`.
fn is_hidden(words: &[&str], inner: &BTreeSet<String>) -> bool {
    let ([_, name, _] | [name, ..]) = words else {
        return true;
    };
    inner.contains(&normal(name))
}

impl Installed {
    /// What is there, in one text: with another package it is another.
    pub(super) fn seen(&self) -> Option<String> {
        let packages = self.distributions.len();
        let is_there = self.stands != Stands::Nothing;
        is_there.then(|| format!("{packages} packages, records {}", self.records))
    }

    /// Reads the fact.
    pub fn read(engine: &VllmEngine, facts: &Facts) -> Self {
        let mut installed = Self::default();
        let mut partial = BTreeSet::new();
        // What is outside the environment counts where it has none of its own.
        let mut inner: Option<BTreeSet<String>> = None;
        for line in facts.get(&id(engine)).lines() {
            let words: Vec<_> = line.split(' ').collect();
            match words.as_slice() {
                ["venv"] => installed.stands = Stands::Venv,
                ["folder"] => installed.stands = Stands::StateFolder,
                ["ours"] => installed.is_ours = true,
                ["no-python"] => installed.lacks_python = true,
                ["command"] => installed.has_command = true,
                ["gone", rest @ ..] => {
                    installed.run_by = Some(OtherPython::Gone(rest.join(" ")));
                }
                ["elsewhere", rest @ ..] => {
                    installed.run_by = Some(OtherPython::Elsewhere(rest.join(" ")));
                }
                ["outer", ..] => inner = Some(installed.distributions.keys().cloned().collect()),
                // The packages of a distribution keep no such lists, and nothing there is ours to mend.
                ["partial" | "left", ..] if inner.is_some() => {}
                ["build" | "cuda" | "dist", words @ ..]
                    if inner.as_ref().is_some_and(|inner| is_hidden(words, inner)) => {}
                ["records", rest @ ..] => installed.records = rest.join(" "),
                ["partial", folder] => drop(partial.insert((*folder).to_owned())),
                ["left", name] => installed.leftovers.push((*name).to_owned()),
                ["linked", major] => installed.linked = major.parse().ok(),
                ["build", name, version] => {
                    (*version).clone_into(&mut installed.build(name).version);
                }
                ["cuda", name, cuda] => installed.build(name).cuda = Some((*cuda).to_owned()),
                ["dist", folder, name, version] => installed.add(folder, name, version),
                _ => {}
            }
        }
        installed.mark(partial);
        installed
    }

    fn build(&mut self, name: &str) -> &mut Build {
        self.builds.entry(name.to_owned()).or_default()
    }

    fn add(&mut self, folder: &str, name: &str, version: &str) {
        let found = Distribution {
            folder: folder.to_owned(),
            version: version.to_owned(),
            is_complete: true,
        };
        let of_this_name = self.distributions.entry(normal(name)).or_default();
        of_this_name.push(found);
    }

    /// Marks those whose list of files is missing; of some, nothing else is there.
    fn mark(&mut self, mut partial: BTreeSet<String>) {
        for found in self.distributions.values_mut().flatten() {
            found.is_complete = !partial.remove(&found.folder);
        }
        for folder in partial {
            let name = folder.split('-').next().unwrap_or_default().to_owned();
            self.add(&folder, &name, "");
            for found in self.distributions.values_mut().flatten() {
                found.is_complete &= found.folder != folder;
            }
        }
    }

    /// The version of a distribution of which there is one whole record.
    pub(super) fn one(&self, name: &str) -> Option<&str> {
        match self.distributions.get(name)?.as_slice() {
            [one] if one.is_complete && !one.version.is_empty() => Some(&one.version),
            _ => None,
        }
    }

    /// A version as its own package says it, where that tells more: of torch, a record may
    /// leave out the build.
    pub(super) fn told(&self, name: &str) -> Option<&str> {
        let recorded = self.one(name)?;
        let build = self.builds.get(name).map(|build| build.version.as_str());
        let tells_more = |version: &&str| {
            version
                .strip_prefix(recorded)
                .is_some_and(|rest| rest.starts_with('+'))
        };
        Some(build.filter(tells_more).unwrap_or(recorded))
    }

    /// The version of vLLM that was found, its build variant included.
    pub fn version(&self, engine: &VllmEngine) -> &str {
        self.one(&engine.distribution).unwrap_or("?")
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Engine, EngineDeclaration};
    use super::*;

    fn engine(text: &str) -> VllmEngine {
        let declared: EngineDeclaration = serde_yaml::from_str(text).unwrap();
        match Engine::new(&"e".parse().unwrap(), &declared) {
            Ok(Engine::Vllm(engine)) => (*engine).clone(),
            other => panic!("no vLLM: {other:?}"),
        }
    }

    #[test]
    fn records_are_read_with_what_they_lack() {
        let engine = engine("{venv: ~/v, vllm: 0.13.0}");
        let answer = "venv\nrecords 12 34\npartial torch-2.9.1.dist-info\n\
                      partial foo_bar-1.dist-info\ndist vllm-0.0.0.dist-info vllm 0.13.0+cpu\n\
                      dist torch-2.9.1.dist-info torch 2.9.1\ndist torchaudio-2.9.1.dist-info torchaudio 2.9.1\n\
                      build torchaudio 2.9.1+cu128\nbuild torch 2.9.1+cu128\ncuda torch 12.8\nlinked 13\n";
        let facts = [(id(&engine), answer.to_owned())].into_iter().collect();
        let found = Installed::read(&engine, &facts);
        assert_eq!(found.stands, Stands::Venv);
        assert_eq!(found.records, "12 34");
        assert_eq!(found.one("vllm"), Some("0.13.0+cpu"));
        assert_eq!(found.one("torch"), None);
        assert_eq!(found.told("torchaudio"), Some("2.9.1+cu128"));
        assert!(!found.distributions["foo-bar"][0].is_complete);
        assert_eq!(found.builds["torch"].cuda.as_deref(), Some("12.8"));
        assert_eq!(found.linked, Some(13));
    }
}
