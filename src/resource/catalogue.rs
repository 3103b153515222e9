//! From a topology to its things: the one place where all kinds are named together.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::asked::{Asked, Replaced};
use super::benchmark::{self, Benchmark};
use super::contract::{Kind, Listed, Resource};
use super::engine::{self, Installation};
use super::instance::{self, Instance, Partner, Parts, Runtime, Server};
use super::kind::{Kept, Marked};
use super::model::{self, Fetcher, Model, ModelDeclaration, Sharing, Wanted};
use super::node_files::{Listens, StateFolder};
use super::process::Care;
use super::program::{self, Binaries, Program};
use super::proxy::{self, DEFAULT_REACH, Proxy};
use super::topology::Topology;
use crate::name::{InstanceName, ModelName, NodeName};
use crate::node::{NodeDeclaration, Reach, SecretsPolicy, SupervisorPolicy, UnmanagedPolicy};
use crate::plan::{ManifestOrigin, Role};

/// Every kind, in the order in which things are made; they are destroyed the other way round.
pub static KINDS: &[&dyn Kind] = &[
    &program::Kind,
    &Kept(engine::KIND),
    &Kept(model::KIND),
    &Marked {
        name: instance::KIND,
        listed: Listed::ByName("instances"),
    },
    &Marked {
        name: proxy::KIND,
        listed: Listed::Alone,
    },
    &Kept(benchmark::KIND),
];

/// The things of one topology, each after what it requires.
pub struct Catalogue {
    instances: Vec<Arc<Instance>>,
    /// The proxy, where one is declared.
    proxy: Option<Arc<Proxy>>,
    benchmarks: Vec<Arc<Benchmark>>,
    others: Vec<Arc<dyn Resource>>,
}

/// Where a catalogue looks beside the manifest.
#[derive(Debug, Clone)]
pub struct Paths {
    /// The folder of the manifest.
    pub manifest: PathBuf,
    /// Where that comes from, for results.
    pub origin: Option<ManifestOrigin>,
    /// The folder of results.
    pub results: PathBuf,
}

impl Catalogue {
    /// The things of a topology.
    pub fn new(topology: &Topology, binaries: &Arc<Binaries>, paths: &Paths) -> Self {
        Self::asked(topology, binaries, paths, &Asked::default())
    }

    /// The same, of which somebody asked for more than is declared.
    pub fn asked(
        topology: &Topology,
        binaries: &Arc<Binaries>,
        paths: &Paths,
        asked: &Asked,
    ) -> Self {
        let programs = programs(topology, binaries);
        let Asked { replaced, drains } = asked;
        let instances = instances(topology, binaries, replaced);
        let proxy = topology.proxy.as_ref().map(|declared| {
            let is_behind = |instance: &&Arc<Instance>| declared.serves_from(instance.name());
            let proxy = Proxy::new(
                &topology.name,
                listens(topology, &declared.node, declared.host.as_ref()),
                declared,
                instances.iter().filter(is_behind).cloned().collect(),
                Arc::clone(&programs[&declared.node]),
            );
            let proxy = proxy.beside(unmanaged(topology, &declared.node));
            let proxy = proxy.in_care(care(topology, &declared.node));
            Arc::new(proxy.replaced(replaced).draining(drains))
        });
        let benchmarks = benchmarks(topology, &instances, proxy.as_ref(), &programs, paths);
        let mut others: Vec<Arc<dyn Resource>> = Vec::new();
        others.extend(programs.into_values().map(|p| p as Arc<dyn Resource>));
        others.extend(engines_and_models(topology, binaries));
        Self {
            instances,
            proxy,
            benchmarks,
            others,
        }
    }

    /// The servers.
    pub fn instances(&self) -> impl Iterator<Item = &Instance> {
        self.instances.iter().map(AsRef::as_ref)
    }

    /// All of them, each after what it needs.
    pub fn resources(&self) -> Vec<Arc<dyn Resource>> {
        let mut all = self.others.clone();
        all.extend(
            self.instances
                .iter()
                .map(|i| Arc::clone(i) as Arc<dyn Resource>),
        );
        all.extend(
            self.proxy
                .iter()
                .map(|p| Arc::clone(p) as Arc<dyn Resource>),
        );
        all.extend(
            self.benchmarks
                .iter()
                .map(|b| Arc::clone(b) as Arc<dyn Resource>),
        );
        all
    }
}

