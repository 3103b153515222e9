//! The room of the proxy: the one address that clients talk to.
//!
//! What it listens on is fixed when it starts; backends, policy and timeouts are told to it over
//! its control socket while it serves.

mod declared;
mod drains;
mod hooks;
mod keys;
mod launch;
mod served;
mod service;
mod succession;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

pub use declared::*;
use serde::Serialize;
use serde_json::{Value, json};

use super::asked::{Drains, Replaced};
use super::contract::{Memo, Observation, Resource};
use super::facts::Fact;
use super::instance::Instance;
use super::node_files::{Listens, NodeFiles};
use super::prerequisites::{self, Prerequisites};
use super::process::{
    Care, ManagedProcess, Mark, ProcessTable, Session, differences, fingerprint, forwarding,
    listening,
};
use super::program::Program;
use crate::english::list;
use crate::name::{NodeName, TopologyName};
use crate::net::Authority;
use crate::node::UnmanagedPolicy;
use crate::plan::effect::control::{
    Backend, Config, InstanceLimits, ProxyControl, Request, Timeouts,
};
use crate::plan::{
    Action, Address, Change, Effect, Field, LivenessProbe, NodePort, Operation, Operations, Reason,
    ReasonCode, Relations, Stand,
};
use crate::proxy::control::{BackendState, Status};

/// What this kind is called.
pub const KIND: &str = "proxy";

/// How long an instance that is ready may take to be seen by the proxy.
const ADMISSION: Duration = Duration::from_secs(60);

/// Its access log, in the folder that it runs in.
const ACCESS_LOG: &str = "access.log";

/// How long the proxy may take to answer its control socket when nothing drains.
const ANSWER: Duration = Duration::from_secs(20);

/// The proxy of a topology.
pub struct Proxy {
    managed: ManagedProcess,
    listens: Listens,
    declared: ProxyDeclaration,
    timeouts: Timeouts,
    limits: InstanceLimits,
    backends: Vec<Arc<Instance>>,
    program: Arc<Program>,
    drains: Drains,
    reported: Memo<Reported>,
}

/// What a proxy says of itself: nothing where none runs or answers.
struct Reported {
    status: Option<Status>,
    /// The place in the configuration of each backend that it serves from.
    places: BTreeMap<String, usize>,
}

impl Reported {
    fn new(status: Option<Status>) -> Self {
        let config = status.as_ref().and_then(|status| status.config.as_ref());
        let backends = config.into_iter().flat_map(|config| &config.backends);
        let names = backends.map(|backend| backend.name.clone());
        Self {
            places: names.zip(0..).collect(),
            status,
        }
    }

    /// What it serves from by this name.
    fn backend(&self, name: &str) -> Option<&Backend> {
        let config = self.status.as_ref()?.config.as_ref()?;
        config.backends.get(*self.places.get(name)?)
    }
}

impl Proxy {
    /// The proxy before these instances.
    pub fn new(
        topology: &TopologyName,
        listens: Listens,
        declared: &ProxyDeclaration,
        backends: Vec<Arc<Instance>>,
        program: Arc<Program>,
    ) -> Self {
        Self {
            managed: ManagedProcess::new(topology, &declared.node, KIND, None),
            listens,
            declared: declared.clone(),
            timeouts: Timeouts {
                lease: backends.iter().find_map(|it| it.lease()),
                ..Timeouts::from(&declared.timeouts)
            },
            limits: declared.limits.clone(),
            backends,
            program,
            drains: Drains::default(),
            reported: Memo::default(),
        }
    }

    /// What becomes of the unmanaged servers of its node.
    #[must_use]
    pub fn beside(mut self, unmanaged: UnmanagedPolicy) -> Self {
        self.managed = self.managed.beside(unmanaged);
        self
    }

    /// What looks after it.
    #[must_use]
    pub fn in_care(mut self, care: Care) -> Self {
        self.managed = self.managed.in_care(care);
        self
    }

