//! What serves: a vLLM build, or a simulated one.

use pep440_rs::{Version, VersionSpecifiers};

use super::super::problem::Problem;
use super::super::suggest::shown;
use super::Checker;
use crate::resource::engine::{Installer, InvalidEngine};

/// An engine is vLLM or simulated, and has what its sort needs.
pub(super) fn are_of_one_sort(seen: &Checker<'_>) -> Vec<Problem> {
    let mut out = Vec::new();
    for (name, engine) in &seen.engines {
        let name = name.as_str();
        match engine {
            Ok(_) => {}
            Err(InvalidEngine::OfNoSort) => out.extend(of_no_sort(seen, name)),
            Err(InvalidEngine::OfNoVersion) => out.extend(of_no_version(seen, name)),
            Err(InvalidEngine::SimulatedWith(keys)) => {
                out.extend(keys.iter().filter_map(|key| only_of_vllm(seen, name, key)));
            }
        }
    }
    out
}

fn of_no_sort(seen: &Checker<'_>, name: &str) -> Option<Problem> {
    let title = format!("engine `{name}` has neither `venv` nor `simulate`");
    let problem = seen.report(&["engines", name], title)?;
    Some(problem.hint(
        "for vLLM: `venv: ~/vllm` and `vllm: 0.13.0`; without a GPU: `simulate: {profile: fast}`",
    ))
}

fn of_no_version(seen: &Checker<'_>, name: &str) -> Option<Problem> {
    let title = format!("engine `{name}` does not say which version of vLLM it is");
    let problem = seen.report(&["engines", name, "vllm"], title)?;
    Some(problem.hint("add `vllm:` with its build variant, as in `vllm: 0.13.0+cu130`"))
}

/// A simulated engine installs nothing.
fn only_of_vllm(seen: &Checker<'_>, name: &str, key: &str) -> Option<Problem> {
    let simulate = seen.key(&["engines", name, "simulate"])?;
    let title = format!("a simulated engine has no `{key}`");
    let problem = seen.report_key(&["engines", name, key], title)?;
    Some(
        problem
            .also(simulate, "simulated, so nothing is installed")
            .hint(format!(
                "remove `{key}`, or `simulate` if this is to be vLLM itself"
            )),
    )
}

/// Versions are exact: what is installed either is the version or is not.
pub(super) fn versions_are_exact(seen: &Checker<'_>) -> Vec<Problem> {
    let mut out = Vec::new();
    for (name, engine) in &seen.document.engines {
        let name = name.as_str();
        if let Some(vllm) = &engine.vllm {
            out.extend(inexact(
                seen,
                &["engines", name, "vllm"],
                vllm,
                "0.13.0+cu130",
            ));
        }
        for (package, version) in &engine.packages {
            let path = ["engines", name, "packages", package];
            out.extend(inexact(seen, &path, version, "2.9.1"));
            out.extend(bad_package(seen, &path, package));
        }
        let distribution = engine.distribution.as_deref();
        out.extend(
            distribution
                .filter(|name| !is_package(name))
                .and_then(|text| {
                    let title = format!("`{}` is not the name of a package", shown(text));
                    seen.report(&["engines", name, "distribution"], title)
                }),
        );
    }
    out
}

fn inexact(seen: &Checker<'_>, path: &[&str], text: &str, example: &str) -> Option<Problem> {
    if text.parse::<Version>().is_ok() {
        return None;
    }
    let shown = shown(text);
    let range = text.parse::<VersionSpecifiers>().is_ok() || text.contains('*');
    let title = if range {
        format!("`{shown}` is a range, not a version")
    } else {
        format!("`{shown}` is not a version")
    };
    let problem = seen.report(path, title)?;
    let exact = text.trim_start_matches("==").trim();
    Some(
        if text.starts_with("==") && exact.parse::<Version>().is_ok() {
            problem.hint(format!("did you mean `{exact}`?"))
        } else {
            problem.hint(format!(
                "write one exact version, as in `{example}`, so that every run has the same"
            ))
        },
    )
}

