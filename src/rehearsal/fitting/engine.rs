//! Which engine results are of: all of one, or it is told what differs.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::profile::ProfiledEngine;
use super::why_not::CannotFit;
use crate::resource::argument::Argument;
use crate::results::StoredResult;

/// Arguments that decide what is computed in a step, and not how fast: the simulator has them too.
const SCHEDULING: [&str; 10] = [
    "block_size",
    "enable_prefix_caching",
    "enable_prompt_tokens_details",
    "gpu_memory_utilization",
    "kv_transfer_config",
    "max_model_len",
    "max_num_batched_tokens",
    "max_num_seqs",
    "num_gpu_blocks_override",
    "served_model_name",
];

/// Arguments without those of scheduling.
pub(in crate::rehearsal) fn of_speed(args: &Map<String, Value>) -> Map<String, Value> {
    let args = args.iter();
    let of_speed = args.filter(|(name, _)| !SCHEDULING.contains(&name.as_str()));
    of_speed
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

/// One server that was measured.
pub(super) struct MeasuredServer {
    pub(super) name: String,
    pub(super) is_simulated: bool,
    pub(super) args: BTreeMap<String, Argument>,
    engine: ProfiledEngine,
}

/// The servers that a result is of.
pub(super) fn servers(stored: &StoredResult) -> Result<Vec<MeasuredServer>, CannotFit> {
    let file = super::file(stored);
    let result = &stored.result;
    let asked = |told: &&Value| {
        let mut targets = result.job.instances.iter();
        targets.any(|target| told["name"] == target.name.as_str())
    };
    let told = result.topology["instances"].as_array();
    let told = told.into_iter().flatten().filter(asked);
    let servers: Option<Vec<_>> = told
        .map(|told| MeasuredServer::told(stored, told))
        .collect();
    match servers {
        Some(servers) if !servers.is_empty() => Ok(servers),
        _ => Err(CannotFit::Unknown { file }),
    }
}

impl MeasuredServer {
    fn told(stored: &StoredResult, told: &Value) -> Option<Self> {
        let spec = &told["spec"];
        let args = spec["args"].as_object()?;
        let model = ["repo", "path"].iter().find_map(|key| told[*key].as_str());
        let engine = &spec["engine"];
        let is_simulated = !engine["simulate"].is_null();
        let kept = if is_simulated {
            json!({"simulate": engine["simulate"]})
        } else {
            json!({"vllm": engine["vllm"], "packages": engine["packages"]})
        };
        Some(Self {
            name: told["name"].as_str()?.to_owned(),
            is_simulated,
            args: serde_json::from_value(spec["args"].clone()).ok()?,
            engine: ProfiledEngine {
                model: model.or(spec["model"].as_str())?.to_owned(),
                engine: kept,
                args: of_speed(args),
                gpu: gpu(stored, told["node"].as_str()?),
            },
        })
    }
}

/// The GPUs of a node, as it showed them before the measurement.
fn gpu(stored: &StoredResult, node: &str) -> Option<String> {
    let before = stored.result.conditions.before.iter();
    let mut here = before.filter(|(name, _)| name.as_str() == node);
    let (_, conditions) = here.next()?;
    let names: Vec<_> = conditions
        .gpus
        .iter()
        .filter_map(|gpu| gpu.name.clone())
        .collect();
    (!names.is_empty()).then(|| names.join(", "))
}

/// The one engine that all of them are of.
pub(super) fn one_engine<'a>(
    all: impl IntoIterator<Item = (&'a str, &'a MeasuredServer)>,
) -> Result<ProfiledEngine, CannotFit> {
    let mut first: Option<(String, &ProfiledEngine)> = None;
    for (file, server) in all {
        let who = format!("{} of {file}", server.name);
        let Some((one, engine)) = &first else {
            first = Some((who, &server.engine));
            continue;
        };
        if let Some((what, ours, theirs)) = differs(engine, &server.engine) {
            return Err(CannotFit::Unlike {
                what,
                one: (one.clone(), ours),
                other: (who, theirs),
            });
        }
    }
    let engine = first.map(|(_, engine)| engine.clone());
    engine.ok_or(CannotFit::NoTimes)
}

/// The first thing in which two engines differ.
fn differs(one: &ProfiledEngine, other: &ProfiledEngine) -> Option<(&'static str, String, String)> {
    let args = |engine: &ProfiledEngine| json!(engine.args).to_string();
    let gpu = |engine: &ProfiledEngine| engine.gpu.clone();
    let known = gpu(one).zip(gpu(other));
    let (our_gpu, their_gpu) = known.unwrap_or_default();
    let all = [
        ("model", one.model.clone(), other.model.clone()),
        ("engine", one.engine.to_string(), other.engine.to_string()),
        ("set of arguments", args(one), args(other)),
        ("GPU", our_gpu, their_gpu),
    ];
    all.into_iter().find(|(_, ours, theirs)| ours != theirs)
}

#[cfg(test)]
impl MeasuredServer {
    /// A server that runs what is known.
    pub(super) fn known(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            is_simulated: true,
            args: BTreeMap::new(),
            engine: ProfiledEngine {
                model: "m".to_owned(),
                engine: json!({"vllm": "0.13.0"}),
                args: Map::new(),
                gpu: None,
            },
        }
    }

    /// Makes it run another version.
    pub(super) fn runs(&mut self, version: &str) {
        self.engine.engine = json!({"vllm": version});
    }
}
