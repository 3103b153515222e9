//! Under which conditions a number came about: what measured, from where, what was asked.

use std::collections::{BTreeMap, BTreeSet};

use rustix::process::{Resource, getrlimit};
use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::{Digest, Sha256};

use super::quantile::Distribution;
use super::record::Record;
use super::summary::DEFINITIONS;
use crate::hex::hex;
use crate::name::NodeName;
use crate::plan::{Endpoint, FailIf, Job, Slo, Target, WarmWhen};
use crate::prompts::{Api, Cache, Sampling};
use crate::shape::Course;

/// What measured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tool {
    /// `replica`.
    pub name: String,
    /// Its version.
    pub version: String,
}

/// One run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// Its name: a part of every request's id and cache salt.
    pub id: String,
    /// When it began, by the wall clock; nothing is computed from it.
    pub started: jiff::Timestamp,
}

/// Where the load came from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClientFacts {
    /// The node that it is, where it is not the machine that `replica` was run on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeName>,
    /// The host's name.
    pub host: String,
    /// Its operating system and architecture: `linux/aarch64`.
    pub platform: String,
    /// Its kernel's release.
    pub kernel: String,
    /// How many cores it lets this process use.
    pub cores: usize,
    /// The clock of every stamp.
    pub clock: String,
    /// How many files it lets this process have open, each connection being one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub descriptors: Option<u64>,
    /// How many ports it has for connections that are made from it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ports: Option<u32>,
    /// What the generator itself cost, as it was measured before the warm-up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overhead: Option<Overhead>,
}

/// What the generator itself costs: the times that it measured of a server on its own loopback less
/// what that server wrote down of itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Overhead {
    /// How many requests were in flight together.
    pub at_once: u32,
    /// What a time to the first token has too much.
    pub ttft: Distribution,
    /// What a gap between two tokens has too much.
    pub itl: Distribution,
    /// How many events a second it took in when they came as fast as they could be written.
    pub max_events_s: f64,
}

/// What was asked, without the prompts themselves.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobFacts {
    /// The benchmark's name.
    pub name: String,
    /// The topology's name.
    pub topology: String,
    /// The digest of all that the result depends on.
    pub fingerprint: String,
    /// The digest of what was measured, without the job: results of one are comparable.
    pub targets: String,
    /// The model's name.
    pub model: String,
    /// Where requests went.
    pub endpoint: Endpoint,
    /// The instances behind it.
    pub instances: Vec<Target>,
    /// The node that they came from, where it was not the machine that `replica` was run on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<NodeName>,
    /// When requests were sent.
    pub load: Course,
    /// The prompts' facts.
    pub prompts: PromptFacts,
    /// How often it was to be driven, where that was said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repeats: Option<u32>,
    /// The route that was asked.
    #[serde(default)]
    pub api: Api,
    /// How tokens were chosen, as it was sent.
    #[serde(default = "greedy")]
    pub sampling: Sampling,
    /// What servers might take out of their prefix caches.
    #[serde(default)]
    pub cache: Cache,
    /// Tokens asked of each request; where answers differ in length, of the longest.
    pub max_tokens: u32,
    /// Whether all answers were to have that length.
    #[serde(default = "yes")]
    pub equal_lengths: bool,
    /// Requests sent to every instance before measuring, at least.
    pub warmup: u32,
    /// When an instance counted as warm.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warm_when: Option<WarmWhen>,
    /// How fast a request had to be to be good, and how many had to be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slo: Option<Slo>,
    /// When the measurement has failed though its result stands.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fail_if: Vec<FailIf>,
    /// Seconds that a request may take.
    pub timeout_s: f64,
    /// The name of the definitions of every metric.
    pub definitions: String,
}

/// What is told of prompts.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct PromptFacts {
    /// The key that names their source: `inline`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// How many there are; where each request has its own, how many were sent.
    pub count: usize,
    /// The digest of all of them, in order; where they are drawn, of all that they are drawn from.
    pub sha256: String,
    /// Tokens of the prompts that were sent, as the servers counted them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input_tokens: Option<Lengths>,
    /// Tokens that were asked of the answers to them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_tokens: Option<Lengths>,
    /// As many tokens of each prompt as it shares with others of its group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shared_prefix_tokens: Option<u32>,
}

/// How long things are, in tokens.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Lengths {
    /// The shortest.
    pub min: u64,
    /// Their mean.
    pub mean: f64,
    /// The longest.
    pub max: u64,
}

/// The machine that `replica` is run on, in words.
const HERE: &str = "this machine";