fn bad_package(seen: &Checker<'_>, path: &[&str], package: &str) -> Option<Problem> {
    if package.eq_ignore_ascii_case("vllm") {
        let problem = seen.report_key(path, "the version of vLLM is not one of `packages`")?;
        return Some(problem.hint("set the engine's own `vllm:`"));
    }
    if is_package(package) {
        return None;
    }
    let title = format!("`{}` is not the name of a package", shown(package));
    let problem = seen.report_key(path, title)?;
    Some(problem.hint("write the name alone and its version after the colon: `torch: 2.9.1`"))
}

fn is_package(name: &str) -> bool {
    let ends = |c: char| c.is_ascii_alphanumeric();
    name.starts_with(ends)
        && name.ends_with(ends)
        && name
            .chars()
            .all(|c| ends(c) || matches!(c, '.' | '_' | '-'))
}

/// A day of which nothing newer is installed is a day that was, and is for uv to know.
pub(super) fn days_are_days(seen: &Checker<'_>) -> Vec<Problem> {
    let mut out = Vec::new();
    for (name, engine) in &seen.document.engines {
        let Some(day) = &engine.packages_before else {
            continue;
        };
        let path = ["engines", name.as_str(), "packages_before"];
        if day.parse::<jiff::civil::Date>().is_err() || day.len() != "2025-12-25".len() {
            let problem = seen.report(&path, format!("`{}` is not a day", shown(day)));
            out.extend(problem.map(|it| it.hint("write it as in `2025-12-25`")));
        } else if engine.installer == Some(Installer::Pip) {
            let problem = seen.report_key(&path, "pip cannot leave out what came after a day");
            out.extend(problem.map(|it| it.hint("set `installer: uv`")));
        }
    }
    out
}

/// A virtual environment has one place on a node, and an index is a URL.
pub(super) fn paths_and_indexes_are_whole(seen: &Checker<'_>) -> Vec<Problem> {
    let mut out = Vec::new();
    for (name, engine) in &seen.document.engines {
        let name = name.as_str();
        out.extend(no_place(
            seen,
            &["engines", name, "venv"],
            engine.venv.as_deref(),
        ));
        for (index, url) in engine.extra_indexes.iter().enumerate() {
            let path = ["engines", name, "extra_indexes", &index.to_string()];
            out.extend(no_index(seen, &path, url));
        }
    }
    for (name, model) in &seen.document.models {
        out.extend(no_place(
            seen,
            &["models", name.as_str(), "cache"],
            model.cache.as_deref(),
        ));
        out.extend(no_place(
            seen,
            &["models", name.as_str(), "directory"],
            model.directory.as_deref(),
        ));
        out.extend(no_place(
            seen,
            &["models", name.as_str(), "path"],
            model.path.as_deref(),
        ));
    }
    out
}

/// Whether a text says where something is on a node, whatever the current folder is.
pub(super) fn is_place(text: &str) -> bool {
    text.starts_with('/') || text == "~" || text.starts_with("~/")
}

fn no_index(seen: &Checker<'_>, path: &[&str], url: &str) -> Option<Problem> {
    let schemes = ["https://", "http://", "file://"];
    let rest = schemes.iter().find_map(|scheme| url.strip_prefix(scheme));
    let is_word = !url.contains(char::is_whitespace);
    let Some(rest) = rest.filter(|rest| !rest.is_empty() && is_word) else {
        let title = format!("`{}` is not the URL of a package index", shown(url));
        let problem = seen.report(path, title)?;
        return Some(problem.hint("it begins with `https://`, and has no spaces"));
    };
    let host = rest.split('/').next().unwrap_or(rest);
    if !host.contains('@') {
        return None;
    }
    let problem = seen.report(path, "the URL of an index holds a login")?;
    Some(problem.hint("put the login into the node's own `~/.netrc`, where pip and uv find it"))
}

fn no_place(seen: &Checker<'_>, path: &[&str], text: Option<&str>) -> Option<Problem> {
    let text = text?;
    // What a node tells of paths comes line by line.
    if text.contains(char::is_control) {
        let title = format!(
            "`{}` has a character that no path here may have",
            shown(text)
        );
        let problem = seen.report(path, title)?;
        return Some(problem.hint("leave out line breaks, tabs and what else is not printed"));
    }
    if is_place(text) {
        return None;
    }
    let title = format!("`{}` is not the path of a folder on a node", shown(text));
    let problem = seen.report(path, title)?;
    Some(problem.hint("begin it with `~/` (the node's home) or with `/`"))
}
