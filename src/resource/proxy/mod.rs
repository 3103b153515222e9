//! The room of the proxy: the one address that clients talk to.
//!
//! What it listens on is fixed when it starts; backends, policy and timeouts are told to it over
//! its control socket while it serves.

mod declared;
mod served;
mod service;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

pub use declared::*;
use serde::Serialize;
use serde_json::{Value, json};

use super::contract::{Memo, Observation, Question, Resource};
use super::instance::{self, Instance};
use super::place::{Listens, Place};
use super::process::{Mark, ProcessTable, Seat, Session, differences, fingerprint};
use super::program::Program;
use crate::name::{NodeName, TopologyName};
use crate::net::Authority;
use crate::node::Stale;
use crate::plan::effect::control::{Backend, Config, ProxyControl, Request, Timeouts};
use crate::plan::effect::{Check, Launch, LogReader, Probe, Stop, WaitReady};
use crate::plan::{
    Action, Address, Change, Effect, Field, Hook, NodePort, Operation, Operations, Reason,
    ReasonCode, Relations, Stand,
};
use crate::proxy::control::Status;

/// What this kind is called.
pub const KIND: &str = "proxy";

/// How long an instance that is ready may take to be seen by the proxy.
const ADMISSION: Duration = Duration::from_secs(60);

/// How long the proxy may take to answer its control socket when nothing drains.
const ANSWER: Duration = Duration::from_secs(20);

/// The proxy of a topology.
pub struct Proxy {
    seat: Seat,
    listens: Listens,
    declared: ProxyDeclaration,
    timeouts: Timeouts,
    backends: Vec<Arc<Instance>>,
    program: Arc<Program>,
    told: Memo<Told>,
}

/// What a proxy says of itself: nothing where none runs or answers.
struct Told {
    status: Option<Status>,
    /// The place in the configuration of each backend that it serves from.
    places: BTreeMap<String, usize>,
}

impl Told {
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
    /// Returns the proxy before these instances.
    pub fn new(
        topology: &TopologyName,
        listens: Listens,
        declared: &ProxyDeclaration,
        backends: Vec<Arc<Instance>>,
        program: Arc<Program>,
    ) -> Self {
        Self {
            seat: Seat::new(topology, &declared.node, KIND, None),
            listens,
            declared: declared.clone(),
            timeouts: Timeouts::from(&declared.timeouts),
            backends,
            program,
            told: Memo::default(),
        }
    }

    /// Says what becomes of the foreign servers of its node.
    #[must_use]
    pub fn beside(mut self, stale: Stale) -> Self {
        self.seat = self.seat.beside(stale);
        self
    }

    /// Returns `host:port`, by which clients reach it.
    pub fn authority(&self) -> String {
        Authority::new(&self.listens.reached_at, self.declared.port.get()).to_string()
    }

    /// Returns the instances behind it.
    pub fn backends(&self) -> &[Arc<Instance>] {
        &self.backends
    }

    /// Returns the policy's name.
    pub fn policy(&self) -> String {
        let policy = json!(self.declared.policy);
        match policy {
            Value::String(name) => name,
            other => other.to_string(),
        }
    }

    /// Returns what it says of itself, where it runs and answers.
    fn status(&self, seen: &Observation) -> Option<Status> {
        self.told(seen).status.clone()
    }

    /// Returns the digest of what it is to be, for results that rest on it.
    pub fn fingerprint(&self) -> String {
        fingerprint(&json!({
            "listen": {"host": self.listens.on, "port": self.declared.port},
            "policy": self.declared.policy,
            "timeouts": self.timeouts,
            "backends": self.backends.iter().map(|b| b.name()).collect::<Vec<_>>(),
        }))
    }

    /// Returns what it is when it starts: everything that only a restart can change.
    fn spec(&self, seen: &Observation) -> Value {
        json!({
            "listen": {"host": self.listens.on, "port": self.declared.port},
            "program": self.program.binary(seen).map(|binary| &binary.build),
        })
    }

    fn next_mark(&self, seen: &Observation) -> Mark {
        self.seat.next_mark(seen, fingerprint(&self.spec(seen)))
    }