/// Finds the binaries that a topology needs: none where nothing of it runs `replica` on a node.
///
/// # Errors
///
/// When a binary cannot be read.
pub fn binaries(topology: &Topology, folder: Option<&Path>) -> io::Result<Arc<Binaries>> {
    // With several nodes, a model may be copied from one to another.
    if nodes_with_program(topology).next().is_none() && topology.nodes.len() < 2 {
        return Ok(Arc::default());
    }
    Binaries::find(folder).map(Arc::new)
}

/// The nodes that run `replica` itself: the simulator, the proxy, or what sends requests to them.
fn nodes_with_program(topology: &Topology) -> impl Iterator<Item = &NodeName> {
    let servers = topology.instances.values();
    let simulated = servers.filter(|server| match server.runtime {
        Runtime::Simulated(_) => true,
        Runtime::Vllm(_) => false,
    });
    let simulated = simulated.flat_map(Server::nodes);
    let benchmarks = topology.benchmarks.values();
    let senders = benchmarks.filter_map(|benchmark| topology.sender(benchmark));
    let proxy = topology.proxy.iter().map(|proxy| &proxy.node);
    simulated.chain(proxy).chain(senders)
}

fn programs(topology: &Topology, binaries: &Arc<Binaries>) -> BTreeMap<NodeName, Arc<Program>> {
    nodes_with_program(topology)
        .map(|node| (node.clone(), program(topology, node, binaries)))
        .collect()
}

fn program(topology: &Topology, node: &NodeName, binaries: &Arc<Binaries>) -> Arc<Program> {
    Arc::new(Program::new(&topology.name, node, binaries))
}

fn instances(
    topology: &Topology,
    binaries: &Arc<Binaries>,
    replaced: &Replaced,
) -> Vec<Arc<Instance>> {
    let mut mates: BTreeMap<&NodeName, BTreeSet<InstanceName>> = BTreeMap::new();
    for (name, server) in &topology.instances {
        mates.entry(&server.node).or_default().insert(name.clone());
    }
    let mates: BTreeMap<_, _> = mates
        .into_iter()
        .map(|(node, it)| (node, Arc::new(it)))
        .collect();
    let proxy = topology.proxy.as_ref();
    let mut last: BTreeMap<&NodeName, Arc<Instance>> = BTreeMap::new();
    let mut instances = Vec::new();
    for (name, server) in &topology.instances {
        let of_node = care(topology, &server.node);
        let instance = Instance::new(Parts {
            topology: topology.name.clone(),
            name: name.clone(),
            listens: listens(topology, &server.node, server.host.as_ref()),
            unmanaged: unmanaged(topology, &server.node),
            care: Care {
                secrets: server.secrets.unwrap_or(of_node.secrets),
                ..of_node
            },
            server: server.clone(),
            program: program(topology, &server.node, binaries),
            before: last.get(&server.node).cloned(),
            mates: Arc::clone(&mates[&server.node]),
            partners: partners(topology, name, server),
            rollout: proxy
                .filter(|proxy| proxy.serves_from(name))
                .map(|proxy| proxy.rollout),
            memory_bandwidth: topology
                .nodes
                .get(&server.node)
                .and_then(|it| it.memory_bandwidth),
        });
        let instance = Arc::new(instance.replaced(replaced));
        last.insert(&server.node, Arc::clone(&instance));
        instances.push(instance);
    }
    instances
}

/// Those that do the other part of the requests of an instance, where vLLM is to refuse what is unlike.
fn partners(topology: &Topology, name: &InstanceName, server: &Server) -> Vec<Partner> {
    let is_checked = |server: &Server| {
        let kv = server.kv.as_ref();
        kv.is_some_and(|kv| kv.enforce_handshake_compat)
    };
    let proxy = topology.proxy.as_ref();
    let is_served = |name: &InstanceName| proxy.is_some_and(|proxy| proxy.serves_from(name));
    if !is_checked(server) || !is_served(name) {
        return Vec::new();
    }
    let shares = |role: Role| {
        let is_split = !(role.is_both() && server.role.is_both());
        is_split
            && (role.prefills() && server.role.decodes()
                || role.decodes() && server.role.prefills())
    };
    let others = topology.instances.iter();
    let others = others.filter(|(other, it)| *other != name && is_served(other) && shares(it.role));
    let partners = others.filter_map(|(name, server)| {
        Some(Partner {
            name: name.clone(),
            node: server.node.clone(),
            model: Arc::clone(&server.runtime.vllm()?.model),
        })
    });
    partners.collect()
}

