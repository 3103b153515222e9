//! The room of the benchmark: a measurement to have.
//!
//! It is as declared when there is a valid result whose fingerprint equals that of this job
//! against these targets. What it rests on is compared by specification and not by process: a
//! server that was killed and started again as it was needs no new measurement.

mod declared;
mod job;
mod objective;
mod unknown;
mod warmup;
mod way;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

pub use declared::*;
use job::{Asked, terms};
pub use objective::Objective;
use serde_json::{Value, json};
pub use unknown::{InvalidUrl, UnknownServer};
pub use warmup::WarmupDeclaration;
pub use way::{Aimed, Way, name_at};

use super::contract::{Observation, Resource};
use super::facts::Fact;
use super::instance::Instance;
use super::process::{differences, fingerprint};
use super::program::Program;
use super::proxy::Proxy;
use crate::name::{BenchmarkName, NodeName, TopologyName};
use crate::plan::effect::Secret;
use crate::plan::{
    Action, Address, Change, Effect, Endpoint, Field, Job, LivenessProbe, ManifestOrigin,
    Operation, Operations, Reason, ReasonCode, Relations, Sender, Stand, Target,
};
use crate::prompts::{Asks, Reading, Unreadable};
use crate::results::{self, JobFacts, PastResult};
use crate::shape::{Course, UnreadableTrace};

/// What this kind is called.
pub const KIND: &str = "benchmark";

/// A measurement to have of a topology.
pub struct Benchmark {
    address: Address,
    topology: TopologyName,
    name: BenchmarkName,
    declared: Measurement,
    measured: Measured,
    /// The benchmark whose result it is held against, which is measured before it.
    beside: Option<BenchmarkName>,
    files: Files,
    /// The load with what it takes from a file, or why that cannot be read.
    load: Result<Course, UnreadableTrace>,
    /// What is asked, or why it cannot be read.
    asks: Result<Asks, Unreadable>,
    /// What was measured before, the newest first.
    past: Vec<PastResult>,
}

/// What is measured, and from where: the proxy and all servers behind it, or one server.
#[derive(Clone)]
pub struct Measured {
    /// One of the servers; each serves the same model.
    first: Arc<Instance>,
    instances: Vec<Arc<Instance>>,
    /// The other servers of the topology.
    idle: Vec<Arc<Instance>>,
    proxy: Option<Arc<Proxy>>,
    /// The program that sends, where it is not on this machine.
    sender: Option<Arc<Program>>,
}

impl Measured {
    /// These servers, by way of the proxy where there is one. Without a server there is nothing to
    /// measure, which the manifest's rules do not let pass.
    pub fn new(instances: &[Arc<Instance>], proxy: Option<&Arc<Proxy>>) -> Option<Self> {
        let instances = proxy.map_or(instances, |proxy| proxy.backends());
        Some(Self {
            first: Arc::clone(instances.first()?),
            instances: instances.to_vec(),
            idle: Vec::new(),
            proxy: proxy.cloned(),
            sender: None,
        })
    }

    /// One server, past the proxy.
    fn alone(instance: &Arc<Instance>) -> Self {
        Self {
            first: Arc::clone(instance),
            instances: vec![Arc::clone(instance)],
            idle: Vec::new(),
            proxy: None,
            sender: None,
        }
    }

    /// The same, measured from the node of this program.
    #[must_use]
    pub fn sent_by(self, sender: Option<Arc<Program>>) -> Self {
        Self { sender, ..self }
    }

    /// The same, with the others of these beside it.
    #[must_use]
    pub fn among(self, all: &[Arc<Instance>]) -> Self {
        let is_measured =
            |it: &Arc<Instance>| self.instances.iter().any(|own| own.name() == it.name());
        let others = all.iter().filter(|it| !is_measured(it));
        let idle = others.cloned().collect();
        Self { idle, ..self }
    }

    /// The node that it is measured from; none where that is this machine.
    fn place(&self) -> Option<&NodeName> {
        self.sender.as_ref().map(|program| program.node())
    }

    fn endpoint(&self) -> Endpoint {
        match &self.proxy {
            Some(proxy) => Endpoint {
                authority: proxy.authority(),
                is_proxy: true,
                policy: Some(proxy.policy()),
            },
            None => Endpoint {
                authority: self.first.authority(),
                is_proxy: false,
                policy: None,
            },
        }
    }

