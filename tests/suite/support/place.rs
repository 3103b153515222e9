//! A place of its own for each scenario: a home, a folder, ports, a topology's name.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::Value;
use tempfile::TempDir;

use super::{Ports, Running, Said, Share, process};

pub(crate) const MANIFESTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/manifests");
const FILE: &str = "topology.yaml";

/// The ports as samples have them, each with which of a place's own stands for it: of two servers, the
/// proxy, and the side channels of both.
const SAMPLE_PORTS: [(&str, usize); 5] = [
    ("8100", 0),
    ("8200", 1),
    ("8192", 2),
    ("5600", 4),
    ("5601", 5),
];

/// So many ports a scenario may need: those, and another server's.
const PORTS: usize = 6;

/// A scenario's own corner of this machine. When it is left, nothing of it may remain.
///
/// What runs is found by the topology's name on the whole machine, whatever the home: so the name
/// is one that nobody else has, or a scenario would take over what a developer has running.
#[derive(Debug)]
pub(crate) struct Workdir {
    dir: TempDir,
    ports: Ports,
    pub(crate) topology: String,
    env: Vec<(String, String)>,
    /// What was declared first: enough to destroy by.
    first: Option<String>,
    /// The last to be given back: by then nothing runs here any more.
    _share: Share,
}

impl Workdir {
    /// A place without a manifest.
    pub(crate) fn empty() -> Self {
        Self::on(Share::some())
    }

    fn on(share: Share) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let dir = tempfile::tempdir().unwrap();
        for folder in ["home", "work"] {
            fs::create_dir(dir.path().join(folder)).unwrap();
        }
        Self {
            dir,
            ports: Ports::reserve(PORTS),
            topology: format!("suite-{}-{number}", std::process::id()),
            env: Vec::new(),
            first: None,
            _share: share,
        }
    }

    /// A place whose `topology.yaml` is this text, under a name and on ports of its own.
    pub(crate) fn with(text: &str) -> Self {
        Self::empty().declaring(text)
    }

    /// The same, with the machine to itself: for what is claimed of measured numbers.
    pub(crate) fn measuring(text: &str) -> Self {
        Self::on(Share::whole()).declaring(text)
    }

    fn declaring(mut self, text: &str) -> Self {
        let text = self.own(text);
        self.write(FILE, &text);
        self.first = Some(text);
        self
    }

    /// A place whose `topology.yaml` is the sample for this machine.
    pub(crate) fn local() -> Self {
        Self::with(&sample())
    }

    /// The same, with the machine to itself.
    pub(crate) fn measuring_local() -> Self {
        Self::measuring(&sample())
    }

    /// Adds a variable to the environment of every command.
    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// A text with this place's name and ports instead of the sample's.
    pub(crate) fn own(&self, text: &str) -> String {
        let text = renamed(text, &self.topology);
        let ports = SAMPLE_PORTS.iter();
        ports.fold(text, |text, (port, own)| {
            text.replace(port, &self.port(*own).to_string())
        })
    }

    /// A port of this place: `a`'s, `b`'s, the proxy's.
    pub(crate) fn port(&self, index: usize) -> u16 {
        self.ports.get(index)
    }

    pub(crate) fn home(&self) -> PathBuf {
        self.dir.path().join("home")
    }

    pub(crate) fn work(&self) -> PathBuf {
        self.dir.path().join("work")
    }

    /// The folder of this topology in the home.
    pub(crate) fn state(&self) -> PathBuf {
        self.home()
            .join(".local/state/replica")
            .join(&self.topology)
    }

    pub(crate) fn write(&self, path: impl AsRef<Path>, text: &str) {
        fs::write(self.work().join(path), text).unwrap();
    }

    pub(crate) fn read(&self, path: impl AsRef<Path>) -> String {
        let path = self.work().join(path);
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// Changes the manifest: what is looked for must be there.
    #[track_caller]
    pub(crate) fn change(&self, old: &str, new: &str) {
        let text = self.read(FILE);
        assert!(text.contains(old), "no `{old}` in\n{text}");
        self.write(FILE, &text.replace(old, new));
    }

    /// Runs a command to its end.
    pub(crate) fn replica(&self, words: &[&str]) -> Said {
        self.replica_in("", words)
    }

    /// Runs a command to its end in another folder.
    pub(crate) fn replica_in(&self, folder: &str, words: &[&str]) -> Said {
        let mut command = self.command(words);
        command.current_dir(self.work().join(folder));
        Said::new(line(words), &command.output().unwrap())
    }

    /// Starts a command.
    pub(crate) fn begin(&self, words: &[&str]) -> Running {
        Running::of(line(words), self.command(words))
    }

    /// A command with an environment of its own and nothing on its standard input.
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_replica"));
        command.args(words).stdin(Stdio::null());
        self.settle(&mut command);
        command
    }

    /// Gives a command the folder and the environment of this place.
    pub(crate) fn settle(&self, command: &mut Command) {
        command
            .current_dir(self.work())
            .env_clear()
            .env("HOME", self.home())
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .envs(self.env.iter().map(|(name, value)| (name, value)));
    }

    /// Makes everything as declared, without measuring.
    #[track_caller]
    pub(crate) fn applied(self) -> Self {
        let _ = self.replica(&["apply", "-y", "--no-bench"]).exits(0);
        self
    }

    /// What `status --json` says.
    #[track_caller]
    pub(crate) fn status(&self) -> Value {
        self.replica(&["status", "--json"]).exits(0).json()
    }

    /// The pid that `status` tells of: at `/instances/a` or `/proxy`.
    #[track_caller]
    pub(crate) fn pid(&self, pointer: &str) -> u32 {
        let status = self.status();
        let pid = status.pointer(&format!("{pointer}/pid"));
        let pid = pid.and_then(Value::as_u64);
        u32::try_from(pid.unwrap_or_else(|| panic!("no {pointer} in {status:#}"))).unwrap()
    }

    /// The plan as `action address`, without what is kept.
    #[track_caller]
    pub(crate) fn plan(&self) -> Vec<String> {
        acting(&self.replica(&["plan", "--json"]).exits(0).json())
    }
}

/// The changes of a document as `action address`, without what is kept.
fn acting(document: &Value) -> Vec<String> {
    let changes = document["changes"].as_array().unwrap();
    let words = changes.iter().map(|change| {
        let text = |key: &str| change[key].as_str().unwrap_or_default();
        format!("{} {}", text("action"), text("address"))
    });
    words.filter(|line| !line.starts_with("keep ")).collect()
}

/// A manifest under another topology's name.
fn renamed(text: &str, topology: &str) -> String {
    let lines = text.lines().map(|line| {
        if line.starts_with("topology:") {
            format!("topology: {topology}\n")
        } else {
            format!("{line}\n")
        }
    });
    lines.collect()
}

fn line(words: &[&str]) -> String {
    format!("replica {}", words.join(" "))
}

impl Drop for Workdir {
    fn drop(&mut self) {
        let Some(first) = &self.first else { return };
        // What a scenario made of the manifest may be unreadable.
        let _ = fs::write(self.work().join(FILE), first);
        let destroyed = self.replica(&["destroy", "-y"]);
        let left = process::marked(&self.topology);
        if !std::thread::panicking() {
            assert_eq!(destroyed.code, Some(0), "{destroyed}");
            assert!(left.is_empty(), "left behind: {left:?}\n{destroyed}");
        }
    }
}

/// The sample for this machine.
fn sample() -> String {
    fs::read_to_string(format!("{MANIFESTS}/local.yaml")).unwrap()
}
