//! Prefill and decode split between two servers.

use serde_json::Value;

use crate::suite::support::Workdir;

/// One reads prompts, the other writes answers; what is asked fills several blocks.
pub(super) const SPLIT: &str = "\
topology: split
nodes: {here: {ssh: local}}
engines: {demo: {simulate: {profile: fast}, args: {sim_load_seconds: 0}}}
kv: {connector: nixl, buffer: cpu, port: 5600}
instances:
  a: {node: here, port: 8100, engine: demo, model: demo, role: prefill}
  b: {node: here, port: 8200, engine: demo, model: demo, role: decode, env: {VLLM_NIXL_SIDE_CHANNEL_PORT: 5601}}
proxy: {node: here, port: 8192}
benchmarks:
  batch:
    prompts: {synthetic: {input: {uniform: [40, 300]}, output: 20}}
    load: {batch: 8}
    repeats: 2
";

fn latest(place: &Workdir, benchmark: &str) -> (Value, Vec<Value>) {
    let folder = format!("results/{}/{benchmark}", place.topology);
    let latest: Value = serde_json::from_str(&place.read(format!("{folder}/latest.json"))).unwrap();
    let read = |key: &str| place.read(format!("{folder}/{}", latest[key].as_str().unwrap()));
    let requests = read("requests");
    let requests = requests
        .lines()
        .map(|line| serde_json::from_str(line).unwrap());
    (
        serde_json::from_str(&read("result")).unwrap(),
        requests.collect(),
    )
}

#[test]
fn each_request_is_read_by_one_and_answered_by_another_and_a_result_proves_it() {
    let place = Workdir::with(SPLIT);
    let _ = place.replica(&["apply", "-y"]).exits(0).shows("1 measured");
    let (result, requests) = latest(&place, "batch");
    assert_eq!(result["valid"], true, "{result:#}");
    for request in &requests {
        assert_eq!(request["instance"], "b", "{request:#}");
        assert_eq!(request["prefilled_by"], "a", "{request:#}");
    }
    let status = place.status();
    let roles = ["a", "b"].map(|name| status["instances"][name]["role"].clone());
    assert_eq!(roles, ["prefill", "decode"], "{status:#}");
    let point = &result["points"][0];
    assert_eq!(point["hand_over"]["count"], requests.len(), "{point:#}");
    for name in ["a", "b"] {
        let both = &point["reconcile"]["by_instance"][name];
        assert_eq!(
            both["client_requests"], both["server_requests"],
            "{point:#}"
        );
        assert_eq!(both["client_tokens"], both["server_tokens"], "{point:#}");
    }
    let fetched = &point["server"]["b"]["delta"]["fetched"];
    assert_eq!(fetched["transfers"], requests.len(), "{point:#}");
    let asked: u64 = requests.iter().filter_map(|it| it["n_in"].as_u64()).sum();
    assert_eq!(fetched["tokens"], asked, "{point:#}");
    assert!(place.plan().is_empty());
}

#[test]
fn roles_are_taken_and_left_without_a_restart() {
    let place = Workdir::with(SPLIT).applied();
    let pids = || ["/instances/a", "/instances/b", "/proxy"].map(|thing| place.pid(thing));
    let before = pids();
    place.change("role: prefill", "role: both");
    place.change("role: decode", "role: both");
    assert_eq!(
        place.plan(),
        ["update here/proxy", "create benchmark.batch"]
    );
    let _ = place.replica(&["apply", "-y"]).exits(0);
    assert_eq!(pids(), before);
    let (result, requests) = latest(&place, "batch");
    assert_eq!(result["valid"], true, "{result:#}");
    let served = |name: &str| requests.iter().filter(|it| it["instance"] == name).count();
    assert_eq!(served("a"), served("b"));
    assert!(requests.iter().all(|it| it["prefilled_by"].is_null()));
}

/// No node is asked for a prediction: one that is away keeps nobody from it.
#[test]
fn what_two_nodes_would_do_is_predicted_though_one_is_away() {
    let place = Workdir::with(SPLIT);
    let away = ", away: {ssh: 'nobody@127.0.0.1:1', addresses: {lan: 127.0.0.1}}}";
    place.change(
        "{here: {ssh: local}}",
        &format!("{{here: {{ssh: local}}{away}"),
    );
    place.change("b: {node: here", "b: {node: away");
    let _ = place
        .replica(&["plan", "--predict"])
        .exits(4)
        .shows("predicted, simulated: nothing was measured")
        .shows("batch  batch 8 ");
    let document = place.replica(&["plan", "--predict", "--json"]).exits(4);
    let predicted = &document.json()["predicted"][0];
    assert_eq!(predicted["simulated"], true, "{predicted:#}");
    let point = &predicted["points"][0];
    let (tokens, answered) = (&point["output_tps"]["likely"], &point["answered"]["least"]);
    assert!(tokens.as_f64() > Some(100.0), "{predicted:#}");
    assert_eq!(answered, 1.0, "{predicted:#}");
    let without = place.replica(&["plan", "--json"]).exits(4).json();
    assert!(without.get("predicted").is_none());
    let _ = place.replica(&["plan", "--predict", "--destroy"]).exits(64);
    // Nothing runs there that would have to be ended.
    place.change(away, "}");
    place.change("b: {node: away", "b: {node: here");
}