    /// Returns an instance as the proxy is to know it. Of one whose node did not answer nothing is
    /// known, and the proxy may see it all the same: it keeps the name that it has.
    fn backend(&self, instance: &Instance, seen: &Observation) -> Backend {
        let is_unknown = seen.of(instance.node()).is_none();
        let served = is_unknown.then(|| self.served_backend(instance.name().as_str(), seen));
        let nonce = served.flatten().map(|backend| backend.nonce);
        Backend {
            name: instance.name().to_string(),
            authority: instance.authority(),
            nonce: nonce.unwrap_or_else(|| instance.planned_mark(seen).nonce()),
        }
    }

    fn told(&self, seen: &Observation) -> Arc<Told> {
        self.told.of(seen, || {
            let answers = seen.of(&self.seat.node);
            Told::new(answers.and_then(|answers| served::read(&self.seat.folder, answers)))
        })
    }

    /// Returns what the proxy serves from now by this name.
    fn served_backend(&self, name: &str, seen: &Observation) -> Option<Backend> {
        self.told(seen).backend(name).cloned()
    }

    fn config(&self, generation: u64, seen: &Observation) -> Config {
        Config {
            generation,
            backends: self
                .backends
                .iter()
                .map(|b| self.backend(b, seen))
                .collect(),
            policy: json!(self.declared.policy),
            timeouts: self.timeouts.clone(),
        }
    }

    fn compare_running(&self, seen: &Observation, session: &Session) -> Change {
        let pid = session.leader().map_or(0, |leader| leader.pid);
        let summary = format!("pid {pid}, port {}", self.declared.port);
        let fields = differences(&session.spec, &self.spec(seen), &[]);
        if !fields.is_empty() {
            let reason = Reason::new(
                ReasonCode::Differs,
                "what it listens on, or its program, changed",
            );
            return Change::new(&self.seat.address, Action::Replace, vec![reason])
                .with_fields(fields)
                .described(summary);
        }
        let Some(status) = self.status(seen) else {
            let reason = Reason::new(
                ReasonCode::Silent,
                "it runs but its control socket does not answer",
            );
            return Change::new(&self.seat.address, Action::Replace, vec![reason])
                .described(summary);
        };
        self.compare_served(seen, &status).described(summary)
    }

    fn compare_served(&self, seen: &Observation, status: &Status) -> Change {
        let fields = self.served_differences(seen, status);
        let mut reasons = Vec::new();
        if !fields.is_empty() {
            let what = if status.config.is_some() {
                "what it serves changed"
            } else {
                "it serves nothing yet"
            };
            reasons.push(Reason::new(ReasonCode::Differs, what));
        }
        for name in self.waiting_backends(seen, status) {
            reasons.push(Reason::new(
                ReasonCode::NotRouted,
                format!("{name} is not served from yet"),
            ));
        }
        if reasons.is_empty() {
            return Change::keep(&self.seat.address, "");
        }
        Change::new(&self.seat.address, Action::Update, reasons).with_fields(fields)
    }

    /// Compares what it serves with what it is to serve. The nonce of a backend is compared only
    /// where the instance runs as declared: one that is about to be started anew is told then.
    fn served_differences(&self, seen: &Observation, status: &Status) -> Vec<Field> {
        let served = status.config.as_ref();
        let old = served.map_or_else(|| json!({}), |config| self.described(config, seen));
        let new = self.described(&self.config(0, seen), seen);
        let mut fields = differences(&old, &new, &[]);
        for field in &mut fields {
            field.forces_replacement = false;
        }
        fields
    }

    fn described<P: Serialize>(&self, config: &Config<P>, seen: &Observation) -> Value {
        // Whether an instance runs as it is to run.
        let runs_on = |instance: &Arc<Instance>| {
            instance.running_mark(seen).as_ref() == Some(&instance.planned_mark(seen))
        };
        let known = self.backends.iter().filter(|instance| runs_on(instance));
        let known: BTreeSet<&str> = known.map(|instance| instance.name().as_str()).collect();
        let backends: serde_json::Map<_, _> = config
            .backends
            .iter()
            .map(|backend| {
                let known = known.contains(backend.name.as_str());
                let nonce = if known {
                    json!(backend.nonce)
                } else {
                    Value::Null
                };
                let shown = json!({"authority": backend.authority, "nonce": nonce});
                (backend.name.clone(), shown)
            })
            .collect();
        json!({"policy": config.policy, "timeouts": config.timeouts, "backends": backends})
    }

