//! What is wrong with hosts is told, and nothing on them is changed.

use super::laptop::{DEMO, Laptop};
use super::stage::scenario;

/// A clock that is off and an address that is not there are found over SSH; hosts that are well have neither.
#[test]
fn what_is_wrong_with_a_host_is_told_with_the_line_that_mends_it() {
    scenario("3", |lab| {
        let laptop = Laptop::with(lab, DEMO);
        let told = laptop.replica("doctor --json").exits(0).json();
        let ids = |told: &serde_json::Value| -> Vec<String> {
            let findings = told["findings"].as_array().expect("it is a list");
            let id = |it: &serde_json::Value| it["id"].as_str().expect("it has one").to_owned();
            findings.iter().map(id).collect()
        };
        for id in ["A1", "F1", "N3"] {
            assert!(!ids(&told).contains(&id.to_owned()), "{told:#}");
        }
        let files = lab.files("spark-01");

        lab.does("skew spark-02 3600");
        let wrong = DEMO.replace(
            "addresses: {lan: 10.77.0.11}",
            "addresses: {lan: 10.77.0.11, fabric: 10.99.0.1}",
        );
        laptop.declares(&wrong);
        let told = laptop.replica("doctor --json --exit-code").exits(2).json();
        for id in ["F1", "N3"] {
            assert!(ids(&told).contains(&id.to_owned()), "{told:#}");
        }
        let _ = laptop
            .replica("doctor topology.yaml spark-01")
            .exits(0)
            .shows("F1 problem, the fast link is not there")
            .shows("spark-01: no interface has its `fabric` address 10.99.0.1")
            .hides("N3");
        assert_eq!(lab.files("spark-01"), files, "it only looks");
        let _ = laptop.replica("doctor nobody").exits(64);
        lab.does("cut spark-02 --mode reject");
        let told = laptop.replica("doctor --json").exits(4).json();
        assert!(told["unreachable"]["spark-02"].is_string(), "{told:#}");
    });
}
