//! The verbs against this machine, with each of its shells, and small programs of the test's own.

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command as Program, Stdio};
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use tempfile::TempDir;

use crate::node::tests::{gone, here, shells};
use crate::node::{Check, Launch, LogSign, Node, Ready, Stop, quote};
use crate::plan::{Address, Failure};
use crate::proxy::control::{Request, Status};

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
            spec: "{\"kind\": \"it's\"}".to_owned(),
            argv: argv.iter().map(|&word| word.to_owned()).collect(),
            env: BTreeMap::new(),
            secret_env: BTreeMap::new(),
            folder: self.at("a folder"),
            log: self.at("logs/a.log"),
        }
    }

    fn stop(&self, grace: Duration) -> Stop {
        Stop {
            address: address(),
            mark_prefix: self.prefix.clone(),
            ports: vec![self.port],
            grace,
        }
    }

    fn ready(&self) -> Ready {
        let check = |shows, path: &str, contains: Option<&str>| Check {
            shows,
            path: path.to_owned(),
            body: None,
            api_key_env: None,
            contains: contains.map(str::to_owned),
        };
        Ready {
            address: address(),
            mark: self.mark(),
            host: "127.0.0.1".to_owned(),
            port: self.port,
            log: self.at("logs/a.log"),
            checks: vec![
                check("the health check", "/health", None),
                check("its name among the models", "/v1/models", Some("nonce-1")),
            ],
            patience: MINUTE,
            read_log,
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
print('phase \x1b[32mweights 1/4\x1b[0m')
if 'dies' in habits:
    print('cause CUDA out of memory!lower it')
    print('Traceback: see above')
    sys.exit(1)
if 'deaf' in habits:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
if 'child' in habits:
    # As vLLM\'s engine: in the session, its environment gone.
    subprocess.Popen(['sleep', '1000'], env={})
class Handler(http.server.BaseHTTPRequestHandler):
    asked = 0
    def do_GET(self):
        Handler.asked += 1
        loading = Handler.asked < 3
        self.send_response(503 if loading else 200)
        self.end_headers()
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

fn address() -> Address {
    "here/instance.a".parse().unwrap()
}

fn read_log(line: &str) -> Option<LogSign> {
    let (word, rest) = line.split_once(' ')?;
    match word {
        "phase" => Some(LogSign::Phase(rest.to_owned())),
        "cause" => rest.split_once('!').map(|(message, hint)| LogSign::Cause {
            message: message.to_owned(),
            hint: Some(hint.to_owned()),
        }),
        _ => None,
    }
}

fn silent(_: &str, _: &str) {}

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

#[tokio::test]
async fn what_starts_is_marked_bare_and_alone() {
    for node in shells() {
        let thing = Thing::new();
        let mut launch = thing.launch(&["sleep", "1000"]);
        launch.env = BTreeMap::from([("CUDA_HOME".to_owned(), "it's $HOME".to_owned())]);
        launch.secret_env = BTreeMap::from([("TOKEN".to_owned(), "PATH".to_owned())]);
        let first = start(&node, &launch).await.unwrap();
        assert!(!first.already);

        let environ = fs::read_to_string(format!("/proc/{}/environ", first.pid)).unwrap();
        let mut names = Vec::new();
        let mut values = BTreeMap::new();
        for variable in environ.split_terminator('\0') {
            let (name, value) = variable.split_once('=').unwrap();
            names.push(name);
            values.insert(name, value);
        }
        assert_eq!(values["REPLICA_MARK"], thing.mark());
        assert_eq!(values["REPLICA_SPEC"], launch.spec);
        assert_eq!(values["SPT_NOENV"], "1");
        assert_eq!(values["CUDA_HOME"], "it's $HOME");
        assert_eq!(values["TOKEN"], std::env::var("PATH").unwrap());
        // `cargo test` has plenty of its own; `PWD` and the like are the shell's.
        let inherited = names
            .iter()
            .filter(|name| name.starts_with("CARGO"))
            .count();
        assert_eq!(inherited, 0, "{names:?}");

        let stat = fs::read_to_string(format!("/proc/{}/stat", first.pid)).unwrap();
        let fields: Vec<_> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
        assert_eq!(fields[3], first.pid.to_string(), "it leads its session");
        assert_eq!(fields[19], first.start_time.to_string());
        let folder = fs::read_link(format!("/proc/{}/cwd", first.pid)).unwrap();
        assert_eq!(folder, Path::new(&launch.folder));
        let open = |fd: u32| fs::read_link(format!("/proc/{}/fd/{fd}", first.pid)).ok();
        assert_eq!(open(0).unwrap(), Path::new("/dev/null"));
        assert_eq!(open(1).unwrap(), Path::new(&launch.log));
        assert_eq!(open(2).unwrap(), Path::new(&launch.log));
        assert!((3..10).all(|fd| open(fd).is_none()));

        let second = start(&node, &launch).await.unwrap();
        assert!(second.already);
        assert_eq!(
            (second.pid, second.start_time),
            (first.pid, first.start_time)
        );
        stop(&node, &thing.stop(MINUTE), &silent).await.unwrap();
        assert!(!lives(first.pid));
    }
}

#[tokio::test]
async fn a_leading_tilde_of_a_word_is_the_nodes_home() {
    let thing = Thing::new();
    let launch = thing.launch(&[
        "sh",
        "-c",
        "echo \"$@\"; exec sleep 1000",
        "x",
        "~/it's",
        "a~/b",
    ]);
    start(&here(), &launch).await.unwrap();
    while thing.log().is_empty() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let home = std::env::home_dir().unwrap();
    assert_eq!(thing.log(), format!("{}/it's a~/b\n", home.display()));
    stop(&here(), &thing.stop(MINUTE), &silent).await.unwrap();
}

#[tokio::test]
async fn what_cannot_start_says_why() {
    for node in shells() {
        let thing = Thing::new();
        let failure = start(&node, &thing.launch(&["/no/such/program"]))
            .await
            .unwrap_err();
        assert!(
            failure.message.contains("`/no/such/program` ended at once"),
            "{failure:?}"
        );
        assert!(
            failure.log.last().unwrap().contains("No such file"),
            "{failure:?}"
        );

        let mut launch = thing.launch(&["true"]);
        launch.secret_env = BTreeMap::from([("TOKEN".to_owned(), "NO_SUCH_SECRET".to_owned())]);
        let failure = start(&node, &launch).await.unwrap_err();
        assert!(failure.message.contains("`NO_SUCH_SECRET`"), "{failure:?}");

        let mut launch = thing.launch(&["true"]);
        launch.folder = "/dev/null/x".to_owned();
        let failure = start(&node, &launch).await.unwrap_err();
        assert!(failure.message.contains("Not a directory"), "{failure:?}");
    }
}

#[tokio::test]
async fn stopping_ends_the_whole_session_and_nothing_else() {
    for node in shells() {
        let thing = Thing::new();
        let other = Thing::new();
        let bystander = start(&node, &other.launch(&["sleep", "1000"]))
            .await
            .unwrap();
        // A marked process in the session of somebody's shell: it is ours, the shell is not.
        let shell = Foreign::run(&[
            "setsid",
            "sh",
            "-c",
            &format!(
                "REPLICA_MARK={} sleep 1000 & wait; exec sleep 1000",
                thing.mark()
            ),
        ]);
        while thing.marked().is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let mut started = thing.server(&["child"]);
        started.mark = format!("{}2:def", thing.prefix);
        let leader = start(&node, &started).await.unwrap();
        let mut ready = thing.ready();
        ready.mark.clone_from(&started.mark);
        super::ready(&node, &ready, &silent).await.unwrap();

        let stopped = stop(&node, &thing.stop(MINUTE), &silent).await.unwrap();
        assert_eq!(stopped.ended.len(), 3, "{stopped:?}");
        assert_eq!(stopped.killed(), 0, "{stopped:?}");
        assert!(
            stopped
                .ended
                .iter()
                .any(|process| process.pid == leader.pid)
        );
        assert!(
            stopped
                .ended
                .iter()
                .filter(|process| process.command == "sleep")
                .count()
                == 2
        );
        for process in &stopped.ended {
            assert!(!lives(process.pid), "{process:?}");
        }
        assert!(lives(shell.0.id()));
        assert!(lives(bystander.pid));
        let again = stop(&node, &thing.stop(MINUTE), &silent).await.unwrap();
        assert_eq!(again.ended, []);
        stop(&node, &other.stop(MINUTE), &silent).await.unwrap();
    }
}

#[tokio::test]
async fn orphans_without_an_environment_are_ended_too() {
    for node in shells() {
        let thing = Thing::new();
        // The leader is killed; one orphan still has the mark, the other lost its environment.
        let script = "sleep 1000 & env -i sleep 1000 & echo up; wait";
        let leader = start(&node, &thing.launch(&["sh", "-c", script]))
            .await
            .unwrap();
        while thing.log() != "up\n" {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let pid = leader.pid.to_string();
        assert!(
            Program::new("kill")
                .args(["-KILL", &pid])
                .status()
                .unwrap()
                .success()
        );
        gone(&pid).await;
        let failure = start(&node, &thing.launch(&["sleep", "1000"]))
            .await
            .unwrap_err();
        assert!(failure.message.contains("still lives"), "{failure:?}");
        let stopped = stop(&node, &thing.stop(MINUTE), &silent).await.unwrap();
        assert_eq!(stopped.ended.len(), 2, "{stopped:?}");
        assert_eq!(stopped.killed(), 0, "{stopped:?}");
    }
}

#[tokio::test]
async fn who_does_not_listen_to_sigterm_is_killed() {
    let thing = Thing::new();
    start(&here(), &thing.server(&["deaf", "child"]))
        .await
        .unwrap();
    ready(&here(), &thing.ready(), &silent).await.unwrap();
    let heard = Mutex::new(Vec::new());
    let progress = |phase: &str, _: &str| heard.lock().unwrap().push(phase.to_owned());
    let stopped = stop(&here(), &thing.stop(Duration::from_millis(1)), &progress)
        .await
        .unwrap();
    assert_eq!(
        (stopped.ended.len(), stopped.killed()),
        (2, 2),
        "{stopped:?}"
    );
    assert!(heard.lock().unwrap().iter().any(|phase| phase == "killing"));
}

#[tokio::test]
async fn a_foreign_listener_is_named_and_left_alone() {
    for node in shells() {
        let thing = Thing::new();
        let listener = TcpListener::bind(("127.0.0.1", thing.port)).unwrap();
        let failure = stop(&node, &thing.stop(MINUTE), &silent).await.unwrap_err();
        let own = format!("held by pid {} (", std::process::id());
        assert!(failure.message.contains(&own), "{failure:?}");
        start(&node, &thing.launch(&["sleep", "1000"]))
            .await
            .unwrap();
        let failure = ready(&node, &thing.ready(), &silent).await.unwrap_err();
        assert!(failure.message.contains(&own), "{failure:?}");
        drop(listener);
        stop(&node, &thing.stop(MINUTE), &silent).await.unwrap();
    }
}

#[tokio::test]
async fn ready_means_that_the_right_process_answers() {
    for node in shells() {
        let thing = Thing::new();
        let started = start(&node, &thing.server(&[])).await.unwrap();
        let heard = Mutex::new(Vec::new());
        let progress = |phase: &str, detail: &str| {
            heard.lock().unwrap().push(format!("{phase}: {detail}"));
        };
        let served = ready(&node, &thing.ready(), &progress).await.unwrap();
        assert_eq!(served.pid, started.pid);
        assert_eq!(
            *heard.lock().unwrap(),
            [
                "loading: weights 1/4",
                "checking: the health check",
                "checking: its name among the models"
            ]
        );
        stop(&node, &thing.stop(MINUTE), &silent).await.unwrap();
    }
}

#[tokio::test]
async fn a_death_is_told_at_once_with_its_cause() {
    for node in shells() {
        let thing = Thing::new();
        start(&node, &thing.server(&["dies"])).await.unwrap();
        let failure = ready(&node, &thing.ready(), &silent).await.unwrap_err();
        assert_eq!(
            failure,
            Failure {
                message: "CUDA out of memory".to_owned(),
                log: vec![
                    "phase weights 1/4".to_owned(),
                    "cause CUDA out of memory!lower it".to_owned(),
                    "Traceback: see above".to_owned(),
                ],
                hint: Some("lower it".to_owned()),
            }
        );
    }
}

#[tokio::test]
async fn two_servers_on_one_port_are_never_ready() {
    let thing = Thing::new();
    let port = thing.port.to_string();
    let foreign = Foreign::run(&[python(), "-u", "-c", SERVER, &port]);
    while tokio::net::TcpStream::connect(("127.0.0.1", thing.port))
        .await
        .is_err()
    {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    start(&here(), &thing.server(&[])).await.unwrap();
    let failure = ready(&here(), &thing.ready(), &silent).await.unwrap_err();
    let named = format!("pid {} (", foreign.0.id());
    assert!(failure.message.contains(&named), "{failure:?}");
    drop(foreign);
    stop(&here(), &thing.stop(MINUTE), &silent).await.unwrap();
}

#[tokio::test]
async fn patience_ends_with_what_is_still_wrong() {
    let thing = Thing::new();
    start(&here(), &thing.server(&["nameless"])).await.unwrap();
    let mut wanted = thing.ready();
    wanted.patience = Duration::from_secs(3);
    let failure = ready(&here(), &wanted, &silent).await.unwrap_err();
    assert!(
        failure
            .message
            .contains("its name among the models: the answer lacks `nonce-1`: {}"),
        "{failure:?}"
    );
    wanted.checks[0].api_key_env = Some("NO_SUCH_KEY".to_owned());
    let failure = ready(&here(), &wanted, &silent).await.unwrap_err();
    assert!(failure.message.contains("`NO_SUCH_KEY`"), "{failure:?}");
    stop(&here(), &thing.stop(MINUTE), &silent).await.unwrap();
}

/// Makes a program that answers as a proxy's control does.
fn proxy(thing: &Thing, body: &str) -> String {
    use std::os::unix::fs::PermissionsExt as _;
    let program = thing.at("it's replica");
    fs::write(&program, format!("#!/bin/sh\n{body}")).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    program
}

#[tokio::test]
async fn the_proxy_is_told_and_heard() {
    let status = Status {
        config: None,
        backends: BTreeMap::new(),
        requests: crate::proxy::control::Requests::default(),
        fd_limit: 1024,
    };
    let done = serde_json::to_string(&crate::proxy::control::Reply::Done(status.clone())).unwrap();
    let waiting = "{\"waiting\":{\"what\":\"`it'\"'\"'s` drains\",\"in_flight\":2}}";
    let thing = Thing::new();
    let request = Request::Drain {
        backend: "it's".to_owned(),
    };
    let told = |body: String, limit| {
        let program = proxy(&thing, &body);
        let folder = thing.at("");
        let request = request.clone();
        async move {
            let heard = Mutex::new(String::new());
            let progress = |phase: &str, detail: &str| {
                *heard.lock().unwrap() = format!("{phase}: {detail}");
            };
            let answer = tell(&here(), &program, &folder, &request, limit, &progress).await;
            (answer, heard.into_inner().unwrap())
        }
    };
    let body = format!(
        "cat >asked; echo \"$@\" >>asked; printf '%s\\n' '{waiting}'; printf '%s\\n' {}",
        quote(&done)
    );
    let (answer, heard) = told(body, None).await;
    assert_eq!(answer.unwrap(), status);
    assert_eq!(heard, "waiting: `it's` drains, 2 requests in flight");
    let asked = fs::read_to_string(thing.at("asked")).unwrap();
    assert_eq!(
        asked,
        "{\"drain\":{\"backend\":\"it's\"}}\nproxy-control proxy.sock\n"
    );

    let body = "echo '{\"refused\":{\"message\":\"no\"}}'".to_owned();
    let (answer, _) = told(body, Some(MINUTE)).await;
    assert_eq!(answer.unwrap_err().message, "the proxy refuses: no");
    let (answer, _) = told("echo trouble >&2; exit 3".to_owned(), Some(MINUTE)).await;
    let failure = answer.unwrap_err();
    assert_eq!(failure.message, "the proxy gave no answer (exit status 3)");
    assert_eq!(failure.log, ["trouble"]);
    let (answer, _) = told("sleep 1000".to_owned(), Some(Duration::from_millis(1))).await;
    assert!(answer.unwrap_err().message.contains("was not done within"));
}

#[tokio::test]
async fn what_is_removed_is_gone() {
    let thing = Thing::new();
    let folder = thing.at("it's/mine");
    fs::create_dir_all(&folder).unwrap();
    let paths = [folder.clone(), thing.at("never was")];
    remove(&here(), &paths).await.unwrap();
    assert!(!Path::new(&folder).exists());
    assert!(remove(&here(), &["~/".to_owned()]).await.is_err());
}

#[test]
fn verbs_can_be_sent_to_other_threads() {
    fn is_send<T: Send>(_: &T) {}
    fn check(node: &Node, thing: &Thing) {
        is_send(&ready(node, &thing.ready(), &silent));
        is_send(&stop(node, &thing.stop(MINUTE), &silent));
        is_send(&start(node, &thing.launch(&[])));
        is_send(&tell(node, "", "", &Request::Status, None, &silent));
    }
    let _ = check;
}
