//! What serves in a first manifest: on which nodes, with which vLLM, which model, and how much memory.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::asked::Asked;
use super::place::Place;
use super::survey::{Cached, Venv};
use super::yaml;
use crate::english::list;
use crate::name::ModelName;
use crate::resource::machine::{Bytes, Memory};

/// What is left to the programs of a machine whose memory is its GPU's too. Owners of GB10s who left less
/// lost the machine: <https://github.com/vllm-project/vllm/issues/46307>,
/// <https://github.com/NVIDIA/open-gpu-kernel-modules/issues/1358>.
const AIR: Bytes = Bytes(10 << 30);

/// The most that vLLM is given of memory that is shared, and of a GPU's own.
const MOST_SHARED: f64 = 0.8;
const MOST_OWN: f64 = 0.9;

/// A context that fits nearly everywhere; vLLM ends where it has not even room for one request of the longest.
const CONTEXT: u64 = 8192;

/// A model that is small and asks nobody who comes, where no other is at hand.
const SMALL: &str = "Qwen/Qwen3-0.6B";

/// The vLLM that replica was tried with most, and its build for CUDA 13, which a GB10 wants.
const VERSION: &str = "0.13.0";
const FOR_CUDA_13: &str = "+cu130";

/// What serves, and where.
#[derive(Debug, Default)]
pub(super) struct Serving<'a> {
    /// The nodes that serve, by their places.
    pub(super) nodes: Vec<usize>,
    is_simulated: bool,
    /// How many GPUs each server has.
    gpus_each: usize,
    pub(super) engine: &'static str,
    pub(super) engine_why: String,
    pub(super) engine_lines: Vec<String>,
    pub(super) args: Vec<Arg>,
    /// The name of the model.
    pub(super) model: String,
    pub(super) model_why: String,
    /// Its lines; none where a simulated server takes any name.
    pub(super) model_lines: Option<Vec<String>>,
    pub(super) remarks: Vec<String>,
    cached: Option<&'a Cached>,
}

/// An argument, and why it is what it is.
#[derive(Debug)]
pub(super) struct Arg {
    pub(super) name: String,
    pub(super) value: String,
    pub(super) why: Option<String>,
}

impl Serving<'_> {
    /// The GPUs that the servers of a node have, of each server the numbers; nothing where that need not be
    /// said.
    pub(super) fn servers_on(&self, place: &Place) -> Vec<Option<String>> {
        let gpus = place.surveyed.gpus();
        let servers = gpus / self.gpus_each.max(1);
        if self.is_simulated || servers < 2 {
            return vec![None];
        }
        let of = |server: usize| {
            let numbers = server * self.gpus_each..(server + 1) * self.gpus_each;
            let numbers: Vec<_> = numbers.map(|it| it.to_string()).collect();
            Some(numbers.join(","))
        };
        (0..servers).map(of).collect()
    }
}

/// Chooses what serves.
pub(super) fn serving<'a>(places: &'a [Place], asked: Option<&Asked>) -> Serving<'a> {
    let with_gpu = (0..places.len()).filter(|at| places[*at].surveyed.gpus() > 0);
    let mut serving = Serving {
        nodes: with_gpu.collect(),
        gpus_each: 1,
        ..Serving::default()
    };
    if serving.nodes.is_empty() {
        serving.nodes = (0..places.len()).collect();
        simulated(&mut serving, asked);
        return serving;
    }
    let servers: Vec<&'a Place> = serving.nodes.iter().map(|at| &places[*at]).collect();
    engine(&mut serving, &servers, asked);
    model(&mut serving, &servers, asked);
    arguments(&mut serving, &servers, asked);
    serving
}

fn simulated(serving: &mut Serving<'_>, asked: Option<&Asked>) {
    serving.is_simulated = true;
    serving.engine = "simulated";
    "No node has a GPU: these servers speak as vLLM does and have no weights. For vLLM itself, `venv: ~/vllm` \
     and `vllm: 0.13.0` stand in place of `simulate`, and the model under `models`."
        .clone_into(&mut serving.engine_why);
    serving.engine_lines = vec!["simulate: {profile: fast}".to_owned()];
    serving.model = asked.map_or_else(|| "demo".to_owned(), name_of);
    serving
        .remarks
        .push("no node has a GPU, so the servers are simulated".to_owned());
    if let Some(asked) = asked {
        serving.args = given(asked, |_| None);
    }
}

