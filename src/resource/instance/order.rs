//! Which comes first where an instance is replaced on its node, and what becomes of two starts of it.
//!
//! Behind the proxy the next start may come first where it has a port of its own to listen on, and the memory
//! for both is there. Where a run ends half-way, the next one finds two starts of one instance. One of them is
//! taken for it: the one that is as declared, be it the newer, which is to take over, or the older, where the
//! manifest was put back; the other ends once that one serves.

use std::sync::Arc;

use super::{Instance, Runtime};
use crate::english::list;
use crate::plan::effect::{Stop, Supervisor};
use crate::plan::{
    Action, Beside, Change, Effect, First, Liveness, MemoryNeed, NodePort, Operation, Order,
    Reason, ReasonCode,
};
use crate::resource::contract::Observation;
use crate::resource::process::{ProcessTable, Session};

/// Starts of one instance that live side by side, each on a port of its own, as a run leaves them that ends
/// half-way.
pub(super) struct SideBySide<'a> {
    /// The one that is taken for it: what is declared, or else what clients reach.
    pub(super) stays: &'a Session,
    /// Whether that is as declared.
    pub(super) is_declared: bool,
    /// The others, newest first.
    pub(super) others: Vec<&'a Session>,
}

impl Instance {
    /// Which comes first of its start and its stop, where it serves clients of the proxy and is replaced.
    pub(super) fn order(&self, observed: &Observation) -> Option<Order> {
        self.rollout?;
        let table = ProcessTable::read(observed.of(self.node())?);
        let sessions = self.managed.sessions(&table);
        let side_by_side = self.side_by_side(observed, &table);
        let (session, others) = match (sessions.as_slice(), side_by_side) {
            ([one], _) => (*one, Vec::new()),
            (_, Some(starts)) => (starts.stays, starts.others),
            (_, None) => return None,
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
        let declared = Some(self.server.port.get());
        let mut serving = others.iter().filter(|it| !self.is_unseen(observed, it));
        if serving.any(|it| it.port() == declared) {
            let text = format!("{to} is that of another start of it, which may serve until then");
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

    /// The starts of it that live side by side: nothing where what runs is no such thing.
    pub(super) fn side_by_side<'a>(
        &self,
        observed: &Observation,
        table: &'a ProcessTable,
    ) -> Option<SideBySide<'a>> {
        let mut sessions = self.managed.sessions(table);
        let ports: Vec<Option<u16>> = sessions.iter().map(|it| it.port()).collect();
        let is_own =
            |(place, port): (usize, &Option<u16>)| port.is_some() && !ports[..place].contains(port);
        let are_led = sessions.iter().all(|it| it.leader().is_some());
        if sessions.len() < 2 || !are_led || !ports.iter().enumerate().all(is_own) {
            return None;
        }
        let declared_port = Some(self.server.port.get());
        let is_declared =
            |it: &&Session| it.port() == declared_port && self.is_as_declared(observed, it);
        let declared = sessions.iter().position(is_declared);
        // Where none is, it is the one that clients reach.
        let seen = || sessions.iter().position(|it| !self.is_unseen(observed, it));
        let stays = sessions.remove(declared.or_else(seen).unwrap_or_default());
        Some(SideBySide {
            stays,
            is_declared: declared.is_some(),
            others: sessions,
        })
    }

    /// The start of it that is taken for it, of those that run.
    pub(super) fn running(&self, observed: &Observation) -> Option<Session> {
        let table = ProcessTable::read(observed.of(self.node())?);
        match self.side_by_side(observed, &table) {
            Some(starts) => Some(starts.stays.clone()),
            None => self.managed.running(observed),
        }
    }

    /// Whether another start of it than the one that is taken for it is reached by clients until that is.
    pub(super) fn has_stand_in(&self, observed: &Observation) -> bool {
        let table = observed.of(self.node()).map(ProcessTable::read);
        table.is_some_and(|table| {
            let starts = self.side_by_side(observed, &table);
            let others = starts.map_or_else(Vec::new, |it| it.others);
            others.iter().any(|it| !self.is_unseen(observed, it))
        })
    }

    /// Whether a start of it is one that nobody can have been sent to yet.
    fn is_unseen(&self, observed: &Observation, session: &Session) -> bool {
        let port = session.port();
        port.is_none_or(|port| !self.has_served(observed, session, port))
    }

    /// Its change where several starts of it live side by side: that of the one that is taken for it, and
    /// what becomes of the others.
    pub(super) fn beside_others(mut change: Change, starts: &SideBySide<'_>) -> Change {
        let generation = starts.stays.mark.generation;
        let of = |is_newer: bool| {
            let others = starts.others.iter();
            let others = others.filter(|it| (it.mark.generation > generation) == is_newer);
            let pids = others.filter_map(|it| it.leader());
            let pids: Vec<String> = pids.map(|it| format!("pid {}", it.pid)).collect();
            (!pids.is_empty()).then(|| list(&pids))
        };
        if !starts.is_declared {
            let others = [of(false), of(true)].into_iter().flatten();
            change.reasons.extend(others.map(|others| {
                let text = format!(
                    "{others} runs beside it, as a run left it that came no further, and ends too"
                );
                Reason::new(ReasonCode::Duplicate, text)
            }));
            return change;
        }
        if change.action == Action::Keep {
            change.action = Action::Update;
        }
        let former = of(false)
            .map(|former| format!("it is to take over from {former}, which runs until it serves"));
        let newer = of(true).map(|newer| {
            format!("{newer} was to take over from it, and is to no longer: it is stopped")
        });
        let reasons = former.into_iter().chain(newer);
        let reasons = reasons.map(|text| Reason::new(ReasonCode::Duplicate, text));
        change.reasons.extend(reasons);
        change
    }

    /// How it is started beside what runs of it: a start that nobody was sent to yet ends before that.
    pub(super) fn succeed(&self, observed: &Observation, start: &[Operation]) -> Vec<Operation> {
        let mut operations = self.stops(self.unseen(observed, &self.table(observed)));
        operations.extend(start.iter().cloned().map(|mut operation| {
            if let Effect::Launch(launch) = &mut operation.effect
                && let Supervisor::Systemd(unit) = &mut launch.supervisor
            {
                unit.is_beside = true;
            }
            operation
        }));
        operations
    }

    /// The starts of it beside the one that is taken for it that nobody was sent to yet.
    fn unseen<'a>(&self, observed: &Observation, table: &'a ProcessTable) -> Vec<&'a Session> {
        let starts = self.side_by_side(observed, table);
        let mut others = starts.map_or_else(Vec::new, |it| it.others);
        others.retain(|it| self.is_unseen(observed, it));
        others
    }

    fn table(&self, observed: &Observation) -> Arc<ProcessTable> {
        let facts = observed.of(self.node());
        facts.map(ProcessTable::read).unwrap_or_default()
    }

    /// How what it takes over from is stopped: each start by its own mark.
    pub(super) fn retire(&self, observed: &Observation, change: &Change) -> Vec<Operation> {
        let table = self.table(observed);
        let starts_first = change.order.as_ref();
        let starts_first = starts_first.is_some_and(|order| order.first == First::Start);
        let former = match change.action {
            Action::Replace if starts_first => {
                let unseen = self.unseen(observed, &table);
                let mut sessions = self.managed.sessions(&table);
                sessions.retain(|it| !unseen.contains(it));
                sessions
            }
            Action::Update => match self.side_by_side(observed, &table) {
                Some(starts) if starts.is_declared => starts.others,
                _ => Vec::new(),
            },
            _ => Vec::new(),
        };
        self.stops(former)
    }

    fn stops(&self, sessions: Vec<&Session>) -> Vec<Operation> {
        let stop = |session: &Session| {
            let mark = &session.mark;
            Effect::Stop(Stop {
                address: self.managed.address.clone(),
                mark_prefix: format!("{}{}:", mark.of_thing(), mark.generation),
                ports: session.port().into_iter().collect(),
                grace: Some(self.server.stop_timeout),
            })
        };
        let stops = sessions.into_iter().map(stop);
        stops.map(|it| Operation::on(self.node(), it)).collect()
    }
}
