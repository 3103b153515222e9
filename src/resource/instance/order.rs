//! Which comes first where an instance is replaced on its node, and what becomes of two starts of it.
//!
//! Behind the proxy the next start may come first where it has a port of its own to listen on, and the memory
//! for both is there. Where a run ends half-way, the next one finds two starts of one instance. One of them is
//! taken for it: the one that is as declared, be it the newer, which is to take over, or the older, where the
//! manifest was put back; the other ends once that one serves.

use std::sync::Arc;

use super::{Instance, Runtime};
use crate::english::list;
use crate::plan::effect::Stop;
use crate::plan::{
    Action, Beside, Change, Effect, First, Liveness, MemoryNeed, NodePort, Operation, Order,
    Reason, ReasonCode,
};
use crate::resource::contract::Observation;
use crate::resource::node_files::NodeFiles;
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

/// A start that is as declared and answers nobody, and another one that serves until that is replaced.
pub(super) struct GivenUp<'a> {
    pub(super) silent: &'a Session,
    serves: &'a Session,
}

impl GivenUp<'_> {
    /// When the port is free that its own successor is to have, where it has that itself.
    fn makes_room(&self) -> String {
        let [silent, serves] = [self.silent, self.serves].map(|it| it.id);
        format!(
            "pid {silent}, which answers nobody, has stopped, and pid {serves} serves until then"
        )
    }
}

impl Instance {
    /// Which comes first of its start and its stop, where it serves clients of the proxy and is replaced.
    pub(super) fn order(&self, observed: &Observation) -> Option<Order> {
        self.rollout?;
        let table = ProcessTable::read(observed.of(self.node())?);
        let sessions = self.managed.sessions(&table);
        let side_by_side = self.side_by_side(observed, &table);
        let given_up = self.given_up(observed, &table);
        let (session, others) = match (sessions.as_slice(), &given_up, side_by_side) {
            ([one], _, _) => (*one, Vec::new()),
            (_, Some(given_up), _) => (given_up.serves, Vec::new()),
            (_, None, Some(starts)) => (starts.stays, starts.others),
            (_, None, None) => return None,
        };
        let port = session.port().filter(|_| session.leader().is_some())?;
        let is_silent = given_up.is_none() && self.shows_no_life(observed);
        if is_silent || !self.has_served(observed, session, port) {
            return None;
        }
        let from = NodePort::new(self.node(), port);
        let to = NodePort::new(self.node(), self.server.port.get());
        if let Some(given_up) = &given_up {
            let order = self.by_memory(observed, from, to);
            return Some(order.once(&given_up.makes_room()));
        }
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
        Some(self.by_memory(observed, from, to))
    }

    /// Which comes first, where both have a port: as the memory for both is there or not.
    fn by_memory(&self, observed: &Observation, from: NodePort, to: NodePort) -> Order {
        if let Runtime::Simulated(_) = &self.server.runtime {
            return Order::start_first(from, to, None);
        }
        let memory = self.memory_beside(observed);
        match &memory {
            None => {
                let text = "what memory it takes beside what runs cannot be told";
                Order::stop_first(from, to, None, text)
            }
            Some(need) if !need.is_met() => {
                let text = need.to_string();
                Order::stop_first(from, to, memory, text)
            }
            Some(_) => Order::start_first(from, to, memory),
        }
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

    /// Whether it was asked for a sign of life, and showed none.
    fn shows_no_life(&self, observed: &Observation) -> bool {
        let shown = observed.liveness(&self.managed.address);
        matches!(shown, Some(Liveness::Failed(_)))
    }

    /// The start of it that is as declared and answers nobody, where another may serve until that is replaced.
    pub(super) fn given_up<'a>(
        &self,
        observed: &Observation,
        table: &'a ProcessTable,
    ) -> Option<GivenUp<'a>> {
        let starts = self.side_by_side(observed, table)?;
        let silent = starts.stays;
        let facts = observed.of(self.node())?;
        let files = NodeFiles::read(&self.managed.folder, facts);
        let port = self.server.port.get();
        let listens_no_longer = files.has_served(&self.managed.address, silent.mark.generation)
            && self.managed.times_begun_again(observed) == 0
            && table.listeners_on(port).next().is_none();
        let is_silent = listens_no_longer || self.shows_no_life(observed);
        let mut others = starts.others.into_iter();
        let serves = others.find(|it| !self.is_unseen(observed, it))?;
        (starts.is_declared && is_silent).then_some(GivenUp { silent, serves })
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
        // What is replaced takes over from nobody any more.
        if !starts.is_declared || change.action == Action::Replace {
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
        let mut operations = self.stops(self.first_to_go(observed, &self.table(observed)));
        operations.extend(start.iter().cloned().map(|mut operation| {
            if let Effect::Launch(launch) = &mut operation.effect {
                launch.is_beside = true;
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

    /// The starts of it that end before another one is started beside what serves.
    fn first_to_go<'a>(&self, observed: &Observation, table: &'a ProcessTable) -> Vec<&'a Session> {
        let given_up = self.given_up(observed, table);
        let mut first = self.unseen(observed, table);
        first.extend(given_up.map(|it| it.silent));
        first
    }

    /// What former starts left behind beside the one that runs: nobody is served by it, and it holds memory. With
    /// the mark of that one itself, it cannot be told from it.
    fn left_behind<'a>(&self, table: &'a ProcessTable) -> Vec<&'a Session> {
        let mut sessions = self.managed.sessions(table);
        let led = sessions.iter().filter(|it| it.leader().is_some());
        let running: Vec<u64> = led.map(|it| it.mark.generation).collect();
        let [generation] = running.as_slice() else {
            return Vec::new();
        };
        sessions.retain(|it| it.leader().is_none() && it.mark.generation != *generation);
        sessions
    }

    /// Its change where former starts left something behind beside what runs.
    pub(super) fn beside_left_behind(&self, mut change: Change, table: &ProcessTable) -> Change {
        let left = self.left_behind(table);
        if left.is_empty() || !matches!(change.action, Action::Keep | Action::Update) {
            return change;
        }
        change.action = Action::Update;
        let processes = left.iter().flat_map(|session| &session.processes);
        let names: Vec<String> = processes
            .map(|it| format!("{} (pid {})", it.name, it.pid))
            .collect();
        let text = format!(
            "a former start left behind {}, which is stopped",
            list(&names)
        );
        change.reasons.push(Reason::new(ReasonCode::Orphaned, text));
        change
    }

    /// How what former starts left behind is stopped.
    pub(super) fn stops_left_behind(&self, observed: &Observation) -> Vec<Operation> {
        self.stops(self.left_behind(&self.table(observed)))
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
                let first = self.first_to_go(observed, &table);
                let mut sessions = self.managed.sessions(&table);
                sessions.retain(|it| !first.contains(it));
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
                // What is only left behind has none, and its former one may be another's.
                ports: session
                    .port()
                    .filter(|_| session.leader().is_some())
                    .into_iter()
                    .collect(),
                grace: Some(self.server.stop_timeout),
            })
        };
        let stops = sessions.into_iter().map(stop);
        stops.map(|it| Operation::on(self.node(), it)).collect()
    }
}
