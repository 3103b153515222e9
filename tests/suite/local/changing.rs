//! A changed manifest changes what differs, and nothing else.

use serde_json::{Value, json};

use super::PAIR;
use super::clients::Clients;
use crate::suite::support::{Workdir, process};

const B: &str = "engine: demo, model: demo}\nproxy";
const B_CHANGED: &str = "engine: demo, model: demo, args: {max_num_seqs: 64}}\nproxy";

#[test]
fn a_changed_argument_replaces_that_server_alone() {
    let place = Workdir::with(PAIR).applied();
    let (a, b, proxy) = (
        place.pid("/instances/a"),
        place.pid("/instances/b"),
        place.pid("/proxy"),
    );
    place.change(B, B_CHANGED);
    let _ = place
        .replica(&["plan"])
        .exits(0)
        .shows("-/+ instance.b")
        .shows("args.max_num_seqs: 64");
    assert_eq!(place.plan(), ["replace here/instance.b"]);
    let _ = place.replica(&["apply", "-y", "--no-bench"]).exits(0);
    place.change("max_num_seqs: 64", "max_num_seqs: 128");
    let _ = place
        .replica(&["plan"])
        .exits(0)
        .shows("args.max_num_seqs: 64 -> 128");
    let _ = place.replica(&["apply", "-y", "--no-bench"]).exits(0);
    assert_eq!(place.pid("/instances/a"), a);
    assert_ne!(place.pid("/instances/b"), b);
    assert_eq!(place.pid("/proxy"), proxy);
    assert!(process::command(place.pid("/instances/b")).contains("--max-num-seqs 128"));
}

#[test]
fn a_changed_policy_is_applied_without_a_restart() {
    let place = Workdir::with(PAIR).applied();
    let before = process::marked(&place.topology);
    place.change("round_robin", "least_connections");
    let _ = place
        .replica(&["plan"])
        .exits(0)
        .shows("~ proxy")
        .shows("round_robin -> least_connections");
    assert_eq!(place.plan(), ["update here/proxy"]);
    let _ = place.replica(&["apply", "-y", "--no-bench"]).exits(0);
    assert_eq!(process::marked(&place.topology), before);
    assert_eq!(place.status()["proxy"]["policy"], "least_connections");
    assert!(place.plan().is_empty());
}

#[test]
fn a_shorter_list_of_backends_is_applied_without_a_restart() {
    let place = Workdir::with(PAIR).applied();
    let before = process::marked(&place.topology);
    place.change("policy: round_robin", "policy: round_robin, backends: [b]");
    assert_eq!(place.plan(), ["update here/proxy"]);
    let _ = place.replica(&["apply", "-y", "--no-bench"]).exits(0);
    assert_eq!(process::marked(&place.topology), before);
    assert_eq!(place.status()["proxy"]["backends"], json!(["b"]));
}

#[test]
fn what_the_manifest_no_longer_names_is_destroyed() {
    let place = Workdir::with(PAIR).applied();
    let (a, b, proxy) = (
        place.pid("/instances/a"),
        place.pid("/instances/b"),
        place.pid("/proxy"),
    );
    let line = format!(
        "  b: {{node: here, port: {}, engine: demo, model: demo}}\n",
        place.port(1)
    );
    place.change(&line, "");
    let _ = place.replica(&["plan"]).exits(0).shows("- instance.b");
    let mut plan = place.plan();
    plan.sort();
    assert_eq!(plan, ["destroy here/instance.b", "update here/proxy"]);
    let _ = place.replica(&["apply", "-y", "--no-bench"]).exits(0);
    assert!(!process::is_alive(b));
    assert_eq!(place.pid("/instances/a"), a);
    assert_eq!(place.pid("/proxy"), proxy);
    assert!(place.plan().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_stream_breaks_while_a_server_is_replaced() {
    let place = Workdir::with(PAIR).applied();
    let clients = Clients::begin(&place, 4).await;
    place.change(B, B_CHANGED);
    let said = tokio::task::block_in_place(|| {
        place
            .replica(&["apply", "-y", "--no-bench", "--json"])
            .exits(0)
    });
    assert_eq!(clients.end().await, 0);
    let document: Value = said.json();
    assert_eq!(document["requests"]["failed"], 0, "{said}");
    assert_eq!(document["requests"]["cut"], 0, "{said}");
    assert_ne!(document["requests"]["ok"], 0, "{said}");
}

#[test]
fn status_tells_what_the_nodes_do_and_not_what_the_manifest_wants() {
    let place = Workdir::with(PAIR).applied();
    let (a, b) = (place.pid("/instances/a"), place.pid("/instances/b"));
    place.change("policy: round_robin", "policy: least_connections");
    let manifest = place.read("topology.yaml");
    let without_b: Vec<_> = manifest
        .lines()
        .filter(|it| !it.starts_with("  b:"))
        .collect();
    place.write("topology.yaml", &(without_b.join("\n") + "\n"));
    place.change(&format!("port: {}", place.port(0)), "port: 8999");
    let status = place.status();
    assert_eq!(status["converged"], false);
    assert_eq!(status["proxy"]["policy"], "round_robin", "{status:#}");
    assert_eq!(status["instances"]["a"]["pid"], a, "{status:#}");
    assert_eq!(
        status["instances"]["a"]["port"],
        place.port(0),
        "{status:#}"
    );
    assert_eq!(status["instances"]["b"]["pid"], b, "{status:#}");
    assert_eq!(
        status["instances"]["b"]["note"],
        "it is not in the manifest"
    );
}
