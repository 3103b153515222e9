//! The models.

use std::collections::{BTreeMap, BTreeSet};

use super::super::problem::Problem;
use super::super::suggest::{listed, nearest, shown};
use super::Checker;
use super::resolve;
use crate::resource::environment::EnvValue;
use crate::resource::model::ModelDeclaration;

/// A model is a repository at a commit: a branch would be another model tomorrow.
pub(super) fn are_pinned_to_a_commit(seen: &Checker<'_>) -> Vec<Problem> {
    let mut out = Vec::new();
    for (name, model) in &seen.document.models {
        let name = name.as_str();
        if model.path.is_some() {
            out.extend(not_of_a_place(seen, name, model));
            continue;
        }
        if model.repo.is_empty() && !seen.is_given(&["models", name, "repo"]) {
            out.extend(of_no_sort(seen, name));
            continue;
        }
        out.extend(bad_repo(seen, &["models", name, "repo"], &model.repo));
        if let Some(revision) = &model.revision {
            out.extend(bad_revision(seen, &["models", name, "revision"], revision));
        }
    }
    out
}

/// A token is a secret, a network and a hub are to be found, and a folder does not say what is in it.
pub(super) fn are_fetched_from_somewhere(seen: &Checker<'_>) -> Vec<Problem> {
    let models = seen.document.models.iter();
    let problems = models.flat_map(|(name, model)| {
        let name = name.as_str();
        [
            written_token(seen, name, model),
            unknown_network(seen, name, model),
            folder_of_no_commit(seen, name, model),
            no_hub(seen, name, model),
        ]
    });
    problems.flatten().collect()
}

fn of_no_sort(seen: &Checker<'_>, name: &str) -> Option<Problem> {
    let title = format!("model `{}` has neither `repo` nor `path`", shown(name));
    let problem = seen.report(&["models", name], title)?;
    Some(problem.hint(
        "name a repository, `repo: meta-llama/Llama-3.1-8B-Instruct`, or a folder of the node that holds its files, `path: ~/models/llama`",
    ))
}

/// What is served where it is comes from nowhere.
fn not_of_a_place(seen: &Checker<'_>, name: &str, model: &ModelDeclaration) -> Vec<Problem> {
    let keys = [
        ("repo", !model.repo.is_empty()),
        ("revision", model.revision.is_some()),
        ("cache", model.cache.is_some()),
        ("directory", model.directory.is_some()),
        ("token", model.token.is_some()),
        ("over", model.over.is_some()),
        ("endpoint", model.endpoint.is_some()),
    ];
    let given = keys.into_iter().filter(|(_, is_given)| *is_given);
    let problems = given.filter_map(|(key, _)| {
        let path = seen.key(&["models", name, "path"])?;
        let title = format!("a model with a `path` has no `{key}`");
        let problem = seen.report_key(&["models", name, key], title)?;
        let problem = problem.also(path, "served where it is, and fetched from nowhere");
        Some(problem.hint(format!("remove `{key}`, or `path` to have it in the cache")))
    });
    problems.collect()
}

/// A node has a model once: its servers there look for it in one cache.
pub(super) fn are_in_one_cache_of_a_node(seen: &Checker<'_>) -> Vec<Problem> {
    let Some(topology) = resolve::topology(seen) else {
        return Vec::new();
    };
    let mut first: BTreeMap<_, (&str, &ModelDeclaration)> = BTreeMap::new();
    let mut out = Vec::new();
    for (name, server) in &topology.instances {
        let vllm = server.runtime.vllm().into_iter();
        for (model, declared) in vllm.flat_map(|vllm| vllm.models(&server.model)) {
            let key = (&server.node, model);
            let (other, expected) = *first.entry(key).or_insert((name.as_str(), declared));
            if expected.cache != declared.cache {
                out.extend(two_caches(
                    seen,
                    (other, expected),
                    (name.as_str(), declared),
                ));
            }
        }
    }
    out
}

fn two_caches(
    seen: &Checker<'_>,
    (one, first): (&str, &ModelDeclaration),
    (other, second): (&str, &ModelDeclaration),
) -> Option<Problem> {
    let title = format!("`{one}` and `{other}` have one model on one node in two caches");
    let problem = seen.report(&["instances", other, "model"], title)?;
    let place = |it: &ModelDeclaration| shown(it.cache.as_deref().unwrap_or("the user's own"));
    Some(problem.hint(format!(
        "the environment says {} for `{one}` and {} for `{other}`: say one, or `cache:` of the model",
        place(first),
        place(second)
    )))
}

