//! An instance gets no requests because somebody asked for it, until it is undrained.

use serde_json::json;

use super::PAIR;
use super::clients::Clients;
use crate::suite::support::{Workdir, process};

fn backends(place: &Workdir) -> serde_json::Value {
    place.status()["proxy"]["backends"].clone()
}

#[test]
fn what_is_drained_stays_so_through_applies_until_it_is_undrained() {
    let place = Workdir::with(PAIR).applied();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let clients = runtime.block_on(Clients::begin(&place, 4));
    let _ = place
        .replica(&["drain", "b", "-y"])
        .exits(0)
        .shows("~ proxy")
        .shows("1 updated");
    assert_eq!(backends(&place), json!(["a"]));
    assert_eq!(place.status()["proxy"]["drained"], json!(["b"]));
    let _ = place.replica(&["status"]).exits(0).shows("to a, b drained");

    // What else differs from what is declared stays for an apply.
    place.change(
        "sim_load_seconds: 0",
        "sim_load_seconds: 0, max_num_seqs: 64",
    );
    let running = place.pid("/instances/a");
    let _ = place.replica(&["undrain", "b", "-y"]).exits(0);
    let _ = place.replica(&["drain", "b", "-y"]).exits(0);
    assert_eq!(place.pid("/instances/a"), running);
    place.change(", max_num_seqs: 64", "");

    // Nothing of it is a difference to what is declared, and nothing ends it on the way.
    assert!(place.plan().is_empty());
    let before = place.pid("/instances/b");
    let _ = place.replica(&["restart", "b", "-y"]).exits(0);
    assert_ne!(place.pid("/instances/b"), before);
    assert_eq!(backends(&place), json!(["a"]));
    place.change("round_robin", "least_connections");
    let _ = place.replica(&["apply", "-y"]).exits(0);
    let _ = place.replica(&["restart", "proxy", "-y"]).exits(0);
    assert_eq!(backends(&place), json!(["a"]));
    let again = place.replica(&["drain", "instance.b", "-y"]).exits(0);
    assert!(!again.out.contains("updated"), "{again}");

    let _ = place.replica(&["undrain", "b", "-y"]).exits(0);
    assert_eq!(backends(&place), json!(["a", "b"]));
    assert_eq!(place.status()["proxy"]["drained"], json!(null));
    assert_eq!(runtime.block_on(clients.end()), 0);
}

#[test]
fn the_last_that_serves_is_drained_only_where_that_is_allowed() {
    let place = Workdir::with(PAIR).applied();
    let _ = place.replica(&["drain", "a", "-y"]).exits(0);
    let _ = place
        .replica(&["drain", "b", "-y"])
        .exits(1)
        .shows("clients would be left with nobody without b");
    assert_eq!(backends(&place), json!(["b"]));
    // Nor is it replaced: the other gets no requests.
    let _ = place
        .replica(&["restart", "b", "-y"])
        .exits(1)
        .shows("here/instance.a gets no requests");
    let _ = place
        .replica(&["drain", "b", "-y", "--allow-downtime"])
        .exits(0);
    assert_eq!(backends(&place), json!([]));
    let _ = place.replica(&["undrain", "a", "b", "-y"]).exits(0);
    assert_eq!(backends(&place), json!(["a", "b"]));
}

#[test]
fn what_nothing_passes_requests_to_is_not_drained() {
    let place = Workdir::with(PAIR);
    let _ = place
        .replica(&["drain", "a", "-y"])
        .exits(1)
        .says("nothing that runs passes requests to here/instance.a");
    let _ = place
        .replica(&["drain", "c", "-y"])
        .exits(64)
        .says("nothing goes by `c`");
    let _ = place.replica(&["undrain"]).exits(64);
    assert!(process::marked(&place.topology).is_empty());
}

#[test]
fn a_script_waits_until_what_serves_is_ready() {
    let place = Workdir::with(PAIR);
    let waiting = place
        .replica(&["wait", "--timeout", "1s", "--json"])
        .exits(1)
        .json();
    assert_eq!(waiting["ready"], json!([]));
    assert!(
        waiting["waiting"]["here/instance.a"].is_string(),
        "{waiting}"
    );
    let place = place.applied();
    let _ = place
        .replica(&["wait"])
        .exits(0)
        .shows("here/instance.a: ready")
        .shows("here/proxy: ready");
    let one = place.replica(&["wait", "a", "--json"]).exits(0).json();
    assert_eq!(one, json!({"ready": ["here/instance.a"], "waiting": {}}));
    let _ = place
        .replica(&["wait", "program"])
        .exits(64)
        .says("cannot be waited for");
}
