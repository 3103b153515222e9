//! A replace without a gap: a successor is started beside the proxy that serves, and takes over.
//!
//! Where a run ends half-way, the two go on by themselves: the successor serves, and the one before it ends
//! when nothing is in flight there. Until it has, it is waited for before anything else is drained, as it may
//! still send to what is to stop.

use super::{ANSWER, Proxy};
use crate::english::list;
use crate::plan::effect::Stop;
use crate::plan::effect::control::Request;
use crate::plan::{Action, Change, Effect, NodePort, Operation, Reason, ReasonCode};
use crate::resource::contract::Observation;
use crate::resource::process::{Mark, ProcessTable, Session};

impl Proxy {
    /// What replaces it without a gap: nothing where it does not hand over to another.
    pub(super) fn succeed(&self, observed: &Observation) -> Vec<Operation> {
        let Some(status) = self.status(observed).filter(|status| status.hands_over) else {
            return Vec::new();
        };
        let Some(before) = self.managed.running(observed) else {
            return Vec::new();
        };
        let pid = before.leader().map(|leader| leader.pid);
        let (mark, on) = (self.next_mark(observed), &self.managed.node);
        let generation = status.config.map_or(0, |config| config.generation) + 1;
        let mut operations = vec![
            Operation::on(on, Effect::Launch(Box::new(self.launch(&mark, observed)))),
            Operation::on(on, Effect::WaitReady(Box::new(self.ready(&mark, pid)))),
            self.tell(
                Request::Configure(self.config(generation, observed)),
                Some(ANSWER),
                observed,
            ),
            self.await_end(&before.mark),
        ];
        operations.extend(self.await_predecessors(observed));
        operations
    }

    /// Those that it took over from and that finish what is in flight, each by its session.
    pub(super) fn predecessors(&self, table: &ProcessTable) -> Vec<Session> {
        let sessions = self.managed.sessions(table);
        let Some((newest, older)) = sessions.split_first() else {
            return Vec::new();
        };
        let port = |session: &Session| session.port().unwrap_or(self.declared.port.get());
        let listens = |session: &Session| table.listens(session, port(session));
        // Two that both listen, or none that does, are no succession.
        let is_succession = newest.leader().is_some()
            && listens(newest)
            && older.iter().all(|it| it.leader().is_some() && !listens(it));
        if is_succession {
            older.iter().map(|it| (*it).clone()).collect()
        } else {
            Vec::new()
        }
    }

    /// The ports on which it listens, or may: those that it took over from listen no more.
    pub(super) fn occupies(&self, observed: &Observation) -> Vec<NodePort> {
        let table = observed.of(&self.managed.node).map(ProcessTable::read);
        let followed = table.filter(|table| !self.predecessors(table).is_empty());
        let port = followed.and_then(|table| self.managed.sessions(&table).first()?.port());
        match port {
            Some(port) => vec![NodePort::new(&self.managed.node, port)],
            None => self.managed.occupies(observed),
        }
    }

    /// Whether what runs is one proxy, with those at most that it took over from.
    pub(super) fn is_whole(&self, observed: &Observation) -> bool {
        let table = observed.of(&self.managed.node).map(ProcessTable::read);
        table.is_some_and(|table| {
            let sessions = self.managed.sessions(&table).len();
            sessions == 1 || !self.predecessors(&table).is_empty()
        })
    }

    pub(super) fn await_predecessors(&self, observed: &Observation) -> Vec<Operation> {
        let table = observed.of(&self.managed.node).map(ProcessTable::read);
        let before = table.map(|table| self.predecessors(&table));
        let before = before.into_iter().flatten();
        before
            .map(|session| self.await_end(&session.mark))
            .collect()
    }

    /// Waits until one has finished what is in flight, and ends.
    fn await_end(&self, mark: &Mark) -> Operation {
        let stop = Stop {
            address: self.managed.address.clone(),
            mark_prefix: format!("{}{}:", mark.of_thing(), mark.generation),
            ports: Vec::new(),
            grace: None,
        };
        Operation::on(&self.managed.node, Effect::Stop(stop))
    }

    /// The change of one that runs while those before it have not ended.
    pub(super) fn beside_predecessors(&self, change: Change, table: &ProcessTable) -> Change {
        let before = self.predecessors(table);
        let pids = before.iter().filter_map(Session::leader);
        let pids: Vec<String> = pids.map(|it| format!("pid {}", it.pid)).collect();
        let text = format!(
            "{}, which it took over from, still finishes what is in flight",
            list(&pids)
        );
        let mut change = change;
        if change.action == Action::Keep {
            change.action = Action::Update;
        }
        change
            .reasons
            .push(Reason::new(ReasonCode::Duplicate, text));
        change
    }
}
