//! The room of the instance: one running server, real or simulated.
//!
//! It is found by its mark, compared by the specification that it carries, and believed only when
//! the process that answers is the one that was started.

mod argv;
mod declared;
mod defaults;
mod known;
mod launch;
mod memory;
mod preflight;
mod server;
mod spec;
mod toolchain;

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::Value;

pub use argv::Arguments;
pub use declared::*;
pub use server::{Runtime, Server, VllmRuntime};

use memory::Budget;

use super::contract::{Memo, Observation, Question, Resource};
use super::engine;
use super::machine;
use super::model;
use super::place::{Listens, Place};
use super::process::{Mark, ProcessTable, Seat, Session, differences, fingerprint};
use super::program::Program;
use super::unmanaged;
use crate::name::{InstanceName, NodeName, TopologyName};
use crate::net::Authority;
use crate::node::Stale;
use crate::plan::{
    Action, Address, Change, Effect, Field, NodePort, Operation, Operations, Reason, ReasonCode,
    Relations, Stand,
};

/// What this kind is called.
pub const KIND: &str = "instance";

/// A server that a node is to run.
pub struct Instance {
    seat: Seat,
    name: InstanceName,
    listens: Listens,
    server: Server,
    /// `replica` itself as its node has it, where something of the node needs it: the simulator.
    program: Arc<Program>,
    /// The one that starts before it on its node.
    before: Option<Arc<Instance>>,
    /// The names of all that its node is to run, itself included.
    mates: Arc<BTreeSet<InstanceName>>,
    spec: Memo<Value>,
    by_itself: Memo<Change>,
    change: Memo<Change>,
    /// What it leaves of its node's memory to those that start after it.
    leaves: Memo<Option<Budget>>,
}

/// What an instance is made of, all looked up in one topology.
#[derive(Clone)]
pub struct Parts {
    /// The topology.
    pub topology: TopologyName,
    /// Its name.
    pub name: InstanceName,
    /// Where it listens.
    pub listens: Listens,
    /// What becomes of the foreign servers of its node.
    pub stale: Stale,
    /// As it is meant.
    pub server: Server,
    /// `replica` itself as its node has it, where something of the node needs it.
    pub program: Arc<Program>,
    /// The one that starts before it on its node, where there is one.
    pub before: Option<Arc<Instance>>,
    /// The names of all that its node is to run, itself included.
    pub mates: Arc<BTreeSet<InstanceName>>,
}

impl Instance {
    /// Returns the instance that these parts make.
    pub fn new(parts: Parts) -> Self {
        let name = Some(parts.name.as_str());
        Self {
            seat: Seat::new(&parts.topology, &parts.server.node, KIND, name).beside(parts.stale),
            name: parts.name,
            listens: parts.listens,
            server: parts.server,
            program: parts.program,
            before: parts.before,
            mates: parts.mates,
            spec: Memo::default(),
            by_itself: Memo::default(),
            change: Memo::default(),
            leaves: Memo::default(),
        }
    }

    /// Returns its name.
    pub fn name(&self) -> &InstanceName {
        &self.name
    }

    /// Returns its node.
    pub fn node(&self) -> &NodeName {
        &self.seat.node
    }

    /// Returns `host:port`, by which others reach it.
    pub fn authority(&self) -> String {
        Authority::new(&self.listens.reached_at, self.server.port.get()).to_string()
    }

    /// Returns the model's name, as clients say it.
    pub fn served_model(&self) -> &str {
        self.server.model.as_str()
    }

    /// Returns how many requests its engine runs at once, where the manifest says so.
    pub fn max_num_seqs(&self) -> Option<u32> {
        u32::try_from(self.server.args.whole("max_num_seqs")?).ok()
    }

    /// Returns the mark of the server that runs now, if one leads its session.
    pub fn running_mark(&self, seen: &Observation) -> Option<Mark> {
        self.seat.running(seen).map(|session| session.mark)
    }

    /// Returns the mark of the server that will run once the plan is carried out.
    pub fn planned_mark(&self, seen: &Observation) -> Mark {
        // What is blocked runs on as it is.
        let is_started = self.change(seen).action.starts();
        match self.running_mark(seen) {
            Some(mark) if !is_started => mark,
            _ => self.next_mark(seen),
        }
    }

    /// Returns the digest of what it is to be, for results that rest on it: that of what runs
    /// where that is as declared, though another version of replica may have put it in words.
    pub fn fingerprint(&self, seen: &Observation) -> String {
        self.planned_mark(seen).fingerprint
    }