fn written_token(seen: &Checker<'_>, name: &str, model: &ModelDeclaration) -> Option<Problem> {
    let Some(EnvValue::Plain(_)) = &model.token else {
        return None;
    };
    let path = ["models", name, "token"];
    let secret = seen.place(&path);
    let problem = seen.report_key(&path, "a token is not written into a manifest")?;
    let problem =
        problem.hint("name the variable that holds it here: `token: {from_env: HF_TOKEN}`");
    Some(problem.hide(secret))
}

fn unknown_network(seen: &Checker<'_>, name: &str, model: &ModelDeclaration) -> Option<Problem> {
    let network = model.over.as_deref()?;
    let nodes = seen.document.nodes.values();
    let known: BTreeSet<_> = nodes
        .flat_map(|node| node.addresses.keys())
        .map(String::as_str)
        .collect();
    if known.contains(network) {
        return None;
    }
    let title = format!("no node has a `{}` address", shown(network));
    let problem = seen.report(&["models", name, "over"], title)?;
    let known = known.iter().copied();
    Some(match nearest(network, known.clone()) {
        Some(near) => problem.hint(format!("did you mean `over: {near}`?")),
        None => problem.hint(format!("the networks of these nodes: {}", listed(known))),
    })
}

fn folder_of_no_commit(
    seen: &Checker<'_>,
    name: &str,
    model: &ModelDeclaration,
) -> Option<Problem> {
    if model.directory.is_none() || model.revision.is_some() {
        return None;
    }
    let title = "a model that comes from a folder has no `revision`";
    let problem = seen.report_key(&["models", name, "directory"], title)?;
    let hint = "add `revision:`, 40 hex digits: nothing in the folder says which commit it is";
    Some(problem.hint(hint))
}

fn no_hub(seen: &Checker<'_>, name: &str, model: &ModelDeclaration) -> Option<Problem> {
    let url = model.endpoint.as_deref().filter(|url| !is_hub(url))?;
    let title = format!("`{}` is not the URL of a hub", shown(url));
    let problem = seen.report(&["models", name, "endpoint"], title)?;
    Some(problem.hint("write it with its scheme and without a path: `https://hub.example`"))
}

fn is_hub(url: &str) -> bool {
    let host = url
        .strip_prefix("https://")
        .or_else(|| url.strip_prefix("http://"));
    host.is_some_and(|host| !host.is_empty() && !host.contains([' ', '@', '?', '#']))
}

fn bad_repo(seen: &Checker<'_>, path: &[&str], repo: &str) -> Option<Problem> {
    let part = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_alphanumeric())
            && part
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'))
    };
    if repo
        .split_once('/')
        .is_some_and(|(owner, name)| part(owner) && part(name))
    {
        return None;
    }
    let title = format!("`{}` is not a repository", shown(repo));
    let problem = seen.report(path, title)?;
    let site = repo
        .split_once("huggingface.co/")
        .map(|(_, rest)| rest.trim_end_matches('/'));
    Some(match site {
        Some(rest) if rest.matches('/').count() == 1 => {
            problem.hint(format!("did you mean `{}`?", shown(rest)))
        }
        _ => problem.hint("write owner and name: `meta-llama/Llama-3.1-8B-Instruct`"),
    })
}

fn bad_revision(seen: &Checker<'_>, path: &[&str], revision: &str) -> Option<Problem> {
    let hex = |c: char| c.is_ascii_hexdigit();
    let is_hex = !revision.is_empty() && revision.chars().all(hex);
    let lower = revision.to_ascii_lowercase();
    if is_hex && revision.len() == 40 && lower == revision {
        return None;
    }
    let problem = seen.report(path, format!("`{}` is not a commit", shown(revision)))?;
    Some(match revision.len() {
        40 if is_hex => problem.hint(format!("write it in lower case: `{lower}`")),
        length if is_hex && length >= 7 => {
            problem.hint(format!("a commit has 40 hex digits; this has {length}"))
        }
        _ if revision == "main" => problem.hint(
            "leave `revision` out for what each node's `refs/main` says, or write the 40 hex digits of a commit",
        ),
        _ => problem.hint("write the 40 hex digits of a commit: a branch or a tag moves"),
    })
}
