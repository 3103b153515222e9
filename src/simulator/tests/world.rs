//! Simulators to look at: within this process, or as processes of their own.

use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::time::{sleep, timeout};

use super::entry::{API_SERVER, API_SERVER_VARIABLE};
use crate::simulator::Args;
use crate::simulator::engine::Engine;
use crate::simulator::http::{Connections, Server};
use crate::simulator::kv::Connector;
use crate::simulator::kv::settings::Environment;
use crate::simulator::log::Log;

/// How long a state may take to come about, on a machine that does much else. Nothing is measured
/// by it: a test that waits for longer has failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// A server within this process, without an engine process.
pub(super) struct Inside {
    pub(super) address: SocketAddr,
    pub(super) engine: Engine,
    _connections: Connections,
}

impl Inside {
    /// Serves what the line of arguments says, at once.
    pub(super) async fn serving(line: &str) -> Self {
        let options = Args::typed(line).read().expect("is a line of vLLM");
        let connector = Connector::of(&options, &Environment::anywhere())
            .await
            .expect("a port is free");
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let server = Arc::new(Server::start(options, connector, Log::silent()));
        Self {
            address,
            engine: server.engine.clone(),
            _connections: Connections::accept(server, listener),
        }
    }
}

/// A simulator as a process of its own, killed with its engine when the test is over.
pub(super) struct Outside {
    pub(super) address: SocketAddr,
    child: Child,
    log: Arc<Mutex<String>>,
}

impl Outside {
    /// Starts `simulate` with these arguments on a port of its own.
    pub(super) fn start(line: &str) -> Self {
        Self::start_on(free_port(), line, &[])
    }

    /// Starts it on this port, with additions to the environment.
    pub(super) fn start_on(port: u16, line: &str, environment: &[(&str, &str)]) -> Self {
        let line = format!("serve test/model --host 127.0.0.1 --port {port} {line}");
        let mut child = Command::new(std::env::current_exe().expect("this test runs"))
            .args(API_SERVER)
            .env(API_SERVER_VARIABLE, line)
            .env("NO_COLOR", "1")
            .env_remove("SPT_NOENV")
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("this test can be started");
        let log = Arc::default();
        gather(child.stdout.take().expect("is piped"), &log);
        gather(child.stderr.take().expect("is piped"), &log);
        Self {
            address: (Ipv4Addr::LOCALHOST, port).into(),
            child,
            log,
        }
    }

    /// Starts it and waits until it serves.
    pub(super) async fn ready(line: &str) -> Self {
        let server = Self::start(line);
        server.says("Application startup complete.").await;
        server
    }

    /// What it has said so far.
    pub(super) fn log(&self) -> String {
        self.log.lock().expect("nobody panics with the log").clone()
    }

    /// Waits until it has said this.
    pub(super) async fn says(&self, text: &str) {
        until(|| self.log().contains(text))
            .await
            .unwrap_or_else(|()| panic!("no `{text}` in:\n{}", self.log()));
    }

    pub(super) fn pid(&self) -> i32 {
        self.child.id().cast_signed()
    }

    /// The engine's pid, as the log tells it.
    pub(super) async fn engine_pid(&self) -> i32 {
        self.says("(EngineCore_DP0 pid=").await;
        let log = self.log();
        let (_, rest) = log
            .split_once("(EngineCore_DP0 pid=")
            .expect("was just seen");
        rest.split(')')
            .next()
            .and_then(|pid| pid.parse().ok())
            .expect("a pid is a number")
    }

    /// Waits until it has ended by itself.
    pub(super) async fn ended(&mut self) -> ExitStatus {
        let mut status = None;
        let waiting = until(|| {
            status = self.child.try_wait().expect("it is our child");
            status.is_some()
        });
        waiting
            .await
            .unwrap_or_else(|()| panic!("it has not ended"));
        status.expect("has just ended")
    }

    pub(super) fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("it is our child").is_none()
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        // The engine outlives its parent: it is the one that the log names.
        let log = self.log();
        let named = log
            .split("(EngineCore_DP0 pid=")
            .nth(1)
            .and_then(|rest| rest.split(')').next());
        if let Some(pid) = named
            .and_then(|pid| pid.parse().ok())
            .filter(|pid| is_engine(*pid))
        {
            signal(pid, Signal::KILL);
        }
    }
}

fn gather(pipe: impl std::io::Read + Send + 'static, log: &Arc<Mutex<String>>) {
    let log = Arc::clone(log);
    std::thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            let mut log = log.lock().expect("nobody panics with the log");
            log.push_str(&line);
            log.push('\n');
        }
    });
}

/// A port that nobody had a moment ago.
pub(super) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    listener.local_addr().expect("it is bound").port()
}

/// Waits until something is so.
pub(super) async fn until(mut condition: impl FnMut() -> bool) -> Result<(), ()> {
    let polling = async {
        while !condition() {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, polling).await.map_err(|_| ())
}

/// Sends a signal to a process that the test has started.
pub(super) fn signal(pid: i32, signal: Signal) {
    let _ = kill_process(Pid::from_raw(pid).expect("a pid is not 0"), signal);
}

/// Whether the process exists and is no zombie.
pub(super) fn lives(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat
        .rsplit_once(") ")
        .and_then(|(_, rest)| rest.chars().next());
    state.is_some_and(|state| !matches!(state, 'Z' | 'X'))
}

fn is_engine(pid: i32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/comm"))
        .is_ok_and(|name| name == "VLLM::EngineCor\n")
}
