//! Servers are replaced in turn: how many serve meanwhile is planned, told, and kept to.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use serde_json::{Value, json};

use super::clients::Clients;
use super::{PAIR, SMALL};
use crate::suite::support::{Workdir, process, until};

/// Both servers are to run with another argument.
fn changed(place: &Workdir) {
    place.change(
        "sim_load_seconds: 0}",
        "sim_load_seconds: 0, max_num_seqs: 64}",
    );
}

/// How many answers were broken of clients that streamed while this was done.
fn broken_while(place: &Workdir, words: &[&str]) -> u32 {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let clients = runtime.block_on(Clients::begin(place, 4));
    let _ = place.replica(words).exits(0);
    runtime.block_on(clients.end())
}

#[test]
fn a_plan_says_how_many_serve_meanwhile_and_two_that_swap_are_not_both_down() {
    let place = Workdir::with(PAIR);
    let fresh = place.replica(&["plan"]).exits(0);
    assert!(!fresh.out.contains("Capacity"), "{fresh}");
    let place = place.applied();
    changed(&place);
    let _ = place
        .replica(&["plan"])
        .exits(0)
        .shows("Capacity while applying: 2/2 -> 1/2 -> 2/2.");
    let plan = place.replica(&["plan", "--json"]).exits(0).json();
    let expected = json!({"declared": 2, "serving": [2, 1, 2, 1, 2]});
    assert_eq!(plan["capacity"], expected);

    let ports = [0, 1].map(|index| format!("port: {}", place.port(index)));
    place.change(&ports[0], "port: swapped");
    place.change(&ports[1], &ports[0]);
    place.change("port: swapped", &ports[1]);
    let _ = place
        .replica(&["plan"])
        .exits(0)
        .shows("stops first")
        .shows("Capacity while applying: 2/2 -> 1/2 -> 2/2.");
    assert_eq!(broken_while(&place, &["apply", "-y"]), 0);
    assert_eq!(place.plan(), Vec::<String>::new());
}

#[test]
fn fewer_than_are_to_serve_never_do_unless_that_is_allowed() {
    let place = Workdir::with(&PAIR.replace(
        "policy: round_robin",
        "policy: round_robin, rollout: {min_available: 2}",
    ))
    .applied();
    let before = (place.pid("/instances/a"), place.pid("/instances/b"));
    changed(&place);
    let _ = place
        .replica(&["apply", "-y"])
        .exits(1)
        .shows("1 would serve, and 2 are to (`min_available`)")
        .shows("2 blocked");
    assert_eq!(
        (place.pid("/instances/a"), place.pid("/instances/b")),
        before
    );
    let _ = place
        .replica(&["apply", "-y", "--allow-downtime"])
        .exits(0)
        .shows("Capacity while applying: 2/2 -> 1/2 -> 2/2.");
    let argument = process::command(place.pid("/instances/a"));
    assert!(argument.contains("--max-num-seqs 64"), "{argument}");
}

#[test]
fn what_comes_serves_before_the_last_is_replaced() {
    let place = Workdir::with(PAIR).applied();
    let gone = place.pid("/instances/b");
    process::signal(gone, rustix::process::Signal::KILL);
    until("it is gone", || (!process::is_alive(gone)).then_some(()));
    changed(&place);
    let plan = place.replica(&["plan", "--json"]).exits(0).json();
    assert_eq!(
        plan["capacity"]["serving"],
        json!([1, 2, 1, 2]),
        "{:#}",
        plan["changes"]
    );
    assert_eq!(broken_while(&place, &["apply", "-y"]), 0);
}

#[test]
fn two_are_replaced_at_once_after_the_canary() {
    let place = Workdir::with(
        &PAIR
            .replace(
                "proxy:",
                "  c: {node: here, port: 5600, engine: demo, model: demo}\nproxy:",
            )
            .replace(
                "policy: round_robin",
                "policy: round_robin, rollout: {max_unavailable: 2}",
            ),
    )
    .applied();
    changed(&place);
    let plan = place.replica(&["plan", "--json"]).exits(0).json();
    let expected = json!({"declared": 3, "serving": [3, 2, 3, 1, 3]});
    assert_eq!(plan["capacity"], expected);
    assert_eq!(broken_while(&place, &["apply", "-y"]), 0);
}

/// Looks at how many the proxy passes requests to, again and again.
struct Watched {
    over: Arc<AtomicBool>,
    looking: JoinHandle<Vec<usize>>,
}

