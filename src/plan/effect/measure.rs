//! A measurement to make, as a value.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::Secret;
use crate::name::NodeName;
use crate::plan::{FailIf, ManifestOrigin, Placed, Slo};
use crate::prompts::{Api, Asks, Cache, Keep, Sampling};
use crate::shape::Course;

/// Everything that a measurement needs to know, and everything that its result will name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// The benchmark's name.
    pub name: String,
    /// The topology's name.
    pub topology: String,
    /// The digest of all that the result depends on: this job and the specifications of what it
    /// measures.
    pub fingerprint: String,
    /// Where requests go: the proxy, or a single instance where there is no proxy.
    pub endpoint: Endpoint,
    /// Every instance behind it; each is warmed directly. None where it is not known what is behind it:
    /// nothing is proved of it then.
    pub instances: Vec<Target>,
    /// The other instances of the topology, which are to be idle meanwhile: they may share a GPU with those.
    pub idle: Vec<Target>,
    /// Where their processes are: how fast their machines are is to be known too.
    #[serde(default)]
    pub idle_placed: Vec<Placed>,
    /// Where the processes of those that are measured are, to be looked at before and after.
    pub placed: Vec<Placed>,
    /// The model's name, as clients say it.
    pub model: String,
    /// What is asked, request by request.
    pub prompts: Asks,
    /// The route that is asked.
    pub api: Api,
    /// How tokens are chosen.
    pub sampling: Sampling,
    /// What servers may take out of their prefix caches.
    pub cache: Cache,
    /// What is kept of each request beside its numbers.
    pub keep: Option<Keep>,
    /// When requests are sent.
    pub load: Course,
    /// How often the load is driven; as often as it takes to tell something, where it is not said.
    pub repeats: Option<u32>,
    /// Tokens of the longest answer that is asked.
    pub max_tokens: u32,
    /// Requests sent to every instance before measuring, at least.
    pub warmup: u32,
    /// Tokens of the short answer that every instance gives before and after, with nothing else in
    /// flight; with fewer than two there is none.
    pub canary: u32,
    /// When an instance counts as warm.
    pub warm_when: WarmWhen,
    /// How fast a request must be to be good, and how many must be.
    pub slo: Option<Slo>,
    /// When the measurement has failed though its result stands.
    pub fail_if: Vec<FailIf>,
    /// Seconds that a request may take.
    pub timeout_s: f64,
    /// The API keys that are needed, each by whom it is shown to: `host:port`.
    pub api_keys: BTreeMap<String, Secret>,
    /// A result to compare with: the notebook's `baseline_metrics.json`, or one of ours.
    pub baseline: Option<PathBuf>,
    /// Where to write the notebook's `replicated_metrics.json`.
    pub save: Option<PathBuf>,
    /// The folder for results: `<results>/<topology>/<benchmark>/<time>.json`.
    pub results: PathBuf,
    /// Where the manifest comes from.
    pub manifest: Option<ManifestOrigin>,
    /// The node that sends, where it is not this machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Sender>,
    /// What is known of the conditions: engine versions, arguments, revisions, pids, boot ids.
    /// Written into the result as it stands, under `topology`.
    pub provenance: serde_json::Value,
    /// What whoever measures calls the result, to find it again. No result depends on it.
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
    /// What whoever measures says of it.
    #[serde(default)]
    pub notes: Vec<String>,
}

impl Job {
    /// Who is asked before anything is measured: every instance; or the endpoint as if it were one, where
    /// it is not known what is behind it.
    pub fn warmed_targets(&self) -> Vec<Target> {
        if self.instances.is_empty() {
            return vec![Target::unknown(&self.endpoint.authority)];
        }
        self.instances.clone()
    }
}

/// A node that sends what is measured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sender {
    /// The node.
    pub node: NodeName,
    /// Where `replica` stands on it.
    pub program: String,
}

/// When an instance counts as warm: two requests in a row took as long as each other.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct WarmWhen {
    /// The share by which they may differ.
    pub within: f64,
    /// How many requests there are at most until then.
    pub max: u32,
}

impl Default for WarmWhen {
    fn default() -> Self {
        Self {
            within: 0.05,
            max: 10,
        }
    }
}

/// Where requests go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// `host:port`, as it is dialled from where requests are sent.
    pub authority: String,
    /// Whether it is our proxy, whose responses name who served them.
    pub is_proxy: bool,
    /// The routing policy, for the result: `round_robin`.
    pub policy: Option<String>,
}

/// One instance that is measured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// The instance's name: what `x-replica-instance` says.
    pub name: String,
    /// `host:port`, as it is dialled from where requests are sent.
    pub authority: String,
    /// The served name that only this very process has.
    pub nonce: String,
    /// How many requests its engine runs at once, where that is known.
    pub max_num_seqs: Option<u32>,
    /// What it does of a request, where its peers do another part: `prefill`, `decode`. Those of
    /// different roles are not compared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
}

impl Target {
    /// Whoever answers at an address, of whom nothing is known; it is called by that address.
    fn unknown(authority: &str) -> Self {
        Self {
            name: authority.to_owned(),
            authority: authority.to_owned(),
            nonce: String::new(),
            max_num_seqs: None,
            role: None,
        }
    }
}
