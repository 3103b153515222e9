//! What dies is found missing, and alone is put right.

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
    process::signal(place.pid("/instances/a"), Signal::KILL);
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
