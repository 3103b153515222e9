//! The first apply, and that nothing follows from it.

use std::fs;
use std::net::TcpStream;

use serde_json::Value;

use super::{PAIR, SMALL};
use crate::suite::support::{Workdir, process};

#[test]
fn the_first_apply_brings_all_up_measures_and_leaves_it_running() {
    let place = Workdir::local();
    let said = place
        .replica(&["apply", "topology.yaml", "--auto-approve"])
        .exits(0);
    let said = said
        .shows("single · ")
        .shows("batch · ")
        .shows("✓ valid")
        .shows("4 created, 2 measured");
    assert!(!said.out.contains('\x1b'), "colour in a pipe:\n{said}");
    let status = place.status();
    assert_eq!(status["converged"], true, "{status:#}");
    for thing in ["/instances/a", "/instances/b", "/proxy"] {
        let pid = place.pid(thing);
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        let after_name: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
        assert_eq!(after_name[3], pid.to_string(), "{thing} leads no session");
        assert_eq!(after_name[4], "0", "{thing} has a terminal");
    }
    for index in 0..3 {
        TcpStream::connect(("127.0.0.1", place.port(index))).unwrap();
    }
}

#[test]
fn a_result_says_what_was_measured_and_the_latest_is_found() {
    let place = Workdir::local();
    let _ = place.replica(&["apply", "-y"]).exits(0);
    let folder = format!("results/{}/batch", place.topology);
    let latest: Value = serde_json::from_str(&place.read(format!("{folder}/latest.json"))).unwrap();
    let name = latest["result"].as_str().unwrap();
    let result: Value = serde_json::from_str(&place.read(format!("{folder}/{name}"))).unwrap();
    assert_eq!(result["schema"], "replica.bench/1");
    assert_eq!(result["valid"], true, "{result:#}");
    assert_eq!(
        result["topology"]["instances"][0]["pid"],
        place.pid("/instances/a")
    );
    let requests = latest["requests"].as_str().unwrap();
    let lines = place.read(format!("{folder}/{requests}"));
    let lines = lines
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    let first_round = lines.filter(|line| line["round"] == 0);
    let mut served: Vec<String> = first_round
        .map(|line| line["instance"].as_str().unwrap().to_owned())
        .collect();
    served.sort();
    assert_eq!(served, ["a", "a", "a", "a", "b", "b", "b", "b"]);
    let digest = result["manifest"]["sha256"].as_str().unwrap();
    assert_eq!(digest.len(), 64, "{result:#}");
    // The machine was looked at before and after.
    for when in ["before", "after"] {
        let here = &result["conditions"][when]["here"];
        assert_eq!(here["servers"]["a"]["pid"], place.pid("/instances/a"));
        assert!(here["boot_id"].is_string(), "{here:#}");
    }
    // What the engines counted agrees with what was seen of them.
    let point = &result["points"][0];
    for name in ["a", "b"] {
        let both = &point["reconcile"]["by_instance"][name];
        assert!(both["client_tokens"].as_u64() > Some(0), "{point:#}");
        assert_eq!(both["client_tokens"], both["server_tokens"]);
        assert_eq!(both["client_requests"], both["server_requests"]);
    }
}

#[test]
fn after_an_apply_there_is_nothing_to_plan_and_nothing_to_apply() {
    let place = Workdir::local();
    let _ = place.replica(&["apply", "-y"]).exits(0);
    let before = process::marked(&place.topology);
    let _ = place
        .replica(&["plan", "--detailed-exitcode"])
        .exits(0)
        .shows("No changes.");
    let again = place.replica(&["apply", "-y", "--json"]).exits(0).json();
    assert_eq!(again["applied"], Value::Array(Vec::new()), "{again:#}");
    assert_eq!(again["benchmarks"], Value::Array(Vec::new()), "{again:#}");
    assert_eq!(process::marked(&place.topology), before);
}

#[test]
fn a_benchmark_is_measured_again_when_it_is_asked_for() {
    let place = Workdir::local();
    let _ = place.replica(&["apply", "-y"]).exits(0);
    let results = || {
        let folder = place
            .work()
            .join(format!("results/{}/single", place.topology));
        fs::read_dir(folder).unwrap().count()
    };
    let before = results();
    let said = place.replica(&["bench", "single", "--json"]).exits(0);
    assert_eq!(said.json()[0]["job"]["name"], "single", "{said}");
    assert_eq!(results(), before + 2, "a result and its requests");
    assert!(place.plan().is_empty());
}

#[test]
fn from_another_folder_it_is_the_same_topology() {
    let place = Workdir::with(SMALL).applied();
    fs::create_dir(place.work().join("below")).unwrap();
    let absolute = place.work().join("topology.yaml");
    for file in ["../topology.yaml", absolute.to_str().unwrap()] {
        let _ = place
            .replica_in("below", &["plan", file, "--detailed-exitcode"])
            .exits(0)
            .shows("No changes.");
    }
}

#[test]
fn an_apply_tells_machines_what_it_did() {
    let place = Workdir::with(PAIR);
    let said = place.replica(&["apply", "-y", "--json"]).exits(0);
    let document = said.json();
    assert_eq!(document["summary"]["create"], 4, "{said}");
    assert_eq!(document["converged"], true, "{said}");
    assert_eq!(document["failed"], Value::Array(Vec::new()), "{said}");
    assert_eq!(document["requests"]["failed"], 0, "{said}");
    let applied = document["applied"].as_array().unwrap();
    let mut addresses: Vec<_> = applied.iter().map(|a| a["address"].as_str()).collect();
    addresses.sort_unstable();
    let wanted = [
        "here/instance.a",
        "here/instance.b",
        "here/program",
        "here/proxy",
    ];
    assert_eq!(addresses, wanted.map(Some));
}
