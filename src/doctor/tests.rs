//! The checks on what owners of GB10s have published of theirs: tests/data/spark.

use std::fs;

use super::{Case, Finding, checks, examine};
use crate::manifest;
use crate::plan::Plan;
use crate::resource::{Facts, Observation};

/// Two Sparks, each with one server.
const PAIR: &str = "
topology: spark
nodes:
  spark-01: {ssh: nvidia@192.168.1.76, addresses: {lan: 192.168.1.76, fabric: 192.168.100.10}}
  spark-02: {ssh: nvidia@192.168.1.77, addresses: {lan: 192.168.1.77, fabric: 192.168.100.11}}
engines: {vllm: {venv: ~/vllm, vllm: 0.30.0, args: {gpu_memory_utilization: 0.6}}}
models: {llama: meta-llama/Llama-3.1-8B-Instruct}
instances:
  a: {node: spark-01, port: 8100, engine: vllm, model: llama}
  b: {node: spark-02, port: 8100, engine: vllm, model: llama}
";

/// What a node said that a file tells of.
fn facts(file: &str) -> Facts {
    let path = format!("{}/tests/data/spark/{file}.txt", env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let (head, machine) = text.split_once("[machine]\n").unwrap();
    let (_, doctor) = head.split_once("[doctor]\n").unwrap();
    let facts = [("doctor", doctor), ("machine", machine)];
    facts
        .map(|(id, text)| (id.to_owned(), text.to_owned()))
        .into_iter()
        .collect()
}

/// What is found where these nodes said so, as lines.
fn found(manifest: &str, said: &[(&str, &str)]) -> String {
    let topology = manifest::read(manifest).unwrap();
    let mut observed = Observation::default();
    for (node, file) in said {
        observed.insert(node.parse().unwrap(), Ok(facts(file)));
    }
    let plan = Plan::default();
    let found = examine(&Case::new(&topology, &observed, &plan, |_| true));
    let line = |it: &Finding| {
        let nodes: Vec<_> = it.nodes.iter().map(ToString::to_string).collect();
        format!(
            "{:?} {} {}: {}\n  {}\n",
            it.severity,
            it.id,
            nodes.join(" "),
            it.message,
            it.hint
        )
    };
    found.iter().map(line).collect()
}

#[test]
fn of_two_sparks_that_are_well_nothing_is_said() {
    let same = [("spark-01", "dgx-spark")];
    assert_eq!(found(PAIR, &same), "");
}

#[test]
fn what_differs_between_two_machines_is_told() {
    let found = found(
        PAIR,
        &[("spark-01", "dgx-spark"), ("spark-02", "asus-gx10")],
    );
    for line in [
        "Problem F4 spark-01 spark-02: its ends differ: 1500 and 9000",
        "Warning M5 spark-02: neither earlyoom nor nohang nor systemd-oomd runs",
        "Warning F3 spark-02: enP2p1s0f0np0 has 2 lanes of 4, at 32 GT/s of 32",
        "Warning F6 spark-02: 192.168.100.11 on enp1s0f0np0 comes from no file",
        "Warning N2 spark-01 spark-02: kernel of the nodes with NVIDIA GB10: 6.17.0-1014-nvidia on spark-01; 6.17.0-1029-nvidia on spark-02",
        "Note F7 spark-02: enP2p1s0f0np0 is up and has no address, beside enp1s0f0np0",
        "Note N5 spark-02: the systemd of its user ends with the last login",
    ] {
        assert!(found.contains(line), "no `{line}` in\n{found}");
    }
    for id in [
        " A1 ", " M1 ", " M2 ", " F1 ", " F2 ", " F5 ", " N1 ", " N3 ",
    ] {
        assert!(!found.contains(id), "{id} in\n{found}");
    }
    let order: Vec<_> = found
        .lines()
        .filter_map(|it| it.split(' ').next())
        .collect();
    let at = |word: &str| order.iter().position(|it| *it == word);
    assert!(
        at("Problem") < at("Warning") && at("Warning") < at("Note"),
        "{found}"
    );
}

#[test]
fn a_number_that_is_written_down_for_both_is_wrong_for_one() {
    let pinned = PAIR.replace("args: {", "env: {NCCL_IB_GID_INDEX: 3}, args: {");
    let found = found(
        &pinned,
        &[("spark-01", "dgx-spark"), ("spark-02", "asus-gx10")],
    );
    let said: Vec<_> = found.lines().filter(|line| line.contains(" F5 ")).collect();
    assert_eq!(
        said,
        ["Problem F5 spark-02: `b` has NCCL_IB_GID_INDEX=3, and here 192.168.100.11 is 5"]
    );
}

#[test]
fn memory_that_is_short_is_told_before_anything_starts() {
    let short = found(PAIR, &[("spark-01", "short-of-memory")]);
    for line in [
        "Problem M1 spark-01: what is to start takes 73.0 GiB, and 42.0 GiB can be had, of which 8.0 GiB are to stay free\n  \
         `gpu_memory_utilization: 0.27` at most",
        "Problem F1 spark-01: no interface has its `fabric` address 192.168.100.10",
        "Warning M3 spark-01: 9.0 GiB of its 60.8 GiB are in use",
        "Warning M4 spark-01: VLLM::EngineCor (nvidia, pid 4711): 77.0 GiB\n  end what is yours: kill 4711",
        "Warning M5 spark-01: ",
        "Warning N1 spark-01: GPU 0 works, at 513 MHz, and nothing says why",
        "Note M6 spark-01: 4.0 GiB of 16.0 GiB of its swap are in use",
    ] {
        assert!(short.contains(line), "no `{line}` in\n{short}");
    }
    let greedy = PAIR.replace("0.6}", "0.95}").replace("0.30.0", "0.13.0");
    let greedy = found(&greedy, &[("spark-01", "dgx-spark")]);
    for line in [
        "Problem M1 spark-01: 115.6 GiB of the 121.7 GiB are declared, which leaves less than 8.0 GiB",
        "Note M7 spark-01: vLLM 0.13.0 is declared",
    ] {
        assert!(greedy.contains(line), "no `{line}` in\n{greedy}");
    }
    // What is free is less than it takes, and what can be had is not.
    let cached = PAIR.replace("0.6}", "0.25}");
    let cached = found(&cached, &[("spark-01", "short-of-memory")]);
    let line = "Warning M2 spark-01: a server is to take 30.4 GiB; 2.8 GiB are free, and 40.0 GiB are files";
    assert!(cached.contains(line), "no `{line}` in\n{cached}");
}

#[test]
fn an_address_that_is_on_no_interface_is_told() {
    let moved = PAIR.replace("fabric: 192.168.100.10", "fabric: 192.168.100.99");
    let found = found(&moved, &[("spark-01", "dgx-spark")]);
    assert!(
        found.starts_with("Problem F1 spark-01: no interface has"),
        "{found}"
    );
    let slow = PAIR.replace("fabric: 192.168.100.10", "fabric: 192.168.1.76");
    let found = self::found(&slow, &[("spark-01", "dgx-spark")]);
    assert!(
        found.contains("F2 spark-01: its `fabric` address is on enP7s7 (1 Gb/s)"),
        "{found}"
    );
}

#[test]
fn a_node_that_says_nothing_has_nothing_said_of_it() {
    let topology = manifest::read(PAIR).unwrap();
    let mut observed = Observation::default();
    observed.insert("spark-01".parse().unwrap(), Ok(Facts::default()));
    let plan = Plan::default();
    let found = examine(&Case::new(&topology, &observed, &plan, |_| true));
    assert!(found.is_empty(), "{found:?}");
    assert!(checks() > 15);
}

#[test]
fn every_check_has_a_number_of_its_own_and_says_why() {
    let mut ids: Vec<_> = super::CHECKS.iter().map(|check| check.id).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), checks());
    for check in super::CHECKS {
        assert!(check.why.ends_with('.'), "{}", check.id);
        assert!(
            check.reported.is_none_or(|it| it.starts_with("https://")),
            "{}",
            check.id
        );
    }
}
