//! The verbs against this machine, with each of its shells, and small programs of the test's own.

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command as Program, Stdio};
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use tempfile::TempDir;

use crate::node::tests::{digest, gone, here, shells};
use crate::node::{Node, quote};
use crate::plan::effect::control::{Keys, Request};
use crate::plan::effect::{
    Check, KillUnmanaged, Launch, LogReader, Probe, ProxyControl, Secret, Stop, Supervisor, Upload,
    WaitReady,
};
use crate::plan::{Address, Count, Failure, FailureKind, Part, Phase};
use crate::proxy::control::Status;

use super::*;

const MINUTE: Duration = Duration::from_secs(60);

/// One thing of a test: its folder, and a mark that no other test has.
struct Thing {
    folder: TempDir,
    prefix: String,
    port: u16,
}

impl Drop for Thing {
    /// Ends what a failed test leaves behind.
    fn drop(&mut self) {
        for pid in self.marked() {
            let _ = Program::new("kill").args(["-KILL", &pid]).status();
        }
    }
}

impl Thing {
    fn new() -> Self {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        Self {
            folder: TempDir::new().unwrap(),
            prefix: format!("v1:test-{:016x}:instance/a:", fastrand::u64(..)),
            port,
        }
    }

    fn mark(&self) -> String {
        format!("{}1:abc", self.prefix)
    }

    fn at(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    fn launch(&self, argv: &[&str]) -> Launch {
        Launch {
            address: address(),
            mark: self.mark(),
            mark_prefix: self.prefix.clone(),
            spec: "{\"kind\": \"it's\"}".to_owned(),
            argv: argv.iter().map(|&word| word.to_owned()).collect(),
            path: Vec::new(),
            env: BTreeMap::new(),
            secret_env: BTreeMap::new(),
            node_key: self.at("a folder/node.key"),
            folder: self.at("a folder"),
            log: self.at("logs/a.log"),
            log_reader: LogReader::Vllm,
            supervisor: Supervisor::Session,
            is_beside: false,
        }
    }

    fn stop(&self, grace: Duration) -> Stop {
        Stop {
            address: address(),
            mark_prefix: self.prefix.clone(),
            ports: vec![self.port],
            grace: Some(grace),
        }
    }

    fn ready(&self) -> WaitReady {
        let check = |shows: &str, path: &str, contains: Option<&str>| Check {
            shows: shows.to_owned(),
            path: path.to_owned(),
            body: None,
            api_key: None,
            contains: contains.map(str::to_owned),
            refused_hint: Some("do something else".to_owned()),
        };
        WaitReady {
            address: address(),
            mark: self.mark(),
            probe: Probe {
                host: "127.0.0.1".to_owned(),
                port: self.port,
                checks: vec![
                    check("the health check", "/health", None),
                    check("its name among the models", "/v1/models", Some("nonce-1")),
                ],
            },
            log: self.at("logs/a.log"),
            patience: MINUTE,
            expected: None,
            predecessor: None,
            log_reader: LogReader::Vllm,
        }
    }

    /// The processes that carry the mark, zombies left out.
    fn marked(&self) -> Vec<String> {
        let mut pids = Vec::new();
        for entry in fs::read_dir("/proc").unwrap().flatten() {
            let environ = fs::read(entry.path().join("environ")).unwrap_or_default();
            if String::from_utf8_lossy(&environ).contains(&self.prefix) {
                pids.push(entry.file_name().into_string().unwrap());
            }
        }
        pids
    }

    fn log(&self) -> String {
        fs::read_to_string(self.at("logs/a.log")).unwrap()
    }

    fn server(&self, more: &[&str]) -> Launch {
        let port = self.port.to_string();
        let mut argv = vec![python(), "-u", "-c", SERVER, port.as_str()];
        argv.extend(more);
        self.launch(&argv)
    }
}

/// A server with bad habits on demand.
const SERVER: &str = r"
import http.server, signal, socket, subprocess, sys, time
port, habits = int(sys.argv[1]), sys.argv[2:]
print('\x1b[32mLoading checkpoint shards:  25% Completed | 1/4 [\x1b[0m')
if 'dies' in habits:
    print('torch.OutOfMemoryError: CUDA out of memory')
    print('Traceback: see above')
    sys.exit(1)
if 'deaf' in habits:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
if 'child' in habits:
    # As vLLM\'s engine: in the session, its environment gone.
    subprocess.Popen(['sleep', '1000'], env={})
if 'late' in habits:
    time.sleep(1.5)
if 'stumbles' in habits:
    # As vLLM\'s engine where a thread of it has failed.
    print('zmq.error.ZMQError: Address already in use (addr=tcp://127.0.0.1:5600)')
    if 'recovers' in habits:
        print('Loading checkpoint shards:  50% Completed | 2/4 [')
    time.sleep(1000)
class Handler(http.server.BaseHTTPRequestHandler):
    asked = 0
    def do_GET(self):
        Handler.asked += 1
        loading = Handler.asked < 3
        self.send_response(503 if loading else 200)
        self.end_headers()
        if 'refuses' in habits and not loading and self.path == '/v1/models':
            # As 0.13 says that a model pools.
            self.wfile.write(b'{\x22error\x22: {\x22message\x22: \x22The model does not\x22, \x22code\x22: 400}}')
            return
        self.wfile.write(b'{}' if 'nameless' in habits else b'{\x22id\x22: \x22nonce-1\x22}')
    def log_message(self, *_): pass
class Server(http.server.ThreadingHTTPServer):
    def server_bind(self):
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        super().server_bind()
Server(('127.0.0.1', port), Handler).serve_forever()
";

fn python() -> &'static str {
    static PYTHON: OnceLock<String> = OnceLock::new();
    PYTHON.get_or_init(|| {
        let told = Program::new("python3")
            .args(["-c", "import sys; print(sys.executable, end='')"])
            .output()
            .unwrap();
        String::from_utf8(told.stdout).unwrap()
    })
}

/// One secret variable, which this one of the test's own holds.
fn from_here(name: &str, source: &str) -> BTreeMap<String, Secret> {
    let source = Secret::Variable(source.to_owned());
    BTreeMap::from([(name.to_owned(), source)])
}

fn address() -> Address {
    "here/instance.a".parse().unwrap()
}

fn silent(_: Phase) {}

/// A phase without its numbers: `loading: weights`.
fn named(phase: &Phase) -> String {
    format!("{}: {}", phase.doing, phase.part.name)
}

fn lives(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

/// A process of somebody else; ended with the test.
struct Foreign(Child);

impl Foreign {
    fn run(argv: &[&str]) -> Self {
        let child = Program::new(argv[0])
            .args(&argv[1..])
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        Self(child)
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

mod hostile;
mod killing_unmanaged;
mod living;
mod pruning;
mod sending;
mod serving;
mod starting;
mod stopping;
mod telling;
mod working;