    /// Returns what a result says of it: what runs, where, as which process of which boot.
    pub fn provenance(&self, seen: &Observation) -> Value {
        let mut found = serde_json::json!({
            "name": self.name,
            "node": self.seat.node,
            "spec": *self.spec(seen),
            "mark": self.planned_mark(seen).to_string(),
        });
        if let Runtime::Vllm(vllm) = &self.server.runtime {
            // What the manifest calls it says nothing to whoever compares.
            found["repo"] = vllm.model.repo.clone().into();
        }
        let Some(answers) = seen.of(&self.seat.node) else {
            return found;
        };
        if let Some(leader) = self.seat.leader(seen) {
            found["pid"] = leader.pid.into();
            found["start_time"] = leader.start.into();
            found["command"] = leader.command.into();
        }
        found["boot_id"] = ProcessTable::read(answers).boot_id.clone().into();
        found["system"] = Place::read(&self.seat.folder, answers)
            .system
            .clone()
            .into();
        found
    }

    fn next_mark(&self, seen: &Observation) -> Mark {
        self.seat.next_mark(seen, fingerprint(&self.spec(seen)))
    }

    /// The specification of the server that is to run.
    fn spec(&self, seen: &Observation) -> Arc<Value> {
        self.spec.of(seen, || self.specify(seen))
    }

    /// What is to become of it, given what runs and what is free.
    pub fn change(&self, seen: &Observation) -> Arc<Change> {
        self.change.of(seen, || {
            let change = self.by_itself(seen).as_ref().clone();
            if !change.action.starts() {
                return change;
            }
            self.blocked_by(self.memory_short(seen), change)
        })
    }

    /// What is to become of it, whatever memory the others on its node need.
    fn by_itself(&self, seen: &Observation) -> Arc<Change> {
        self.by_itself.of(seen, || self.compare_by_itself(seen))
    }

    fn compare_by_itself(&self, seen: &Observation) -> Change {
        let Some(answers) = seen.of(&self.seat.node) else {
            return Change::blocked(&self.seat.address, Reason::unreachable("unknown"));
        };
        let table = ProcessTable::read(answers);
        let change = self.compare_running(seen, &table, &Place::read(&self.seat.folder, answers));
        // A stranger on the port of a server that runs shares its requests: that is no keep.
        let port_taken = self.seat.port_taken(self.server.port.get(), &table);
        let mut obstacles: Vec<_> = port_taken.into_iter().collect();
        if change.action.acts() {
            obstacles.extend(self.missing_secrets());
        }
        if change.action.starts() {
            obstacles.extend(self.would_fail(seen));
        }
        self.blocked_by(obstacles, change)
    }

    /// Returns the change, or that it cannot be.
    fn blocked_by(&self, obstacles: Vec<Reason>, change: Change) -> Change {
        if obstacles.is_empty() {
            return change;
        }
        Change::new(&self.seat.address, Action::Blocked, obstacles).described(change.summary)
    }

    /// Compares what runs with what is to run, the port being free for it.
    fn compare_running(&self, seen: &Observation, table: &ProcessTable, place: &Place) -> Change {
        let sessions = self.seat.sessions(table);
        let leaders: Vec<_> = sessions.iter().filter(|s| s.leader().is_some()).collect();
        match leaders.as_slice() {
            [] if sessions.is_empty() => self.create(place),
            [] => self.replace_orphans(&sessions),
            [one] => self.compare_one(seen, table, place, one),
            several => {
                let text = format!("{} servers run as this one", several.len());
                self.replace(vec![Reason::new(ReasonCode::Duplicate, text)])
            }
        }
    }

    fn compare_one(
        &self,
        seen: &Observation,
        table: &ProcessTable,
        place: &Place,
        session: &Session,
    ) -> Change {
        let mut fields = differences(&session.spec, &self.spec(seen), &["args", "env"]);
        // A secret that is not at hand cannot be compared: its server runs on.
        fields.retain(|field| !self.is_unknown_secret(&field.path) && !is_unknown_version(field));
        let pid = session.leader().map_or(0, |leader| leader.pid);
        let summary = format!("pid {pid}, port {}", self.server.port);
        if !fields.is_empty() {
            let reason = Reason::new(ReasonCode::Differs, "its specification changed");
            return self
                .replace(vec![reason])
                .with_fields(fields)
                .described(summary);
        }
        let listens = table.listeners_on(self.server.port.get()).any(|listener| {
            listener
                .owners
                .iter()
                .any(|owner| owner.session == session.id)
        });
        if listens && place.has_served(&self.seat.address, session.mark.generation) {
            return Change::keep(&self.seat.address, summary);
        }
        let text = if listens {
            "it listens but was never seen to serve"
        } else {
            "it runs but does not listen yet"
        };
        let reason = Reason::new(ReasonCode::NotReady, text);
        Change::new(&self.seat.address, Action::Update, vec![reason]).described(summary)
    }

    fn is_unknown_secret(&self, path: &str) -> bool {
        let source = path
            .strip_prefix("env.")
            .and_then(|name| self.secrets().remove(name));
        source.is_some_and(|source| std::env::var_os(source).is_none())
    }

