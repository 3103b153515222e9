//! One process of ours on a node: how it is found there, what it was started
//! as, and what the next start of it will be.

use std::net::Ipv4Addr;
use std::time::Duration;

use super::supervision::{self, Supervision, unit_name};
use super::{Mark, Process, ProcessTable, Session, UnmanagedServer};
use crate::name::{NodeName, Port, TopologyName};
use crate::net::Authority;
use crate::node::{SecretsPolicy, SupervisorPolicy, UnmanagedPolicy};
use crate::plan::effect::{Stop, Supervisor, Unit};
use crate::plan::{Address, Field, NodePort, Planned, Readiness, Reason, ReasonCode, Service};
use crate::resource::asked::Replaced;
use crate::resource::contract::Observation;
use crate::resource::facts::{Fact, Facts};
use crate::resource::node_files::{Listens, NodeFiles, StateFolder};

/// One process of a topology, on one node.
#[derive(Debug, Clone)]
pub struct ManagedProcess {
    /// The topology that it belongs to.
    pub topology: TopologyName,
    /// What it is.
    pub address: Address,
    /// The node.
    pub node: NodeName,
    /// The folder of its files.
    pub folder: StateFolder,
    /// What becomes of the node's vLLM servers that are not ours.
    pub unmanaged: UnmanagedPolicy,
    /// What looks after it.
    care: Care,
    /// What was seen of the start that is to end though it is as declared.
    replaced: Option<String>,
}

/// What is added to the line of what systemd looks after.
const IN_SYSTEMD: &str = ", in systemd";

/// Why what runs is replaced by the same in other care.
const IN_OTHER_CARE: &str = "something else is to look after it";

/// That what runs is to be looked after in another way.
#[derive(Debug, Clone, PartialEq)]
pub struct Moved {
    /// In which.
    pub field: Field,
    /// The same in words.
    pub why: &'static str,
}

/// What a manifest says of who looks after the processes of a node.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Care {
    /// What is declared.
    pub policy: SupervisorPolicy,
    /// Whether the node is this machine.
    pub is_here: bool,
    /// Where the secrets of a unit lie.
    pub secrets: SecretsPolicy,
}

/// What the start of a process takes before systemd may do it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Condition<'a> {
    /// How long it may take to end.
    pub grace: Duration,
    /// How many bytes of memory must be available.
    pub memory_floor: u64,
    /// The address that it listens on.
    pub listens_on: &'a str,
    /// Whether it has secrets.
    pub has_secrets: bool,
    /// The port that it listens on once it has loaded, of what may not load beside others.
    pub loads_until: Option<u16>,
}

impl ManagedProcess {
    /// The process of a thing on a node.
    pub fn new(topology: &TopologyName, node: &NodeName, kind: &str, name: Option<&str>) -> Self {
        Self {
            topology: topology.clone(),
            address: Address::on(node, kind, name),
            node: node.clone(),
            folder: StateFolder::of(topology.as_str()),
            unmanaged: UnmanagedPolicy::default(),
            care: Care::default(),
            replaced: None,
        }
    }

    /// Takes over what was asked for it.
    #[must_use]
    pub fn replaced(mut self, replaced: &Replaced) -> Self {
        self.replaced = replaced.of(&self.address).map(str::to_owned);
        self
    }

    /// Says what becomes of the node's vLLM servers that are not ours.
    #[must_use]
    pub fn beside(mut self, unmanaged: UnmanagedPolicy) -> Self {
        self.unmanaged = unmanaged;
        self
    }

    /// Says what looks after it.
    #[must_use]
    pub fn in_care(mut self, care: Care) -> Self {
        self.care = care;
        self
    }

    /// What to ask the node for.
    pub fn facts(&self) -> Vec<(NodeName, Fact)> {
        let facts = [super::fact(), self.folder.fact(), supervision::fact()];
        facts.map(|one| (self.node.clone(), one)).into()
    }