fn engine(serving: &mut Serving<'_>, servers: &[&Place], asked: Option<&Asked>) {
    serving.engine = "vllm";
    let wanted = asked.and_then(|asked| asked.version.as_deref());
    let lines = &mut serving.engine_lines;
    if let Some((venv, names)) = common(servers, for_gpus) {
        let elsewhere = names.len() < servers.len();
        serving.engine_why = format!(
            "The vLLM that {} {} already{}. It is used as it is.",
            list(&names),
            if names.len() == 1 { "has" } else { "have" },
            if elsewhere {
                "; `apply` installs it on the others"
            } else {
                ""
            }
        );
        if wanted.is_some_and(|wanted| release(&venv.version) != wanted) {
            let wanted = wanted.unwrap_or_default();
            let _ = write!(serving.engine_why, " What it was asked by has {wanted}.");
        }
        lines.push(format!("venv: {}", yaml_path(&venv.path)));
        lines.push(format!("vllm: {}", venv.version));
        if venv.distribution != "vllm" {
            lines.push(format!("distribution: {}", venv.distribution));
        }
        return;
    }
    "No node has vLLM in a virtual environment: `apply` makes this one, at this version."
        .clone_into(&mut serving.engine_why);
    lines.push("venv: ~/vllm".to_owned());
    match wanted {
        Some(wanted) => lines.push(format!("vllm: {wanted}")),
        None if is_for_cuda_13(servers) => {
            lines.push(format!("vllm: {VERSION}{FOR_CUDA_13}"));
            lines.push("packages: {torch: 2.9.1}".to_owned());
            lines.push(format!(
                "extra_indexes: [https://wheels.vllm.ai/{VERSION}/cu130, https://download.pytorch.org/whl/cu130]"
            ));
        }
        None => lines.push(format!("vllm: {VERSION}")),
    }
    serving.remarks.push(
        "no node has vLLM: the first `apply` installs it, which takes minutes and some 10 GB of disk"
            .to_owned(),
    );
}

/// The environments of a node whose vLLM runs on a GPU.
fn for_gpus(place: &Place) -> impl Iterator<Item = &Venv> {
    let venvs = place.surveyed.venvs.iter();
    venvs.filter(|venv| !venv.is_for_cpus())
}

/// The part of a version before its build variant.
fn release(version: &str) -> &str {
    version.split('+').next().unwrap_or(version)
}

fn yaml_path(path: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || "_-./".contains(c);
    match path.strip_prefix("~/") {
        Some(rest) if rest.chars().all(bare) => path.to_owned(),
        _ => yaml::text(path),
    }
}

/// A GB10 is served by builds for CUDA 13 alone.
fn is_for_cuda_13(servers: &[&Place]) -> bool {
    let mut gpus = servers
        .iter()
        .flat_map(|place| &place.surveyed.machine.gpus);
    gpus.any(|gpu| gpu.name.contains("GB10"))
}

