//! Under which conditions a number came about: what measured, from where, what was asked.

use std::collections::BTreeMap;

use rustix::process::{Resource, getrlimit};
use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::{Digest, Sha256};

use super::summary::DEFINITIONS;
use crate::hex::hex;
use crate::plan::{Endpoint, Job, Target};
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientFacts {
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
    /// When requests were sent.
    pub load: Course,
    /// The prompts' facts.
    pub prompts: PromptFacts,
    /// How often it was to be driven, where that was said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repeats: Option<u32>,
    /// Tokens asked of each request.
    pub max_tokens: u32,
    /// Requests sent to every instance before measuring.
    pub warmup: u32,
    /// Seconds that a request may take.
    pub timeout_s: f64,
    /// The name of the definitions of every metric.
    pub definitions: String,
}

/// What is told of prompts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PromptFacts {
    /// How many there are.
    pub count: usize,
    /// The digest of all of them, in order.
    pub sha256: String,
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
            host: system.nodename().to_string_lossy().into_owned(),
            platform: format!("{}/{}", std::env::consts::OS, std::env::consts::ARCH),
            kernel: system.release().to_string_lossy().into_owned(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            clock: "monotonic".to_owned(),
            descriptors: getrlimit(Resource::Nofile).current,
            ports: ephemeral_ports(),
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
            load: job.load.clone(),
            prompts: PromptFacts::of(&job.prompts),
            repeats: job.repeats,
            max_tokens: job.max_tokens,
            warmup: job.warmup,
            timeout_s: job.timeout_s,
            definitions: DEFINITIONS.to_owned(),
        }
    }
}

impl PromptFacts {
    fn of(prompts: &[String]) -> Self {
        let text = serde_json::to_string(prompts).expect("texts are JSON");
        Self {
            count: prompts.len(),
            sha256: hex(&Sha256::digest(text)),
        }
    }
}

/// The digest of what is measured, whatever is asked of it: the model, the way in and its policy,
/// and the very processes. Results with the same one may be held together.
fn targets(job: &Job) -> String {
    let processes: BTreeMap<&str, &str> = job
        .instances
        .iter()
        .map(|target| (target.name.as_str(), target.nonce.as_str()))
        .collect();
    let what = json!({
        "model": job.model,
        "is_proxy": job.endpoint.is_proxy,
        "policy": job.endpoint.policy,
        "instances": processes,
    });
    hex(&Sha256::digest(what.to_string()))
}
