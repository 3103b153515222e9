//! A model of nodes for tests: it answers questions and suffers effects as real ones would, in
//! memory. What it answers is text in the form that the real scripts print, so that the rooms'
//! readers are part of every test.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::{Arc, LazyLock};

use replica::converge::{assess, decide};
use replica::manifest;
use replica::name::NodeName;
use replica::plan::effect::control::{Backend, Config, Request};
use replica::plan::effect::{Launch, Stop};
use replica::plan::{Address, Effect, Failure, Liveness, Plan, Step};
use replica::proxy::control::{BackendState, BackendStatus, Reply, Requests, Status};
use replica::resource::process::{Mark, fingerprint};
use replica::resource::program::Binaries;
use replica::resource::{
    Catalogue, Fact, Facts, Observation, Paths, Resource, Topology, Undeclared,
};

/// A process group as the model keeps it.
#[derive(Debug, Clone)]
pub(super) struct Group {
    pub(super) mark: Option<String>,
    pub(super) spec: String,
    pub(super) port: Option<u16>,
    pub(super) listens: bool,
    pub(super) leads: bool,
    pub(super) orphan: bool,
    /// Whether it is vLLM that nobody declares, of this user.
    pub(super) stale: bool,
    pub(super) config: Option<Config>,
    /// The backends that were told to drain.
    pub(super) draining: BTreeSet<String>,
}

impl Group {
    /// Whether it is of an instance.
    pub(super) fn is_server(&self) -> bool {
        let mark = self.mark.as_ref();
        mark.is_some_and(|mark| mark.contains(":instance/"))
    }
}

/// One node of the model.
#[derive(Debug, Clone, Default)]
pub(super) struct ModelNode {
    pub(super) unreachable: bool,
    pub(super) groups: BTreeMap<u32, Group>,
    pub(super) files: BTreeMap<String, u64>,
    /// The version of vLLM in its environment; nothing where there is no environment.
    pub(super) vllm: Option<String>,
    /// Where its models lie, if not in `/c`.
    pub(super) cache: Option<String>,
    next_pid: u32,
}

/// All nodes of the model.
#[derive(Debug, Clone, Default)]
pub(super) struct Model {
    pub(super) nodes: BTreeMap<NodeName, ModelNode>,
    /// The pids that were stopped, with their node.
    pub(super) stopped: BTreeSet<(NodeName, u32)>,
    /// What servers show that are asked for a sign of life.
    pub(super) liveness: BTreeMap<Address, Liveness>,
    /// The marks of servers that answer nobody.
    pub(super) silent: BTreeSet<String>,
}

/// Reads a topology from YAML.
pub(super) fn topology(text: &str) -> Topology {
    manifest::read(text).unwrap_or_else(|error| panic!("{error}"))
}

/// The things of a topology; results are looked for where there are none.
pub(super) fn catalogue(topology: &Topology) -> Catalogue {
    static BINARIES: LazyLock<Arc<Binaries>> =
        LazyLock::new(|| Arc::new(Binaries::find(None).unwrap()));
    let nowhere = std::env::temp_dir().join("replica-no-such-results");
    let paths = Paths {
        origin: None,
        manifest: nowhere.clone(),
        results: nowhere,
    };
    Catalogue::new(topology, &BINARIES, &paths)
}

impl Model {
    /// The nodes of a topology, empty.
    pub(super) fn new(topology: &Topology) -> Self {
        Self {
            nodes: topology
                .nodes
                .keys()
                .map(|name| (name.clone(), ModelNode::default()))
                .collect(),
            ..Self::default()
        }
    }

    /// Puts a process of somebody else on a port.
    pub(super) fn add_stranger(&mut self, node: &str, port: u16) -> u32 {
        let node = self.nodes.get_mut(&node.parse().unwrap()).unwrap();
        node.add(Group {
            mark: None,
            spec: String::new(),
            port: Some(port),
            listens: true,
            leads: true,
            orphan: false,
            stale: false,
            config: None,
            draining: BTreeSet::new(),
        })
    }

