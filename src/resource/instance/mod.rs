//! The room of the instance: one running server, real or simulated.
//!
//! It is found by its mark, compared by the specification that it carries, and believed only when
//! the process that answers is the one that was started.

mod accept;
mod argv;
mod beside;
mod declared;
mod defaults;
mod known;
pub mod kv;
mod launch;
mod memory;
mod named;
mod order;
mod partner;
mod preflight;
mod server;
mod service;
mod spec;
mod toolchain;
mod wants;

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::Value;

pub use argv::{Arguments, words_of};
pub use declared::*;
pub use kv::KvDeclaration;
pub use named::{Named, Sort};
pub use partner::Partner;
pub use server::{Runtime, Server, VllmRuntime};

use memory::Budget;
use service::COUNTERS;
use spec::ALL_PACKAGES;

use super::asked::Replaced;
use super::contract::{Memo, Observation, Resource};
use super::engine;
use super::facts::Fact;
use super::machine;
use super::model;
use super::node_files::{Listens, NodeFiles};
use super::prerequisites::{self, Prerequisites};
use super::process::{
    Care, ManagedProcess, Mark, ProcessTable, Session, differences, fingerprint, forwarding,
    listening,
};
use super::program::Program;
use super::unmanaged;
use crate::name::{InstanceName, NodeName, TopologyName};
use crate::net::Authority;
use crate::node::{UnmanagedPolicy, variable};
use crate::plan::{
    Action, Address, Change, Effect, Field, First, Liveness, LivenessProbe, NodePort, Operation,
    Operations, Placed, Reason, ReasonCode, Relations, Role, RollingGroup, Rollout, Stand,
};
use crate::prompts::IdWindow;
use crate::quantity::Bandwidth;

/// What this kind is called.
pub const KIND: &str = "instance";

/// A server that a node is to run.
pub struct Instance {
    managed: ManagedProcess,
    name: InstanceName,
    listens: Listens,
    server: Server,
    /// `replica` itself as its node has it, where something of the node needs it: the simulator.
    program: Arc<Program>,
    /// The one that starts before it on its node.
    before: Option<Arc<Instance>>,
    /// The names of all that its node is to run, itself included.
    mates: Arc<BTreeSet<InstanceName>>,
    /// Those to which it hands over, or which hand over to it, where they are to be alike.
    partners: Vec<Partner>,
    /// How it is replaced where clients reach it by way of the proxy; nothing where they do not.
    rollout: Option<Rollout>,
    /// How fast the GPUs of its node read their memory, where the manifest says so.
    memory_bandwidth: Option<Bandwidth>,
    spec: Memo<Value>,
    by_itself: Memo<Change>,
    change: Memo<Change>,
    /// What it leaves of its node's memory to those that start after it.
    leaves: Memo<Option<Budget>>,
    /// The same while what its node is to run no longer runs.
    leaves_now: Memo<Option<Budget>>,
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
    /// What becomes of the unmanaged servers of its node.
    pub unmanaged: UnmanagedPolicy,
    /// What looks after it.
    pub care: Care,
    /// As it is meant.
    pub server: Server,
    /// `replica` itself as its node has it, where something of the node needs it.
    pub program: Arc<Program>,
    /// The one that starts before it on its node, where there is one.
    pub before: Option<Arc<Instance>>,
    /// The names of all that its node is to run, itself included.
    pub mates: Arc<BTreeSet<InstanceName>>,
    /// Those to which it hands over, or which hand over to it, where they are to be alike.
    pub partners: Vec<Partner>,
    /// How it is replaced where clients reach it by way of the proxy; nothing where they do not.
    pub rollout: Option<Rollout>,
    /// How fast the GPUs of its node read their memory, where the manifest says so.
    pub memory_bandwidth: Option<Bandwidth>,
}

impl Instance {
    /// The instance that these parts make.
    pub fn new(parts: Parts) -> Self {
        let name = Some(parts.name.as_str());
        Self {
            managed: ManagedProcess::new(&parts.topology, &parts.server.node, KIND, name)
                .beside(parts.unmanaged)
                .in_care(parts.care),
            name: parts.name,
            listens: parts.listens,
            server: parts.server,
            program: parts.program,
            before: parts.before,
            mates: parts.mates,
            partners: parts.partners,
            rollout: parts.rollout,
            memory_bandwidth: parts.memory_bandwidth,
            spec: Memo::default(),
            by_itself: Memo::default(),
            change: Memo::default(),
            leaves: Memo::default(),
            leaves_now: Memo::default(),
        }
    }

