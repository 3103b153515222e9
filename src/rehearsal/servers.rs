//! Who is asked: the instances of a topology as engines without a clock, and what chooses among them.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde_json::json;

use super::costs;
use super::fitting::{FittedProfile, of_speed};
use super::script::Question;
use super::speed::PrefillSpeed;
use super::why_not::CannotRehearse;
use crate::name::{InstanceName, NodeName};
use crate::plan::effect::control::InstanceLimits;
use crate::proxy::choice::{Candidate, Choices, Part, reads_what_is_asked};
use crate::quantity::Weight;
use crate::resource::Topology;
use crate::resource::benchmark::{Measurement, Way};
use crate::resource::engine::Profile;
use crate::resource::environment::EnvValue;
use crate::resource::instance::{KvDeclaration, Runtime, Server, VllmRuntime};
use crate::resource::proxy::ProxyDeclaration;
use crate::simulator::{ClocklessEngine, NoEngine, Pace, Tuning};

/// How long a proxy's requests wait for a place, and how many.
#[derive(Debug, Clone, Copy)]
pub(super) struct WaitingLine {
    pub(super) most: usize,
    pub(super) patience: Duration,
}

/// Those who are asked.
pub(super) struct Servers {
    /// In the order of their names.
    pub(super) all: Vec<RehearsedServer>,
    /// What chooses among them; nothing where the only one is asked past a proxy.
    pub(super) proxy: Option<RehearsedProxy>,
}

/// One server.
pub(super) struct RehearsedServer {
    pub(super) name: InstanceName,
    pub(super) engine: ClocklessEngine,
    /// What its HTTP takes before its engine knows of a request.
    pub(super) serving: Duration,
}

/// What chooses.
pub(super) struct RehearsedProxy {
    pub(super) choices: Choices,
    pub(super) line: WaitingLine,
    /// Whether it looks at what is asked.
    pub(super) reads: bool,
    /// How long a prompt is at least that one instance reads for another, in tokens.
    pub(super) least_shared: usize,
}

/// The profile by which an instance computes, and whether it is what it is compared with: a simulated
/// server computes by it, and a real one about as it says.
#[derive(Debug, Clone)]
pub(super) struct Imitated {
    profile: Profile,
    /// What was fitted to measurements of a real one, with its file.
    fitted: Option<(String, FittedProfile)>,
    is_simulated: bool,
}

impl Imitated {
    /// How the profile is called.
    pub(super) fn name(&self) -> String {
        let file = self.fitted.as_ref().map(|(file, _)| file.clone());
        file.unwrap_or_else(|| self.profile.name().to_owned())
    }

    /// Whether it is known how fast prompts are read.
    pub(super) fn is_certain(&self) -> bool {
        let fitted = self.fitted.as_ref();
        self.is_simulated || fitted.is_some_and(|(_, it)| it.tells_prompts())
    }

    fn pace(&self) -> Option<Pace> {
        let (_, fitted) = self.fitted.as_ref()?;
        Some(fitted.pace.pace())
    }
}

type Named<'a> = (&'a InstanceName, &'a Server);

impl Servers {
    /// Those whom a benchmark asks, reading prompts so fast. Profiles lie in the folder.
    pub(super) fn of(
        topology: &Topology,
        benchmark: &Measurement,
        folder: &Path,
        prefill: PrefillSpeed,
    ) -> Result<Self, CannotRehearse> {
        let asked = asked(topology, benchmark)?;
        share_no_device(&asked)?;
        let link = link(topology, &asked);
        let all = asked.iter();
        let all = all.map(|(name, server)| {
            let imitated = of_server(name, server, folder)?;
            RehearsedServer::of(name, server, &imitated, prefill, link)
        });
        let proxy = topology.proxy.as_ref().filter(|_| goes_by_proxy(benchmark));
        Ok(Self {
            all: all.collect::<Result<_, _>>()?,
            proxy: proxy.map(|it| RehearsedProxy::of(it, &asked)).transpose()?,
        })
    }
}

/// By which profiles those compute whom a benchmark asks.
pub(super) fn imitated(
    topology: &Topology,
    benchmark: &Measurement,
    folder: &Path,
) -> Result<Vec<Imitated>, CannotRehearse> {
    let asked = asked(topology, benchmark)?.into_iter();
    asked
        .map(|(name, server)| of_server(name, server, folder))
        .collect()
}

fn goes_by_proxy(benchmark: &Measurement) -> bool {
    !matches!(benchmark.endpoint, Way::Instance(_))
}