    /// Puts a foreign vLLM server on a port.
    pub(super) fn add_stale(&mut self, node: &str, port: u16) -> u32 {
        let pid = self.add_stranger(node, port);
        let node = self.nodes.get_mut(&node.parse().unwrap()).unwrap();
        node.groups.get_mut(&pid).unwrap().stale = true;
        pid
    }

    /// Puts a server of another topology on a port.
    pub(super) fn add_neighbour(&mut self, node: &str, port: u16) -> u32 {
        let pid = self.add_stranger(node, port);
        let node = self.nodes.get_mut(&node.parse().unwrap()).unwrap();
        let group = node.groups.get_mut(&pid).unwrap();
        group.mark = Some("v1:neighbour:instance/i0:1:0f".to_owned());
        "{}".clone_into(&mut group.spec);
        pid
    }

    /// Kills a server as `kill -9` does: its engine lives on when it has one.
    pub(super) fn kill(&mut self, node: &str, name: &str, leaves_orphan: bool) {
        let node = self.nodes.get_mut(&node.parse().unwrap()).unwrap();
        let part = format!(":{name}:");
        let of = |group: &Group| group.mark.as_ref().is_some_and(|mark| mark.contains(&part));
        if leaves_orphan {
            for group in node.groups.values_mut().filter(|group| of(group)) {
                group.leads = false;
                group.listens = false;
                group.orphan = true;
            }
        } else {
            node.groups.retain(|_, group| !of(group));
        }
    }

    /// Has each server beside what the engine of a former start left behind.
    pub(super) fn leave_behind(&mut self) {
        for node in self.nodes.values_mut() {
            let of_servers = |group: &&Group| group.leads && group.is_server();
            let left: Vec<Group> = node.groups.values().filter(of_servers).cloned().collect();
            for mut group in left {
                let mut mark: Mark = group.mark.unwrap().parse().unwrap();
                mark.generation += 100;
                group.mark = Some(mark.to_string());
                (group.leads, group.listens, group.orphan) = (false, false, true);
                node.add(group);
            }
        }
    }

    /// What would be observed.
    pub(super) fn observe(
        &self,
        resources: &[Arc<dyn Resource>],
        standing: &[Fact],
    ) -> Observation {
        let mut seen = Observation::default();
        let live = self.nonces();
        for (name, node) in &self.nodes {
            if node.unreachable {
                seen.insert(name.clone(), Err(Failure::new("connection refused")));
                continue;
            }
            let mut facts = Facts::default();
            let asked = resources.iter().flat_map(|resource| resource.facts());
            let own = asked.filter_map(|(node, fact)| (node == *name).then_some(fact));
            for fact in standing.iter().cloned().chain(own) {
                let answer = node.answer(&fact.id, &live);
                facts.insert(fact.id, answer);
            }
            seen.insert(name.clone(), Ok(facts));
        }
        let probes = resources.iter().filter_map(|it| it.liveness_probe(&seen));
        let shown = probes.filter_map(|probe| {
            let shown = self.liveness.get(&probe.address).cloned();
            let mut groups = self.nodes[&probe.node].groups.values();
            let asked = groups.find(|group| group.listens && group.port == Some(probe.port));
            let is_silent = |mark: &String| self.silent.contains(mark);
            let is_silent = asked.and_then(|it| it.mark.as_ref()).is_some_and(is_silent);
            let failed = is_silent.then(|| Liveness::Failed("one token: none".to_owned()));
            Some((probe.address, failed.or(shown)?))
        });
        let shown: Vec<_> = shown.collect();
        seen.insert_liveness(shown);
        seen
    }

    /// Observes and decides, as `apply` would.
    pub(super) fn plan(&self, topology: &Topology) -> Plan {
        self.plan_for(topology, &catalogue(topology).resources())
    }

    /// Observes and decides, as `destroy` would.
    pub(super) fn plan_destruction(&self, topology: &Topology) -> Plan {
        self.plan_for(topology, &[])
    }

    fn plan_for(&self, topology: &Topology, declared: &[Arc<dyn Resource>]) -> Plan {
        let observed = self.observe(declared, &Undeclared::facts(topology));
        plan(topology, declared, &observed)
    }