    /// The same, which is to be replaced though it is as declared where that was asked.
    #[must_use]
    pub fn replaced(mut self, replaced: &Replaced) -> Self {
        self.managed = self.managed.replaced(replaced);
        self
    }

    /// Its name.
    pub fn name(&self) -> &InstanceName {
        &self.name
    }

    /// Its node.
    pub fn node(&self) -> &NodeName {
        &self.managed.node
    }

    /// `host:port`, by which others reach it.
    pub fn authority(&self) -> String {
        Authority::new(&self.listens.reached_at, self.server.port.get()).to_string()
    }

    /// Where it listens, and where others find it.
    pub fn listens(&self) -> &Listens {
        &self.listens
    }

    /// The model's name, as clients say it.
    pub fn served_model(&self) -> &str {
        self.server.model.as_str()
    }

    /// The ids of its model's tokens that stand for ordinary text, as far as its files tell.
    pub fn ordinary_ids(&self, observed: &Observation) -> IdWindow {
        let model = self.server.runtime.vllm().map(|vllm| &vllm.model);
        let files = model.zip(observed.of(&self.managed.node));
        let cached = files.map(|(model, facts)| model::Cached::read(model, facts));
        cached.map_or_else(|| IdWindow::safe(None), |cached| cached.ordinary_ids())
    }

    /// Which part of a request it does.
    pub fn role(&self) -> Role {
        self.server.role
    }

    /// How long it holds what it has computed for another, in seconds; nothing where it hands nothing
    /// over.
    pub fn lease(&self) -> Option<f64> {
        let kv = self.server.kv.as_ref()?;
        Some(kv.lease_seconds().into())
    }

    /// How many requests its engine runs at once, where the manifest says so.
    pub fn max_num_seqs(&self) -> Option<u32> {
        u32::try_from(self.server.args.whole("max_num_seqs")?).ok()
    }

    /// The mark of the server that runs now, if one leads its session.
    pub fn running_mark(&self, observed: &Observation) -> Option<Mark> {
        self.running(observed).map(|session| session.mark)
    }

    /// The mark of the server that will run once the plan is carried out.
    pub fn planned_mark(&self, observed: &Observation) -> Mark {
        // What is blocked runs on as it is.
        let is_started = self.change(observed).action.starts();
        match self.running_mark(observed) {
            Some(mark) if !is_started => mark,
            _ => self.next_mark(observed),
        }
    }

    /// The digest of what it is to be, for results that rest on it: that of what runs
    /// where that is as declared, though another version of replica may have put it in words.
    pub fn fingerprint(&self, observed: &Observation) -> String {
        self.planned_mark(observed).fingerprint
    }

    /// What a result says of it: what runs, where, as which process of which boot.
    pub fn provenance(&self, observed: &Observation) -> Value {
        let mut found = serde_json::json!({
            "name": self.name,
            "node": self.managed.node,
            "spec": self.without_secrets(&self.spec(observed)),
            "mark": self.planned_mark(observed).to_string(),
        });
        if let Runtime::Vllm(vllm) = &self.server.runtime {
            // What the manifest calls it says nothing to whoever compares.
            let key = if vllm.model.path.is_some() {
                "path"
            } else {
                "repo"
            };
            found[key] = vllm.model.words().into();
        }
        if !self.role().is_both() {
            found["role"] = serde_json::json!(self.role());
        }
        if let Some(memory_bandwidth) = self.memory_bandwidth {
            found["memory_bandwidth"] = memory_bandwidth.to_string().into();
        }
        if let Runtime::Simulated(engine) = &self.server.runtime {
            found["config"] = engine.profile.config();
        }
        let Some(facts) = observed.of(&self.managed.node) else {
            return found;
        };
        if let Some(vllm) = self.server.runtime.vllm() {
            found["packages"] = serde_json::json!(engine::packages(&vllm.engine, facts));
            found["config"] = model::Cached::read(&vllm.model, facts).config_told();
        }
        let running = self.running(observed);
        if let Some(leader) = running.as_ref().and_then(Session::leader) {
            found["pid"] = leader.pid.into();
            found["start_time"] = leader.start.into();
            found["command"] = leader.command.clone().into();
        }
        found["boot_id"] = ProcessTable::read(facts).boot_id.clone().into();
        found["system"] = NodeFiles::read(&self.managed.folder, facts)
            .system
            .clone()
            .into();
        found
    }