fn asked<'a>(
    topology: &'a Topology,
    benchmark: &Measurement,
) -> Result<Vec<Named<'a>>, CannotRehearse> {
    let instances = topology.instances.iter();
    let asked: Vec<_> = match (&benchmark.endpoint, &topology.proxy) {
        (Way::Instance(wanted), _) => instances.filter(|(name, _)| *name == wanted).collect(),
        (_, Some(proxy)) => instances
            .filter(|(name, _)| proxy.serves_from(name))
            .collect(),
        (_, None) if topology.instances.len() == 1 => instances.collect(),
        (_, None) => Vec::new(),
    };
    let pools = |(_, server): &&Named<'_>| server.args.text("runner") == Some("pooling");
    if let Some((name, _)) = asked.iter().find(pools) {
        return Err(CannotRehearse::Pools((*name).clone()));
    }
    if asked.is_empty() {
        return Err(CannotRehearse::NobodyAsked);
    }
    Ok(asked)
}

/// Simulated servers share no device, as they have none.
fn share_no_device(asked: &[Named<'_>]) -> Result<(), CannotRehearse> {
    let mut devices: BTreeMap<(&NodeName, Option<&str>), Vec<InstanceName>> = BTreeMap::new();
    let real = asked
        .iter()
        .filter(|(_, server)| server.runtime.vllm().is_some());
    for (name, server) in real {
        let visible = match server.env.get("CUDA_VISIBLE_DEVICES") {
            Some(EnvValue::Plain(devices)) => Some(devices.as_str()),
            Some(EnvValue::FromEnv(_)) | None => None,
        };
        let device = (&server.node, visible);
        devices.entry(device).or_default().push((*name).clone());
    }
    let shared = devices
        .into_iter()
        .find(|(_, instances)| instances.len() > 1);
    match shared {
        Some(((node, _), instances)) => Err(CannotRehearse::SharedDevice {
            node: node.clone(),
            instances,
        }),
        None => Ok(()),
    }
}

/// Bytes a second between those who are asked, where that is not what their profile says.
fn link(topology: &Topology, asked: &[Named<'_>]) -> Option<f64> {
    let real = || {
        asked
            .iter()
            .filter(|(_, server)| server.runtime.vllm().is_some())
    };
    let mut nodes: Vec<_> = real().map(|(_, server)| &server.node).collect();
    nodes.dedup();
    let has_fabric = |name: &&NodeName| {
        let node = topology.nodes.get(*name);
        node.is_some_and(|node| node.addresses.contains_key("fabric"))
    };
    (nodes.len() > 1 && !nodes.iter().all(has_fabric)).then_some(costs::LAN_BYTES_PER_SECOND)
}

impl RehearsedServer {
    fn of(
        name: &InstanceName,
        server: &Server,
        imitated: &Imitated,
        prefill: PrefillSpeed,
        link: Option<f64>,
    ) -> Result<Self, CannotRehearse> {
        let is_certain = imitated.is_certain();
        let model = server.model.as_str();
        let words = ["serve", model, "--profile", imitated.profile.name()];
        let words = words.map(str::to_owned).into_iter();
        let words: Vec<_> = words.chain(server.args.words()).collect();
        let tuning = Tuning {
            pace: imitated.pace(),
            keeps_a_ledger: false,
            prefill: if is_certain { 1.0 } else { prefill.times() },
            lease: lease(server),
            bytes_per_second: link,
        };
        let engine = ClocklessEngine::of(&words, tuning).map_err(|why| {
            let why = match why {
                NoEngine::Refused(why) => why,
                NoEngine::Faulty(flag) => format!("it is to fail by `{flag}`"),
            };
            CannotRehearse::NotSimulated {
                instance: name.clone(),
                why,
            }
        })?;
        Ok(Self {
            name: name.clone(),
            engine,
            serving: if imitated.is_simulated {
                costs::SIMULATED_SERVER
            } else {
                costs::VLLM_SERVER
            },
        })
    }
}

/// How long it keeps what nobody has fetched.
fn lease(server: &Server) -> Duration {
    let seconds = server.kv.as_ref().map_or(0, KvDeclaration::lease_seconds);
    Duration::from_secs(seconds.into())
}

fn of_server(
    name: &InstanceName,
    server: &Server,
    folder: &Path,
) -> Result<Imitated, CannotRehearse> {
    let vllm = match &server.runtime {
        Runtime::Simulated(engine) => {
            return Ok(Imitated {
                profile: engine.profile,
                fitted: None,
                is_simulated: true,
            });
        }
        Runtime::Vllm(vllm) => vllm,
    };
    let fitted = match &vllm.engine.profile {
        Some(file) => fitted(vllm, server, folder, file).map(Some),
        None => unknown(vllm, server).map_or(Ok(None), Err),
    };
    let fitted = fitted.map_err(|what| CannotRehearse::NoProfile {
        instance: name.clone(),
        what,
    })?;
    Ok(Imitated {
        profile: Profile::Gb10Llama8b,
        fitted,
        is_simulated: false,
    })
}

/// The profile in a file, where it is of what this server runs.
fn fitted(
    vllm: &VllmRuntime,
    server: &Server,
    folder: &Path,
    file: &str,
) -> Result<(String, FittedProfile), String> {
    let profile = FittedProfile::read(folder, file)?;
    let of = &profile.of;
    let args = serde_json::to_value(&server.args).unwrap_or_default();
    let args = args.as_object().map(of_speed).unwrap_or_default();
    let version = of.engine["vllm"].as_str().unwrap_or("a simulated engine");
    let (their_args, our_args) = (json!(of.args).to_string(), json!(args).to_string());
    let pairs = [
        (of.model.as_str(), vllm.model.words()),
        (version, vllm.engine.version.as_str()),
        (&their_args, &our_args),
    ];
    if let Some((its, ours)) = pairs.into_iter().find(|(its, ours)| its != ours) {
        return Err(format!("the profile {file} is of {its}, and not of {ours}"));
    }
    Ok((file.to_owned(), profile))
}

/// The repositories whose model the profile of a GB10 is of.
const LLAMA: [&str; 4] = [
    "meta-llama/Llama-3.1-8B",
    "meta-llama/Llama-3.1-8B-Instruct",
    "meta-llama/Meta-Llama-3.1-8B",
    "meta-llama/Meta-Llama-3.1-8B-Instruct",
];

/// Arguments by which an engine computes otherwise than it was measured, with the values that change
/// nothing.
const OTHERWISE: [(&str, &[&str]); 9] = [
    ("cpu_offload_gb", &["0"]),
    ("data_parallel_size", &["1"]),
    ("dtype", &["auto", "bfloat16"]),
    ("enforce_eager", &["false"]),
    ("kv_cache_dtype", &["auto", "bfloat16"]),
    ("pipeline_parallel_size", &["1"]),
    ("quantization", &[]),
    ("speculative_config", &[]),
    ("tensor_parallel_size", &["1"]),
];

/// What no profile knows of a real engine.
fn unknown(vllm: &VllmRuntime, server: &Server) -> Option<String> {
    if vllm.engine.is_for_cpus() {
        return Some("there is no profile of vLLM on a CPU".to_owned());
    }
    let repo = vllm.model.repo.as_str();
    if !LLAMA.contains(&repo) {
        return Some(format!(
            "there is a profile of Llama-3.1-8B on a GB10, and none of `{repo}`"
        ));
    }
    let given = OTHERWISE.iter().find(|(name, same)| {
        let value = server.args.word(name);
        value.is_some_and(|value| !same.contains(&value.as_str()))
    });
    given.map(|(name, _)| format!("there is no profile of it with `{name}` as it is"))
}

impl RehearsedProxy {
    /// What an instance is chosen for first.
    pub(super) fn first_part(&self, question: &Question) -> Part {
        if !self.choices.splits() {
            return Part::Whole;
        }
        let tokens = question.prompt.len() as f64;
        let unread = |tokens: f64| tokens * (1.0 - self.choices.part_read(&question.body));
        let least = self.least_shared as f64;
        if self.least_shared > 0 && (tokens < least || unread(tokens) < least) {
            return Part::Alone;
        }
        Part::Prefill
    }

    fn of(declared: &ProxyDeclaration, asked: &[Named<'_>]) -> Result<Self, CannotRehearse> {
        let InstanceLimits {
            in_flight,
            queue,
            min_prefill_tokens,
        } = declared.limits;
        let candidates = asked.iter().map(|(name, server)| Candidate {
            name: name.to_string(),
            role: server.role,
            weight: declared.weights.get(*name).map_or(1, |it| Weight::get(*it)),
            most: in_flight.map(|most| u64::from(most.get())),
        });
        let candidates: Vec<_> = candidates.collect();
        let choices = Choices::of(&declared.policy, &candidates);
        let each = queue.or(in_flight.map(|most| most.get().saturating_mul(2)));
        Ok(Self {
            choices: choices.ok_or(CannotRehearse::NobodyAsked)?,
            reads: reads_what_is_asked(&declared.policy),
            least_shared: min_prefill_tokens.unwrap_or(0) as usize,
            line: WaitingLine {
                most: each.map_or(usize::MAX, |each| each as usize * asked.len()),
                patience: declared.timeouts.queue.duration(),
            },
        })
    }
}
