//! What a node tells, written compactly in a room case, and rendered as the real scripts print it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use replica::plan::{Failure, Role};
use replica::proxy::control::{
    Backend, BackendState, BackendStatus, Config, InstanceLimits, Reply, Requests, Status, Timeouts,
};
use replica::proxy::policy::PolicySpec;
use replica::resource::process::Mark;
use replica::resource::{Fact, Facts, Question};
use serde::Deserialize;
use serde_json::Value;

/// One node, as a case tells of it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct NodeCase {
    /// Why it does not answer, where it does not.
    unreachable: Option<String>,
    /// What `uname -sm` says.
    system: String,
    /// The files in the topology's folder, with their sizes.
    files: BTreeMap<String, u64>,
    /// What runs.
    processes: Vec<Runs>,
    /// What the proxy says of itself.
    served: Option<Served>,
    /// Files below the node's home; with them the real scripts are run.
    home: BTreeMap<String, Entry>,
    /// Text to add to the answers of a sort of question, or to stand for them.
    texts: BTreeMap<String, String>,
    /// Whether every line ends in CRLF.
    crlf: bool,
}

impl Default for NodeCase {
    fn default() -> Self {
        Self {
            unreachable: None,
            system: "Linux x86_64".to_owned(),
            files: BTreeMap::new(),
            processes: Vec::new(),
            served: None,
            home: BTreeMap::new(),
            texts: BTreeMap::new(),
            crlf: false,
        }
    }
}

/// One process.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Runs {
    pid: u32,
    #[serde(default)]
    session: Option<u32>,
    #[serde(default)]
    mark: Option<String>,
    #[serde(default)]
    spec: Option<Value>,
    /// The port that it listens on.
    #[serde(default)]
    listens: Option<u16>,
    /// Whether it was never seen to serve, though it listens.
    #[serde(default)]
    unserved: bool,
    /// Whose it is, where it looks like vLLM and is not ours.
    #[serde(default)]
    foreign: Option<Whose>,
    /// The process that started it, or took it over.
    #[serde(default = "init")]
    parent: u32,
    /// Whether whoever looks may not see that it holds its port.
    #[serde(default)]
    hidden: bool,
    #[serde(default = "name")]
    name: String,
    #[serde(default = "user")]
    user: String,
    #[serde(default = "command")]
    command: String,
}

/// Whose a foreign process is.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Whose {
    Own,
    Other,
    Container,
}

fn init() -> u32 {
    1
}

fn name() -> String {
    "replica".to_owned()
}

fn user() -> String {
    "n".to_owned()
}

fn command() -> String {
    "some command".to_owned()
}

/// What a proxy serves.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Served {
    generation: u64,
    #[serde(default)]
    policy: PolicySpec,
    #[serde(default)]
    timeouts: Timeouts,
    #[serde(default)]
    limits: InstanceLimits,
    backends: BTreeMap<String, ServedBackend>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct ServedBackend {
    at: String,
    /// The mark that its nonce follows from.
    mark: String,
    #[serde(default = "ready")]
    state: BackendState,
}

fn ready() -> BackendState {
    BackendState::Ready
}

/// A file of the node's home.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Entry {
    Text(String),
    Link(String),
    Program,
    /// A program of these lines.
    Script(String),
    /// A library that links to another.
    Links(String),
}

impl NodeCase {
    /// What it answers to these questions.
    pub(super) fn facts(&self, facts: impl Iterator<Item = Fact>) -> Result<Facts, Failure> {
        if let Some(reason) = &self.unreachable {
            return Err(Failure::new(reason));
        }
        let home = self.real_home();
        let answer = |fact: Fact| {
            let sort = fact.id.split(' ').next().unwrap_or_default();
            let mut answer = match sort {
                "processes" => self.processes(),
                "place" => self.place(),
                "served" => self.served(),
                // What this machine has is no part of a case.
                "address" | "machine" | "supervision" | "tools" => String::new(),
                _ => match (&fact.question, &home) {
                    (Question::Script(script), Some(home)) => asked(script, home.path()),
                    _ => String::new(),
                },
            };
            answer.push_str(self.texts.get(sort).map_or("", String::as_str));
            if self.crlf {
                answer = answer.replace('\n', "\r\n");
            }
            (fact.id, answer)
        };
        Ok(facts.map(answer).collect())
    }

    fn processes(&self) -> String {
        let mut text = "boot 0f9c\nclock 1000.00 100\n".to_owned();
        let ours: Vec<u32> = self.processes.iter().filter_map(Runs::marked).collect();
        let one_of_ours = |p: &&Runs| ours.contains(&p.session.unwrap_or(p.pid));
        for p in self.processes.iter().filter(one_of_ours) {
            let marked = if p.mark.is_some() {
                "marked"
            } else {
                "unmarked"
            };
            let session = p.session.unwrap_or(p.pid);
            let _ = writeln!(
                text,
                "process {} 1 {session} 500 {marked} {}",
                p.pid, p.name
            );
        }
        for p in &self.processes {
            let whose = match p.foreign {
                None => continue,
                Some(Whose::Own) => "own",
                Some(Whose::Other) => "other",
                Some(Whose::Container) => "container",
            };
            let kin = if p.parent == 1 { "orphan" } else { "child" };
            let (pid, parent, name) = (p.pid, p.parent, &p.name);
            let _ = writeln!(text, "foreign {pid} {parent} 500 {whose} {kin} {name}");
        }
        for p in &self.processes {
            if let Some(mark) = &p.mark {
                let _ = writeln!(text, "MARK {} {mark}", p.pid);
            }
            if let Some(spec) = &p.spec {
                let _ = writeln!(text, "SPEC {} {spec}", p.pid);
            }
        }
        for p in &self.processes {
            let _ = writeln!(text, "command {} {} {} ", p.pid, p.user, p.command);
        }
        for p in &self.processes {
            if let Some(port) = p.listens {
                let uid = if p.user == "root" { 0 } else { 1000 };
                let _ = writeln!(text, "listener {port:04X} {} {uid}", p.pid + 90_000);
            }
        }
        for p in &self.processes {
            if p.listens.is_some() && !p.hidden {
                let session = p.session.unwrap_or(p.pid);
                let inode = p.pid + 90_000;
                let _ = writeln!(
                    text,
                    "owner {inode} {} {session} {} {} ",
                    p.pid, p.user, p.command
                );
            }
        }
        text
    }