    /// Where its process is, for whoever looks at it beside a measurement.
    pub fn placed(&self, observed: &Observation) -> Placed {
        let mark = self.planned_mark(observed);
        Placed {
            instance: self.name.to_string(),
            node: self.managed.node.clone(),
            log: self.managed.log(&mark),
            mark: mark.to_string(),
        }
    }

    fn next_mark(&self, observed: &Observation) -> Mark {
        // What it is does not hang on the secrets that it is told.
        let spec = self.without_secrets(&self.spec(observed));
        self.managed.next_mark(observed, fingerprint(&spec))
    }

    /// The specification of the server that is to run.
    fn spec(&self, observed: &Observation) -> Arc<Value> {
        self.spec.of(observed, || self.specify(observed))
    }

    /// What is to become of it, given what runs and what is free.
    pub fn change(&self, observed: &Observation) -> Arc<Change> {
        self.change.of(observed, || {
            let change = self.by_itself(observed).as_ref().clone();
            if !change.action.starts() {
                return change;
            }
            self.blocked_by(self.memory_short(observed), change)
        })
    }

    /// What is to become of it, whatever memory the others on its node need.
    fn by_itself(&self, observed: &Observation) -> Arc<Change> {
        self.by_itself
            .of(observed, || self.compare_by_itself(observed))
    }

    fn compare_by_itself(&self, observed: &Observation) -> Change {
        let Some(facts) = observed.of(&self.managed.node) else {
            return Change::blocked(&self.managed.address, Reason::unreachable("unknown"));
        };
        let table = ProcessTable::read(facts);
        let mut change = self.compare_running(
            observed,
            &table,
            &NodeFiles::read(&self.managed.folder, facts),
        );
        if change.action == Action::Keep {
            // Whether they changed cannot be told.
            change.reasons.extend(self.missing_secrets());
            change.reasons.extend(self.unreachable(observed));
            change.reasons.extend(self.managed.begun_again(observed));
        }
        // Somebody else on the port of a server that runs shares its requests: that is no keep.
        let port_taken = self.managed.port_taken(self.server.port.get(), &table);
        let mut obstacles: Vec<_> = port_taken.into_iter().collect();
        if change.action.acts() {
            obstacles.extend(self.missing_secrets());
            obstacles.extend(self.forwarding_forbidden(observed));
            obstacles.extend(prerequisites::unmet(self.node(), observed));
        }
        if change.action.starts() {
            obstacles.extend(self.unreachable(observed));
            obstacles.extend(prerequisites::startless(facts));
            if let Runtime::Simulated(_) = &self.server.runtime {
                obstacles.extend(Prerequisites::read(facts).no_programs());
            }
            obstacles.extend(self.would_fail(observed));
            obstacles.extend(self.model_elsewhere(observed));
            obstacles.extend(self.managed.unsupervised(observed));
            change.reasons.extend(self.gpus_untold(observed));
            change.reasons.extend(self.little_to_pin(observed));
            change
                .reasons
                .extend(self.managed.ends_with_the_machine(observed));
            change
                .reasons
                .extend(self.managed.begins_to_linger(observed));
            if self.declared_secrets().next().is_some() {
                change.reasons.extend(self.managed.stays_down(observed));
            }
        }
        self.blocked_by(obstacles, change)
    }

    /// The change, or that it cannot be.
    fn blocked_by(&self, obstacles: Vec<Reason>, change: Change) -> Change {
        if obstacles.is_empty() {
            return change;
        }
        Change::new(&self.managed.address, Action::Blocked, obstacles).described(change.summary)
    }

    /// Compares what runs with what is to run, the port being free for it.
    fn compare_running(
        &self,
        observed: &Observation,
        table: &ProcessTable,
        files: &NodeFiles,
    ) -> Change {
        let sessions = self.managed.sessions(table);
        let leaders: Vec<_> = sessions.iter().filter(|s| s.leader().is_some()).collect();
        match leaders.as_slice() {
            [] if sessions.is_empty() => self.create(observed, files),
            [] => self.replace_orphans(&sessions),
            [one] => {
                let change = self.compare_one(observed, table, files, one);
                self.beside_left_behind(change, table)
            }
            several => {
                if let Some(starts) = self.side_by_side(observed, table) {
                    let change = self.compare_one(observed, table, files, starts.stays);
                    return Self::beside_others(change, &starts);
                }
                let text = format!("{} servers run as this one", several.len());
                self.replace(vec![Reason::new(ReasonCode::Duplicate, text)])
            }
        }
    }

