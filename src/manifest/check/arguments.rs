//! Arguments that pass through to vLLM, by name.

use std::collections::{BTreeMap, HashMap};

use super::super::problem::Problem;
use super::super::suggest::shown;
use super::Checker;
use crate::resource::argument::Argument;

/// The arguments that replica gives itself, and where a manifest says them.
const OWNED: &[(&str, &str)] = &[
    ("port", "set the instance's own `port:`"),
    (
        "host",
        "set the instance's own `host:`; by default it is the address that the proxy dials",
    ),
    (
        "uds",
        "replica serves over TCP, at the instance's `host` and `port`",
    ),
    (
        "model",
        "set the instance's own `model:`, and declare it under `models:`",
    ),
    (
        "model_tag",
        "set the instance's own `model:`, and declare it under `models:`",
    ),
    ("revision", "set the model's own `revision:`"),
    (
        "served_model_name",
        "a model is served by the name that it has under `models:`",
    ),
    (
        "api_key",
        "set it as a secret: `env: {VLLM_API_KEY: {from_env: VLLM_API_KEY}}`",
    ),
    (
        "config",
        "write the arguments of that file here, so that a plan sees them",
    ),
];

type Arguments = BTreeMap<String, Argument>;

/// Every map of arguments with the path that leads to it.
fn all<'a>(seen: &Checker<'a>) -> Vec<([&'a str; 3], &'a Arguments)> {
    let engines = seen.document.engines.iter();
    let instances = seen.document.instances.iter();
    engines
        .map(|(name, engine)| (["engines", name.as_str(), "args"], &engine.args))
        .chain(
            instances
                .map(|(name, instance)| (["instances", name.as_str(), "args"], &instance.args)),
        )
        .collect()
}

fn each<'a>(seen: &Checker<'a>) -> Vec<([&'a str; 4], &'a str, &'a Argument)> {
    let one = |([kind, name, args], map): ([&'a str; 3], &'a Arguments)| {
        map.iter()
            .map(move |(argument, value)| ([kind, name, args, argument], argument.as_str(), value))
    };
    all(seen).into_iter().flat_map(one).collect()
}

/// Arguments are spelled as vLLM spells them, each once, each with a value.
pub(super) fn are_spelled_as_vllm_does(seen: &Checker<'_>) -> Vec<Problem> {
    let mut out = Vec::new();
    for (path, name, value) in each(seen) {
        if !is_spelled(name) {
            out.extend(misspelt(seen, &path, name));
        } else if *value == Argument::Null {
            let title = format!("`{}` has no value", shown(name));
            out.extend(seen.report_key(&path, title).map(|problem| {
                problem.hint(format!(
                    "a flag alone is `{name}: true`; without the key vLLM's default holds"
                ))
            }));
        }
        out.extend(percentage(seen, &path, name, value));
    }
    for (path, arguments) in all(seen) {
        out.extend(twice(seen, path, arguments));
    }
    out
}

fn is_spelled(name: &str) -> bool {
    let inner =
        |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '-' | '.');
    name.starts_with(|c: char| c.is_ascii_lowercase()) && name.chars().all(inner)
}

fn misspelt(seen: &Checker<'_>, path: &[&str], name: &str) -> Option<Problem> {
    let title = format!("`{}` is not the name of an argument", shown(name));
    let problem = seen.report_key(path, title)?;
    let bare = name.trim_start_matches('-');
    // `max-model-len 4096` has its value in it, `max model len` has not.
    let words = bare.split(['=', ' ']).filter(|word| !word.is_empty());
    let words: Vec<&str> = words
        .take_while(|word| !word.starts_with(|c: char| c.is_ascii_digit()))
        .collect();
    let plain = words.join("_").to_ascii_lowercase();
    Some(if is_spelled(&plain) {
        problem.hint(format!("did you mean `{}`?", plain.replace('-', "_")))
    } else {
        problem.hint("write it as vLLM does, without the dashes: `max_model_len: 4096`")
    })
}

/// `gpu_memory_utilization: 30` is a share of one, not of a hundred.
fn percentage(seen: &Checker<'_>, path: &[&str], name: &str, value: &Argument) -> Option<Problem> {
    if name.replace('-', "_") != "gpu_memory_utilization" {
        return None;
    }
    let share = value.meaning().as_f64();
    if share.is_some_and(|share| share > 0.0 && share <= 1.0) {
        return None;
    }
    let problem = seen.report(
        path,
        "`gpu_memory_utilization` must be a number above 0 and up to 1",
    )?;
    Some(match share {
        Some(share) if share > 1.0 && share <= 100.0 => {
            problem.hint(format!("for {share} % write `{}`", share / 100.0))
        }
        _ => problem.hint("it is the share of the memory that vLLM takes, as in `0.3`"),
    })
}

/// `max-model-len` and `max_model_len` are one argument.
fn twice(seen: &Checker<'_>, [kind, name, args]: [&str; 3], arguments: &Arguments) -> Vec<Problem> {
    let mut known: HashMap<String, &str> = HashMap::new();
    let mut out = Vec::new();
    for argument in arguments.keys() {
        let Some(first) = known.insert(argument.replace('-', "_"), argument) else {
            continue;
        };
        let place = seen.key(&[kind, name, args, first]);
        let problem = seen.report_key(
            &[kind, name, args, argument],
            format!("`{first}` and `{argument}` are one argument"),
        );
        out.extend(problem.zip(place).map(|(problem, place)| {
            problem
                .also(place, "first given here")
                .hint("keep one of the two")
        }));
    }
    out
}

/// What replica decides is not an argument.
pub(super) fn leave_to_replica_what_is_its(seen: &Checker<'_>) -> Vec<Problem> {
    let mut out = Vec::new();
    for (path, name, _) in each(seen) {
        let plain = name.trim_start_matches('-').replace('-', "_");
        let owned = OWNED.iter().find(|(owned, _)| *owned == plain);
        out.extend(owned.and_then(|(owned, hint)| {
            let title = format!("`{owned}` is not one of `args`: replica sets it itself");
            let secret = seen.place(&path).filter(|_| *owned == "api_key");
            Some(seen.report_key(&path, title)?.hint(*hint).hide(secret))
        }));
    }
    out
}