    /// The same, which is to be replaced though it is as declared where that was asked.
    #[must_use]
    pub fn replaced(mut self, replaced: &Replaced) -> Self {
        self.managed = self.managed.replaced(replaced);
        self
    }

    /// The same, of which these drains are asked, and nothing else.
    #[must_use]
    pub fn draining(mut self, drains: &Drains) -> Self {
        self.drains = drains.clone();
        self
    }

    /// `host:port`, by which clients reach it.
    pub fn authority(&self) -> String {
        Authority::new(&self.listens.reached_at, self.declared.port.get()).to_string()
    }

    /// The instances behind it.
    pub fn backends(&self) -> &[Arc<Instance>] {
        &self.backends
    }

    /// The policy's name, and that it goes by weights, where it does.
    pub fn policy(&self) -> String {
        policy_name(&self.declared.policy, !self.declared.weights.is_empty())
    }

    /// What it says of itself, where it runs and answers.
    fn status(&self, observed: &Observation) -> Option<Status> {
        self.reported(observed).status.clone()
    }

    /// The digest of what it is to be, for results that rest on it.
    pub fn fingerprint(&self) -> String {
        let mut whole = json!({
            "listen": {"host": self.listens.on, "port": self.declared.port},
            "policy": self.declared.policy,
            "timeouts": self.timeouts,
            "backends": self.backends.iter().map(|b| b.name()).collect::<Vec<_>>(),
        });
        if !self.declared.weights.is_empty() {
            whole["weights"] = json!(self.declared.weights);
        }
        if !self.limits.is_none() {
            whole["limits"] = json!(self.limits);
        }
        fingerprint(&whole)
    }

    /// What it is when it starts: everything that only a restart can change.
    fn spec(&self, observed: &Observation) -> Value {
        json!({
            "listen": {"host": self.listens.on, "port": self.declared.port},
            "program": self.program.binary(observed).map(|binary| &binary.build),
        })
    }

    fn next_mark(&self, observed: &Observation) -> Mark {
        self.managed
            .next_mark(observed, fingerprint(&self.spec(observed)))
    }

    /// An instance as the proxy is to know it. Of one whose node did not answer nothing is
    /// known, and the proxy may see it all the same: it keeps the name and the key that it has.
    fn backend(&self, instance: &Instance, observed: &Observation) -> Backend {
        let is_unknown = observed.of(instance.node()).is_none();
        let served = is_unknown.then(|| self.served_backend(instance.name().as_str(), observed));
        match served.flatten() {
            Some(served) => Backend {
                authority: instance.authority(),
                role: instance.role(),
                ..served
            },
            None => Backend {
                name: instance.name().to_string(),
                authority: instance.authority(),
                role: instance.role(),
                nonce: Some(instance.planned_mark(observed).nonce()),
                key: instance.own_key(observed),
            },
        }
    }

    /// What it is to serve from: who runs, or is about to. A stranger may listen where one does not
    /// run that cannot be started.
    fn serves_from(&self, instance: &Instance, observed: &Observation) -> bool {
        if observed.of(instance.node()).is_none() {
            let served = self.served_backend(instance.name().as_str(), observed);
            return served.is_some();
        }
        instance.running_mark(observed).is_some() || instance.change(observed).action.starts()
    }

    fn serving<'a>(&'a self, observed: &'a Observation) -> impl Iterator<Item = &'a Arc<Instance>> {
        let backends = self.backends.iter();
        backends.filter(|instance| self.serves_from(instance, observed))
    }

    fn reported(&self, observed: &Observation) -> Arc<Reported> {
        self.reported.of(observed, || {
            let facts = observed.of(&self.managed.node);
            Reported::new(facts.and_then(|facts| served::read(&self.managed.folder, facts)))
        })
    }

    /// What the proxy serves from now by this name.
    fn served_backend(&self, name: &str, observed: &Observation) -> Option<Backend> {
        self.reported(observed).backend(name).cloned()
    }