    /// What is shown to whom: the declared key to who clients speak to, and its own to each server, also
    /// to those that are idle.
    fn api_keys(&self, observed: &Observation) -> BTreeMap<String, Secret> {
        let servers = self.instances.iter().chain(&self.idle);
        let own = servers.filter_map(|instance| {
            let key = instance.api_key(&instance.planned_mark(observed))?;
            Some((instance.authority(), key))
        });
        let mut keys: BTreeMap<_, _> = own.collect();
        let proxy = self.proxy.as_ref();
        if let Some((proxy, variable)) = proxy.and_then(|it| Some((it, it.client_variable()?))) {
            keys.insert(proxy.authority(), Secret::Variable(variable.to_owned()));
        }
        keys
    }

    /// What is known of the conditions.
    fn provenance(&self, topology: &TopologyName, observed: &Observation) -> Value {
        let told = |all: &[Arc<Instance>]| {
            let told = all.iter().map(|instance| instance.provenance(observed));
            told.collect::<Vec<_>>()
        };
        let mut provenance = json!({
            "name": topology,
            "instances": told(&self.instances),
            "proxy": self.proxy.as_ref().map(|proxy| json!({
                "address": proxy.address(),
                "authority": proxy.authority(),
                "policy": proxy.policy(),
            })),
        });
        if !self.idle.is_empty() {
            provenance["idle"] = told(&self.idle).into();
        }
        provenance
    }

    fn addresses(&self) -> Vec<Address> {
        let instances = self.instances.iter().map(|i| i.address().clone());
        let proxy = self.proxy.iter().map(|p| p.address().clone());
        let sender = self.sender.iter().map(|p| p.address().clone());
        instances.chain(proxy).chain(sender).collect()
    }
}

/// Where a measurement reads and writes.
#[derive(Debug, Clone)]
pub struct Files {
    /// The folder of results.
    pub results: PathBuf,
    /// The folder of the manifest, which the paths in it are relative to.
    pub manifest: PathBuf,
    /// Where the manifest comes from, for results.
    pub origin: Option<ManifestOrigin>,
}

impl Benchmark {
    /// The benchmark, with the results that there are.
    pub fn new(topology: &TopologyName, target: Aimed, files: Files) -> Self {
        let Aimed {
            name,
            declared,
            measured,
            beside,
        } = target;
        let past = results::past_results(&files.results, topology.as_str(), name.as_str());
        let mut load = declared.load.clone();
        let is_read = load.read(&files.manifest);
        let asks = declared.source.read(&Reading {
            folder: &files.manifest,
            api: declared.api,
            max_tokens: declared.max_tokens,
        });
        Self {
            address: Address::nowhere(KIND, name.as_str()),
            topology: topology.clone(),
            name,
            declared,
            measured,
            beside,
            files,
            load: is_read.map(|()| load),
            asks,
            past,
        }
    }

    /// What is measured before it.
    fn before(&self) -> Vec<Address> {
        let beside = self.beside.iter();
        beside
            .map(|name| Address::nowhere(KIND, name.as_str()))
            .collect()
    }

    fn load(&self) -> &Course {
        self.load.as_ref().unwrap_or(&self.declared.load)
    }

    fn fingerprint(&self, observed: &Observation) -> String {
        let mut instances: Vec<_> = self
            .measured
            .instances
            .iter()
            .map(|instance| json!([instance.address(), instance.fingerprint(observed)]))
            .collect();
        instances.sort_by_key(ToString::to_string);
        let mut job = terms(&self.declared, self.load(), self.asks.as_ref().ok());
        if let Some(node) = self.measured.place() {
            job["from"] = json!(node);
        }
        fingerprint(&json!({
            "job": job,
            "proxy": self.measured.proxy.as_ref().map(|proxy| proxy.fingerprint()),
            "instances": instances,
        }))
    }

