//! What dies is found missing, and alone is put right.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use super::{PAIR, SMALL};
use crate::suite::support::process::Signal;
use crate::suite::support::{Workdir, process, until};

#[test]
fn a_killed_server_is_planned_with_its_reason_and_alone_repaired() {
    let place = Workdir::with(PAIR).applied();
    let (a, b, proxy) = (
        place.pid("/instances/a"),
        place.pid("/instances/b"),
        place.pid("/proxy"),
    );
    process::signal(a, Signal::KILL);
    until("its end", || (!process::is_alive(a)).then_some(()));
    let said = place.replica(&["plan", "--detailed-exitcode", "--json"]);
    let plan = said.exits(2).json();
    let changes = plan["changes"].as_array().unwrap();
    let acting: Vec<_> = changes.iter().filter(|c| c["action"] != "keep").collect();
    assert_eq!(acting.len(), 1, "{plan:#}");
    assert_eq!(acting[0]["address"], "here/instance.a");
    let reason = acting[0]["reasons"][0]["text"].as_str().unwrap();
    assert!(reason.contains("gone"), "{reason}");
    let _ = place.replica(&["status", "--exit-code"]).exits(2);
    let _ = place.replica(&["apply", "-y", "--no-bench"]).exits(0);
    assert_ne!(place.pid("/instances/a"), a);
    assert_eq!(place.pid("/instances/b"), b);
    assert_eq!(place.pid("/proxy"), proxy);
    assert_eq!(place.status()["converged"], true);
}

#[test]
fn a_killed_servers_engine_does_not_outlive_the_repair() {
    let place = Workdir::with(SMALL).applied();
    let before = process::marked(&place.topology);
    let a = place.pid("/instances/a");
    process::signal(a, Signal::KILL);
    until("its end", || (!process::is_alive(a)).then_some(()));
    let _ = place.replica(&["apply", "-y", "--no-bench"]).exits(0);
    let proxy = place.pid("/proxy");
    let of_before: Vec<_> = process::marked(&place.topology)
        .into_iter()
        .filter(|pid| before.contains(pid))
        .collect();
    assert_eq!(of_before, [proxy]);
}

#[test]
fn a_killed_proxy_is_started_again_and_serves() {
    let place = Workdir::with(PAIR).applied();
    let (a, proxy) = (place.pid("/instances/a"), place.pid("/proxy"));
    process::signal(proxy, Signal::KILL);
    until("its end", || (!process::is_alive(proxy)).then_some(()));
    assert_eq!(place.plan(), ["create here/proxy"]);
    let _ = place.replica(&["apply", "-y", "--no-bench"]).exits(0);
    assert_eq!(place.pid("/instances/a"), a);
    let backends = &place.status()["proxy"]["backends"];
    assert_eq!(*backends, serde_json::json!(["a", "b"]));
}

/// What a node that went down has left of an upload is not asked what the proxy serves.
#[test]
fn half_an_upload_beside_the_program_does_no_harm() {
    let place = Workdir::with(SMALL).applied();
    let proxy = place.pid("/proxy");
    place.write(place.state().join("bin/replica-zzzz.0.new"), "");
    assert!(place.plan().is_empty(), "{:?}", place.plan());
    let _ = place.replica(&["apply", "-y", "--no-bench"]).exits(0);
    assert_eq!(place.pid("/proxy"), proxy);
}

