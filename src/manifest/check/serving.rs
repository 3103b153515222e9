//! Arguments and variables that decide whether a server can be asked at all, and where it listens
//! beside its port.

use super::super::problem::Problem;
use super::Checker;
use super::proxy::backends;
use crate::name::InstanceName;
use crate::resource::argument::Argument;
use crate::resource::environment::EnvValue;
use crate::resource::instance::{InstanceDeclaration, kv};

/// The path of something that an instance has: its own, or its engine's.
type Path<'a> = [&'a str; 4];

/// A server that nobody can ask over HTTP is never ready, however long it is waited for.
pub(super) fn all_answer_over_http(seen: &Checker<'_>) -> Vec<Problem> {
    let mut problems: Vec<Problem> = Vec::new();
    let mut told = Vec::new();
    for (name, instance) in &seen.document.instances {
        for (argument, deaf, why, hint) in DEAF {
            let Some((path, value)) = argument_of(seen, name.as_str(), instance, argument) else {
                continue;
            };
            if deaf(value) && !told.contains(&path) {
                let problem = seen.report(&path, *why);
                problems.extend(problem.map(|problem| problem.hint(*hint)));
                told.push(path);
            }
        }
    }
    problems
}

type Deaf = (
    &'static str,
    fn(&Argument) -> bool,
    &'static str,
    &'static str,
);

const NO_HEAD: &str = "one server is one instance: its engines belong to its own process";

const NO_TLS: &str = "leave it out, and end TLS before the proxy, with nginx or Caddy";

/// What 0.13 makes of a value: engines without an API server, or one that speaks TLS alone.
const DEAF: &[Deaf] = &[
    (
        "headless",
        |it| *it == Argument::Bool(true),
        "a headless server listens on no port, and is never ready",
        NO_HEAD,
    ),
    (
        "api_server_count",
        |it| it.meaning().as_i64().is_some_and(|count| count < 1),
        "without an API server it listens on no port, and is never ready",
        NO_HEAD,
    ),
    (
        "ssl_certfile",
        |_| true,
        "replica and its proxy ask servers over plain HTTP, and this one would speak TLS alone",
        NO_TLS,
    ),
    (
        "ssl_keyfile",
        |_| true,
        "replica and its proxy ask servers over plain HTTP, and this one would speak TLS alone",
        NO_TLS,
    ),
];

/// What pools completes nothing, and a benchmark measures completions.
pub(super) fn what_is_measured_completes(seen: &Checker<'_>) -> Vec<Problem> {
    let Some(proxy) = seen.document.proxy.as_ref() else {
        return Vec::new();
    };
    if seen.document.benchmarks.is_empty() {
        return Vec::new();
    }
    let pooling = |(name, instance): (&'_ InstanceName, &'_ InstanceDeclaration)| {
        let (path, value) = argument_of(seen, name.as_str(), instance, "runner")?;
        let pools = *value == Argument::Text("pooling".to_owned());
        let title = "a server that pools completes nothing, and benchmarks measure completions";
        let problem = seen.report(&path, title).filter(|_| pools)?;
        Some(problem.hint("leave out `benchmarks`, or measure another model"))
    };
    backends(seen, proxy)
        .into_iter()
        .filter_map(pooling)
        .collect()
}

/// A port beside the one that it serves at: where servers that hand over KV caches find each other.
pub(super) struct SideChannel<'a> {
    /// What decides it.
    pub(super) path: Vec<&'a str>,
    /// The first of its ports.
    pub(super) port: u16,
    /// How many ports it takes from there: one for each rank.
    pub(super) ranks: u16,
    /// The variable that moves it.
    pub(super) variable: &'static str,
}

/// A connector of vLLM 0.13, the variable of its port, and what that is by default.
const CONNECTORS: &[(&str, &str, u16)] = &[
    ("NixlConnector", "VLLM_NIXL_SIDE_CHANNEL_PORT", 5600),
    ("MooncakeConnector", "VLLM_MOONCAKE_BOOTSTRAP_PORT", 8998),
];

/// The side channels that an instance opens.
pub(super) fn side_channels<'a>(
    seen: &Checker<'a>,
    name: &'a str,
    instance: &'a InstanceDeclaration,
) -> Vec<SideChannel<'a>> {
    let declared = match argument_of(seen, name, instance, kv::ARGUMENT) {
        Some((path, value)) => (path.to_vec(), value.meaning()),
        None => match &seen.document.kv {
            Some(kv) => (vec!["kv", "port"], kv.argument().meaning()),
            None => return Vec::new(),
        },
    };
    let (config, declared) = declared;
    let whole = |argument| {
        let (_, value) = argument_of(seen, name, instance, argument)?;
        u16::try_from(value.meaning().as_u64()?).ok()
    };
    let default = |default| {
        let kv = seen.document.kv.as_ref();
        kv.map_or(default, |kv| kv.port.get())
    };
    let opened = CONNECTORS.iter().filter(|it| names(&declared, it.0));
    let channel = |(_, variable, usual): &(&str, &'static str, u16)| {
        let (path, port) = match variable_of(seen, name, instance, variable) {
            Some((path, EnvValue::Plain(port))) => (path.to_vec(), port.trim().parse().ok()?),
            // What another machine's variable holds is not known here.
            Some((_, EnvValue::FromEnv(_))) => return None,
            None => (config.clone(), default(*usual)),
        };
        Some(SideChannel {
            path,
            port,
            ranks: whole("data_parallel_size").unwrap_or(1).max(1),
            variable,
        })
    };
    opened.filter_map(channel).collect()
}

/// Whether a configuration is one of this connector, or has one among several.
fn names(config: &serde_json::Value, connector: &str) -> bool {
    let several = &config["kv_connector_extra_config"]["connectors"];
    let several = several.as_array().into_iter().flatten();
    config["kv_connector"] == connector || several.into_iter().any(|it| names(it, connector))
}

/// An argument of an instance, by the name that vLLM compares: its own, or its engine's.
pub(super) fn argument_of<'a>(
    seen: &Checker<'a>,
    name: &'a str,
    instance: &'a InstanceDeclaration,
    argument: &str,
) -> Option<(Path<'a>, &'a Argument)> {
    let is_it = |key: &str| key.replace('-', "_") == argument;
    let own = instance.args.iter().find(|(key, _)| is_it(key));
    let own = own.map(|(key, value)| (["instances", name, "args", key.as_str()], value));
    own.or_else(|| {
        let engine = seen.document.engines.get(&instance.engine)?;
        let (key, value) = engine.args.iter().find(|(key, _)| is_it(key))?;
        Some((
            ["engines", instance.engine.as_str(), "args", key.as_str()],
            value,
        ))
    })
}

fn variable_of<'a>(
    seen: &Checker<'a>,
    name: &'a str,
    instance: &'a InstanceDeclaration,
    variable: &'static str,
) -> Option<(Path<'a>, &'a EnvValue)> {
    if let Some(value) = instance.env.get(variable) {
        return Some((["instances", name, "env", variable], value));
    }
    let engine = seen.document.engines.get(&instance.engine)?;
    let value = engine.env.get(variable)?;
    Some((
        ["engines", instance.engine.as_str(), "env", variable],
        value,
    ))
}
