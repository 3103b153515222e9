//! Servers are replaced in turn: how many serve meanwhile is planned, told, and kept to.

use serde_json::json;

use super::PAIR;
use super::clients::Clients;
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
fn a_plan_says_how_many_serve_meanwhile() {
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
        .shows("Capacity while applying: 2/2 -> 0/2 -> 1/2 -> 2/2.");
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