    /// The weights of the instances behind it that have one.
    fn weights(&self) -> BTreeMap<String, u32> {
        let weights = self.declared.weights.iter();
        weights
            .map(|(name, weight)| (name.to_string(), weight.get()))
            .collect()
    }

    fn config(&self, generation: u64, observed: &Observation) -> Config {
        Config {
            generation,
            backends: self
                .serving(observed)
                .map(|b| self.backend(b, observed))
                .collect(),
            policy: json!(self.declared.policy),
            weights: self.weights(),
            timeouts: self.timeouts.clone(),
            limits: self.limits.clone(),
            client_keys: self.client_keys(observed),
            headers: self.declared.headers,
            access_log: self.declared.access_log.then(|| ACCESS_LOG.to_owned()),
            drained: self.drained(observed),
        }
    }

    fn compare_running(&self, observed: &Observation, session: &Session) -> Change {
        let summary = self.managed.summary(observed, session, self.declared.port);
        let mut fields = differences(&session.spec, &self.spec(observed), &[]);
        let moved = self.managed.moves(observed, session);
        if !fields.is_empty() || moved.is_some() {
            let text = match &moved {
                Some(moved) if fields.is_empty() => moved.why,
                _ => "what it listens on, or its program, changed",
            };
            let reason = Reason::new(ReasonCode::Differs, text);
            fields.extend(moved.map(|it| it.field));
            return Change::new(&self.managed.address, Action::Replace, vec![reason])
                .with_fields(fields)
                .described(summary);
        }
        let facts = observed.of(&self.managed.node);
        if let Some(asked) = facts.and_then(|it| self.managed.asked(&ProcessTable::read(it))) {
            return Change::new(&self.managed.address, Action::Replace, vec![asked])
                .described(summary);
        }
        let Some(status) = self.status(observed) else {
            let reason = Reason::new(
                ReasonCode::Silent,
                "it runs but its control socket does not answer",
            );
            return Change::new(&self.managed.address, Action::Replace, vec![reason])
                .described(summary);
        };
        let drained: Vec<String> = drains::now(&status).into_iter().collect();
        let summary = match drained.as_slice() {
            [] => summary,
            drained => format!("{summary}, {} drained", list(drained)),
        };
        self.compare_served(observed, &status).described(summary)
    }

    fn compare_served(&self, observed: &Observation, status: &Status) -> Change {
        let fields = self.served_differences(observed, status);
        let mut reasons = Vec::new();
        if !fields.is_empty() {
            let what = if status.config.is_some() {
                "what it serves changed"
            } else {
                "it serves nothing yet"
            };
            reasons.push(Reason::new(ReasonCode::Differs, what));
        }
        for name in self.waiting_backends(observed, status) {
            let state = status.backends.get(&name).map(|backend| backend.state);
            let text = if state == Some(BackendState::Draining) {
                format!("{name} was drained by a run that did not come to its end")
            } else {
                format!("{name} is not served from yet")
            };
            reasons.push(Reason::new(ReasonCode::NotRouted, text));
        }
        if reasons.is_empty() {
            return Change::keep(&self.managed.address, "");
        }
        Change::new(&self.managed.address, Action::Update, reasons).with_fields(fields)
    }

    /// Compares what it serves with what it is to serve. The nonce of a backend is compared only
    /// where the instance runs as declared: one that is about to be started anew is told then.
    fn served_differences(&self, observed: &Observation, status: &Status) -> Vec<Field> {
        self.differences_to(&self.config(0, observed), observed, status)
    }

    fn differences_to(
        &self,
        config: &Config,
        observed: &Observation,
        status: &Status,
    ) -> Vec<Field> {
        let served = status.config.as_ref();
        let old = served.map_or_else(|| json!({}), |config| self.described(config, observed));
        let mut fields = differences(&old, &self.described(config, observed), &[]);
        for field in &mut fields {
            field.forces_replacement = false;
        }
        fields
    }

