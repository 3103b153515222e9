//! Which comes first where an instance is replaced on its node, and what becomes of two starts of it.
//!
//! Behind the proxy the next start may come first where it has a port of its own to listen on, and the memory
//! for both is there. Where a run ends half-way, the next one finds two starts of one instance, of which the
//! newer is what is declared: that one is waited for, and takes over.

use super::{Instance, Runtime};
use crate::plan::effect::Stop;
use crate::plan::{
    Action, Beside, Change, Effect, First, Liveness, MemoryNeed, NodePort, Operation, Order,
    Reason, ReasonCode,
};
use crate::resource::contract::Observation;
use crate::resource::process::{ProcessTable, Session};

impl Instance {
    /// Which comes first of its start and its stop, where it serves clients of the proxy and is replaced.
    pub(super) fn order(&self, observed: &Observation) -> Option<Order> {
        self.rollout?;
        let table = ProcessTable::read(observed.of(self.node())?);
        let sessions = self.managed.sessions(&table);
        let [session] = sessions.as_slice() else {
            return None;
        };
        let port = session.port().filter(|_| session.leader().is_some())?;
        let is_silent = matches!(
            observed.liveness(&self.managed.address),
            Some(Liveness::Failed(_))
        );
        if is_silent || !self.has_served(observed, session, port) {
            return None;
        }
        let from = NodePort::new(self.node(), port);
        let to = NodePort::new(self.node(), self.server.port.get());
        if from == to {
            let text = format!("{to} is its own until then");
            return Some(Order::stop_first(from, to, None, text));
        }
        if let Runtime::Simulated(_) = &self.server.runtime {
            return Some(Order::start_first(from, to, None));
        }
        let memory = self.memory_beside(observed);
        Some(match &memory {
            None => {
                let text = "what memory it takes beside what runs cannot be told";
                Order::stop_first(from, to, None, text)
            }
            Some(need) if !need.is_met() => {
                let text = need.to_string();
                Order::stop_first(from, to, memory, text)
            }
            Some(_) => Order::start_first(from, to, memory),
        })
    }

    /// What it takes to start it beside all that runs on its node.
    pub(super) fn beside_what_runs(&self, observed: &Observation) -> Beside {
        let order = self.order(observed);
        let stops_first = order.is_none_or(|order| order.first == First::Stop);
        let now = self.memory_now(observed, stops_first);
        let is_met = now.as_ref().is_none_or(MemoryNeed::is_met);
        Beside {
            memory: if is_met {
                now
            } else {
                self.memory_beside(observed)
            },
            until_gone: if is_met {
                Vec::new()
            } else {
                self.those_left_over(observed)
            },
        }
    }

    /// The starts of it that the newest takes over from: nothing where what runs is no such pair.
    pub(super) fn former<'a>(
        &self,
        observed: &Observation,
        table: &'a ProcessTable,
    ) -> Vec<&'a Session> {
        let sessions = self.managed.sessions(table);
        let ports: Vec<Option<u16>> = sessions.iter().map(|it| it.port()).collect();
        let is_own =
            |(place, port): (usize, &Option<u16>)| port.is_some() && !ports[..place].contains(port);
        let are_led = sessions.iter().all(|it| it.leader().is_some());
        let are_apart = ports.iter().enumerate().all(is_own);
        let is_newest_declared = ports.first() == Some(&Some(self.server.port.get()))
            && sessions
                .first()
                .is_some_and(|it| self.is_as_declared(observed, it));
        if self.rollout.is_none() || !are_led || !are_apart || !is_newest_declared {
            return Vec::new();
        }
        sessions[1..].to_vec()
    }

    /// The change of one that runs while those that it takes over from have not ended.
    pub(super) fn beside_former(mut change: Change, former: &[&Session]) -> Change {
        let pids = former.iter().filter_map(|it| it.leader());
        let pids: Vec<String> = pids.map(|it| format!("pid {}", it.pid)).collect();
        let text = format!(
            "it is to take over from {}, which runs until it serves",
            pids.join(" and ")
        );
        if change.action == Action::Keep {
            change.action = Action::Update;
        }
        let reason = Reason::new(ReasonCode::Duplicate, text);
        change.reasons.push(reason);
        change
    }

    /// How what it takes over from is stopped: each start by its own mark.
    pub(super) fn retire(&self, observed: &Observation, change: &Change) -> Vec<Operation> {
        let Some(facts) = observed.of(self.node()) else {
            return Vec::new();
        };
        let table = ProcessTable::read(facts);
        let starts_first = change.order.as_ref();
        let starts_first = starts_first.is_some_and(|order| order.first == First::Start);
        let former = match change.action {
            Action::Replace if starts_first => self.managed.sessions(&table),
            Action::Update => self.former(observed, &table),
            _ => Vec::new(),
        };
        let stop = |session: &Session| {
            let mark = &session.mark;
            Effect::Stop(Stop {
                address: self.managed.address.clone(),
                mark_prefix: format!("{}{}:", mark.of_thing(), mark.generation),
                ports: session.port().into_iter().collect(),
                grace: Some(self.server.stop_timeout),
            })
        };
        let stops = former.into_iter().map(stop);
        stops.map(|it| Operation::on(self.node(), it)).collect()
    }
}
