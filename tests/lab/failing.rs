//! Servers that do not come up: the cause is told, and nothing else suffers.

use super::laptop::{DEMO, Laptop, change, reasons};
use super::stage::scenario;
use super::traffic::stream;

/// Loading dies as vLLM does when others hold the memory.
#[test]
fn a_server_that_dies_loading_is_told_with_its_cause_and_the_rest_serves() {
    scenario("3", |lab| {
        let laptop = Laptop::with(
            lab,
            &DEMO.replace(
                "port: 8200, ",
                "port: 8200, args: {sim_fail_loading: oom}, ",
            ),
        );
        let done = laptop.replica("apply -y").exits(6);
        done.shows("spark-02/instance.b: failed")
            .shows("is less than desired GPU memory utilization")
            .shows("Engine core initialization failed")
            .shows("lower args.gpu_memory_utilization");
        lab.leader("spark-01", "instance/a");
        assert_eq!(lab.leaders("spark-02", "instance/b"), []);
        assert_eq!(stream("10.77.0.10:8192").unwrap(), "a");
        // Nothing new comes of trying again: it fails again, and what serves goes on.
        laptop.replica("apply -y").exits(1);

        laptop.declares(DEMO);
        laptop.applies();
        let served: Vec<_> = (0..4).map(|_| stream("10.77.0.10:8192").unwrap()).collect();
        assert!(served.contains(&"b".to_owned()), "{served:?}");
        laptop.is_converged();
    });
}

/// A server that is healthy, has its name, and produces no token is not ready.
#[test]
fn a_server_that_yields_no_token_is_not_ready() {
    scenario("3", |lab| {
        let wedged = "port: 8200, ready_timeout: 4, args: {sim_wedge_after: 0}, ";
        let laptop = Laptop::with(lab, &DEMO.replace("port: 8200, ", wedged));
        laptop.replica("apply -y").exits(6).shows("one token");
        laptop.replica("apply -y").exits(1).shows("one token");
        assert_eq!(
            lab.listeners("spark-02", 8200),
            1,
            "it listens all the same"
        );
        let status = laptop.replica("status --json --exit-code").exits(2).json();
        assert_eq!(status["instances"]["a"]["ready"], true);
        assert_eq!(status["instances"]["b"]["ready"], false);
        laptop.declares(DEMO);
        laptop.applies();
        laptop.is_converged();
    });
}

const REAL: &str = "\
topology: demo
nodes: {spark-01: {ssh: spark-01, addresses: {lan: 10.77.0.11}}}
engines:
  cu130: {venv: ~/src/github.com/elizabetht/spark/.venv, vllm: 0.13.0+cu130, packages: {torch: 2.9.1}}
models:
  llama: {repo: meta-llama/Llama-3.1-8B-Instruct, revision: 0e9e39f249a16976918f6564b8830bc894c89659}
instances:
  a: {node: spark-01, port: 8100, engine: cu130, model: llama}
";

/// What an engine or a model falls short by is told; one that cannot be fetched keeps back what
/// needs it, and says what is in the way.
#[test]
fn a_missing_engine_or_model_is_told() {
    scenario("1", |lab| {
        let laptop = Laptop::with(lab, REAL);
        let engine = "spark-01/engine.cu130";
        assert_eq!(change(&laptop.plan(), engine)["action"], "keep");
        let planned = |manifest: &str, action: &str, words: &str| {
            laptop.declares(manifest);
            let plan = laptop.plan();
            assert_eq!(change(&plan, engine)["action"], action, "{plan:#}");
            let said = reasons(change(&plan, engine));
            assert!(said.contains(words), "{said}");
        };
        planned(
            &REAL.replace("0.13.0+cu130", "0.13.0+cu129"),
            "update",
            "vllm is 0.13.0+cu130, declared is 0.13.0+cu129",
        );
        planned(
            &REAL.replace("torch: 2.9.1", "torch: 2.8.0"),
            "update",
            "torch is 2.9.1",
        );
        planned(
            &REAL.replace("torch: 2.9.1", "flashinfer-python: 0.5.2"),
            "update",
            "flashinfer-python 0.5.2 is not installed",
        );
        planned(
            &REAL.replace("spark/.venv", "spark/venv"),
            "create",
            "no virtual environment",
        );
        let model = "spark-01/model.llama";
        // The environment of this host has no tool that fetches.
        let kept_back = |manifest: &str, action: &str, words: &str| {
            laptop.declares(manifest);
            let plan = laptop.plan();
            assert_eq!(change(&plan, model)["action"], action, "{plan:#}");
            let said = reasons(change(&plan, model));
            assert!(said.contains(words), "{said}");
            let done = laptop.replica("apply -y").exits(1);
            done.shows("neither hf nor huggingface-cli");
        };
        kept_back(
            &REAL.replace("Llama-3.1-8B-Instruct", "Llama-3.1-70B-Instruct"),
            "create",
            "meta-llama/Llama-3.1-70B-Instruct is not in the cache",
        );
        kept_back(&REAL.replace("0e9e39f2", "11111111"), "update", "11111111");
        lab.exec(
            "spark-01",
            "cd /home/nvidia/.cache/huggingface/hub/*/snapshots/* && rm model-00003*",
        );
        kept_back(REAL, "update", "model-00003-of-00004.safetensors");
        assert_eq!(lab.marked("spark-01", "v1:"), []);
    });
}