    /// Whether a configuration says anything but what to serve from once it was brought about.
    fn tells_more(&self, config: &Config, observed: &Observation, status: &Status) -> bool {
        let (mut told, awaited) = (config.clone(), self.awaited(observed));
        told.backends
            .retain(|backend| !awaited.contains_key(&backend.name));
        !self.differences_to(&told, observed, status).is_empty()
    }

    fn described<P: Serialize>(&self, config: &Config<P>, observed: &Observation) -> Value {
        // Whether an instance runs as it is to run.
        let runs_on = |instance: &Arc<Instance>| {
            instance.running_mark(observed).as_ref() == Some(&instance.planned_mark(observed))
        };
        let known = self.backends.iter().filter(|instance| runs_on(instance));
        let known: BTreeSet<&str> = known.map(|instance| instance.name().as_str()).collect();
        let backends: serde_json::Map<_, _> = config
            .backends
            .iter()
            .map(|backend| {
                let known = known.contains(backend.name.as_str());
                let key = backend.key.as_ref().map(|key| &key.digest);
                let shown = json!({
                    "authority": backend.authority,
                    "role": Some(backend.role).filter(|role| !role.is_both()),
                    "nonce": known.then_some(&backend.nonce),
                    "key": key.filter(|_| known),
                });
                (backend.name.clone(), shown)
            })
            .collect();
        let client_keys = config.client_keys.iter().map(|key| &key.digest);
        let mut described = json!({
            "policy": config.policy,
            "weights": config.weights,
            "timeouts": config.timeouts,
            "limits": config.limits,
            "backends": backends,
            "client_keys": client_keys.collect::<Vec<_>>(),
        });
        if !config.headers {
            // What is false does not differ from what is not there.
            described["headers"] = json!("off");
        }
        if let Some(log) = &config.access_log {
            described["access_log"] = json!(log);
        }
        described
    }

    /// The backends that run as declared and that the proxy knows but does not serve from.
    fn waiting_backends(&self, observed: &Observation, status: &Status) -> Vec<String> {
        let waits = |instance: &&Arc<Instance>| {
            let name = instance.name().as_str();
            status.backends.contains_key(name)
                && !status.is_serving(name)
                && !drains::is_drained(status, name)
                && instance.change(observed).action == Action::Keep
        };
        let waiting = self.backends.iter().filter(waits);
        waiting
            .map(|instance| instance.name().to_string())
            .collect()
    }

    fn tell(
        &self,
        request: Request,
        timeout: Option<Duration>,
        observed: &Observation,
    ) -> Operation {
        let control = self.control(request, timeout, observed);
        Operation::on(&self.managed.node, Effect::ProxyControl(Box::new(control)))
    }

    fn control(
        &self,
        request: Request,
        timeout: Option<Duration>,
        observed: &Observation,
    ) -> ProxyControl {
        ProxyControl {
            program: self.program.path(observed),
            folder: self.managed.folder.run(),
            keys: self.keys(&request, observed),
            // What speaks of one backend is part of that one's own chain.
            awaited: match &request {
                Request::Configure(_) => self.awaited(observed),
                Request::Admit(_)
                | Request::TakeOver(_)
                | Request::Drain { .. }
                | Request::Drained(_)
                | Request::Reload
                | Request::Status => BTreeMap::new(),
            },
            tells_more: true,
            request,
            timeout,
        }
    }

    fn update(&self, observed: &Observation) -> Vec<Operation> {
        if !self.drains.is_none() {
            return self.tell_drains(observed);
        }
        let mut operations = self.await_predecessors(observed);
        let Some(status) = self.status(observed) else {
            return operations;
        };
        if !self.served_differences(observed, &status).is_empty() {
            let generation = status.config.as_ref().map_or(0, |config| config.generation) + 1;
            let config = self.config(generation, observed);
            let tells_more = self.tells_more(&config, observed, &status);
            // What leaves is drained first.
            let configure =
                self.control(Request::Configure(config), Some(self.patience()), observed);
            let configure = Effect::ProxyControl(Box::new(ProxyControl {
                tells_more,
                ..configure
            }));
            operations.push(Operation::on(&self.managed.node, configure));
        }
        let waiting: BTreeSet<_> = self
            .waiting_backends(observed, &status)
            .into_iter()
            .collect();
        for instance in &self.backends {
            if waiting.contains(instance.name().as_str()) {
                let admit = Request::Admit(self.backend(instance, observed));
                operations.push(self.tell(admit, Some(ADMISSION), observed));
            }
        }
        operations
    }