    /// Returns the backends that run as declared and that the proxy knows but does not serve from.
    fn waiting_backends(&self, seen: &Observation, status: &Status) -> Vec<String> {
        let waits = |instance: &&Arc<Instance>| {
            let name = instance.name().as_str();
            status.backends.contains_key(name)
                && !status.is_serving(name)
                && instance.change(seen).action == Action::Keep
        };
        let waiting = self.backends.iter().filter(waits);
        waiting
            .map(|instance| instance.name().to_string())
            .collect()
    }

    fn tell(&self, request: Request, timeout: Option<Duration>, seen: &Observation) -> Operation {
        let tell = Effect::ProxyControl(Box::new(ProxyControl {
            program: self.program.path(seen),
            folder: self.seat.folder.run(),
            request,
            timeout,
        }));
        Operation::on(&self.seat.node, tell)
    }

    fn launch(&self, mark: &Mark, seen: &Observation) -> Launch {
        let port = self.declared.port.to_string();
        // Kept for a restart by a supervisor; one that we start anew is told everything anew.
        let state = format!("proxy.{}.json", mark.generation);
        let words = [
            "proxy",
            "--host",
            &self.listens.on,
            "--port",
            &port,
            "--control",
            served::SOCKET,
            "--state",
            &state,
        ];
        Launch {
            address: self.seat.address.clone(),
            mark: mark.to_string(),
            spec: self.spec(seen).to_string(),
            argv: std::iter::once(self.program.path(seen))
                .chain(words.map(str::to_owned))
                .collect(),
            path: Vec::new(),
            env: [].into(),
            secret_env: self
                .backends
                .iter()
                .find_map(|instance| instance.api_key_env())
                .map(|source| ("REPLICA_API_KEY".to_owned(), source))
                .into_iter()
                .collect(),
            folder: self.seat.folder.run(),
            log: self.seat.log(mark),
            log_reader: LogReader::None,
        }
    }

    fn ready(&self, mark: &Mark) -> WaitReady {
        WaitReady {
            address: self.seat.address.clone(),
            mark: mark.to_string(),
            probe: Probe {
                host: self.listens.on.clone(),
                port: self.declared.port.get(),
                checks: vec![Check {
                    shows: "the health check".to_owned(),
                    path: "/health".to_owned(),
                    body: None,
                    api_key_env: None,
                    contains: None,
                }],
            },
            log: self.seat.log(mark),
            patience: ANSWER,
            expected: None,
            log_reader: LogReader::None,
        }
    }

    fn stop(&self, seen: &Observation) -> Stop {
        self.seat.stop(seen, Duration::from_secs(30))
    }

    fn start(&self, seen: &Observation) -> Vec<Operation> {
        let (mark, on) = (self.next_mark(seen), &self.seat.node);
        vec![
            Operation::on(on, Effect::Launch(Box::new(self.launch(&mark, seen)))),
            Operation::on(on, Effect::WaitReady(Box::new(self.ready(&mark)))),
            self.tell(Request::Configure(self.config(1, seen)), Some(ANSWER), seen),
        ]
    }

    fn update(&self, seen: &Observation) -> Vec<Operation> {
        let Some(status) = self.status(seen) else {
            return Vec::new();
        };
        let mut operations = Vec::new();
        if !self.served_differences(seen, &status).is_empty() {
            let generation = status.config.as_ref().map_or(0, |config| config.generation) + 1;
            // What leaves is drained first, however long its last request takes.
            operations.push(self.tell(
                Request::Configure(self.config(generation, seen)),
                None,
                seen,
            ));
        }
        let waiting: BTreeSet<_> = self.waiting_backends(seen, &status).into_iter().collect();
        for instance in &self.backends {
            if waiting.contains(instance.name().as_str()) {
                let admit = Request::Admit(self.backend(instance, seen));
                operations.push(self.tell(admit, Some(ADMISSION), seen));
            }
        }
        operations
    }

