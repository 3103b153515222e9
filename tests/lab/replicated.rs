//! The topology that the project was created from, on hosts with its addresses.

use std::fs;
use std::path::Path;

use serde_json::Value;

use super::laptop::{Laptop, change, pending};
use super::stage::{is_bare, scenario};
use super::stand_in::{SIMULATES, stand_in};

const HOSTS: [&str; 3] = ["controller", "spark-01", "spark-02"];

/// `manifests/replicated.yaml` as it stands: engine and model are recognised, both benchmarks run,
/// and nothing of it is left in the end but what was there before.
#[test]
#[expect(clippy::too_many_lines, reason = "a story from beginning to end")]
fn the_seeds_topology_is_applied_measured_compared_and_removed() {
    scenario("3 --seed", |lab| {
        stand_in(lab, &HOSTS[1..], SIMULATES);
        let untouched =
            "cd /home/nvidia && find src .cache -exec stat -c '%n %Y %s' {} + | sort | sha256sum";
        let before = HOSTS.map(|host| {
            lab.exec(
                host,
                &format!("[ ! -e /home/nvidia/src ] || {{ {untouched}; }}"),
            )
        });
        let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests");
        let manifest = fs::read_to_string(samples.join("replicated.yaml")).unwrap();
        let laptop = Laptop::with(lab, &manifest);
        let baseline = "baseline_metrics.json";
        fs::copy(samples.join(baseline), laptop.folder().join(baseline)).unwrap();

        let plan = laptop
            .replica("plan --json --detailed-exitcode")
            .exits(2)
            .json();
        for thing in ["engine.cu130", "model.llama"] {
            for host in ["spark-01", "spark-02"] {
                assert_eq!(
                    change(&plan, &format!("{host}/{thing}"))["action"],
                    "keep",
                    "{plan:#}"
                );
            }
        }
        assert_eq!(
            pending(&plan),
            [
                "create controller/program",
                "create spark-01/instance.a",
                "create spark-02/instance.b",
                "create controller/proxy",
                "create benchmark.single",
                "create benchmark.batch"
            ]
        );

        let done = laptop.applies();
        // The two numbers of the baseline that contradict themselves.
        let done = done.shows("816.6").shows("200");
        done.hides("its model is `meta-llama");
        for (host, mark) in [("spark-01", "instance/a"), ("spark-02", "instance/b")] {
            let ours = lab.marked(host, &format!("v1:spark:{mark}:"));
            let leader = ours
                .iter()
                .find(|it| it.pid == it.session)
                .expect("it runs");
            let said = lab.exec(host, &format!("tr '\\0' ' ' </proc/{}/cmdline", leader.pid));
            assert!(said.contains("--gpu-memory-utilization 0.3"), "{said}");
            assert!(
                said.contains("snapshots/0e9e39f249a16976918f6564b8830bc894c89659"),
                "{said}"
            );
        }

        let metrics = fs::read_to_string(laptop.folder().join("replicated_metrics.json")).unwrap();
        let metrics: Value = serde_json::from_str(&metrics).unwrap();
        assert_eq!(metrics["model"], "meta-llama/Llama-3.1-8B-Instruct");
        assert_eq!(metrics["batch_processing"]["batch_size"], 8);
        assert_eq!(metrics["batch_processing"]["total_tokens"], 800);
        assert_eq!(metrics["single_request"]["tokens"], 100);
        let latency = metrics["single_request"]["latency_ms"].as_f64().unwrap();
        let throughput = metrics["single_request"]["throughput_tokens_per_sec"]
            .as_f64()
            .unwrap();
        assert!(
            (100.0 / latency * 1000.0 - throughput).abs() < 0.5,
            "{metrics:#}"
        );
        for name in ["single", "batch"] {
            let latest = laptop
                .folder()
                .join(format!("results/spark/{name}/latest.json"));
            assert!(latest.exists(), "{}", latest.display());
        }

        laptop
            .replica("plan --detailed-exitcode")
            .exits(0)
            .shows("No changes.");
        laptop.replica("apply -y").exits(0).shows("No changes.");
        let status = laptop.replica("status --json --exit-code").exits(0).json();
        assert_eq!(status["converged"], true);
        assert_eq!(status["instances"]["a"]["url"], "http://192.168.1.76:8100");
        assert_eq!(status["proxy"]["url"], "http://192.168.1.75:8192");

        laptop
            .replica("destroy -y")
            .exits(0)
            .shows("Nothing of `spark` runs on 3 nodes");
        for (host, port) in [("controller", 8192), ("spark-01", 8100), ("spark-02", 8200)] {
            assert_eq!(lab.marked(host, "v1:"), [], "{host}");
            assert_eq!(lab.listeners(host, port), 0, "{host}");
            is_bare(lab, host);
        }
        let after = HOSTS.map(|host| {
            lab.exec(
                host,
                &format!("[ ! -e /home/nvidia/src ] || {{ {untouched}; }}"),
            )
        });
        assert_eq!(before, after, "venv and model are as they were");
    });
}

/// `single.yaml` is another state of the same topology: what differs is stopped, nothing else.
#[test]
fn the_single_replica_is_another_state_of_the_same_topology() {
    scenario("3 --seed", |lab| {
        stand_in(lab, &HOSTS[1..], SIMULATES);
        let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests");
        let read = |name: &str| fs::read_to_string(samples.join(name)).unwrap();
        let laptop = Laptop::with(lab, &read("replicated.yaml"));
        let baseline = "baseline_metrics.json";
        fs::copy(samples.join(baseline), laptop.folder().join(baseline)).unwrap();
        laptop.replica("apply -y --no-bench").exits(0);
        let a = lab.marked("spark-01", "v1:spark:instance/a:");
        laptop.declares(&read("single.yaml"));
        laptop.replica("apply -y --no-bench").exits(0);
        assert_eq!(lab.marked("spark-01", "v1:spark:instance/a:"), a);
        assert_eq!(lab.marked("spark-02", "v1:"), []);
        laptop.declares(&read("replicated.yaml"));
        laptop.replica("apply -y --no-bench").exits(0);
        assert_eq!(lab.marked("spark-01", "v1:spark:instance/a:"), a);
        assert!(!lab.marked("spark-02", "v1:spark:instance/b:").is_empty());
    });
}