fn greedy() -> Sampling {
    Sampling::default().sent()
}

fn yes() -> bool {
    true
}

impl Tool {
    pub(crate) fn this() -> Self {
        Self {
            name: env!("CARGO_PKG_NAME").to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }
}

impl ClientFacts {
    pub(crate) fn here() -> Self {
        let system = rustix::system::uname();
        Self {
            node: None,
            host: system.nodename().to_string_lossy().into_owned(),
            platform: format!("{}/{}", std::env::consts::OS, std::env::consts::ARCH),
            kernel: system.release().to_string_lossy().into_owned(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            clock: "monotonic".to_owned(),
            descriptors: getrlimit(Resource::Nofile).current,
            ports: ephemeral_ports(),
            overhead: None,
        }
    }
}

/// How many ports Linux gives to connections that are made, `ip(7)`, `ip_local_port_range`.
fn ephemeral_ports() -> Option<u32> {
    let range = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").ok()?;
    let mut ends = range.split_whitespace().map(str::parse::<u32>);
    let (first, last) = (ends.next()?.ok()?, ends.next()?.ok()?);
    Some(last.checked_sub(first)? + 1)
}

impl From<&Job> for JobFacts {
    fn from(job: &Job) -> Self {
        Self {
            name: job.name.clone(),
            topology: job.topology.clone(),
            fingerprint: job.fingerprint.clone(),
            targets: targets(job),
            model: job.model.clone(),
            endpoint: job.endpoint.clone(),
            instances: job.instances.clone(),
            from: job.from.as_ref().map(|from| from.node.clone()),
            load: job.load.clone(),
            prompts: PromptFacts::of(job),
            repeats: job.repeats,
            api: job.api,
            sampling: job.sampling.sent(),
            cache: job.cache,
            max_tokens: job.max_tokens,
            equal_lengths: job.prompts.are_answers_equal() && job.sampling.is_exact(),
            warmup: job.warmup,
            warm_when: Some(job.warm_when),
            slo: job.slo,
            fail_if: job.fail_if.clone(),
            timeout_s: job.timeout_s,
            definitions: DEFINITIONS.to_owned(),
        }
    }
}

impl JobFacts {
    /// Where requests came from, in words: `this machine`, `spark-01`.
    pub(crate) fn place(&self) -> String {
        let node = self.from.as_ref();
        node.map_or_else(|| HERE.to_owned(), ToString::to_string)
    }

    /// The same, with what only the requests tell: how long prompts were, and how long the answers
    /// that were asked.
    #[must_use]
    pub(crate) fn told_by(mut self, records: &[&Record]) -> Self {
        let asked = || records.iter().filter_map(|it| it.asked);
        self.max_tokens = asked().max().unwrap_or(self.max_tokens);
        if self.prompts.count == 0 {
            let numbers: BTreeSet<u32> = records.iter().filter_map(|it| it.prompt_number).collect();
            self.prompts.count = numbers.len();
        }
        self.prompts.input_tokens = Lengths::of(records.iter().filter_map(|it| it.n_in));
        self.prompts.output_tokens = Lengths::of(asked().map(u64::from));
        self
    }
}

impl PromptFacts {
    fn of(job: &Job) -> Self {
        Self {
            kind: Some(job.prompts.kind().to_owned()),
            count: job.prompts.count().unwrap_or(0),
            sha256: job.prompts.sha256().to_owned(),
            input_tokens: None,
            output_tokens: None,
            shared_prefix_tokens: job.prompts.shared_prefix(),
        }
    }
}

impl Lengths {
    fn of(lengths: impl Iterator<Item = u64>) -> Option<Self> {
        let all: Vec<u64> = lengths.collect();
        Some(Self {
            min: *all.iter().min()?,
            mean: all.iter().sum::<u64>() as f64 / all.len() as f64,
            max: *all.iter().max()?,
        })
    }
}

/// The digest of what is measured, whatever is asked of it: the model, where it is seen
/// from, the way in and its policy, and the very processes. Results with the same one may be held together.
fn targets(job: &Job) -> String {
    let processes: BTreeMap<&str, &str> = job
        .instances
        .iter()
        .map(|target| (target.name.as_str(), target.nonce.as_str()))
        .collect();
    let mut what = json!({
        "model": job.model,
        "is_proxy": job.endpoint.is_proxy,
        "policy": job.endpoint.policy,
        "instances": processes,
    });
    // What is seen from elsewhere is seen through another network.
    if let Some(from) = &job.from {
        what["from"] = json!(from.node);
    }
    hex(&Sha256::digest(what.to_string()))
}