    fn create(&self, place: &Place) -> Change {
        let reason = match place.last_generation(&self.seat.address) {
            0 => Reason::new(ReasonCode::Absent, "it does not run"),
            generation => Reason::new(
                ReasonCode::Gone,
                format!("its process is gone; the log of start {generation} remains"),
            ),
        };
        Change::new(&self.seat.address, Action::Create, vec![reason])
            .described(format!("port {}", self.server.port))
    }

    fn replace_orphans(&self, sessions: &[&Session]) -> Change {
        let orphans: Vec<_> = sessions
            .iter()
            .flat_map(|session| &session.processes)
            .collect();
        let names: Vec<_> = orphans
            .iter()
            .map(|o| format!("{} (pid {})", o.name, o.pid))
            .collect();
        let text = format!("its server is gone and left behind {}", names.join(", "));
        self.replace(vec![Reason::new(ReasonCode::Orphaned, text)])
            .described(format!("port {}", self.server.port))
    }

    fn replace(&self, reasons: Vec<Reason>) -> Change {
        Change::new(&self.seat.address, Action::Replace, reasons)
    }

    /// Returns each secret that it is to have and that is not at hand.
    fn missing_secrets(&self) -> impl Iterator<Item = Reason> {
        let secrets = self.secrets().into_iter();
        let missing = secrets.filter(|(_, source)| std::env::var_os(source).is_none());
        missing.map(|(variable, source)| {
            let text = format!("{variable} is to come from {source}, which is not set here");
            Reason::new(ReasonCode::SecretMissing, text)
        })
    }
}

/// Says whether a server does not tell which version of a package it was started with: older
/// versions of `replica` did not write that down.
fn is_unknown_version(field: &Field) -> bool {
    field.old.is_none() && field.path.starts_with("engine.installed")
}

impl Instance {
    /// What it is made of: the program that simulates it, or its engine and its model.
    fn requires(&self) -> Vec<Address> {
        let node = &self.seat.node;
        match &self.server.runtime {
            Runtime::Simulated(_) => vec![self.program.address().clone()],
            Runtime::Vllm(vllm) => vec![
                engine::address(node, &vllm.engine),
                Address::on(node, model::KIND, Some(self.served_model())),
            ],
        }
    }

    fn replan_after(&self, seen: &Observation) -> Vec<Address> {
        if let Runtime::Simulated(_) = &self.server.runtime {
            return Vec::new();
        }
        // Where its model is, and which packages it runs, is seen once they are there; and what
        // memory there is, once nobody else has it.
        let mut found = self.requires();
        if let Some(answers) = seen.of(&self.seat.node) {
            let ended = self.seat.ended_beside(&ProcessTable::read(answers));
            found.extend(
                ended
                    .iter()
                    .map(|it| unmanaged::address(&self.seat.node, it)),
            );
        }
        found
    }

    fn operations(&self, seen: &Observation) -> Operations {
        let on = |effect| Operation::on(&self.seat.node, effect);
        let ready =
            |mark: &Mark, expected| on(Effect::WaitReady(Box::new(self.ready(mark, expected))));
        let next = self.next_mark(seen);
        let start = Effect::Launch(Box::new(self.launch(&next, seen)));
        let running = self.running_mark(seen);
        Operations {
            start: vec![on(start), ready(&next, self.last_took(seen))],
            // It loads already: nobody knows since when.
            update: running.iter().map(|mark| ready(mark, None)).collect(),
            stop: vec![on(Effect::Stop(self.stop(seen)))],
            ..Operations::default()
        }
    }

    fn relations(&self, seen: &Observation) -> Relations {
        let node = &self.seat.node;
        Relations {
            requires: self.requires(),
            replan_after: self.replan_after(seen),
            wants_ports: vec![NodePort::new(node, self.server.port.get())],
            occupies: self.seat.occupies(seen),
            concurrency_group: match &self.server.runtime {
                // Loading weights peaks.
                Runtime::Vllm(_) => Some(format!("the memory of {node}")),
                Runtime::Simulated(_) => None,
            },
            rolling_group: Some(self.seat.topology.to_string()),
            ..Relations::default()
        }
    }
}

impl Resource for Instance {
    fn address(&self) -> &Address {
        &self.seat.address
    }

    fn questions(&self) -> Vec<(NodeName, Question)> {
        let mut questions = self.seat.questions();
        if let Runtime::Vllm(vllm) = &self.server.runtime {
            let more = [machine::question(), self.toolchain_question(&vllm.engine)];
            questions.extend(more.map(|one| (self.seat.node.clone(), one)));
        }
        questions
    }

    fn stand(&self, observed: &Observation) -> Stand {
        Stand {
            change: self.change(observed).as_ref().clone(),
            operations: self.operations(observed),
            relations: self.relations(observed),
            service: Some(self.service(observed)),
        }
    }
}