/// What most of the nodes have, with the names of those that have it; of equals the first.
fn common<'a, T: PartialEq + 'a, I: Iterator<Item = &'a T>>(
    servers: &[&'a Place],
    of: impl Fn(&'a Place) -> I,
) -> Option<(&'a T, Vec<&'a str>)> {
    let mut best: Option<(&T, Vec<&str>)> = None;
    for thing in servers.iter().flat_map(|place| of(place)) {
        let have = servers
            .iter()
            .filter(|place| of(place).any(|it| it == thing));
        let names: Vec<_> = have.map(|place| place.name.as_str()).collect();
        if best
            .as_ref()
            .is_none_or(|(_, known)| names.len() > known.len())
        {
            best = Some((thing, names));
        }
    }
    best
}

fn model<'a>(serving: &mut Serving<'a>, servers: &[&'a Place], asked: Option<&Asked>) {
    let share = share(servers);
    let room = servers.iter().filter_map(|place| room(place, share)).min();
    let candidates = cached(servers);
    if let Some(asked) = asked {
        serving.model = name_of(asked);
        serving.model_why = format!("As {} has it.", asked.source);
        let is_folder = !is_repository(&asked.model);
        let key = if is_folder { "path" } else { "repo" };
        let mut lines = vec![format!("{key}: {}", yaml_path(&asked.model))];
        lines.extend(asked.revision.as_ref().map(|it| format!("revision: {it}")));
        serving.model_lines = Some(lines);
        serving.cached = candidates.get(asked.model.as_str()).map(|(it, _)| *it);
        return;
    }
    // The most nodes have it, and of those the largest.
    let fits = |it: &Cached| room.is_none_or(|room| it.size < room);
    let chosen = candidates
        .values()
        .filter(|(it, _)| it.is_whole && it.generates() && fits(it))
        .max_by_key(|(it, names)| (names.len(), it.size));
    let Some((it, names)) = chosen else {
        "Qwen3-0.6B".clone_into(&mut serving.model);
        "No node has a model in its cache that fits: a small one that anybody may fetch. A repository that asks \
         who comes wants `token: {from_env: HF_TOKEN}` beside it."
            .clone_into(&mut serving.model_why);
        serving.model_lines = Some(vec![format!("repo: {SMALL}")]);
        return;
    };
    serving.cached = Some(it);
    serving.model = name(&it.repo);
    serving.model_why = format!("In the cache of {}, {}.", list(names), it.size);
    let others = candidates
        .values()
        .filter(|(other, _)| other.repo != it.repo);
    let others: Vec<_> = others
        .map(|(other, _)| other.repo.as_str())
        .take(8)
        .collect();
    if !others.is_empty() {
        let _ = write!(serving.model_why, " There too: {}.", list(&others));
    }
    serving.model_lines = Some(vec![
        format!("repo: {}", it.repo),
        format!("revision: {}", it.commit),
    ]);
}

/// What the caches have, by the repositories, each with the nodes that have this commit of it.
fn cached<'a>(servers: &[&'a Place]) -> BTreeMap<&'a str, (&'a Cached, Vec<&'a str>)> {
    let mut found: BTreeMap<&str, (&Cached, Vec<&str>)> = BTreeMap::new();
    for place in servers {
        for it in &place.surveyed.cached {
            let (known, names) = found.entry(&it.repo).or_insert((it, Vec::new()));
            if known.commit == it.commit && it.is_whole {
                names.push(place.name.as_str());
            }
        }
    }
    found
}

fn is_repository(model: &str) -> bool {
    !model.starts_with(['/', '~'])
}

/// What clients call what was asked for.
fn name_of(asked: &Asked) -> String {
    match &asked.name {
        Some(name) => name.to_string(),
        None => name(&asked.model),
    }
}

/// A name for a model: the last part of its repository or path.
fn name(model: &str) -> String {
    let last = model
        .trim_end_matches('/')
        .rsplit('/')
        .next()
        .unwrap_or_default();
    let is_name = last.parse::<ModelName>().is_ok();
    if is_name { last } else { "served" }.to_owned()
}

/// The share of the memory that vLLM takes: what can be had everywhere, in steps of a twentieth.
fn share(servers: &[&Place]) -> f64 {
    let shares = servers.iter().flat_map(|place| {
        let machine = &place.surveyed.machine;
        let gpus = machine.gpus.iter();
        gpus.map(move |gpu| match gpu.memory {
            Memory::Own(memory) if memory.total.0 > 0 => {
                (memory.free.0 as f64 / memory.total.0 as f64).min(MOST_OWN)
            }
            Memory::Unified => {
                let available = machine.memory_available.unwrap_or_default();
                let total = machine.memory_total.unwrap_or_default().0.max(1);
                let rest = available.0.saturating_sub(AIR.0);
                (rest as f64 / total as f64).min(MOST_SHARED)
            }
            Memory::Own(_) | Memory::Partitioned | Memory::Untold(_) => MOST_OWN,
        })
    });
    let least = shares.fold(MOST_OWN, f64::min);
    ((least * 20.0 + 1e-9).floor() / 20.0).max(0.1)
}