fn engines_and_models(topology: &Topology, binaries: &Arc<Binaries>) -> Vec<Arc<dyn Resource>> {
    let mut found: BTreeMap<String, Arc<dyn Resource>> = BTreeMap::new();
    for server in topology.instances.values() {
        let Runtime::Vllm(vllm) = &server.runtime else {
            continue;
        };
        for node in server.nodes() {
            let engine = Installation::new(node, &vllm.engine);
            for (name, declared) in vllm.models(&server.model) {
                let model = Model::new(
                    node,
                    name,
                    declared,
                    wanted(topology, node, name),
                    Fetcher {
                        engine: engine.address().clone(),
                        venv: vllm.engine.venv.clone(),
                    },
                    sharing(topology, name, binaries),
                );
                found.insert(model.address().to_string(), Arc::new(model));
            }
            found.insert(engine.address().to_string(), Arc::new(engine));
        }
    }
    found.into_values().collect()
}

/// What the servers of a node want of a model.
fn wanted(topology: &Topology, node: &NodeName, model: &ModelName) -> BTreeSet<Wanted> {
    let servers = topology.instances.values();
    let servers = servers.filter(|server| server.nodes().any(|it| it == node));
    servers.flat_map(|server| server.wants(model)).collect()
}

/// What the nodes of one model need to copy it from each other.
fn sharing(topology: &Topology, model: &ModelName, binaries: &Arc<Binaries>) -> Sharing {
    let servers = topology.instances.values().filter_map(|server| {
        let mut models = server.runtime.vllm()?.models(&server.model);
        let (_, declared) = models.find(|(name, _)| *name == model)?;
        Some((server, declared))
    });
    let models: BTreeMap<NodeName, ModelDeclaration> = servers
        .flat_map(|(server, declared)| server.nodes().map(|it| (it.clone(), declared.clone())))
        .collect();
    let nodes = topology.nodes.iter();
    let nodes = nodes.filter(|(node, _)| models.contains_key(*node));
    Sharing {
        nodes: nodes
            .map(|(name, node)| (name.clone(), node.clone()))
            .collect(),
        models,
        binaries: Arc::clone(binaries),
        folder: StateFolder::of(topology.name.as_str()),
    }
}

fn benchmarks(
    topology: &Topology,
    instances: &[Arc<Instance>],
    proxy: Option<&Arc<Proxy>>,
    programs: &BTreeMap<NodeName, Arc<Program>>,
    paths: &Paths,
) -> Vec<Arc<Benchmark>> {
    let files = || benchmark::Files {
        results: paths.results.clone(),
        manifest: paths.manifest.clone(),
        origin: paths.origin.clone(),
    };
    let declared = topology.benchmarks.iter();
    let targets = declared.flat_map(|(name, declared)| {
        let those = (instances, proxy);
        let sender = topology.sender(declared);
        let sender = sender.map(|node| Arc::clone(&programs[node]));
        let targets = declared.targets(&topology.name, name, those, &paths.results);
        targets
            .into_iter()
            .map(move |target| target.among(instances).sent_by(sender.clone()))
    });
    targets
        .map(|target| Arc::new(Benchmark::new(&topology.name, target, files())))
        .collect()
}

/// What becomes of the unmanaged servers of a node.
fn unmanaged(topology: &Topology, node: &NodeName) -> UnmanagedPolicy {
    let declared = topology.nodes.get(node);
    declared.map_or_else(UnmanagedPolicy::default, NodeDeclaration::unmanaged)
}

/// What looks after the processes of a node.
fn care(topology: &Topology, node: &NodeName) -> Care {
    let declared = topology.nodes.get(node);
    Care {
        policy: declared.map_or_else(SupervisorPolicy::default, NodeDeclaration::supervisor),
        is_here: declared.is_some_and(|it| it.ssh == Reach::Local),
        secrets: declared.map_or_else(SecretsPolicy::default, NodeDeclaration::secrets),
    }
}

/// Where something of a node listens: on the declared address, else on the one by which the
/// proxy reaches the node. That is also how others reach what listens on all addresses.
fn listens(topology: &Topology, node: &NodeName, host: Option<&String>) -> Listens {
    let reach = topology
        .proxy
        .as_ref()
        .and_then(|proxy| proxy.reach.as_deref());
    let network = reach.unwrap_or(DEFAULT_REACH);
    let declared = topology.nodes.get(node);
    let reached = declared.and_then(|node| node.address(network));
    let reached = reached.unwrap_or("127.0.0.1");
    let on = host.map_or(reached, String::as_str);
    let is_all = on
        .parse()
        .is_ok_and(|address: IpAddr| address.is_unspecified());
    Listens {
        on: on.to_owned(),
        reached_at: if is_all { reached } else { on }.to_owned(),
        network: network.to_owned(),
        by_others: topology.nodes.len() > 1
            || declared.is_some_and(|node| node.ssh != Reach::Local),
    }
}