/// Sends a request for so many tokens, and keeps the connection: nobody waits for the answer.
fn begin(port: u16, tokens: u32) -> TcpStream {
    let body = format!(
        r#"{{"model": "demo", "prompt": "Hello", "max_tokens": {tokens}, "ignore_eos": true}}"#
    );
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    write!(
        stream,
        "POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    stream
}

/// A server that is alive by every sign but the one that counts: it produces no token.
#[test]
fn a_wedged_server_is_named_by_all_and_replaced_without_waiting_for_what_hangs() {
    let place = Workdir::with(PAIR);
    let b = format!("b: {{node: here, port: {}, ", place.port(1));
    place.change(&b, &format!("{b}args: {{sim_wedge_after: 8}}, "));
    let place = place.applied();
    let (a, b) = (place.pid("/instances/a"), place.pid("/instances/b"));
    let hanging: Vec<_> = (0..9).map(|_| begin(place.port(1), 3)).collect();
    let through_the_proxy: Vec<_> = (0..4).map(|_| begin(place.port(2), 3)).collect();
    let status = place
        .replica(&["status", "--exit-code", "--json"])
        .exits(2)
        .says("waiting for here/instance.b to show that it works")
        .json();
    assert_eq!(status["converged"], false);
    assert_eq!(status["instances"]["a"]["ready"], true);
    assert_eq!(status["instances"]["b"]["ready"], false);
    let said = place.replica(&["plan", "--detailed-exitcode", "--json"]);
    let plan = said.exits(2).json();
    let changes = plan["changes"].as_array().unwrap();
    let b_changes = changes.iter().find(|c| c["address"] == "here/instance.b");
    let change = b_changes.unwrap();
    assert_eq!(change["action"], "replace");
    assert_eq!(change["reasons"][0]["code"], "silent");
    let applied = place
        .replica(&["apply", "-y", "--no-bench", "--json"])
        .exits(0)
        .json();
    assert_eq!(applied["converged"], true);
    assert_eq!(place.pid("/instances/a"), a);
    assert_ne!(place.pid("/instances/b"), b);
    drop((hanging, through_the_proxy));
}

/// One that was stopped answers nothing at all.
#[test]
fn a_server_that_stands_still_is_replaced() {
    let place = Workdir::with(SMALL).applied();
    let a = place.pid("/instances/a");
    process::signal(a, Signal::STOP);
    assert_eq!(place.plan(), ["replace here/instance.a"]);
    let _ = place.replica(&["apply", "-y", "--no-bench"]).exits(0);
    assert_ne!(place.pid("/instances/a"), a);
}

/// What works on something is not asked for more, and is not waited for.
#[test]
fn a_busy_server_is_believed_by_its_counters() {
    let place = Workdir::with(SMALL);
    place.change(
        "sim_load_seconds: 0",
        "sim_load_seconds: 0, max_num_seqs: 1",
    );
    let place = place.applied();
    let before = tokens_asked(&place);
    let _busy = begin(place.port(0), 2000);
    until("the server to be busy", || {
        metric(&place, "vllm:num_requests_running").filter(|running| *running > 0.0)
    });
    let _ = place.replica(&["plan", "--detailed-exitcode"]).exits(0);
    assert!(tokens_asked(&place) <= before, "it was asked for another");
}

/// How many completions the server has ended.
fn tokens_asked(place: &Workdir) -> f64 {
    metric(place, "vllm:request_success_total").unwrap_or_default()
}

/// The sum of a metric of the first server.
fn metric(place: &Workdir, name: &str) -> Option<f64> {
    let mut stream = TcpStream::connect(("127.0.0.1", place.port(0))).unwrap();
    write!(
        stream,
        "GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
    )
    .unwrap();
    let mut page = String::new();
    stream.read_to_string(&mut page).unwrap();
    let of = |line: &str| {
        let rest = line.strip_prefix(name)?;
        rest.rsplit(' ').next()?.trim().parse::<f64>().ok()
    };
    let values: Vec<_> = page.lines().filter_map(of).collect();
    (!values.is_empty()).then(|| values.iter().sum())
}

/// Somebody has tidied up: what serves is not to blame.
#[test]
fn a_server_whose_logs_were_removed_is_believed_again() {
    let place = Workdir::with(SMALL).applied();
    let a = place.pid("/instances/a");
    std::fs::remove_dir_all(place.state().join("log")).unwrap();
    let _ = place.replica(&["apply", "-y", "--no-bench"]).exits(0);
    assert_eq!(place.pid("/instances/a"), a);
    assert_eq!(place.status()["converged"], true);
    let _ = place.replica(&["destroy", "-y"]).exits(0);
    assert!(!place.state().exists());
}

/// A server that dies again and again takes a machine with it, so that a run starts it once.
#[test]
fn what_dies_right_after_its_start_has_failed_and_is_not_started_again_in_the_run() {
    let slow = PAIR.replace(
        "port: 8200,",
        "port: 8200, args: {sim_load_seconds: 4}, ready_timeout: 60s,",
    );
    let place = Workdir::with(&slow);
    let run = place.begin(&["apply", "-y"]);
    let ready = place.state().join("log/instance.a.1.ready");
    until("the one is ready, and the other loads", || {
        ready.exists().then_some(())
    });
    let of_a = |pid: &u32| process::environ(*pid).contains(":instance/a:");
    let a = process::marked(&place.topology).into_iter().filter(of_a);
    for pid in a {
        process::signal(pid, Signal::KILL);
    }
    let _ = run
        .end()
        .exits(6)
        .says("it did not stay: its process is gone")
        .says("Application startup complete.");
    let of_a = process::marked(&place.topology).into_iter().find(of_a);
    assert_eq!(of_a, None);
    let _ = place.replica(&["apply", "-y"]).exits(0);
    assert_eq!(place.plan(), Vec::<String>::new());
}
