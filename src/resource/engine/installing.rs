//! Making an environment hold what is declared: one piece of work, in the order of the seed.
//!
//! vLLM comes first, with everything that it asks for; what the manifest declares beside it comes
//! after, so that it stays: vLLM 0.13 asks for a torch that is not the declared one.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use serde_json::json;

use super::EngineDeclaration;
use super::installed::{Installed, Shortfall, provider, records, requirement, venv, wanted};
use crate::node::{LogSign, Work, quote, quote_path};

/// How long an installer may neither say nor write anything.
const PATIENCE: Duration = Duration::from_secs(300);

/// Returns the work that makes an environment as declared.
pub(super) fn work(
    declared: &EngineDeclaration,
    found: &Installed,
    shortfalls: &[Shortfall],
) -> Work {
    let installer = json!(declared.installer);
    let words = Words::new(declared, found, shortfalls);
    let mut script = format!("r_venv={}\n", quote_path(venv(declared)));
    let overrides = declared.overrides.iter();
    let overrides: Vec<_> = overrides.map(|(n, v)| requirement(n, v)).collect();
    for (name, value) in [
        (
            "r_installer",
            installer.as_str().unwrap_or_default().to_owned(),
        ),
        ("r_first", words.first.join(" ")),
        ("r_then", words.then.join(" ")),
        ("r_again", words.again.join(" ")),
        ("r_broken", words.broken.join(" ")),
        ("r_indexes", words.indexes.join(" ")),
        ("r_overrides", overrides.join(" ")),
        ("r_modules", words.modules.join(" ")),
    ] {
        let _ = writeln!(script, "{name}={}", quote(&value));
    }
    script.push_str(include_str!("install.sh"));
    Work {
        doing: "installing",
        script,
        secrets: BTreeMap::new(),
        lock: format!("{}/.replica.lock", venv(declared)),
        patience: PATIENCE,
        attempts: 1,
        read,
    }
}

/// What an installer is told, word by word.
struct Words {
    first: Vec<String>,
    then: Vec<String>,
    again: Vec<String>,
    broken: Vec<String>,
    indexes: Vec<String>,
    modules: Vec<String>,
}

impl Words {
    fn new(declared: &EngineDeclaration, found: &Installed, shortfalls: &[Shortfall]) -> Self {
        let wanted = wanted(declared);
        let provider = provider(declared);
        let named = |name: &str| {
            let mut packages = shortfalls.iter().filter_map(|s| s.package.as_deref());
            packages.any(|package| package == name)
        };
        // A shortfall of no package is one of the whole environment.
        let all = shortfalls
            .iter()
            .any(|shortfall| shortfall.package.is_none());
        let mut others: Vec<_> = wanted.keys().filter(|name| *name != provider).collect();
        let first = all || named(provider);
        // vLLM may bring others of them along, so they come after it in any case.
        others.retain(|name| first || named(name));
        let again = |name: &&String| {
            let found = found
                .version_of(name)
                .map(|version| (version, &wanted[*name]));
            let is_there = found.is_some_and(|(found, wanted)| found == wanted);
            named(name) && is_there
        };
        let requirement = |name: &String| requirement(name, &wanted[name]);
        let broken = wanted.keys().filter(|name| found.is_broken(name));
        let index = |url: &String| ["--extra-index-url".to_owned(), url.clone()];
        Self {
            then: others.iter().map(|name| requirement(name)).collect(),
            again: wanted.keys().filter(again).cloned().collect(),
            broken: broken.map(|name| records(name)).collect(),
            indexes: declared.extra_indexes.iter().flat_map(index).collect(),
            modules: wanted
                .keys()
                .filter(|name| *name == "torch")
                .cloned()
                .chain(["vllm".to_owned()])
                .collect(),
            first: first
                .then(|| requirement(&provider.to_owned()))
                .into_iter()
                .collect(),
        }
    }
}

/// Reads a line of pip, of uv, or of the script.
fn read(line: &str) -> Option<LogSign> {
    cause(line).or_else(|| amount(line)).or_else(|| phase(line))
}

fn amount(line: &str) -> Option<LogSign> {
    let written = line.strip_prefix("written ")?;
    Some(LogSign::Amount(format!("{written} written")))
}