    /// A server that is replaced has a new name afterwards, one that moves has another address too,
    /// and this is told it. Were it told and the old server stayed, because the new one is blocked or
    /// never comes to run, it would serve from neither.
    fn waits_for(&self, observed: &Observation) -> Vec<Address> {
        let Some(status) = self.status(observed) else {
            return Vec::new();
        };
        let is_replaced = |instance: &Instance| {
            let running = instance.running_mark(observed);
            running.is_some_and(|mark| mark != instance.planned_mark(observed))
        };
        let changes_name = |instance: &&Arc<Instance>| {
            let name = instance.name().as_str();
            let served = self.served_backend(name, observed);
            served.is_some_and(|backend| {
                let is_moved = backend.authority != instance.authority();
                is_moved && status.is_serving(name) || is_replaced(instance)
            })
        };
        let renamed = self.backends.iter().filter(changes_name);
        renamed.map(|instance| instance.address().clone()).collect()
    }

    fn compare(&self, observed: &Observation) -> Change {
        if !self.drains.is_none() {
            return self.compare_drains(observed);
        }
        let mut change = self.compare_process(observed);
        let missing_key = self.missing_key(observed);
        let missing_key = missing_key.filter(|_| change.action.acts());
        let mut obstacles: Vec<_> = missing_key.into_iter().collect();
        if change.action.starts() {
            obstacles.extend(self.would_fail(observed));
            change
                .reasons
                .extend(self.managed.ends_with_the_machine(observed));
            change
                .reasons
                .extend(self.managed.begins_to_linger(observed));
        }
        if change.action == Action::Keep {
            let node = &self.managed.node;
            let unreachable = listening::unreachable(node, &self.listens, observed);
            change.reasons.extend(unreachable);
            change.reasons.extend(self.managed.begun_again(observed));
        }
        if obstacles.is_empty() {
            return change;
        }
        Change::new(&self.managed.address, Action::Blocked, obstacles).described(change.summary)
    }

    /// Each reason why its start would fail, or could not be seen to serve: once it serves, it is
    /// spoken to in another way.
    fn would_fail(&self, observed: &Observation) -> Vec<Reason> {
        let (on, port) = (&self.listens.on, self.declared.port.get());
        let node = &self.managed.node;
        let unasked = forwarding::forbidden(node, on, port, observed);
        let mut reasons: Vec<_> = unasked.into_iter().collect();
        reasons.extend(prerequisites::unmet(node, observed));
        reasons.extend(self.managed.unsupervised(observed));
        if let Some(facts) = observed.of(node) {
            reasons.extend(prerequisites::startless(facts));
            reasons.extend(Prerequisites::read(facts).no_programs());
        }
        reasons.extend(listening::unreachable(node, &self.listens, observed));
        let dialled = self.backends.iter();
        let unknown = dialled.filter_map(|it| listening::unknown(node, it.listens(), observed));
        reasons.extend(unknown);
        reasons
    }