/// What weights have room in on a node, at a share of its memory.
fn room(place: &Place, share: f64) -> Option<Bytes> {
    let machine = &place.surveyed.machine;
    let totals = machine.gpus.iter().filter_map(|gpu| match gpu.memory {
        Memory::Own(memory) => Some(memory.total),
        Memory::Unified => machine.memory_total,
        Memory::Partitioned | Memory::Untold(_) => None,
    });
    // What is computed of prompts wants some of it, too.
    let least = totals.min()?;
    Some(Bytes((least.0 as f64 * share * 0.85) as u64))
}

fn arguments(serving: &mut Serving<'_>, servers: &[&Place], asked: Option<&Asked>) {
    let share = share(servers);
    let is_shared = servers
        .iter()
        .any(|place| place.surveyed.machine.is_unified());
    let least = servers
        .iter()
        .map(|place| place.surveyed.gpus())
        .min()
        .unwrap_or(1);
    let why_share = if is_shared {
        format!(
            "Of memory that programs and GPU share: what can be had now, with {AIR} left to the machine. vLLM's \
             own 0.9 has frozen machines of this sort."
        )
    } else {
        "What is free on each GPU now; vLLM's own is 0.9.".to_owned()
    };
    let Some(asked) = asked else {
        serving.args.push(Arg {
            name: "gpu_memory_utilization".to_owned(),
            value: format!("{share}"),
            why: Some(why_share),
        });
        let longest = serving.cached.and_then(|it| it.longest).unwrap_or(CONTEXT);
        serving.args.push(Arg {
            name: "max_model_len".to_owned(),
            value: longest.min(CONTEXT).to_string(),
            why: Some(match serving.cached.and_then(|it| it.longest) {
                Some(longest) if longest > CONTEXT => {
                    format!("The longest context; the model knows {longest}, which may not fit.")
                }
                _ => "The longest context.".to_owned(),
            }),
        });
        return;
    };
    serving.args = given(asked, |name| match name {
        "gpu_memory_utilization" => Some(format!(
            "By the nodes it would be {share}: {}",
            why_share
                .replacen("What", "what", 1)
                .replacen("Of", "of", 1)
        )),
        _ => None,
    });
    let has = |name: &str| asked.args.contains_key(name);
    if is_shared && !has("gpu_memory_utilization") && !has("kv_cache_memory_bytes") {
        serving.args.push(Arg {
            name: "gpu_memory_utilization".to_owned(),
            value: format!("{share}"),
            why: Some(why_share),
        });
    }
    on_one_node(serving, least);
}

/// A server has as many GPUs as it was asked to, where each node has so many: it is on one node.
fn on_one_node(serving: &mut Serving<'_>, least: usize) {
    for name in ["tensor_parallel_size", "pipeline_parallel_size"] {
        let Some(argument) = serving.args.iter_mut().find(|it| it.name == name) else {
            continue;
        };
        let wanted = argument.value.parse::<usize>().unwrap_or(1).max(1);
        if serving.gpus_each * wanted <= least {
            serving.gpus_each *= wanted;
            continue;
        }
        "1".clone_into(&mut argument.value);
        argument.why = Some(format!(
            "It was {wanted}, which is more GPUs than a node has, and here a server is on one node."
        ));
        serving.remarks.push(format!(
            "`{name}: {wanted}` became 1, as a server is on one node: what does not fit there is not served"
        ));
    }
}

/// The arguments that were asked for.
fn given(asked: &Asked, why: impl Fn(&str) -> Option<String>) -> Vec<Arg> {
    let args = asked.args.iter();
    args.map(|(name, given)| Arg {
        name: name.clone(),
        value: given.written(),
        why: why(name),
    })
    .collect()
}
