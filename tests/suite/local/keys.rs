//! API keys: clients show the declared one to the proxy, and to nobody else is it ever shown.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::json;

use super::PAIR;
use crate::suite::support::{Workdir, process, until};

const OLD: &str = "open-sesame-4711";
const NEW: &str = "close-sesame-0815";
const ENGINE: &str = "args: {sim_load_seconds: 0}}";
const GUARDED: &str = "args: {sim_load_seconds: 0}, env: {VLLM_API_KEY: {from_env: KEY}}}";

/// Asks for a completion, showing a key or none; the status that comes back.
fn ask(port: u16, key: Option<&str>) -> u16 {
    try_ask(port, key).unwrap_or_else(|error| panic!("port {port}: {error}"))
}

fn try_ask(port: u16, key: Option<&str>) -> std::io::Result<u16> {
    let body = r#"{"model": "demo", "prompt": "Hello", "max_tokens": 3}"#;
    let shown = key.map(|key| format!("authorization: Bearer {key}\r\n"));
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    write!(
        stream,
        "POST /v1/completions HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: \
         application/json\r\ncontent-length: {}\r\n{}\r\n{body}",
        body.len(),
        shown.unwrap_or_default()
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let status = answer.get(9..12).and_then(|status| status.parse().ok());
    Ok(status.unwrap_or_default())
}

/// Clients that go on asking until this is dropped, each time one of what they show.
struct Clients {
    over: Arc<AtomicBool>,
    failed: Arc<AtomicU32>,
    asking: Vec<thread::JoinHandle<u32>>,
}

impl Clients {
    fn of(port: u16, key: Option<&'static str>) -> Self {
        let (over, failed) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicU32::new(0)),
        );
        let one = |_| {
            let (over, failed) = (Arc::clone(&over), Arc::clone(&failed));
            thread::spawn(move || {
                let mut asked = 0;
                while !over.load(Ordering::SeqCst) {
                    asked += 1;
                    if !matches!(try_ask(port, key), Ok(200)) {
                        failed.fetch_add(1, Ordering::SeqCst);
                    }
                }
                asked
            })
        };
        let asking = (0..2).map(one).collect();
        Self {
            over,
            failed,
            asking,
        }
    }

    /// How many requests were sent, and how many of them failed.
    fn end(self) -> (u32, u32) {
        self.over.store(true, Ordering::SeqCst);
        let asked = self.asking.into_iter().map(|one| one.join().unwrap()).sum();
        (asked, self.failed.load(Ordering::SeqCst))
    }
}

/// Whoever shows a key may ask before a key is wanted; from then on nobody else may.
#[test]
fn a_key_is_added_to_what_serves_and_loses_no_request() {
    let place = Workdir::with(PAIR).env("KEY", OLD).applied();
    let clients = Clients::of(place.port(2), Some(OLD));
    place.change(ENGINE, GUARDED);
    let _ = place.replica(&["apply", "-y", "--no-bench"]).exits(0);
    let (asked, failed) = clients.end();
    assert!(asked > 0 && failed == 0, "{failed} of {asked} failed");
    let proxy = place.port(2);
    assert_eq!(
        [Some(OLD), Some(NEW), None].map(|key| ask(proxy, key)),
        [200, 401, 401]
    );
    // Behind the proxy, a server takes a key that nobody else has.
    assert_eq!(
        [Some(OLD), None].map(|key| ask(place.port(0), key)),
        [401, 401]
    );
    assert!(place.plan().is_empty(), "{:?}", place.plan());
    assert_eq!(place.status()["converged"], true);
}

#[test]
fn a_key_is_rotated_without_a_restart_and_loses_no_request() {
    let mut place = Workdir::with(PAIR).env("KEY", OLD);
    place.change(ENGINE, GUARDED);
    place = place.applied();
    let pids = |place: &Workdir| ["/instances/a", "/instances/b", "/proxy"].map(|it| place.pid(it));
    let before = pids(&place);
    place = place.env("KEY", NEW);
    assert_eq!(place.plan(), ["update here/proxy"]);
    let _ = place.replica(&["apply", "-y", "--no-bench"]).exits(0);
    assert_eq!(pids(&place), before);
    let proxy = place.port(2);
    assert_eq!(
        [Some(NEW), Some(OLD), None].map(|key| ask(proxy, key)),
        [200, 401, 401]
    );
    assert!(place.plan().is_empty());
}

#[test]
fn a_key_that_is_no_longer_declared_is_no_longer_wanted() {
    let place = Workdir::with(PAIR).env("KEY", OLD);
    place.change(ENGINE, GUARDED);
    let place = place.applied();
    let clients = Clients::of(place.port(2), Some(OLD));
    place.change(GUARDED, ENGINE);
    let _ = place.replica(&["apply", "-y", "--no-bench"]).exits(0);
    let (asked, failed) = clients.end();
    assert!(asked > 0 && failed == 0, "{failed} of {asked} failed");
    assert_eq!(ask(place.port(2), None), 200);
    assert_eq!(ask(place.port(0), None), 200);
}