    /// A server that is replaced has a new name afterwards, one that moves has another address too,
    /// and this is told it. Were it told and the old server stayed, because the new one is blocked or
    /// never comes to run, it would serve from neither.
    fn waits_for(&self, seen: &Observation) -> Vec<Address> {
        let Some(status) = self.status(seen) else {
            return Vec::new();
        };
        let is_replaced = |instance: &Instance| {
            let running = instance.running_mark(seen);
            running.is_some_and(|mark| mark != instance.planned_mark(seen))
        };
        let changes_name = |instance: &&Arc<Instance>| {
            let name = instance.name().as_str();
            let served = self.served_backend(name, seen);
            served.is_some_and(|backend| {
                let is_moved = backend.authority != instance.authority();
                is_moved && status.is_serving(name) || is_replaced(instance)
            })
        };
        let renamed = self.backends.iter().filter(changes_name);
        renamed.map(|instance| instance.address().clone()).collect()
    }

    fn compare(&self, seen: &Observation) -> Change {
        let Some(answers) = seen.of(&self.seat.node) else {
            return Change::blocked(&self.seat.address, Reason::unreachable("unknown"));
        };
        let table = ProcessTable::read(answers);
        let sessions = self.seat.sessions(&table);
        let port = self.declared.port.get();
        if let Some(taken) = self.seat.port_taken(port, &table) {
            return Change::blocked(&self.seat.address, taken);
        }
        match sessions.as_slice() {
            [] => {
                let reason = match Place::read(&self.seat.folder, answers)
                    .last_generation(&self.seat.address)
                {
                    0 => Reason::new(ReasonCode::Absent, "it does not run"),
                    _ => Reason::new(ReasonCode::Gone, "its process is gone"),
                };
                Change::new(&self.seat.address, Action::Create, vec![reason])
                    .described(format!("port {port}, {}", self.policy()))
            }
            [one] if one.leader().is_some() => self.compare_running(seen, one),
            _ => {
                let reason =
                    Reason::new(ReasonCode::Duplicate, "its process is gone, or not alone");
                Change::new(&self.seat.address, Action::Replace, vec![reason])
            }
        }
    }

    /// What it is told before a backend stops. No bound: a request that runs is never cut off.
    fn drain(&self, seen: &Observation) -> Vec<Hook> {
        let hook = |backend: Backend| Hook {
            of: Address::nowhere(instance::KIND, &backend.name),
            operations: vec![self.tell(
                Request::Drain {
                    backend: backend.name,
                },
                None,
                seen,
            )],
        };
        let config = self.status(seen).and_then(|status| status.config);
        let served = config.into_iter().flat_map(|config| config.backends);
        served.map(hook).collect()
    }

    /// What it is told once a backend that it serves from runs again.
    fn admit(&self, seen: &Observation) -> Vec<Hook> {
        let is_served = |instance: &&Arc<Instance>| {
            let name = instance.name().as_str();
            self.served_backend(name, seen).is_some()
        };
        let hook = |instance: &Arc<Instance>| Hook {
            of: instance.address().anywhere(),
            operations: vec![self.tell(
                Request::Admit(self.backend(instance, seen)),
                Some(ADMISSION),
                seen,
            )],
        };
        self.backends.iter().filter(is_served).map(hook).collect()
    }

    fn relations(&self, seen: &Observation) -> Relations {
        let backends = self.backends.iter();
        Relations {
            requires: vec![self.program.address().clone()],
            after: backends.map(|it| it.address().clone()).collect(),
            waits_for: self.waits_for(seen),
            wants_ports: vec![NodePort::new(&self.seat.node, self.declared.port.get())],
            occupies: self.seat.occupies(seen),
            drain: self.drain(seen),
            admit: self.admit(seen),
            ..Relations::default()
        }
    }
}

impl Resource for Proxy {
    fn address(&self) -> &Address {
        &self.seat.address
    }

    fn questions(&self) -> Vec<(NodeName, Question)> {
        let mut questions = self.seat.questions();
        let served = served::question(&self.seat.folder);
        questions.push((self.seat.node.clone(), served));
        questions
    }

    fn stand(&self, observed: &Observation) -> Stand {
        let stop = Effect::Stop(self.stop(observed));
        Stand {
            change: self.compare(observed),
            operations: Operations {
                start: self.start(observed),
                update: self.update(observed),
                stop: vec![Operation::on(&self.seat.node, stop)],
                ..Operations::default()
            },
            relations: self.relations(observed),
            service: Some(self.service(observed)),
        }
    }
}
