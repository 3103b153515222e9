//! However a run ends, the next one goes on from there.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use super::PAIR;
use crate::suite::support::process::Signal;
use crate::suite::support::{Workdir, process, until};

/// A place whose servers take a while to load.
fn slow(seconds: u32) -> Workdir {
    let place = Workdir::with(PAIR);
    place.change(
        "sim_load_seconds: 0",
        &format!("sim_load_seconds: {seconds}"),
    );
    place
}

fn until_started(place: &Workdir) {
    until("both servers", || {
        (place.status()["instances"]["a"]["pid"].is_u64()
            && place.status()["instances"]["b"]["pid"].is_u64())
        .then_some(())
    });
}

#[test]
fn ctrl_c_finishes_what_is_under_way_and_begins_nothing_more() {
    let place = slow(6);
    let apply = place.begin(&["apply", "-y"]);
    until_started(&place);
    apply.signal(Signal::INT);
    let _ = apply.end().exits(130).says("interrupted");
    let status = place.status();
    assert_eq!(status["instances"]["a"]["ready"], true, "{status:#}");
    assert_eq!(status["proxy"]["ready"], false, "{status:#}");
    let before = process::marked(&place.topology);
    let _ = place.replica(&["apply", "-y"]).exits(0);
    let after = process::marked(&place.topology);
    assert!(before.iter().all(|pid| after.contains(pid)), "not kept");
    assert_eq!(place.status()["converged"], true);
}

#[test]
fn the_second_ctrl_c_leaves_at_once_and_nothing_is_lost() {
    let place = slow(30);
    let apply = place.begin(&["apply", "-y"]);
    until_started(&place);
    apply.signal(Signal::INT);
    std::thread::sleep(std::time::Duration::from_millis(500));
    apply.signal(Signal::INT);
    let _ = apply.end().exits(130);
    assert_eq!(place.status()["instances"]["a"]["ready"], false);
    let _ = place.replica(&["destroy", "-y"]).exits(0);
    assert!(process::marked(&place.topology).is_empty());
}

#[test]
fn a_killed_apply_leaves_no_lock_and_the_next_goes_on() {
    let place = slow(6);
    let apply = place.begin(&["apply", "-y", "--no-bench"]);
    until_started(&place);
    let before = process::marked(&place.topology);
    apply.signal(Signal::KILL);
    assert_eq!(apply.end().code, None);
    let _ = place.replica(&["apply", "-y", "--no-bench"]).exits(0);
    let after = process::marked(&place.topology);
    assert!(before.iter().all(|pid| after.contains(pid)), "not kept");
    assert_eq!(place.status()["converged"], true);
}

#[test]
fn a_server_that_cannot_load_fails_with_its_reason_and_the_rest_converges() {
    let place = Workdir::with(PAIR);
    let b = format!("port: {}, engine: demo, model: demo", place.port(1));
    place.change(&b, &format!("{b}, args: {{sim_fail_loading: oom}}"));
    let said = place.replica(&["apply", "-y"]).exits(6);
    let _ = said.says("instance.b").says("memory");
    let status = place.status();
    assert_eq!(status["instances"]["a"]["ready"], true, "{status:#}");
    assert_eq!(status["instances"]["b"]["ready"], false, "{status:#}");
    assert_eq!(status["proxy"]["backends"], serde_json::json!(["a"]));
}

/// Two measurements, the first of which takes minutes.
const LONG: &str = "
benchmarks:
  long: {prompts: {inline: [hello]}, load: {sequential: 20000}, max_tokens: 64}
  later: {prompts: {inline: [hello]}, load: {sequential: 1}, max_tokens: 4}
";

/// Requests that the proxy has answered by now.
fn answered(place: &Workdir) -> u64 {
    let mut proxy = TcpStream::connect(("127.0.0.1", place.port(2))).unwrap();
    let ask = "GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    proxy.write_all(ask.as_bytes()).unwrap();
    let mut page = String::new();
    proxy.read_to_string(&mut page).unwrap();
    let lines = page.lines();
    let counters = lines.filter(|line| line.starts_with("replica_proxy_ledger_total{"));
    let counts = counters.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok());
    counts.sum()
}

#[test]
fn ctrl_c_ends_a_measurement_and_keeps_what_it_has() {
    let place = Workdir::with(&(PAIR.to_owned() + LONG)).applied();
    let results = place.work().join("results").join(&place.topology);
    for command in [&["apply", "-y"][..], &["bench"]] {
        let running = place.begin(command);
        let before = answered(&place);
        until("some requests", || {
            (answered(&place) > before + 20).then_some(())
        });
        running.signal(Signal::INT);
        let said = running.end().exits(130);
        let said = said.says("interrupted").says("benchmark.later: not tried");
        let _ = said.says("what was measured is kept in").shows("A20");
    }
    let kept: Vec<_> = std::fs::read_dir(results.join("long")).unwrap().collect();
    assert_eq!(
        kept.len(),
        4,
        "two results, two lists of requests: {kept:?}"
    );
    assert!(!results.join("later").exists());
    assert_eq!(
        place.plan(),
        ["create benchmark.long", "create benchmark.later"]
    );
}

/// A client streams for as long as the test lets it; a run that replaces the proxy is killed meanwhile.
#[test]
fn a_proxy_that_was_taken_over_from_is_waited_for_by_the_next_run() {
    let place = Workdir::with(PAIR);
    place.change("profile: fast", "profile: gb10-llama-3.1-8b");
    let place = place.applied();
    let before = place.pid("/proxy");
    let body = r#"{"model":"demo","prompt":"x","max_tokens":2000,"ignore_eos":true,"stream":true}"#;
    let mut streaming = TcpStream::connect(("127.0.0.1", place.port(2))).unwrap();
    let length = body.len();
    write!(
        streaming,
        "POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
         content-length: {length}\r\n\r\n{body}"
    )
    .unwrap();
    let mut piece = [0; 512];
    assert_ne!(streaming.read(&mut piece).unwrap(), 0);

    let restart = place.begin(&["restart", "-y", "proxy"]);
    until("a successor", || {
        let now = place.status()["proxy"]["pid"].as_u64()?;
        (now != u64::from(before)).then_some(())
    });
    restart.signal(Signal::KILL);
    drop(restart.end());
    assert!(process::is_alive(before));
    let waits = "which it took over from, still finishes what is in flight";
    let _ = place.replica(&["plan"]).exits(0).shows(waits);
    assert_eq!(place.plan(), ["update here/proxy"]);
    assert_eq!(place.status()["proxy"]["ready"], true);

    let apply = place.begin(&["apply", "-y", "--no-bench"]);
    assert_ne!(streaming.read(&mut piece).unwrap(), 0, "it streams on");
    drop(streaming);
    let _ = apply.end().exits(0);
    assert!(!process::is_alive(before));
    assert!(place.plan().is_empty());
}