impl Watched {
    fn begin(place: &Workdir) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let (is_over, port) = (Arc::clone(&over), place.port(2));
        let looking = thread::spawn(move || {
            let mut seen = Vec::new();
            while !is_over.load(Ordering::SeqCst) {
                seen.push(ready(port));
            }
            seen
        });
        Self { over, looking }
    }

    /// As many as it passed requests to at each look.
    fn end(self) -> Vec<usize> {
        self.over.store(true, Ordering::SeqCst);
        self.looking.join().unwrap()
    }
}

/// What the proxy answers to a request.
fn ask(port: u16, head: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let length = body.len();
    let request = format!(
        "{head} HTTP/1.1\r\nhost: proxy\r\nconnection: close\r\n\
         content-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// How many the proxy passes requests to, as its counts tell.
fn ready(port: u16) -> usize {
    let page = ask(port, "GET /metrics", "");
    let is_ready = |line: &&str| {
        line.starts_with("replica_proxy_ready{") && line.split_whitespace().last() == Some("1")
    };
    page.lines().filter(is_ready).count()
}

/// The change of a plan that is for this thing.
fn change<'a>(plan: &'a Value, name: &str) -> &'a Value {
    let changes = plan["changes"].as_array().unwrap();
    let found = changes.iter().find(|it| it["address"] == name);
    found.unwrap_or_else(|| panic!("no {name} in {plan:#}"))
}

/// The only server, of which there is to be one at any moment.
#[test]
fn what_gets_another_port_serves_before_it_stops() {
    let one = SMALL.replace("port: 8192", "port: 8192, rollout: {min_available: 1}");
    let place = Workdir::with(&one).applied();
    let (before, from, to) = (place.pid("/instances/a"), place.port(0), place.port(3));
    place.change(&format!("port: {from},"), &format!("port: {to},"));

    let _ = place
        .replica(&["plan"])
        .exits(0)
        .shows("+/- instance.a")
        .shows(&format!("starts first: port {to} of here is free"))
        .shows("Capacity while applying: 1/1.");
    let plan = place.replica(&["plan", "--json"]).exits(0).json();
    let changed = change(&plan, "here/instance.a");
    assert_eq!(changed["starts_first"], true);
    assert_eq!(
        changed["order"],
        json!({
            "first": "start", "from": {"node": "here", "port": from}, "to": {"node": "here", "port": to},
            "because": format!("port {to} of here is free"),
        })
    );
    assert_eq!(plan["capacity"], json!({"declared": 1, "serving": [1]}));

    let processes = process::marked(&place.topology).len();
    let watched = Watched::begin(&place);
    assert_eq!(broken_while(&place, &["apply", "-y"]), 0);
    let seen = watched.end();
    assert!(seen.len() > 10, "it was hardly looked at: {seen:?}");
    assert!(seen.iter().all(|ready| *ready == 1), "{seen:?}");
    assert!(!process::is_alive(before));
    assert_eq!(process::marked(&place.topology).len(), processes);
    assert_eq!(place.plan(), Vec::<String>::new());
}

/// There is no place for two on one port, and the plan says so.
#[test]
fn on_one_port_it_stops_first() {
    let place = Workdir::with(PAIR).applied();
    changed(&place);
    let port = place.port(0);
    let _ = place
        .replica(&["plan"])
        .exits(0)
        .shows("-/+ instance.a")
        .shows(&format!(
            "stops first: port {port} of here is its own until then"
        ));
}

/// What does not come up where it is declared leaves what runs, and takes nothing with it.
#[test]
fn what_fails_to_start_first_leaves_what_serves() {
    let place = Workdir::with(SMALL).applied();
    let (before, from, to) = (place.pid("/instances/a"), place.port(0), place.port(3));
    place.change(
        &format!("port: {from},"),
        &format!("port: {to}, args: {{sim_fail_loading: oom}},"),
    );
    let _ = place.replica(&["apply", "-y"]).exits(6);
    assert!(process::is_alive(before));
    assert_eq!(ready(place.port(2)), 1);
    place.change(", args: {sim_fail_loading: oom}", "");
    let _ = place.replica(&["apply", "-y"]).exits(0);
    assert!(!process::is_alive(before));
    assert_eq!(place.plan(), Vec::<String>::new());
}

