//! What carries the mark of a topology on a node and is declared there no longer.

use super::contract::{Answers, Observation, Question, Resource};
use super::place::{Folder, Place, port_of};
use super::process::{Mark, ProcessTable};
use crate::name::NodeName;
use crate::node::Stop;
use crate::plan::{Action, Address, Change, Effect, Reason};

/// A thing of ours that nothing declares: processes, or the files of one that is gone.
pub struct Leftover {
    address: Address,
    topology: String,
    found: String,
    ports: Vec<u16>,
    runs: bool,
    paths: Vec<String>,
    follows: Vec<Address>,
    reason: Reason,
}

impl Leftover {
    /// Returns what every node is asked so that leftovers can be found.
    pub fn questions(topology: &str) -> Vec<Question> {
        vec![super::process::question(), Folder::of(topology).question()]
    }

    /// Finds everything of a topology, on every node that answered.
    pub fn all(topology: &str, seen: &Observation) -> Vec<Self> {
        let mut found = Self::find(topology, seen, &[]);
        for leftover in &mut found {
            leftover.reason = Reason::new("asked", "as asked");
        }
        found
    }

    /// Finds everything of a topology, on every node that answered, that is not declared. What
    /// serves clients goes before what serves it, and files go last.
    pub fn find(topology: &str, seen: &Observation, declared: &[Address]) -> Vec<Self> {
        let mut found: Vec<_> = seen
            .nodes
            .keys()
            .filter_map(|node| Some((node, seen.of(node)?)))
            .flat_map(|(node, answers)| Self::on(topology, node, answers, declared))
            .collect();
        found.sort_by_key(|leftover| (leftover.depth(), leftover.address.clone()));
        for i in 0..found.len() {
            let depth = found[i].depth();
            let before = found[..i].iter().filter(|other| other.depth() < depth);
            found[i].follows = before.map(|other| other.address.clone()).collect();
        }
        found
    }

    /// Returns how deep it stands: what has no name of its own stands before all that have one,
    /// and files without processes last.
    fn depth(&self) -> u8 {
        match (self.runs, &self.address.name) {
            (true, None) => 0,
            (true, Some(_)) => 1,
            (false, _) => 2,
        }
    }

    fn on(topology: &str, node: &NodeName, answers: &Answers, declared: &[Address]) -> Vec<Self> {
        let folder = Folder::of(topology);
        let table = ProcessTable::read(answers);
        let place = Place::read(&folder, answers);
        let mut addresses: Vec<Address> = Vec::new();
        let running = table
            .sessions
            .iter()
            .filter(|s| s.mark.topology == topology);
        addresses.extend(running.map(|session| session.mark.address(node)));
        let logged = place.logged();
        addresses.extend(
            logged
                .keys()
                .filter_map(|thing| format!("{node}/{thing}").parse().ok()),
        );
        addresses.sort();
        addresses.dedup();
        addresses.retain(|address| !declared.contains(address));
        let mut found: Vec<_> = addresses
            .into_iter()
            .map(|address| Self::of(topology, &folder, &table, &place, address))
            .collect();
        let program = Address::on(node, super::program::KIND, None);
        let has_program = place.files.keys().any(|name| name.starts_with("bin/"));
        if has_program && !declared.contains(&program) {
            found.push(Self {
                address: program,
                topology: topology.to_owned(),
                found: "replica itself".to_owned(),
                ports: Vec::new(),
                runs: false,
                paths: vec![folder.file("bin"), folder.file("run")],
                follows: Vec::new(),
                reason: undeclared(),
            });
        }
        found
    }

    fn of(
        topology: &str,
        folder: &Folder,
        table: &ProcessTable,
        place: &Place,
        address: Address,
    ) -> Self {
        let sessions = table.of(topology, &address);
        let pids: Vec<_> = sessions
            .iter()
            .flat_map(|session| &session.processes)
            .map(|process| process.pid.to_string())
            .collect();
        Self {
            topology: topology.to_owned(),
            found: match pids.as_slice() {
                [] => "its process is gone, its log remains".to_owned(),
                pids => format!("pid {}", pids.join(", ")),
            },
            ports: table.ports_of(topology, &address),
            runs: !pids.is_empty(),
            paths: place
                .logs_of(&address)
                .map(|log| folder.file(log))
                .collect(),
            follows: Vec::new(),
            reason: undeclared(),
            address,
        }
    }
}

fn undeclared() -> Reason {
    Reason::new("undeclared", "it is not in the manifest")
}

impl Resource for Leftover {
    fn address(&self) -> &Address {
        &self.address
    }

    fn follows(&self) -> Vec<Address> {
        self.follows.clone()
    }

    fn questions(&self) -> Vec<Question> {
        Self::questions(&self.topology)
    }

    fn holds(&self, _: &Observation) -> Vec<String> {
        let node = self.address.node.iter();
        node.flat_map(|node| self.ports.iter().map(|port| port_of(node, *port)))
            .collect()
    }

    fn compare(&self, _: &Observation) -> Change {
        Change::new(&self.address, Action::Destroy, vec![self.reason.clone()])
            .described(self.found.clone())
    }

    fn effects(&self, _: &Change, _: &Observation) -> Vec<Effect> {
        let stop = Effect::Stop(Stop {
            address: self.address.clone(),
            mark_prefix: Mark::prefix(&self.topology, &self.address),
            ports: self.ports.clone(),
            grace: std::time::Duration::from_secs(15),
        });
        let remove = Effect::Remove {
            paths: self.paths.clone(),
        };
        let stop = self.runs.then_some(stop);
        let remove = (!self.paths.is_empty()).then_some(remove);
        stop.into_iter().chain(remove).collect()
    }
}
