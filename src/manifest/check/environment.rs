//! The environment of what is started.

use super::super::problem::Problem;
use super::super::secrets::is_name_of_secret;
use super::super::suggest::shown;
use super::Checker;
use super::engines::is_place;
use crate::resource::environment::EnvValue;
use crate::resource::model::is_of_cache;

fn each<'a>(seen: &Checker<'a>) -> Vec<([&'a str; 4], &'a str, &'a EnvValue)> {
    let engines = seen.document.engines.iter();
    let instances = seen.document.instances.iter();
    let maps = engines
        .map(|(name, engine)| ("engines", name.as_str(), &engine.env))
        .chain(instances.map(|(name, instance)| ("instances", name.as_str(), &instance.env)));
    maps.flat_map(|(kind, owner, env)| {
        env.iter()
            .map(move |(name, value)| ([kind, owner, "env", name], name.as_str(), value))
    })
    .collect()
}

/// Variables have names that a shell can say, and leave replica its own.
pub(super) fn names_are_names(seen: &Checker<'_>) -> Vec<Problem> {
    let mut out = Vec::new();
    for (path, name, value) in each(seen) {
        if !is_name(name) {
            let title = format!("`{}` is not the name of a variable", shown(name));
            out.extend(
                seen.report_key(&path, title)
                    .map(|problem| problem.hint(letters(name))),
            );
        } else if name.starts_with("REPLICA_") || name == "SPT_NOENV" {
            let title = format!("`{name}` is replica's own variable");
            out.extend(seen.report_key(&path, title).map(|problem| {
                problem.hint("replica knows by it what it started; remove it here")
            }));
        }
        match value {
            EnvValue::FromEnv(source) if !is_name(source) => {
                let title = format!("`{}` is not the name of a variable", shown(source));
                let path = [&path[..], &["from_env"]].concat();
                out.extend(
                    seen.report(&path, title)
                        .map(|problem| problem.hint(letters(source))),
                );
            }
            EnvValue::Plain(text) if text.contains('\0') => {
                out.extend(seen.report(&path, "no variable can hold a NUL character"));
            }
            _ => {}
        }
    }
    out
}

fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

fn letters(name: &str) -> String {
    let plain: String = name
        .trim_start_matches('$')
        .chars()
        .map(|c| if matches!(c, '-' | '.' | ' ') { '_' } else { c })
        .collect();
    if is_name(&plain) {
        format!("did you mean `{}`?", shown(&plain))
    } else {
        "use letters, digits and `_`, as in `CUDA_HOME`".to_owned()
    }
}

/// A secret is taken from the environment of whoever applies: a manifest is committed, and a plain
/// value stands in plans and marks.
pub(super) fn secrets_are_not_written_down(seen: &Checker<'_>) -> Vec<Problem> {
    let secrets = each(seen).into_iter().filter(|(_, name, value)| {
        matches!(value, EnvValue::Plain(text) if !text.is_empty()) && is_name_of_secret(name)
    });
    secrets
        .filter_map(|(path, name, _)| {
            let title = format!("`{name}` looks like a secret, and stands in the manifest");
            let problem = seen.report_key(&path, title)?.hide(seen.place(&path));
            Some(problem.hint(format!(
                "write `{name}: {{from_env: {name}}}`: it is then taken from your own environment, and shown nowhere"
            )))
        })
        .collect()
}

/// What says where the cache of models is says it for the node, and to all who look there.
pub(super) fn caches_are_places_of_the_node(seen: &Checker<'_>) -> Vec<Problem> {
    let named = each(seen).into_iter();
    let problems =
        named
            .filter(|(_, name, _)| is_of_cache(name))
            .filter_map(|(path, name, value)| {
                match value {
                    // What is expanded is expanded by the server alone.
                    EnvValue::Plain(text) if is_place(text) && !text.contains('$') => None,
                    EnvValue::Plain(text) => {
                        let title =
                            format!("`{}` is not the path of a folder on a node", shown(text));
                        let problem = seen.report(&path, title)?;
                        Some(problem.hint(format!(
                            "begin {name} with `~/` (the node's home) or with `/`"
                        )))
                    }
                    EnvValue::FromEnv(_) => {
                        let title = format!("`{name}` says where models are, and is no secret");
                        let problem = seen.report(&path, title)?;
                        Some(problem.hint(format!(
                            "write the folder of the node: `{name}: ~/huggingface`"
                        )))
                    }
                }
            });
    problems.collect()
}