    fn compare_one(
        &self,
        observed: &Observation,
        table: &ProcessTable,
        files: &NodeFiles,
        session: &Session,
    ) -> Change {
        let mut fields = self.differences(observed, session);
        let summary = self.managed.summary(observed, session, self.server.port);
        let moved = self.managed.moves(observed, session);
        if !fields.is_empty() || moved.is_some() {
            let text = match &moved {
                Some(moved) if fields.is_empty() => moved.why,
                _ => "its specification changed",
            };
            let reason = Reason::new(ReasonCode::Differs, text);
            fields.extend(moved.map(|it| it.field));
            return self
                .replace(vec![reason])
                .with_fields(fields)
                .described(summary);
        }
        if let Some(asked) = self.managed.asked(table) {
            return self.replace(vec![asked]).described(summary);
        }
        let port = self.server.port.get();
        let is_begun_again = self.managed.times_begun_again(observed) > 0;
        let has_served = files.has_served(&self.managed.address, session.mark.generation);
        let silent = |text: &str| {
            let reason = Reason::new(ReasonCode::Silent, text);
            self.replace(vec![reason]).described(summary.clone())
        };
        let text = match (table.listens(session, port), has_served) {
            (true, true) => {
                return match observed.liveness(&self.managed.address) {
                    Some(Liveness::Failed(reason)) => silent(reason),
                    _ => Change::keep(&self.managed.address, summary),
                };
            }
            // It is about to end, or hangs in doing so: nobody listens a second time.
            (false, true) if is_begun_again => {
                "systemd started it again, and it does not listen yet"
            }
            (false, true) if table.listeners_on(port).next().is_none() => {
                return silent("it has served and listens no longer");
            }
            (true, false) => "it listens but was never seen to serve",
            (false, _) => "it runs but does not listen yet",
        };
        let reason = Reason::new(ReasonCode::NotReady, text);
        Change::new(&self.managed.address, Action::Update, vec![reason]).described(summary)
    }

    /// Where what runs is another than what is declared.
    fn differences(&self, observed: &Observation, session: &Session) -> Vec<Field> {
        let mut fields = differences(&session.spec, &self.spec(observed), &["args", "env"]);
        fields.retain(|field| !is_unknown_version(field) && !is_only_recorded(field));
        fields
    }

    /// Whether it runs as it is declared to.
    fn is_as_declared(&self, observed: &Observation, session: &Session) -> bool {
        let is_moved = self.managed.moves(observed, session).is_some();
        self.differences(observed, session).is_empty() && !is_moved
    }

    fn create(&self, observed: &Observation, files: &NodeFiles) -> Change {
        let reason = match files.last_generation(&self.managed.address) {
            0 => Reason::new(ReasonCode::Absent, "it does not run"),
            generation => {
                let gone = self.managed.gone(observed);
                let text = format!("{gone}; the log of start {generation} remains");
                Reason::new(ReasonCode::Gone, text)
            }
        };
        let place = self.managed.place(observed, self.place());
        Change::new(&self.managed.address, Action::Create, vec![reason]).described(place)
    }

    /// Where it will listen, and for what part of a request, for the line in the plan.
    fn place(&self) -> String {
        let port = self.server.port;
        if self.role().is_both() {
            return format!("port {port}");
        }
        format!("port {port}, {}", self.role())
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
            .described(self.place())
    }

    fn replace(&self, reasons: Vec<Reason>) -> Change {
        Change::new(&self.managed.address, Action::Replace, reasons)
    }

    /// Why it could not be seen to serve.
    fn forwarding_forbidden(&self, observed: &Observation) -> Option<Reason> {
        let (on, port) = (&self.listens.on, self.server.port.get());
        forwarding::forbidden(self.node(), on, port, observed)
    }

    /// Why nobody would reach it.
    fn unreachable(&self, observed: &Observation) -> Option<Reason> {
        listening::unreachable(self.node(), &self.listens, observed)
    }

    /// Each secret that it is to have and that is not at hand.
    fn missing_secrets(&self) -> impl Iterator<Item = Reason> {
        let declared = self.declared_secrets();
        let missing = declared.filter(|(_, source)| variable(source).is_none());
        missing.map(|(variable, source)| {
            let text = format!("{variable} is to come from {source}, which is not set here");
            Reason::new(ReasonCode::SecretMissing, text)
        })
    }
}

/// Whether a server does not tell which version of a package it was started with: older versions of
/// `replica` did not write that down.
fn is_unknown_version(field: &Field) -> bool {
    field.old.is_none() && field.path.starts_with("engine.installed")
}