/// Who keeps the state folder tidy does not lock the servers in: they are made anew.
#[test]
fn a_lost_key_of_the_node_is_made_anew() {
    let place = Workdir::with(PAIR).env("KEY", OLD);
    place.change(ENGINE, GUARDED);
    let place = place.applied();
    std::fs::remove_file(place.state().join("run/node.key")).unwrap();
    let plan = place.plan();
    assert!(
        plan.contains(&"replace here/instance.a".to_owned()),
        "{plan:?}"
    );
    let _ = place.replica(&["apply", "-y", "--no-bench"]).exits(0);
    assert_eq!(ask(place.port(2), Some(OLD)), 200);
    assert!(place.plan().is_empty(), "{:?}", place.plan());
}

/// Without a proxy there is nobody else to ask for it.
#[test]
fn a_server_that_stands_alone_takes_the_declared_key() {
    let manifest = "\
topology: alone
nodes: {here: {ssh: local}}
engines: {demo: {simulate: {profile: fast}, args: {sim_load_seconds: 0}, env: {VLLM_API_KEY: {from_env: KEY}}}}
instances: {a: {node: here, port: 8100, engine: demo, model: demo}}
benchmarks: {one: {prompts: {inline: [Hello]}, load: {sequential: 1}, max_tokens: 10}}
";
    let place = Workdir::with(manifest).env("KEY", OLD).applied();
    assert_eq!(
        [Some(OLD), Some(NEW), None].map(|key| ask(place.port(0), key)),
        [200, 401, 401]
    );
    let _ = place.replica(&["bench"]).exits(0);
    let place = place.env("KEY", NEW);
    assert_eq!(place.plan(), ["replace here/instance.a"]);
}

/// Listens, asks everybody for a key, and keeps what it is shown.
fn stranger(port: u16) -> (Arc<AtomicBool>, thread::JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
    listener.set_nonblocking(true).unwrap();
    let over = Arc::new(AtomicBool::new(false));
    let is_over = Arc::clone(&over);
    let listening = thread::spawn(move || {
        let mut heard = Vec::new();
        while !is_over.load(Ordering::SeqCst) {
            let Ok((mut stream, _)) = listener.accept() else {
                thread::sleep(Duration::from_millis(5));
                continue;
            };
            let mut head = vec![0; 8192];
            stream.set_nonblocking(false).unwrap();
            let length = stream.read(&mut head).unwrap_or(0);
            heard.push(String::from_utf8_lossy(&head[..length]).into_owned());
            let _ = stream.write_all(b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n");
        }
        heard
    });
    (over, listening)
}

#[test]
fn a_stranger_on_the_port_of_what_cannot_start_is_no_backend() {
    let place = Workdir::with(PAIR).env("KEY", OLD);
    place.change(ENGINE, GUARDED);
    let (over, listening) = stranger(place.port(1));
    let _ = place
        .replica(&["apply", "-y", "--no-bench"])
        .exits(6)
        .shows("instance.b");
    assert_eq!(ask(place.port(2), Some(OLD)), 200);
    assert_eq!(place.status()["proxy"]["backends"], json!(["a"]));
    let _ = place.replica(&["plan"]).exits(0);
    over.store(true, Ordering::SeqCst);
    let heard = listening.join().unwrap();
    assert_eq!(heard, [""; 0], "nobody has anything to ask there");
}

/// One whose server is gone is still known to the proxy, which looks for it.
#[test]
fn a_stranger_on_the_port_of_a_dead_server_learns_nothing_that_opens_anything() {
    let place = Workdir::with(PAIR).env("KEY", OLD);
    place.change(ENGINE, GUARDED);
    let place = place.applied();
    let dead = place.pid("/instances/b");
    process::signal(dead, Signal::KILL);
    until("the port", || {
        TcpListener::bind(("127.0.0.1", place.port(1))).ok()
    });
    let (over, listening) = stranger(place.port(1));
    // Of what is not who it was, the first that asks it tells the proxy.
    until("the stranger to be found out", || {
        ask(place.port(2), Some(OLD));
        (place.status()["proxy"]["backends"] == json!(["a"])).then_some(())
    });
    for _ in 0..4 {
        assert_eq!(ask(place.port(2), Some(OLD)), 200);
    }
    let _ = place.replica(&["apply", "-y", "--no-bench"]).exits(6);
    over.store(true, Ordering::SeqCst);
    let heard = listening.join().unwrap().join("\n");
    assert!(!heard.contains(OLD), "{heard}");
    let shown = heard.split("authorization: Bearer ").nth(1);
    let shown = shown
        .and_then(|rest| rest.split("\r\n").next())
        .map(str::to_owned);
    let shown = shown.expect("the proxy looks for its server");
    assert_eq!(ask(place.port(0), Some(&shown)), 401);
    assert_eq!(ask(place.port(2), Some(&shown)), 401);
    assert_eq!(place.status()["proxy"]["backends"], json!(["a"]));
}

/// An empty key would let everybody in who shows nothing.
#[test]
fn an_empty_key_is_none() {
    let place = Workdir::with(PAIR).env("KEY", "");
    place.change(ENGINE, GUARDED);
    let _ = place
        .replica(&["apply", "-y", "--no-bench"])
        .exits(6)
        .shows("VLLM_API_KEY is to come from KEY, which is not set here");
}