    /// The names that only one server has, of all that answer.
    pub(super) fn nonces(&self) -> BTreeSet<String> {
        let groups = self.nodes.values().flat_map(|node| node.groups.values());
        let answering = groups.filter(|group| group.leads && group.listens);
        let marks = answering.filter_map(|group| group.mark.as_ref()?.parse::<Mark>().ok());
        marks.map(|mark| mark.nonce()).collect()
    }

    /// The node and the pid of the proxy, and what it serves, where it runs.
    pub(super) fn proxy(&self) -> Option<(&NodeName, u32, &Config)> {
        self.nodes.iter().find_map(|(name, node)| {
            let mut groups = node.groups.iter();
            groups.find_map(|(pid, group)| Some((name, *pid, group.config.as_ref()?)))
        })
    }

    /// Performs every step of a plan but measurements, in the order of the plan.
    pub(super) fn perform(&mut self, plan: &Plan) {
        self.perform_but(plan, |_| false);
    }

    /// Performs a plan of which some steps fail, before they have done anything. What comes after
    /// them is skipped, as the executor does.
    pub(super) fn perform_but(&mut self, plan: &Plan, fails: impl Fn(&Step) -> bool) {
        let mut undone: BTreeSet<&Address> = BTreeSet::new();
        let mut done: BTreeSet<Address> = BTreeSet::new();
        for step in &plan.steps {
            let waits = step.requires.iter().map(|id| &plan.steps[*id].address);
            let is_undone =
                undone.contains(&step.address) || waits.clone().any(|a| undone.contains(a));
            if is_undone || fails(step) {
                undone.insert(&step.address);
                done.remove(&step.address);
                continue;
            }
            if let Some(effect) = step.effect.clone().after(&done) {
                self.suffer(&Step {
                    effect,
                    ..step.clone()
                });
            }
            done.insert(step.address.clone());
        }
    }

    /// Performs one step; a measurement is none of the nodes'.
    pub(super) fn suffer(&mut self, step: &Step) {
        let Some(name) = step.node.clone() else {
            return;
        };
        let node = self.nodes.get_mut(&name).unwrap();
        assert!(!node.unreachable, "a step on an unreachable node: {step:?}");
        for pid in node.suffer(&step.effect) {
            self.stopped.insert((name.clone(), pid));
        }
    }
}

/// Plans as `apply` does, or as `destroy` does where nothing is declared.
pub(super) fn plan(
    topology: &Topology,
    declared: &[Arc<dyn Resource>],
    observed: &Observation,
) -> Plan {
    let undeclared = if declared.is_empty() {
        Undeclared::all(topology, observed)
    } else {
        Undeclared::beside(topology, declared, observed)
    };
    let all = [&undeclared.resources[..], declared].concat();
    decide(assess(&all, observed), observed)
}

impl ModelNode {
    fn add(&mut self, group: Group) -> u32 {
        self.next_pid += 10;
        self.groups.insert(self.next_pid, group);
        self.next_pid
    }

    /// Suffers an effect; returns the pids that it stopped.
    fn suffer(&mut self, effect: &Effect) -> Vec<u32> {
        match effect {
            Effect::Upload(upload) => {
                let size = std::fs::metadata(&upload.source).unwrap().len();
                self.files.insert(inside(&upload.target), size);
            }
            Effect::KeepLog(keep) => {
                let log = inside(&keep.log);
                assert!(
                    self.files.contains_key(&log),
                    "kept what is not there: {log}"
                );
            }
            Effect::Remove { paths } => {
                for path in paths {
                    let prefix = inside(path).replace(".*.log", ".");
                    self.files.retain(|name, _| !name.starts_with(&prefix));
                }
            }
            Effect::Launch(launch) => self.start(launch),
            Effect::Stop(stop) => return self.stop(stop),
            Effect::KillUnmanaged(end) => {
                for (pid, _) in &end.processes {
                    let ended = self.groups.remove(pid).expect("ended what is not there");
                    assert!(ended.stale, "ended what is not vLLM, or ours: {ended:?}");
                }
            }
            Effect::WaitReady(ready) => {
                let mark = Some(ready.mark.clone());
                let runs = self.groups.values_mut().find(|group| group.mark == mark);
                runs.expect("awaited what was not started").listens = true;
                self.files.insert(inside(&ready.record()), 0);
            }
            Effect::ProxyControl(control) => self.tell(&control.request),
            Effect::RunScript(work) => self.install(&work.script),
            Effect::Copy(_) | Effect::Measure(_) => {}
        }
        Vec::new()
    }

