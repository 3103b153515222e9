//! Arguments that pass through to vLLM, by name.

use std::collections::{BTreeMap, HashMap};

use super::super::problem::Problem;
use super::super::suggest::{nearest, shown};
use super::Checker;
use crate::name::EngineName;
use crate::resource::argument::Argument;
use crate::resource::instance::words_of;
use crate::simulator::{self, Refusal};

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
    if !is_share(name) {
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

fn is_share(name: &str) -> bool {
    name.replace('-', "_") == "gpu_memory_utilization"
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

/// `yes` is a text in YAML 1.2, which vLLM would take for a word too many.
pub(super) fn switches_are_true_or_false(seen: &Checker<'_>) -> Vec<Problem> {
    let mut out = Vec::new();
    for (path, name, value) in each(seen) {
        let Argument::Text(text) = value else {
            continue;
        };
        let meant = match text.to_ascii_lowercase().as_str() {
            "yes" | "on" | "true" => true,
            "no" | "off" | "false" => false,
            _ => continue,
        };
        let title = format!("`{}` is a text, and no switch", shown(text));
        let problem = seen.report(&path, title);
        out.extend(
            problem.map(|problem| problem.hint(format!("write `{name}: {meant}`, without quotes"))),
        );
    }
    out
}

/// A simulated engine takes what vLLM 0.13.0 takes, and its own: what it refuses is told before
/// anything is stopped for it.
pub(super) fn are_known_to_the_simulator(seen: &Checker<'_>) -> Vec<Problem> {
    let is_simulated = |name: &EngineName| {
        let engine = seen.document.engines.get(name);
        engine.is_some_and(|engine| engine.simulate.is_some())
    };
    let engines = seen.document.engines.iter();
    let engines = engines.filter(|(name, _)| is_simulated(name));
    let instances = seen.document.instances.iter();
    let instances = instances.filter(|(_, instance)| is_simulated(&instance.engine));
    let maps = engines
        .map(|(name, engine)| (["engines", name.as_str(), "args"], &engine.args))
        .chain(instances.map(|(name, it)| (["instances", name.as_str(), "args"], &it.args)));
    let mut out = Vec::new();
    for ([kind, name, args], arguments) in maps {
        for (argument, value) in arguments {
            let path = [kind, name, args, argument.as_str()];
            if is_spelled(argument) && *value != Argument::Null {
                out.extend(refused(seen, &path, argument, value));
            }
        }
    }
    out
}

fn refused(seen: &Checker<'_>, path: &[&str], name: &str, value: &Argument) -> Option<Problem> {
    match simulator::refusal(&words_of(name, value))? {
        Refusal::Unknown => {
            let title = format!("the simulated engine knows no argument `{}`", shown(name));
            let flags: Vec<String> = simulator::known_flags()
                .map(|it| it.replace('-', "_"))
                .collect();
            let near = nearest(&name.replace('-', "_"), flags.iter().map(String::as_str));
            let problem = seen.report_key(path, title)?;
            Some(match near {
                Some(near) => problem.hint(format!("did you mean `{near}`?")),
                None => problem.hint("it takes those of `vllm serve` 0.13.0, and its own `sim_…`; `replica simulate --help` lists what has an effect"),
            })
        }
        // Of this one a rule of its own tells more. A number is compared by what it means, so that
        // one which is written in another way may be of a server that runs.
        Refusal::Value(_) if is_share(name) || !matches!(value, Argument::Text(_)) => None,
        Refusal::Value(why) => seen.report(path, why),
    }
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
