//! A server of a test: real vLLM, or the simulator, started in the same way.

use std::fs::{self, File};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::http;
use super::installed::Installed;
use super::laptop::program;
use super::stage::{eventually, until};

/// The two that are held against each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Real,
    Simulated,
}

/// A server, which leads its session.
pub(super) struct Server {
    pub(super) kind: Kind,
    pub(super) port: u16,
    child: Child,
    folder: TempDir,
}

impl Server {
    /// Starts one with these words more, and waits until it is healthy.
    pub(super) fn healthy(
        kind: Kind,
        installed: &Installed,
        words: &[&str],
        key: Option<&str>,
    ) -> Self {
        let mut server = Self::starts(kind, installed, words, key);
        let port = server.port;
        until("it is healthy", || {
            assert!(server.runs(), "it died: {}", server.log());
            TcpStream::connect(("127.0.0.1", port)).is_ok()
                && http::send(port, "GET /health", &[], "").is_ok_and(|it| it.status == 200)
        });
        server
    }

    /// Starts one.
    pub(super) fn starts(
        kind: Kind,
        installed: &Installed,
        words: &[&str],
        key: Option<&str>,
    ) -> Self {
        let socket = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
        let port = socket.local_addr().expect("it has one").port();
        drop(socket);
        let folder = tempfile::tempdir().expect("there is room");
        let log = File::create(folder.path().join("log")).expect("the folder is ours");
        let mut command = Command::new("setsid");
        match kind {
            Kind::Real => command.arg(installed.venv().join("bin/vllm")),
            Kind::Simulated => command.arg(program()).arg("simulate"),
        };
        command.arg("serve").arg(installed.snapshot());
        command.args(["--host", "127.0.0.1", "--port", &port.to_string()]);
        command
            .args("--served-model-name tiny other --enforce-eager --max-model-len 1024".split(' '));
        command.args("--num-gpu-blocks-override 64 --max-num-seqs 16".split(' '));
        command.args(words);
        command.env_clear();
        let path = std::env::var("PATH").unwrap_or_default();
        let venv = installed.venv().join("bin");
        command.env("PATH", format!("{}:{path}", venv.display()));
        command.env("HOME", folder.path());
        for (name, value) in [
            ("REPLICA_MARK", "v1:claims:instance/a:1:0f"),
            ("SPT_NOENV", "1"),
            ("HF_HUB_OFFLINE", "1"),
            ("VLLM_NO_USAGE_STATS", "1"),
            ("VLLM_HOST_IP", "127.0.0.1"),
            ("VLLM_CPU_KVCACHE_SPACE", "1"),
            ("VLLM_CPU_OMP_THREADS_BIND", "nobind"),
            ("OMP_NUM_THREADS", "1"),
        ] {
            command.env(name, value);
        }
        command.envs(key.map(|key| ("VLLM_API_KEY", key)));
        command.stdin(Stdio::null());
        command
            .stdout(log.try_clone().expect("it is open"))
            .stderr(log);
        Self {
            kind,
            port,
            child: command.spawn().expect("setsid is everywhere"),
            folder,
        }
    }

    /// The process that leads.
    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether the leader runs.
    pub(super) fn runs(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Waits for the leader's end, and returns its exit code.
    pub(super) fn ends(&mut self) -> Option<i32> {
        eventually("it ends", || {
            self.child.try_wait().expect("it is our child")
        })
        .code()
    }

    /// Everything that it said.
    pub(super) fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// The processes of its session, each with its name.
    pub(super) fn members(&self) -> Vec<(u32, String)> {
        let session = self.pid().to_string();
        let mut members = Vec::new();
        for entry in fs::read_dir("/proc").expect("there is /proc").flatten() {
            let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else {
                continue;
            };
            let Some((head, rest)) = stat.rsplit_once(") ") else {
                continue;
            };
            let fields: Vec<_> = rest.split(' ').collect();
            let (pid, name) = head.split_once(" (").expect("a stat has a name");
            if fields[0] != "Z" && fields[3] == session {
                members.push((pid.parse().expect("a pid"), name.to_owned()));
            }
        }
        members
    }

    /// Its engine's process.
    pub(super) fn engine(&self) -> Option<u32> {
        let engine = |(_, name): &(u32, String)| name.starts_with("VLLM::EngineCor");
        self.members().into_iter().find(engine).map(|(pid, _)| pid)
    }

    /// Sends a signal to a process of a server.
    pub(super) fn signals(pid: u32, signal: Signal) {
        let raw = Pid::from_raw(pid.cast_signed()).expect("a pid is not 0");
        kill_process(raw, signal).expect("it runs");
    }

    /// A file of `/proc` of a process, with blanks for zeros.
    pub(super) fn proc_file(pid: u32, name: &str) -> String {
        let bytes = fs::read(PathBuf::from(format!("/proc/{pid}/{name}"))).unwrap_or_default();
        String::from_utf8_lossy(&bytes).replace('\0', " ")
    }
}

impl Drop for Server {
    /// Ends all that a test leaves of it.
    fn drop(&mut self) {
        for (pid, _) in self.members() {
            if let Some(pid) = Pid::from_raw(pid.cast_signed()) {
                let _ = kill_process(pid, Signal::KILL);
            }
        }
        let _ = self.child.wait();
    }
}