    /// What was started here, newest first.
    pub fn sessions<'a>(&self, table: &'a ProcessTable) -> Vec<&'a Session> {
        table.of(self.topology.as_str(), &self.address)
    }

    /// What was started here and lives, in one text: another start is another text.
    pub fn seen(&self, observed: &Observation) -> Option<String> {
        let table = ProcessTable::read(observed.of(&self.node)?);
        self.seen_in(&table)
    }

    fn seen_in(&self, table: &ProcessTable) -> Option<String> {
        let sessions = self.sessions(table);
        let starts: Vec<String> = sessions.into_iter().map(|it| start(it, table)).collect();
        (!starts.is_empty()).then(|| starts.join("; "))
    }

    /// The reason to replace it that somebody asked for it, while what runs is what they saw.
    pub fn asked(&self, table: &ProcessTable) -> Option<Reason> {
        let replaced = self.replaced.as_ref()?;
        // Who asked may have seen more of it than how it was started.
        let is_that = replaced.starts_with(&self.seen_in(table)?);
        is_that.then(|| Reason::new(ReasonCode::Asked, "as asked"))
    }

    /// The session that runs here, where its leader lives.
    pub fn running(&self, observed: &Observation) -> Option<Session> {
        let table = ProcessTable::read(observed.of(&self.node)?);
        let sessions = self.sessions(&table);
        let led = sessions
            .into_iter()
            .find(|session| session.leader().is_some())?;
        Some(led.clone())
    }

    /// The process that leads the session that runs here.
    pub fn leader(&self, observed: &Observation) -> Option<Process> {
        self.running(observed)?.leader().cloned()
    }

    /// What is to listen here, on this port, serves as. Of the session that runs, and listens
    /// there, `readiness` says whether it can be believed.
    pub fn service(
        &self,
        observed: &Observation,
        running: Option<&Session>,
        (listens, port): (&Listens, u16),
        readiness: impl FnOnce(&Session, u16) -> Readiness,
    ) -> Service {
        let stopped = Service::stopped(NodePort::new(&self.node, port));
        let Some(session) = running else {
            return stopped;
        };
        // What runs may listen where the manifest no longer says.
        let held = self.ports_held(observed);
        let own = session.port().filter(|port| held.contains(port));
        let port = own
            .or_else(|| held.contains(&port).then_some(port))
            .or_else(|| held.first().copied())
            .unwrap_or(port);
        let authority = Authority::new(&listens.reached_at, port);
        Service {
            at: NodePort::new(&self.node, port),
            pid: session.leader().map(|leader| leader.pid),
            started: session.leader().map(|leader| leader.start),
            url: Some(format!("http://{authority}")),
            readiness: readiness(session, port),
            ..stopped
        }
    }

    /// The mark of the next start: its generation is one more than any that was ever seen.
    pub fn next_mark(&self, observed: &Observation, fingerprint: String) -> Mark {
        let last = observed
            .of(&self.node)
            .map_or(0, |facts| self.last_generation(facts));
        Mark::new(&self.topology, &self.address, last + 1, fingerprint)
    }

    fn last_generation(&self, facts: &Facts) -> u64 {
        let table = ProcessTable::read(facts);
        let marked = self
            .sessions(&table)
            .first()
            .map_or(0, |session| session.mark.generation);
        let logged = NodeFiles::read(&self.folder, facts).last_generation(&self.address);
        marked.max(logged)
    }

    /// The ports that what was started here listens on, or may still have.
    pub fn ports_held(&self, observed: &Observation) -> Vec<u16> {
        let table = observed.of(&self.node).map(ProcessTable::read);
        let topology = self.topology.as_str();
        table.map_or_else(Vec::new, |table| table.ports_of(topology, &self.address))
    }

    /// The same, as the ports of its node.
    pub fn occupies(&self, observed: &Observation) -> Vec<NodePort> {
        let ports = self.ports_held(observed).into_iter();
        ports.map(|port| NodePort::new(&self.node, port)).collect()
    }

    /// Why a port cannot be had, where something holds it that is not of this topology and
    /// does not give it up.
    pub fn port_taken(&self, port: u16, table: &ProcessTable) -> Option<Reason> {
        let is_ours = |session: &&Session| session.mark.topology == self.topology.as_str();
        let ours: Vec<_> = table.sessions.iter().filter(is_ours).collect();
        let holder = table.holder_of(port, &ours, &self.ended_beside(table))?;
        let text = format!("port {port} is held by {holder}");
        Some(Reason::new(ReasonCode::PortTaken, text))
    }

    /// The unmanaged servers of its node that are to be ended.
    pub fn ended_beside(&self, table: &ProcessTable) -> Vec<UnmanagedServer> {
        match self.unmanaged {
            UnmanagedPolicy::Leave => Vec::new(),
            UnmanagedPolicy::Stop => table.unmanaged_servers(),
        }
    }

    /// How what runs here is stopped.
    pub fn stop(&self, observed: &Observation, grace: Duration) -> Stop {
        Stop {
            address: self.address.clone(),
            mark_prefix: Mark::prefix(self.topology.as_str(), &self.address),
            ports: self.ports_held(observed),
            grace: Some(grace),
        }
    }

    /// Whether what starts anew is a unit of systemd.
    pub fn starts_by_systemd(&self, observed: &Observation) -> bool {
        match self.care.policy {
            SupervisorPolicy::Session => false,
            SupervisorPolicy::Systemd => true,
            SupervisorPolicy::Auto => !self.care.is_here && self.unusable(observed).is_none(),
        }
    }

    /// Why systemd cannot look after it.
    fn unusable(&self, observed: &Observation) -> Option<Reason> {
        Supervision::read(observed.of(&self.node)?).unusable(&self.node)
    }

    /// Why it cannot be started as it is declared to be looked after.
    pub fn unsupervised(&self, observed: &Observation) -> Option<Reason> {
        let is_declared = self.care.policy == SupervisorPolicy::Systemd;
        let cannot = is_declared && self.begins_to_linger(observed).is_none();
        self.unusable(observed).filter(|_| cannot)
    }

    /// That the systemd that is declared to look after it is made to outlive the last login before that.
    pub fn begins_to_linger(&self, observed: &Observation) -> Option<Reason> {
        let is_declared = self.care.policy == SupervisorPolicy::Systemd;
        let supervision = Supervision::read(observed.of(&self.node)?);
        let user = supervision.can_begin_to_linger().filter(|_| is_declared)?;
        let text = format!(
            "lingering is turned on for {user}, whose systemd would end with the last login"
        );
        Some(Reason::new(ReasonCode::NotSupervised, text))
    }

    /// That it will not outlive a reboot, where only little keeps systemd from looking after it.
    pub fn ends_with_the_machine(&self, observed: &Observation) -> Option<Reason> {
        let is_auto = self.care.policy == SupervisorPolicy::Auto && !self.care.is_here;
        let has_systemd = Supervision::read(observed.of(&self.node)?).has_systemd();
        let reason = self.unusable(observed).filter(|_| is_auto && has_systemd)?;
        let text = format!("supervisor: session, as {}", reason.text);
        Some(Reason { text, ..reason })
    }

    /// Whether systemd looks after what runs.
    pub fn is_in_systemd(&self, observed: &Observation, session: &Session) -> bool {
        let facts = observed.of(&self.node);
        facts.is_some_and(|facts| Supervision::read(facts).looks_after(&session.mark))
    }

    /// That something else looks after what runs than is declared, or has its secrets elsewhere.
    pub fn moves(&self, observed: &Observation, session: &Session) -> Option<Moved> {
        let is_in_systemd = self.is_in_systemd(observed, session);
        let (path, old, new, why) = match (self.care.policy, is_in_systemd) {
            (SupervisorPolicy::Systemd, false) => {
                ("supervisor", "session", "systemd", IN_OTHER_CARE)
            }
            (SupervisorPolicy::Session, true) => {
                ("supervisor", "systemd", "session", IN_OTHER_CARE)
            }
            (_, true) => {
                let supervision = Supervision::read(observed.of(&self.node)?);
                let lie = supervision.secrets_of(&session.mark)?;
                let declared = self.care.secrets;
                let why = "its secrets are to lie elsewhere";
                (lie != declared).then_some(("secrets", lie.word(), declared.word(), why))?
            }
            _ => return None,
        };
        let field = Field {
            path: path.to_owned(),
            old: Some(old.into()),
            new: Planned::Known(new.into()),
            forces_replacement: true,
        };
        Some(Moved { field, why })
    }

    /// That a reboot takes the secrets of what systemd is to start, and that it stays down then.
    pub fn stays_down(&self, observed: &Observation) -> Option<Reason> {
        let is_in_memory = self.care.secrets == SecretsPolicy::Memory;
        (is_in_memory && self.starts_by_systemd(observed)).then(|| {
            let text = "its secrets are kept in memory alone: after a reboot it stays down";
            let reason = Reason::new(ReasonCode::NotSupervised, text);
            reason.hinted("`replica apply` starts it then, with the secrets of whoever runs that")
        })
    }

    /// How often systemd has started again what runs since that was seen to become ready.
    pub fn times_begun_again(&self, observed: &Observation) -> u64 {
        let (Some(session), Some(facts)) = (self.running(observed), observed.of(&self.node)) else {
            return 0;
        };
        let files = NodeFiles::read(&self.folder, facts);
        files.begun_again(&self.address, session.mark.generation)
    }

    /// The same as a reason to speak of it, where it has.
    pub fn begun_again(&self, observed: &Observation) -> Option<Reason> {
        let times = match self.times_begun_again(observed) {
            0 => return None,
            1 => "once".to_owned(),
            times => format!("{times} times"),
        };
        let text =
            format!("systemd has started it again {times} since it was seen to become ready");
        Some(Reason::new(ReasonCode::StartedAgain, text))
    }

    /// What runs, in a line of a plan.
    pub fn summary(&self, observed: &Observation, session: &Session, port: Port) -> String {
        let pid = session.leader().map_or(0, |leader| leader.pid);
        let in_systemd = if self.is_in_systemd(observed, session) {
            IN_SYSTEMD
        } else {
            ""
        };
        format!("pid {pid}, port {port}{in_systemd}")
    }

    /// What is to run, in a line of a plan.
    pub fn place(&self, observed: &Observation, place: String) -> String {
        if self.starts_by_systemd(observed) {
            return place + IN_SYSTEMD;
        }
        place
    }

    /// That its process is gone, and what systemd makes of that where it has a unit of it.
    pub fn gone(&self, observed: &Observation) -> String {
        let supervision = observed.of(&self.node).map(Supervision::read);
        let fate = supervision.and_then(|it| {
            let unit = it.unit_of(self.topology.as_str(), &self.address)?;
            unit.fate()
        });
        let fate = fate.map_or_else(String::new, |fate| format!(": {fate}"));
        format!("its process is gone{fate}")
    }

    /// What is to look after the start with this mark.
    pub fn supervisor(
        &self,
        mark: &Mark,
        observed: &Observation,
        condition: Condition<'_>,
    ) -> Supervisor {
        if !self.starts_by_systemd(observed) {
            return Supervisor::Session;
        }
        let topology = self.topology.as_str();
        let what = self.address.local();
        let address = condition.listens_on.parse().ok();
        let address = address.filter(|it: &Ipv4Addr| !it.is_loopback() && !it.is_unspecified());
        Supervisor::Systemd(Box::new(Unit {
            name: unit_name(topology, &self.address, mark.generation),
            description: format!("{what} of topology {topology}, start {}", mark.generation),
            grace: condition.grace,
            memory_floor: condition.memory_floor,
            address,
            secrets_in_memory: condition.has_secrets && self.care.secrets == SecretsPolicy::Memory,
            loads_until: condition.loads_until,
        }))
    }

    /// Where the start with this mark writes its log.
    pub fn log(&self, mark: &Mark) -> String {
        self.folder.log(&self.address, mark.generation)
    }
}

/// A start of which something lives: which one it is, as whom, and since when by its node's clock, for
/// pids and ticks come round again after a reboot.
fn start(session: &Session, table: &ProcessTable) -> String {
    let generation = session.mark.generation;
    let boot = table.boot_id.split('-').next().unwrap_or_default();
    if let Some(leader) = session.leader() {
        let (pid, since) = (leader.pid, leader.start);
        return format!("start {generation}, pid {pid}, at tick {since} of boot {boot}");
    }
    let pids = session.processes.iter().map(|it| it.pid.to_string());
    let pids: Vec<String> = pids.collect();
    format!(
        "start {generation}, orphans {} of boot {boot}",
        pids.join(" ")
    )
}