fn phase(line: &str) -> Option<LogSign> {
    let line = line.trim();
    let rest = |prefix: &str| line.strip_prefix(prefix).map(str::trim);
    let first = |text: &str| text.split([' ', ';']).next().unwrap_or_default().to_owned();
    let phase = if let Some(package) = rest("Collecting ") {
        format!("looking for {}", first(package))
    } else if let Some(file) = rest("Downloading ") {
        // `https://…/torch-2.9.1-….whl (858.1 MB)` of pip, `torch (858.1MiB)` of uv.
        format!(
            "downloading {}",
            file.rsplit('/').next().unwrap_or_default()
        )
    } else if line.starts_with("Installing collected packages") || line.starts_with("Prepared ") {
        "unpacking".to_owned()
    } else if line == "making the environment" || line == "importing what was installed" {
        line.to_owned()
    } else if line.starts_with("waiting for another run") {
        "another run installs into it".to_owned()
    } else {
        return None;
    };
    Some(LogSign::Phase(phase))
}

fn cause(line: &str) -> Option<LogSign> {
    let cause = |message: String, hint: Option<&str>| {
        Some(LogSign::Cause {
            message,
            hint: hint.map(str::to_owned),
        })
    };
    if let Some(message) = line.strip_prefix("cause: ") {
        return cause(
            message.to_owned(),
            Some("install uv there, or set `installer: pip`"),
        );
    }
    if let Some((_, rest)) = line.split_once("satisfies the requirement ") {
        return no_such_version(rest);
    }
    let known = [
        (
            "No space left on device",
            "free space on the node's disk and apply again",
        ),
        (
            "Connection refused",
            "the package index does not answer: see `extra_indexes` and the node's pip or uv configuration",
        ),
        (
            "Temporary failure in name resolution",
            "the node cannot look up the package index: see its network, and `extra_indexes`",
        ),
        (
            "ensurepip is not available",
            "install python3-venv on the node, or uv",
        ),
        (
            "externally-managed-environment",
            "`venv` must be an environment of its own",
        ),
        (
            "No solution found",
            "see the lines below for what contradicts what",
        ),
        (
            "ResolutionImpossible",
            "see the lines below for what contradicts what",
        ),
        (
            "there is no version of",
            "declare a version that the indexes have, or add the index that has it to `extra_indexes`",
        ),
        (
            "libcudart.so",
            "vLLM and torch are built for different versions of CUDA: see `vllm` and `packages`",
        ),
    ];
    let (_, hint) = known.iter().find(|(sign, _)| line.contains(sign))?;
    cause(
        line.trim().trim_start_matches("ERROR: ").to_owned(),
        Some(hint),
    )
}

/// Reads `vllm==0.13.0+cu130 (from versions: 0.12.0, 0.13.0)`.
fn no_such_version(rest: &str) -> Option<LogSign> {
    let (requirement, versions) = rest.split_once(" (from versions: ")?;
    let versions = versions.trim_end().trim_end_matches(')');
    let requirement = requirement.trim();
    if versions == "none" {
        // What was said before tells whether the index has nothing, or did not answer.
        return Some(LogSign::Cause {
            message: format!("no index has any version for `{requirement}`"),
            hint: None,
        });
    }
    Some(LogSign::Cause {
        message: format!("no index has `{requirement}`; they have {versions}"),
        hint: Some(
            "declare one of these, or add the index that has it to `extra_indexes`".to_owned(),
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_installers_say_becomes_phases_and_causes() {
        let told = |line: &str| match read(line) {
            Some(LogSign::Phase(text)) => format!("phase {text}"),
            Some(LogSign::Amount(text)) => format!("amount {text}"),
            Some(LogSign::Cause { message, .. }) => format!("cause {message}"),
            None => String::new(),
        };
        for (line, want) in [
            ("Collecting torch==2.9.1", "phase looking for torch==2.9.1"),
            (
                "  Downloading http://i/a/vllm-0.13.0-py3-none-any.whl (1 kB)",
                "phase downloading vllm-0.13.0-py3-none-any.whl (1 kB)",
            ),
            (
                "Downloading torch (858.1MiB)",
                "phase downloading torch (858.1MiB)",
            ),
            ("written 312 MB", "amount 312 MB written"),
            (
                "ERROR: Could not find a version that satisfies the requirement vllm==0.14.0+cu130 (from versions: 0.12.0, 0.13.0)",
                "cause no index has `vllm==0.14.0+cu130`; they have 0.12.0, 0.13.0",
            ),
            (
                "ERROR: No matching distribution found for vllm==0.14.0+cu130",
                "",
            ),
            (
                "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device",
                "cause Could not install packages due to an OSError: [Errno 28] No space left on device",
            ),
        ] {
            assert_eq!(told(line), want, "{line}");
        }
    }
}