/// A run that is killed while the next start loads, and a manifest that is put back.
#[test]
fn what_is_put_back_while_the_next_start_loads_serves_on() {
    let place = Workdir::with(SMALL).applied();
    let (before, from, to) = (place.pid("/instances/a"), place.port(0), place.port(3));
    let processes = process::marked(&place.topology);
    let (old, new) = (
        format!("port: {from},"),
        format!("port: {to}, args: {{sim_load_seconds: 600}},"),
    );
    place.change(&old, &new);
    let run = place.begin(&["apply", "-y"]);
    until("the next start loads", || {
        let all = process::marked(&place.topology);
        (all.len() > processes.len()).then_some(())
    });
    run.signal(process::Signal::KILL);
    let _ = run.end();
    // It is served from while another loads.
    let plan = place.replica(&["plan", "--json"]).exits(0).json();
    assert_eq!(plan["capacity"], json!({"declared": 1, "serving": [1]}));
    // What was begun is not what is declared now, and its port is.
    place.change("600", "0");
    let plan = place.replica(&["plan", "--json"]).exits(0).json();
    assert_eq!(change(&plan, "here/instance.a")["starts_first"], true);
    assert_eq!(plan["capacity"], json!({"declared": 1, "serving": [1]}));

    place.change(&new.replace("600", "0"), &old);
    let _ = place
        .replica(&["plan"])
        .exits(0)
        .shows("was to take over from it, and is to no longer: it is stopped");
    let plan = place.replica(&["plan", "--json"]).exits(0).json();
    assert_eq!(plan["capacity"], json!({"declared": 1, "serving": [1]}));
    assert_eq!(broken_while(&place, &["apply", "-y"]), 0);
    assert_eq!(place.pid("/instances/a"), before);
    assert_eq!(process::marked(&place.topology), processes);
    assert_eq!(place.plan(), Vec::<String>::new());
}

/// A run that is killed once the proxy sends to the next start, and a manifest that is put back.
#[test]
fn what_is_put_back_once_the_next_start_serves_takes_over_again() {
    let place = Workdir::with(SMALL).applied();
    let (before, from, to) = (place.pid("/instances/a"), place.port(0), place.port(3));
    let processes = process::marked(&place.topology);
    // As long as this comes, what it comes from is not stopped.
    let port = place.port(2);
    let streaming = thread::spawn(move || {
        let body = json!({"model": "demo", "prompt": "Hello", "max_tokens": 3800,
                          "ignore_eos": true, "stream": true});
        ask(port, "POST /v1/completions", &body.to_string())
    });
    place.change(&format!("port: {from},"), &format!("port: {to},"));
    let mut run = place.command(&["apply", "-y", "--json-events"]);
    let mut run = run.stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(run.stdout.take().unwrap()).lines();
    let events = lines.map_while(Result::ok);
    let events = events.filter_map(|line| serde_json::from_str::<Value>(&line).ok());
    let mut told = events.filter(|it| it["verb"] == "proxy_control" && it["done"] == false);
    // It is told of the next start, and then that this alone is to serve.
    assert!(told.nth(1).is_some());
    run.kill().unwrap();
    let _ = run.wait();
    assert!(process::is_alive(before), "its stream goes on");

    place.change(&format!("port: {to},"), &format!("port: {from},"));
    assert_eq!(broken_while(&place, &["apply", "-y"]), 0);
    assert_eq!(place.pid("/instances/a"), before);
    assert_eq!(process::marked(&place.topology), processes);
    assert_eq!(place.plan(), Vec::<String>::new());
    assert!(streaming.join().unwrap().contains("[DONE]"));
}

#[test]
fn an_apply_tells_what_became_of_the_requests_of_what_it_replaced() {
    let place = Workdir::with(SMALL).applied();
    let complete = |model: &str| {
        let body = json!({"model": model, "prompt": "Hello", "max_tokens": 1}).to_string();
        ask(place.port(2), "POST /v1/completions", &body)
    };
    for _ in 0..3 {
        assert!(complete("demo").starts_with("HTTP/1.1 200"));
    }
    assert!(complete("another").starts_with("HTTP/1.1 404"));
    let load = "sim_load_seconds: 0}";
    place.change(load, "sim_load_seconds: 0, max_num_seqs: 64}");
    let applied = place.replica(&["apply", "-y", "--json"]).exits(0).json();
    let former = &applied["former"];
    assert_eq!(former.as_array().map(Vec::len), Some(1), "{former:#}");
    let counts = [
        "ok",
        "refused",
        "failed",
        "own_errors",
        "cut",
        "retried",
        "in_flight",
    ];
    let counts = counts.map(|it| former[0][it].as_u64().unwrap());
    assert_eq!(
        (&former[0]["name"], counts),
        (&json!("a"), [3, 1, 0, 0, 0, 0, 0])
    );

    let _ = complete("demo");
    place.change(", max_num_seqs: 64}", "}");
    let _ = place
        .replica(&["apply", "-y"])
        .exits(0)
        .shows("a before: 1 ok, 0 in flight as it stopped.");
}