    fn start(&mut self, launch: &Launch) {
        let port = launch
            .argv
            .iter()
            .skip_while(|word| *word != "--port")
            .nth(1);
        let port = port.and_then(|port| port.parse().ok());
        // A proxy takes over from the one that listens, and that one ends by itself.
        let is_successor = launch.argv.iter().any(|word| word == "--succeed");
        let before = self
            .groups
            .values_mut()
            .find(|group| is_serving_proxy(group));
        let before = before.filter(|_| is_successor);
        let (config, draining) = before.map_or_else(Default::default, |before| {
            before.listens = false;
            (before.config.take(), std::mem::take(&mut before.draining))
        });
        let taken = self.groups.values().any(|g| g.listens && g.port == port);
        assert!(!taken, "started on a port that is taken: {}", launch.mark);
        self.files.insert(inside(&launch.log), 1);
        self.add(Group {
            mark: Some(launch.mark.clone()),
            spec: launch.spec.clone(),
            port,
            listens: true,
            leads: true,
            orphan: false,
            stale: false,
            config,
            draining,
        });
    }

    /// Stops what carries such a mark; returns the pids.
    fn stop(&mut self, stop: &Stop) -> Vec<u32> {
        let ours = |group: &Group| {
            let mark = group.mark.as_ref();
            mark.is_some_and(|mark| mark.starts_with(&stop.mark_prefix))
        };
        let stopped = self.groups.iter().filter(|(_, group)| ours(group));
        let pids = stopped.map(|(pid, _)| *pid).collect();
        self.groups.retain(|_, group| !ours(group));
        pids
    }

    /// Installs the vLLM that a script asks for.
    fn install(&mut self, script: &str) {
        let words = script.lines().take_while(|line| !line.is_empty());
        let mut words = words.flat_map(|line| line.split(['=', ' ', '\'']));
        if words.any(|word| word == "vllm") {
            self.vllm = words.nth(1).map(str::to_owned);
        }
    }

    fn venv(&self) -> String {
        self.vllm.as_ref().map_or_else(String::new, |version| {
            format!("venv\ncommand\ndist vllm-{version}.dist-info vllm {version}\n")
        })
    }

    fn tell(&mut self, request: &Request) {
        let proxy = self
            .groups
            .values_mut()
            .find(|group| is_serving_proxy(group))
            .expect("told a proxy that is not there");
        match request {
            Request::Configure(config) => {
                let last = proxy.config.as_ref().map_or(0, |config| config.generation);
                assert!(
                    config.generation > last,
                    "a generation that was served already"
                );
                proxy.config = Some(config.clone());
                proxy.draining.clear();
            }
            Request::Admit(backend) | Request::TakeOver(backend) => {
                proxy.draining.remove(&backend.name);
                let config = proxy
                    .config
                    .as_mut()
                    .expect("admitted before it was configured");
                config.backends.retain(|other| other.name != backend.name);
                config.backends.push(backend.clone());
                config.backends.sort_by(|a, b| a.name.cmp(&b.name));
            }
            Request::Drain { backend, .. } => {
                proxy.draining.insert(backend.clone());
            }
            Request::Drained(names) => {
                let config = proxy
                    .config
                    .as_mut()
                    .expect("drained before it was configured");
                config.generation += 1;
                config.drained.clone_from(names);
            }
            Request::Reload | Request::Status => {}
        }
    }