/// Whether something is only recorded: what else was put into an environment is no reason to load a
/// model anew.
fn is_only_recorded(field: &Field) -> bool {
    field.path.strip_prefix("engine.") == Some(ALL_PACKAGES)
}

impl Instance {
    /// What it is made of: the program that simulates it, or its engine and its model.
    fn requires(&self) -> Vec<Address> {
        let node = &self.managed.node;
        match &self.server.runtime {
            Runtime::Simulated(_) => vec![self.program.address().clone()],
            Runtime::Vllm(vllm) => {
                let models = vllm.models(&self.server.model);
                let models =
                    models.map(|(name, _)| Address::on(node, model::KIND, Some(name.as_str())));
                let engine = engine::address(node, &vllm.engine);
                std::iter::once(engine).chain(models).collect()
            }
        }
    }

    fn replan_after(&self, observed: &Observation) -> Vec<Address> {
        if let Runtime::Simulated(_) = &self.server.runtime {
            return Vec::new();
        }
        // Where its model is, and which packages it runs, is seen once they are there; and what
        // memory there is, once nobody else has it.
        let mut found = self.requires();
        if let Some(facts) = observed.of(&self.managed.node) {
            let ended = self.managed.ended_beside(&ProcessTable::read(facts));
            found.extend(
                ended
                    .iter()
                    .map(|it| unmanaged::address(&self.managed.node, it)),
            );
        }
        found
    }

    fn operations(&self, observed: &Observation, change: &Change) -> Operations {
        let on = |effect| Operation::on(&self.managed.node, effect);
        let ready =
            |mark: &Mark, expected| on(Effect::WaitReady(Box::new(self.ready(mark, expected))));
        let next = self.next_mark(observed);
        let start = Effect::Launch(Box::new(self.launch(&next, observed)));
        let running = self.running_mark(observed);
        let mut update = self.stops_left_behind(observed);
        // It loads already: nobody knows since when.
        update.extend(running.iter().map(|mark| ready(mark, None)));
        Operations {
            before_stop: self.ask_whether_accepted(observed),
            start: vec![on(start), ready(&next, self.last_took(observed))],
            update,
            stop: vec![on(Effect::Stop(self.stop(observed)))],
            retire: self.retire(observed, change),
            ..Operations::default()
        }
    }

    fn relations(&self, observed: &Observation) -> Relations {
        let node = &self.managed.node;
        Relations {
            requires: self.requires(),
            replan_after: self.replan_after(observed),
            wants_ports: vec![NodePort::new(node, self.server.port.get())],
            occupies: self.managed.occupies(observed),
            concurrency_group: match &self.server.runtime {
                // Loading weights peaks.
                Runtime::Vllm(_) => Some(format!("the memory of {node}")),
                Runtime::Simulated(_) => None,
            },
            rolling_group: Some(RollingGroup {
                name: self.managed.topology.to_string(),
                rollout: self.rollout,
            }),
            beside: self.beside_what_runs(observed),
            ..Relations::default()
        }
    }
}

impl Resource for Instance {
    fn address(&self) -> &Address {
        &self.managed.address
    }

    fn facts(&self) -> Vec<(NodeName, Fact)> {
        let mut facts = self.managed.facts();
        let (on, port) = (&self.listens.on, self.server.port.get());
        let dialled = forwarding::fact(on, port, Some(COUNTERS.path));
        let facts_of_node = listening::fact(&self.listens.on)
            .into_iter()
            .chain([dialled]);
        facts.extend(facts_of_node.map(|one| (self.managed.node.clone(), one)));
        if let Runtime::Vllm(vllm) = &self.server.runtime {
            let more = [machine::fact(), self.toolchain_fact(&vllm.engine)];
            let more = more.into_iter().chain(self.beside_fact());
            facts.extend(more.map(|one| (self.managed.node.clone(), one)));
        }
        facts
    }

    fn liveness_probe(&self, observed: &Observation) -> Option<LivenessProbe> {
        self.asked_for_life(observed)
    }

    fn stand(&self, observed: &Observation) -> Stand {
        let mut change = self.change(observed).as_ref().clone();
        if change.action == Action::Replace {
            change.order = self.order(observed);
        }
        let mut operations = self.operations(observed, &change);
        let order = change.order.as_ref();
        if order.is_some_and(|order| order.first == First::Start) {
            change.starts_first = true;
            operations.succeed = self.succeed(observed, &operations.start);
        }
        Stand {
            change,
            operations,
            relations: self.relations(observed),
            service: Some(self.service(observed)),
            seen: self.managed.seen(observed),
        }
    }
}