    fn job(&self, observed: &Observation, asks: &Asks) -> Job {
        let Measured {
            first,
            instances,
            idle,
            sender,
            ..
        } = &self.measured;
        let asked = Asked {
            prompts: asks.clone().out_of(first.ordinary_ids(observed)),
            load: self.load().clone(),
        };
        Job {
            name: self.name.to_string(),
            topology: self.topology.to_string(),
            fingerprint: self.fingerprint(observed),
            endpoint: self.measured.endpoint(),
            instances: instances.iter().map(|i| target(i, observed)).collect(),
            idle: idle.iter().map(|i| target(i, observed)).collect(),
            idle_placed: idle.iter().map(|i| i.placed(observed)).collect(),
            placed: instances.iter().map(|i| i.placed(observed)).collect(),
            model: first.served_model().to_owned(),
            api_keys: self.measured.api_keys(observed),
            from: sender.as_ref().map(|program| Sender {
                node: program.node().clone(),
                program: program.path(observed),
            }),
            provenance: self.measured.provenance(&self.topology, observed),
            ..asked.job(&self.declared, &self.files)
        }
    }
}

fn target(instance: &Arc<Instance>, observed: &Observation) -> Target {
    Target {
        name: instance.name().to_string(),
        authority: instance.authority(),
        nonce: instance.planned_mark(observed).nonce(),
        max_num_seqs: instance.max_num_seqs(),
        role: (!instance.role().is_both()).then(|| instance.role().to_string()),
    }
}

/// What a result says, for the line in the plan.
fn headline(past: &PastResult) -> String {
    let when = past.started.strftime("%Y-%m-%d %H:%M UTC");
    match results::throughput(&past.headlines) {
        Some(throughput) => format!("{throughput}, measured {when}"),
        None => format!("measured {when}"),
    }
}

impl Benchmark {
    fn compare(&self, observed: &Observation, asks: &Asks) -> Change {
        let run = |code, text| {
            let reason = Reason::new(code, text);
            Change::new(&self.address, Action::Create, vec![reason])
        };
        let fingerprint = self.fingerprint(observed);
        let of_this = |past: &&PastResult| past.fingerprint == fingerprint;
        // What was measured of exactly this counts, whatever was measured since.
        let mut valid = self.past.iter().filter(|past| past.valid);
        if let Some(past) = valid.find(of_this) {
            return Change::keep(&self.address, headline(past));
        }
        match self.past.first() {
            None => run(ReasonCode::Absent, "there is no result yet"),
            Some(newest) if of_this(&newest) => {
                run(ReasonCode::Invalid, "the newest result cannot be believed")
            }
            Some(newest) => run(
                ReasonCode::Differs,
                "the newest result is of something else",
            )
            .with_fields(self.differences(newest, observed, asks)),
        }
    }

    /// What a result depends on and is another thing now.
    fn differences(&self, past: &PastResult, observed: &Observation, asks: &Asks) -> Vec<Field> {
        let job = self.job(observed, asks);
        let mut now = results::terms(&JobFacts::from(&job), &job.provenance);
        // What an older version did not write down is not known to differ.
        now.retain(|key, _| past.terms.contains_key(key));
        let mut fields = differences(&json!(past.terms), &json!(now), &[]);
        for field in &mut fields {
            field.forces_replacement = false;
        }
        fields
    }
}

impl Resource for Benchmark {
    fn address(&self) -> &Address {
        &self.address
    }

    fn facts(&self) -> Vec<(NodeName, Fact)> {
        Vec::new()
    }

    fn liveness_probe(&self, _: &Observation) -> Option<LivenessProbe> {
        None
    }

    fn stand(&self, observed: &Observation) -> Stand {
        if let Err(why) = &self.load {
            let reason = Reason::new(ReasonCode::NoFile, &why.message).hinted(&why.hint);
            return Stand::new(Change::blocked(&self.address, reason));
        }
        let asks = match &self.asks {
            Ok(asks) => asks,
            Err(why) => {
                let reason = Reason::new(ReasonCode::NoFile, &why.message).hinted(&why.hint);
                return Stand::new(Change::blocked(&self.address, reason));
            }
        };
        let change = self.compare(observed, asks);
        let measure = Effect::Measure(Box::new(self.job(observed, asks)));
        Stand {
            operations: Operations {
                start: vec![Operation::here(measure)],
                ..Operations::default()
            },
            relations: Relations {
                requires: [self.measured.addresses(), self.before()].concat(),
                // Two measurements at once would measure each other.
                concurrency_group: Some("measuring".to_owned()),
                ..Relations::default()
            },
            ..Stand::new(change.made_from(self.measured.place()))
        }
    }
}
