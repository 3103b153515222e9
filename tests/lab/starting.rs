//! Starts of a real engine: what would make one fail is said before it is tried, and how long one
//! takes is known once one was seen. A stand-in takes the place of vLLM.

use super::hosts::Lab;
use super::laptop::{Laptop, change, reasons};
use super::stage::scenario;
use super::stand_in::{SIMULATES, stand_in};

pub(super) const REAL: &str = "\
topology: demo
nodes: {spark-01: {ssh: spark-01, addresses: {lan: 10.77.0.11}}}
engines:
  cu130: {venv: ~/src/github.com/elizabetht/spark/.venv, vllm: 0.13.0+cu130, args: {gpu_memory_utilization: 0.3}}
models:
  llama: {repo: meta-llama/Llama-3.1-8B-Instruct, revision: 0e9e39f249a16976918f6564b8830bc894c89659}
instances:
  a: {node: spark-01, port: 8100, engine: cu130, model: llama}
";

const A: &str = "spark-01/instance.a";

/// What takes the place of vLLM notes its environment.
fn set(lab: &Lab, more: &str) {
    let script = format!("env >/home/nvidia/environment\n{SIMULATES} {more}");
    stand_in(lab, &["spark-01"], &script);
}

#[test]
fn what_would_make_a_start_fail_is_said_before() {
    scenario("1", |lab| {
        set(lab, "");
        let laptop = Laptop::with(lab, REAL);
        let blocked = |manifest: &str, words: &[&str]| {
            laptop.declares(manifest);
            let plan = laptop.plan();
            assert_eq!(change(&plan, A)["action"], "blocked", "{plan:#}");
            let said = reasons(change(&plan, A));
            for words in words {
                assert!(said.contains(words), "{said}");
                laptop.replica("apply -y").exits(1).shows(words);
            }
        };
        blocked(
            &REAL.replace("gpu_memory_utilization", "gpu_memory_utilisation"),
            &[
                "knows no argument `gpu_memory_utilisation`",
                "did you mean `gpu_memory_utilization`?",
            ],
        );
        // More than all of it can never be had beside what must stay free.
        blocked(
            &REAL.replace("0.3}", "1.0}"),
            &["(gpu_memory_utilization 1)", "stop what holds the memory"],
        );
        // A driver that hangs or fails is told, and is no reason not to start.
        laptop.declares(REAL);
        for (trouble, told) in [
            ("echo 60 >/etc/fake-gpu-delay", "gives no answer"),
            (
                "rm /etc/fake-gpu-delay; touch /etc/fake-gpu-fail",
                "fails: NVIDIA-SMI has failed because it couldn't communicate",
            ),
        ] {
            lab.exec("spark-01", trouble);
            let plan = laptop.plan();
            let a = change(&plan, A);
            assert_eq!(a["action"], "create");
            assert!(a["reasons"].to_string().contains(told), "{plan:#}");
        }
        assert_eq!(lab.marked("spark-01", "v1:"), []);
    });
}

#[test]
fn a_start_has_the_environment_that_a_spark_needs() {
    scenario("1", |lab| {
        set(lab, "");
        lab.exec(
            "spark-01",
            "mkdir -p /home/nvidia/cuda/bin && cp /bin/true /home/nvidia/cuda/bin/ptxas",
        );
        let env = "env: {CUDA_HOME: ~/cuda, NO_COLOR: ''}, args: {gpu";
        let home = "/home/nvidia";
        let manifest = REAL.replace("args: {gpu", &env.replace('~', home));
        Laptop::with(lab, &manifest).applies();
        let environment = lab.exec("spark-01", "cat /home/nvidia/environment");
        for line in [
            "HF_HUB_OFFLINE=1",
            "TRANSFORMERS_OFFLINE=1",
            "TRITON_PTXAS_PATH=/home/nvidia/cuda/bin/ptxas",
            "TRITON_PTXAS_BLACKWELL_PATH=/home/nvidia/cuda/bin/ptxas",
            "NO_COLOR=",
        ] {
            assert!(
                environment.lines().any(|one| one == line),
                "{line}: {environment}"
            );
        }
        let path = "PATH=/home/nvidia/src/github.com/elizabetht/spark/.venv/bin:/";
        assert!(
            environment.lines().any(|one| one.starts_with(path)),
            "{environment}"
        );
    });
}

#[test]
fn how_long_a_start_takes_is_told_once_one_was_seen() {
    scenario("1", |lab| {
        set(lab, "--sim-load-seconds 6");
        let laptop = Laptop::with(lab, REAL);
        laptop.replica("apply -y").exits(0).hides(" of about ");
        laptop.is_converged();
        laptop.declares(&REAL.replace("0.3}", "0.3, seed: 1}"));
        laptop.replica("apply -y").exits(0).shows(" s of about ");
        laptop.is_converged();
    });
}
