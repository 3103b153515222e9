//! The hosts: what `tests/lab/lab` does to them, and what is really there.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use super::looking::View;

/// A lab that is up. It is taken down when dropped.
pub(super) struct Lab {
    folder: TempDir,
}

/// One process of a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Process {
    pub(super) pid: u32,
    /// The session that it is in.
    pub(super) session: u32,
    /// When it started, in ticks since the boot.
    pub(super) start: u64,
    pub(super) name: String,
    /// Its `REPLICA_MARK`, where it carries one.
    pub(super) mark: Option<String>,
}

impl Lab {
    /// Brings up a lab: `3 --seed`.
    pub(super) fn up(words: &str) -> Result<Self, String> {
        let lab = Self {
            folder: tempfile::tempdir().map_err(|error| error.to_string())?,
        };
        let up = lab.call(&[&["up"], words.split(' ').collect::<Vec<_>>().as_slice()].concat());
        if up.status.success() {
            return Ok(lab);
        }
        Err(String::from_utf8_lossy(&up.stderr).trim().to_owned())
    }

    /// A folder for files that go with the lab.
    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    fn state(&self) -> PathBuf {
        self.folder.path().join("lab")
    }

    /// A file of the lab: `ssh_config`, `known_hosts`, `id_lab`.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.state().join(name)
    }

    fn call(&self, words: &[&str]) -> Output {
        let done = self.command(words).output();
        done.expect("the lab is a script of this repository")
    }

    fn command(&self, words: &[&str]) -> Command {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lab/lab");
        let mut command = Command::new(script);
        command.args(words).env("LAB_STATE", self.state());
        command
    }

    /// Runs a command of the lab: `lab.does("cut spark-01 --mode drop")`.
    pub(super) fn does(&self, words: &str) {
        self.does_with(&words.split(' ').collect::<Vec<_>>());
    }

    /// Runs a command of the lab, given word by word.
    pub(super) fn does_with(&self, words: &[&str]) {
        let done = self.call(words);
        let said = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success(), "lab {words:?}: {said}");
    }

    /// Puts a file of this machine on a host.
    pub(super) fn install(&self, host: &str, file: &Path, path: &str) {
        let file = file.to_str().expect("the path is text");
        self.does_with(&["install", host, file, path]);
    }

    /// Runs a shell script on a host as root; what it printed.
    pub(super) fn exec(&self, host: &str, script: &str) -> String {
        let done = self.call(&["exec", host, "sh", "-c", script]);
        let said = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success(), "{host}: {script}: {said}");
        String::from_utf8_lossy(&done.stdout).trim().to_owned()
    }

    /// Starts something on a host as `nvidia` that goes on by itself, and returns its pid.
    pub(super) fn starts(&self, host: &str, command: &str) -> u32 {
        let script = format!(
            "exec setpriv --reuid=nvidia --regid=nvidia --clear-groups env HOME=/home/nvidia \
             setsid sh -c 'echo $$; exec {command} >/dev/null 2>&1 </dev/null' &"
        );
        let pid = self.exec(host, &format!("cd /home/nvidia && {script}"));
        pid.parse().expect("it printed its pid")
    }

    fn view(&self, host: &str) -> View {
        View::of(&self.state(), host).unwrap_or_else(|| panic!("{host} is off"))
    }

    /// All processes of a host.
    pub(super) fn processes(&self, host: &str) -> Vec<Process> {
        self.view(host).processes()
    }

    /// The processes of a host whose marks begin so: `v1:demo:instance/a:`.
    pub(super) fn marked(&self, host: &str, prefix: &str) -> Vec<Process> {
        let mut all = self.processes(host);
        all.retain(|it| {
            it.mark
                .as_deref()
                .is_some_and(|mark| mark.starts_with(prefix))
        });
        all
    }

    /// The one process that leads a thing of the topology `demo`: `instance/a`, `proxy`.
    pub(super) fn leader(&self, host: &str, thing: &str) -> Process {
        let leaders = self.leaders(host, thing);
        let [one] = leaders.as_slice() else {
            panic!("{host}: {thing} has not one process but {leaders:?}");
        };
        one.clone()
    }

    /// Every process that leads such a thing.
    pub(super) fn leaders(&self, host: &str, thing: &str) -> Vec<Process> {
        let mut found = self.marked(host, &format!("v1:demo:{thing}:"));
        found.retain(|it| it.pid == it.session);
        found
    }

    /// The process of a server in which its engine is.
    pub(super) fn engine(&self, host: &str, leader: &Process) -> Process {
        let mut found = self.processes(host);
        found.retain(|it| it.session == leader.pid && it.name == "VLLM::EngineCor");
        found.pop().expect("a server has an engine")
    }

    /// Whether more than so many bytes come to wait, within a moment, to be read at one connection of a port.
    pub(super) fn has_unread(&self, host: &str, port: u16, bytes: u64) -> bool {
        (0..60).any(|_| {
            std::thread::sleep(Duration::from_millis(50));
            self.view(host).unread(port) > bytes
        })
    }

    /// Sends a signal to a process: `KILL`.
    pub(super) fn signals(&self, host: &str, process: &Process, name: &str) {
        self.exec(host, &format!("kill -{name} {}", process.pid));
    }

    /// Has a shell on a host stand by to send a process a signal: then nothing has to be started for it,
    /// which takes a busy machine seconds.
    pub(super) fn aims(&self, host: &str, process: &Process, name: &str) -> Aimed {
        let script = format!("echo aimed; read -r go; kill -{name} {}", process.pid);
        let mut command = self.command(&["exec", host, "sh", "-c", &script]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut shell = command.spawn().expect("the lab is a script of ours");
        let mut said = BufReader::new(shell.stdout.take().expect("it is a pipe"));
        let mut line = String::new();
        said.read_line(&mut line).expect("it is a pipe");
        assert_eq!(line, "aimed\n");
        Aimed { shell }
    }

    /// Whether a process is still the one that it was.
    pub(super) fn lives(&self, host: &str, process: &Process) -> bool {
        self.processes(host)
            .iter()
            .any(|it| (it.pid, it.start) == (process.pid, process.start))
    }

    /// How many sockets of a host listen on a port.
    pub(super) fn listeners(&self, host: &str, port: u16) -> usize {
        self.view(host).listeners(port)
    }

    /// The files of ours on a host.
    pub(super) fn files(&self, host: &str) -> Vec<String> {
        let mut all = self.view(host).files("home/nvidia", ".local");
        all.retain(|path| path.contains("/replica"));
        all
    }
}

/// A signal that is about to be sent.
pub(super) struct Aimed {
    shell: Child,
}

impl Aimed {
    /// Sends it, and returns when it was sent.
    pub(super) fn fires(mut self) {
        let mut go = self.shell.stdin.take().expect("it is a pipe");
        go.write_all(b"go\n").expect("it listens");
        let sent = self.shell.wait().expect("it is our child");
        assert!(sent.success(), "{sent}");
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        // What it does not come to ends with the namespaces.
        self.call(&["down"]);
    }
}
