//! What the processes of a topology have left on a node: sessions that run, and logs.

use std::time::Duration;

use super::{Mark, ProcessTable, Supervision, supervision};
use crate::name::NodeName;
use crate::plan::Address;
use crate::plan::effect::{KeepLog, Stop};
use crate::resource::contract::Found;
use crate::resource::facts::{Fact, Facts};
use crate::resource::node_files::{NodeFiles, StateFolder};

/// How long a process may take to end by itself that no manifest says more of.
const GRACE: Duration = Duration::from_secs(15);

/// What a node is asked, so that [`found`] finds them.
pub(in crate::resource) fn facts(folder: &StateFolder) -> Vec<Fact> {
    vec![super::fact(), folder.fact(), supervision::fact()]
}

/// Every thing of a topology that runs on a node, or has left a log or a unit there, of the kinds that are
/// wanted.
pub(in crate::resource) fn found(
    is_wanted: impl Fn(&str) -> bool,
    topology: &str,
    node: &NodeName,
    facts: &Facts,
) -> Vec<Found> {
    let folder = StateFolder::of(topology);
    let (table, files) = (ProcessTable::read(facts), NodeFiles::read(&folder, facts));
    let ours = table.sessions.iter().map(|session| &session.mark);
    let ours = ours.filter(|mark| mark.topology == topology);
    let supervision = Supervision::read(facts);
    let units = supervision.units_of(topology).map(|unit| &unit.mark);
    let logged = files.logged();
    let logged = logged.keys();
    let mut addresses: Vec<Address> = ours
        .chain(units)
        .map(|mark| mark.address(node))
        .chain(logged.filter_map(|thing| format!("{node}/{thing}").parse().ok()))
        .filter(|address| is_wanted(&address.kind))
        .collect();
    addresses.sort();
    addresses.dedup();
    let found = |address: Address| {
        let has_unit = supervision.unit_of(topology, &address).is_some();
        of(topology, address, &table, &files, has_unit)
    };
    addresses.into_iter().map(found).collect()
}

fn of(
    topology: &str,
    address: Address,
    table: &ProcessTable,
    files: &NodeFiles,
    has_unit: bool,
) -> Found {
    let folder = StateFolder::of(topology);
    let sessions = table.of(topology, &address);
    let processes = sessions.iter().flat_map(|session| &session.processes);
    let pids: Vec<_> = processes.map(|process| process.pid.to_string()).collect();
    let ports = table.ports_of(topology, &address);
    let stop = Stop {
        address: address.clone(),
        mark_prefix: Mark::prefix(topology, &address),
        ports: ports.clone(),
        grace: Some(GRACE),
    };
    Found {
        summary: summary(&pids, files.starts_of(&address).count()),
        pid: sessions.iter().find_map(|it| it.leader()).map(|it| it.pid),
        occupies: ports,
        // Where nothing of it runs, systemd may be about to start it again.
        stop: (has_unit || !pids.is_empty()).then_some(stop),
        paths: files
            .logs_of(&address)
            .map(|log| folder.file(log))
            .collect(),
        failure: failure(&address, files, &folder),
        address,
    }
}

/// What goes with it: what runs, and the logs of its starts.
fn summary(pids: &[String], logs: usize) -> String {
    let pids = pids.join(", ");
    match (pids.is_empty(), logs) {
        (true, 0) => "its process is gone".to_owned(),
        (true, 1) => "its process is gone, its log remains".to_owned(),
        (true, logs) => format!("its process is gone, its {logs} logs remain"),
        (false, 0) => format!("pid {pids}"),
        (false, 1) => format!("pid {pids}, and its log"),
        (false, logs) => format!("pid {pids}, and its {logs} logs"),
    }
}

/// The log of its last start that was never seen to serve, and said something.
fn failure(address: &Address, files: &NodeFiles, folder: &StateFolder) -> Option<KeepLog> {
    let starts = files.starts_of(address);
    let failed =
        starts.filter(|start| start.size > 0 && !files.has_served(address, start.generation));
    let last = failed.max_by_key(|start| start.generation)?;
    let node = address.node.as_ref()?;
    Some(KeepLog {
        log: folder.file(last.path),
        name: format!("{node}.{}.{}.log", address.local(), last.generation),
    })
}