    fn place(&self) -> String {
        let mut text = format!("system {}\nhome /home/n\n", self.system);
        for (name, size) in &self.files {
            let _ = writeln!(text, "file {size} {name}");
        }
        for mark in self.processes.iter().filter_map(Runs::serves) {
            if let Some(name) = &mark.name {
                let (kind, generation) = (&mark.kind, mark.generation);
                let _ = writeln!(text, "file 0 log/{kind}.{name}.{generation}.ready");
            }
        }
        text
    }

    fn served(&self) -> String {
        let Some(served) = &self.served else {
            return String::new();
        };
        let backend = |(name, describe): (&String, &ServedBackend)| Backend {
            name: name.clone(),
            authority: describe.at.clone(),
            role: Role::Both,
            nonce: Some(describe.mark.parse::<Mark>().unwrap().nonce()),
            key: None,
        };
        let standing = |(name, describe): (&String, &ServedBackend)| {
            let status = BackendStatus {
                state: describe.state,
                in_flight: 0,
                trouble: None,
            };
            (name.clone(), status)
        };
        let config = Config {
            generation: served.generation,
            backends: served.backends.iter().map(backend).collect(),
            policy: served.policy.clone(),
            timeouts: served.timeouts.clone(),
            limits: served.limits.clone(),
            client_keys: Vec::new(),
            headers: true,
            access_log: None,
            drained: BTreeSet::new(),
            weights: BTreeMap::new(),
        };
        let status = Status {
            config: (served.generation > 0).then_some(config),
            backends: served.backends.iter().map(standing).collect(),
            requests: Requests::default(),
            waiting: 0,
            fd_limit: 1024,
            hands_over: true,
            takes_over: true,
            former: Vec::new(),
        };
        serde_json::to_string(&Reply::Done(Box::new(status))).unwrap() + "\n"
    }

    /// Makes the node's home on this machine, where the case tells of one.
    fn real_home(&self) -> Option<tempfile::TempDir> {
        if self.home.is_empty() {
            return None;
        }
        let home = tempfile::tempdir().unwrap();
        for (name, entry) in &self.home {
            let path = home.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            let placed = |text: &str| text.replace("/home/n", home.path().to_str().unwrap());
            match entry {
                Entry::Text(text) => fs::write(path, placed(text)).unwrap(),
                Entry::Link(target) => symlink(target, path).unwrap(),
                Entry::Links(library) => fs::write(path, library_that_links_to(library)).unwrap(),
                Entry::Program => place_program(&path, "#!/bin/sh\n"),
                Entry::Script(text) => place_program(&path, &placed(text)),
            }
        }
        Some(home)
    }
}

impl Runs {
    fn marked(&self) -> Option<u32> {
        self.mark.as_ref().map(|_| self.session.unwrap_or(self.pid))
    }

    /// The mark of a server that was seen to serve.
    fn serves(&self) -> Option<Mark> {
        self.listens.filter(|_| !self.unserved)?;
        self.mark.as_ref()?.parse().ok()
    }
}

fn place_program(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// As much of an ELF file as tells what it links to: headers, and a dynamic section that
/// names a table of strings.
fn library_that_links_to(library: &str) -> Vec<u8> {
    const BASE: u64 = 0x1000;
    let strings = format!("\0libc10.so\0{library}\0_ZN2at6TensorE\0");
    let (headers, dynamic, table) = (64_u64, 64 + 2 * 56, 64 + 2 * 56 + 3 * 16);
    let mut file = vec![0; 64];
    file[..6].copy_from_slice(b"\x7fELF\x02\x01");
    file[32..40].copy_from_slice(&headers.to_le_bytes());
    file[54..58].copy_from_slice(&[56, 0, 2, 0]);
    let size = table + strings.len() as u64;
    for (kind, offset, size) in [(1_u64, 0, size), (2, dynamic, 3 * 16)] {
        let segment = [kind, offset, BASE + offset, 0, size, size, 0];
        file.extend(segment.iter().flat_map(|word| word.to_le_bytes()));
    }
    let entries = [[5, BASE + table], [10, strings.len() as u64], [0, 0]];
    file.extend(
        entries
            .iter()
            .flatten()
            .flat_map(|word: &u64| word.to_le_bytes()),
    );
    file.extend(strings.as_bytes());
    file
}

/// Asks a question of this machine, as if the folder were the node's home.
fn asked(script: &str, home: &Path) -> String {
    let home = home.canonicalize().unwrap();
    let output = Command::new("sh")
        .arg("-c")
        .arg(script)
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("HOME", &home)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.replace(home.to_str().unwrap(), "/home/n")
}