    fn answer(&self, id: &str, live: &BTreeSet<String>) -> String {
        match id.split(' ').next().unwrap() {
            "processes" => self.processes(),
            "place" => {
                let mut answer = format!("system Linux {}\nhome /home/n\n", std::env::consts::ARCH);
                for (name, size) in &self.files {
                    let _ = writeln!(answer, "file {size} {name}");
                }
                answer
            }
            "served" => self.served(live),
            "venv" => self.venv(),
            "machine" => {
                "total 127600000\navailable 120000000\nhome 99999999\ntool gcc\n".to_owned()
            }
            "tools" => "uv\nfree 99999999\n".to_owned(),
            "address" | "dial" | "prerequisites" | "supervision" => String::new(),
            "toolchain" => "headers python3.12\n".to_owned(),
            "model" => {
                let cache = self.cache.as_deref().unwrap_or("/c");
                format!(
                    "cache {cache}\nwritable\nrepo\nrevision 0e9e\npath {cache}/snapshots/0e9e\nfile 2 config.json\n\
                     file 3 tokenizer.json\nfile 9 model.safetensors\n"
                )
            }
            other => panic!("the model does not know the question `{other}`"),
        }
    }

    fn processes(&self) -> String {
        let mut answer = "boot 0f\nclock 1000.00 100\n".to_owned();
        for (pid, group) in &self.groups {
            let inode = pid + 100_000;
            if let Some(mark) = &group.mark {
                if group.leads {
                    let _ = writeln!(answer, "process {pid} 1 {pid} 500 marked replica");
                    let _ = writeln!(answer, "MARK {pid} {mark}\nSPEC {pid} {}", group.spec);
                }
                if group.orphan {
                    let child = pid + 1;
                    let _ = writeln!(answer, "process {child} 1 {pid} 500 marked VLLM::EngineCor");
                    let _ = writeln!(answer, "MARK {child} {mark}\nSPEC {child} {}", group.spec);
                }
            }
            if group.stale {
                let _ = writeln!(answer, "foreign {pid} 1 500 own orphan vllm");
                let _ = writeln!(answer, "command {pid} nvidia vllm serve x");
            }
            if let (true, Some(port)) = (group.listens, group.port) {
                let _ = writeln!(answer, "listener {port:04X} {inode} 1000");
                let _ = writeln!(answer, "owner {inode} {pid} {pid} nvidia some command");
            }
        }
        answer
    }

    fn served(&self, live: &BTreeSet<String>) -> String {
        let Some(proxy) = self.groups.values().find(|it| is_serving_proxy(it)) else {
            return String::new();
        };
        let backends = proxy.config.iter().flat_map(|config| &config.backends);
        let ready = |backend: &Backend| {
            let state = if proxy.draining.contains(&backend.name) {
                BackendState::Draining
            } else if is_live(backend, live) {
                BackendState::Ready
            } else {
                BackendState::Pending
            };
            let status = BackendStatus {
                state,
                in_flight: 0,
                trouble: None,
            };
            (backend.name.clone(), status)
        };
        let status = Status {
            config: serde_json::from_value(serde_json::json!(proxy.config)).unwrap(),
            backends: backends.map(ready).collect(),
            requests: Requests::default(),
            waiting: 0,
            fd_limit: 1024,
            hands_over: true,
            takes_over: true,
            former: Vec::new(),
        };
        serde_json::to_string(&Reply::Done(Box::new(status))).unwrap()
    }
}

/// Whether a group is a proxy that nobody has taken over from.
fn is_serving_proxy(group: &Group) -> bool {
    let mark = group.mark.as_ref();
    group.listens && mark.is_some_and(|mark| mark.contains(":proxy:"))
}

/// The part of a path that is inside the topology's folder.
fn inside(path: &str) -> String {
    path.splitn(6, '/').nth(5).unwrap_or(path).to_owned()
}

/// Whether a mark is one of this topology.
pub(super) fn is_of(mark: &str, topology: &Topology) -> bool {
    mark.parse::<Mark>()
        .is_ok_and(|mark| mark.topology == topology.name.as_str())
}

/// The digest of a specification, as marks carry it.
pub(super) fn digest(spec: &str) -> String {
    fingerprint(&serde_json::from_str(spec).unwrap())
}

/// Whether the server of a backend runs, by the names that run.
pub(super) fn is_live(backend: &Backend, live: &BTreeSet<String>) -> bool {
    let nonce = backend.nonce.as_ref();
    nonce.is_some_and(|nonce| live.contains(nonce))
}