    fn compare_process(&self, observed: &Observation) -> Change {
        let Some(facts) = observed.of(&self.managed.node) else {
            return Change::blocked(&self.managed.address, Reason::unreachable("unknown"));
        };
        let table = ProcessTable::read(facts);
        let sessions = self.managed.sessions(&table);
        let port = self.declared.port.get();
        if let Some(taken) = self.managed.port_taken(port, &table) {
            return Change::blocked(&self.managed.address, taken);
        }
        match sessions.as_slice() {
            [] => {
                let reason = match NodeFiles::read(&self.managed.folder, facts)
                    .last_generation(&self.managed.address)
                {
                    0 => Reason::new(ReasonCode::Absent, "it does not run"),
                    _ => Reason::new(ReasonCode::Gone, self.managed.gone(observed)),
                };
                let place = format!("port {port}, {}", self.policy());
                Change::new(&self.managed.address, Action::Create, vec![reason])
                    .described(self.managed.place(observed, place))
            }
            [one] if one.leader().is_some() => self.compare_running(observed, one),
            [newest, ..] if !self.predecessors(&table).is_empty() => {
                self.beside_predecessors(self.compare_running(observed, newest), &table)
            }
            _ => {
                let reason =
                    Reason::new(ReasonCode::Duplicate, "its process is gone, or not alone");
                Change::new(&self.managed.address, Action::Replace, vec![reason])
            }
        }
    }

    /// What was seen of it: its process, and which of its configurations it serves.
    fn seen(&self, observed: &Observation) -> Option<String> {
        let start = self.managed.seen(observed)?;
        let served = self.status(observed).and_then(|status| status.config);
        Some(match served {
            Some(config) => format!("{start}, configuration {}", config.generation),
            None => start,
        })
    }

    fn relations(&self, observed: &Observation) -> Relations {
        let backends = self.backends.iter();
        let needs = Relations {
            requires: vec![self.program.address().clone()],
            after: backends.map(|it| it.address().clone()).collect(),
            waits_for: self.waits_for(observed),
            ..Relations::default()
        };
        let needs = Some(needs).filter(|_| self.drains.is_none());
        Relations {
            wants_ports: vec![NodePort::new(&self.managed.node, self.declared.port.get())],
            occupies: self.occupies(observed),
            drain: self.drain(observed),
            admit: self.admit(observed),
            take_over: self.take_over(observed),
            serves: self.serves(observed),
            // Drains alone need nothing but that it runs.
            ..needs.unwrap_or_default()
        }
    }
}

/// A policy as a manifest names it, without its settings.
fn policy_name(policy: &impl Serialize, is_weighted: bool) -> String {
    let name = match json!(policy) {
        Value::String(name) => name,
        Value::Object(with_settings) if with_settings.len() == 1 => {
            with_settings.into_iter().map(|(name, _)| name).collect()
        }
        other => other.to_string(),
    };
    if is_weighted {
        format!("{name} by weight")
    } else {
        name
    }
}

impl Resource for Proxy {
    fn address(&self) -> &Address {
        &self.managed.address
    }

    fn facts(&self) -> Vec<(NodeName, Fact)> {
        let mut facts = self.managed.facts();
        let mark = Mark::prefix(self.managed.topology.as_str(), &self.managed.address);
        let served = served::fact(&self.managed.folder, &mark);
        let dialled = forwarding::fact(&self.listens.on, self.declared.port.get(), None);
        let hosts = self.backends.iter().map(|it| &it.listens().reached_at);
        let hosts: BTreeSet<_> = hosts.chain([&self.listens.on]).collect();
        let addresses = hosts.into_iter().filter_map(|host| listening::fact(host));
        let all = addresses.chain([served, dialled]);
        facts.extend(all.map(|one| (self.managed.node.clone(), one)));
        facts
    }

    fn liveness_probe(&self, _: &Observation) -> Option<LivenessProbe> {
        None
    }

    fn stand(&self, observed: &Observation) -> Stand {
        let stop = Effect::Stop(self.stop(observed));
        let mut change = self.compare(observed);
        let mut succeed = Vec::new();
        if change.action == Action::Replace && self.is_whole(observed) {
            succeed = self.succeed(observed);
            change.starts_first = !succeed.is_empty();
        }
        Stand {
            change,
            operations: Operations {
                start: self.start(observed),
                succeed,
                update: self.update(observed),
                stop: vec![Operation::on(&self.managed.node, stop)],
                ..Operations::default()
            },
            relations: self.relations(observed),
            service: Some(self.service(observed)),
            seen: self.seen(observed),
        }
    }
}
