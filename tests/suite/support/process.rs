//! Processes as the kernel tells of them, not as the program under test does.

use std::fs;
use std::path::Path;

pub(crate) use rustix::process::Signal;
use rustix::process::{Pid, kill_process};

/// The processes that carry a mark of this topology.
pub(crate) fn marked(topology: &str) -> Vec<u32> {
    let mark = format!("REPLICA_MARK=v1:{topology}:");
    let pids = fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let pid = entry.ok()?.file_name().to_str()?.parse().ok()?;
        let environ = environ(pid);
        let is_ours = environ.split('\0').any(|word| word.starts_with(&mark));
        (is_ours && is_alive(pid)).then_some(pid)
    });
    pids.collect()
}

/// Everything that a process was given: its environment, its words.
pub(crate) fn environ(pid: u32) -> String {
    read(pid, "environ")
}

pub(crate) fn command(pid: u32) -> String {
    read(pid, "cmdline").replace('\0', " ")
}

fn read(pid: u32, what: &str) -> String {
    let bytes = fs::read(format!("/proc/{pid}/{what}")).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

pub(crate) fn is_alive(pid: u32) -> bool {
    let stat = read(pid, "stat");
    Path::new(&format!("/proc/{pid}")).exists()
        && stat
            .rsplit_once(") ")
            .is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

pub(crate) fn signal(pid: u32, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    kill_process(pid, signal).unwrap();
}
