//! What is there on a host, read where the kernel tells it. No program is started for that: what is waited
//! for is looked for many times, and a shell and an interpreter each time would keep the cores busy.

use std::fs;
use std::path::{Path, PathBuf};

use super::hosts::Process;

/// A host that is up, as its process 1 sees it.
pub(super) struct View {
    init: PathBuf,
}

/// A socket of TCP.
struct Socket {
    port: u16,
    listens: bool,
    unread: u64,
}

impl View {
    /// Finds a host of the lab in this folder, where it is up.
    pub(super) fn of(lab: &Path, host: &str) -> Option<Self> {
        let lab = fs::canonicalize(lab).ok()?;
        let (lab, host) = (
            format!("REPLICA_LAB={}", lab.display()),
            format!("HOST={host}"),
        );
        let is_its = |environ: &str| {
            let mut words = [&lab, &host].into_iter();
            words.all(|word| environ.split('\0').any(|it| it == word))
        };
        let is_first = |status: &str| {
            let pids = status.lines().find_map(|it| it.strip_prefix("NSpid:"));
            let pids: Vec<_> = pids.unwrap_or_default().split_whitespace().collect();
            pids.len() > 1 && pids.last() == Some(&"1")
        };
        let mut all = numbered(Path::new("/proc")).into_iter();
        let init = all.find(|process| {
            text(&process.join("environ")).is_some_and(|it| is_its(&it))
                && text(&process.join("status")).is_some_and(|it| is_first(&it))
        })?;
        Some(Self { init })
    }

    /// All processes that are not over.
    pub(super) fn processes(&self) -> Vec<Process> {
        let all = numbered(&self.init.join("root/proc"));
        all.iter().filter_map(|it| process(it)).collect()
    }

    /// How many sockets listen on a port.
    pub(super) fn listeners(&self, port: u16) -> usize {
        let all = ["net/tcp", "net/tcp6"].map(|page| self.sockets(page));
        let all = all.iter().flatten();
        all.filter(|it| it.port == port && it.listens).count()
    }

    /// How many bytes wait to be read at a port: the most at any of its connections.
    pub(super) fn unread(&self, port: u16) -> u64 {
        let all = self.sockets("net/tcp").into_iter();
        let connections = all.filter(|it| it.port == port && !it.listens);
        connections.map(|it| it.unread).max().unwrap_or_default()
    }

    fn sockets(&self, page: &str) -> Vec<Socket> {
        let page = text(&self.init.join(page)).unwrap_or_default();
        page.lines().filter_map(socket).collect()
    }

    /// Everything below a folder, by its path from another above it.
    pub(super) fn files(&self, home: &str, folder: &str) -> Vec<String> {
        let home = self.init.join("root").join(home);
        let (mut found, mut folders) = (Vec::new(), vec![home.join(folder)]);
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
                let path = entry.path();
                let name = path.strip_prefix(&home).unwrap_or(&path);
                found.push(name.display().to_string());
                if entry.file_type().is_ok_and(|it| it.is_dir()) {
                    folders.push(path);
                }
            }
        }
        found
    }
}

/// The folders of processes.
fn numbered(proc: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(proc).into_iter().flatten().flatten();
    let paths = entries.map(|it| it.path());
    let is_number = |path: &PathBuf| {
        let name = path.file_name().and_then(|it| it.to_str());
        name.is_some_and(|it| it.bytes().all(|byte| byte.is_ascii_digit()))
    };
    paths.filter(is_number).collect()
}

/// A page of the kernel, where it is there still.
fn text(path: &Path) -> Option<String> {
    let bytes = fs::read(path).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

fn process(folder: &Path) -> Option<Process> {
    let stat = text(&folder.join("stat"))?;
    // The name may hold blanks and brackets.
    let (head, rest) = stat.rsplit_once(") ")?;
    let (pid, name) = head.split_once(" (")?;
    let fields: Vec<_> = rest.split_whitespace().collect();
    if fields[0] == "Z" {
        return None;
    }
    let environ = text(&folder.join("environ")).unwrap_or_default();
    let mut words = environ.split('\0');
    let mark = words.find_map(|it| it.strip_prefix("REPLICA_MARK="));
    Some(Process {
        pid: pid.parse().ok()?,
        session: fields.get(3)?.parse().ok()?,
        start: fields.get(19)?.parse().ok()?,
        name: name.to_owned(),
        mark: mark.filter(|it| !it.is_empty()).map(str::to_owned),
    })
}

fn socket(line: &str) -> Option<Socket> {
    let fields: Vec<_> = line.split_whitespace().collect();
    let [_, local, _, state, queues, ..] = fields[..] else {
        return None;
    };
    let (_, port) = local.rsplit_once(':')?;
    let (_, unread) = queues.split_once(':')?;
    let listens = state == "0A";
    (listens || state == "01").then_some(Socket {
        port: u16::from_str_radix(port, 16).ok()?,
        listens,
        unread: u64::from_str_radix(unread, 16).ok()?,
    })
}
