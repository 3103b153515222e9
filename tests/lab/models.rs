//! Where models are on a host: in a folder that is served in place, or in a cache that was moved.

use super::hosts::Lab;
use super::laptop::{Laptop, change, reasons};
use super::stage::scenario;
use super::stand_in::{SIMULATES, stand_in};

const HOSTS: [&str; 2] = ["spark-01", "spark-02"];
const CACHE: &str = "/home/nvidia/.cache/huggingface/hub";
const REPO: &str = "models--meta-llama--Llama-3.1-8B-Instruct";

const TWO: &str = "\
topology: demo
nodes:
  spark-01: {ssh: spark-01, addresses: {lan: 10.77.0.11}}
  spark-02: {ssh: spark-02, addresses: {lan: 10.77.0.12}}
engines:
  cu130: {venv: ~/src/github.com/elizabetht/spark/.venv, vllm: 0.13.0+cu130, packages: {torch: 2.9.1}, args: {gpu_memory_utilization: 0.3}}
models:
  llama: {repo: meta-llama/Llama-3.1-8B-Instruct}
instances:
  a: {node: spark-01, port: 8100, engine: cu130, model: llama}
  b: {node: spark-02, port: 8200, engine: cu130, model: llama}
";

fn set(lab: &Lab, manifest: &str) -> Laptop {
    stand_in(lab, &HOSTS, SIMULATES);
    Laptop::with(lab, manifest)
}

/// The command line of a server.
fn command(lab: &Lab, host: &str, instance: &str) -> String {
    let pid = lab.leader(host, instance).pid;
    lab.exec(host, &format!("tr '\\0' ' ' </proc/{pid}/cmdline"))
}

/// A folder of the host is served where it is, with a draft in another one; what changes in it is
/// another model, and nothing is ever written there or taken away.
#[test]
fn a_folder_is_served_in_place_and_left_as_it_is() {
    scenario("3", |lab| {
        let manifest = TWO
            .replace(
                "llama: {repo: meta-llama/Llama-3.1-8B-Instruct}",
                "llama: {path: ~/models/llama}\n  draft: {path: ~/models/draft}",
            )
            .replace(
                "utilization: 0.3",
                "utilization: 0.3, speculative_config: {model: draft, num_speculative_tokens: 3}",
            );
        let laptop = set(lab, &manifest);
        let missing = laptop.plan();
        let said = reasons(change(&missing, "spark-01/model.llama"));
        assert!(said.contains("~/models/llama is not there"), "{said}");
        for host in HOSTS {
            lab.exec(
                host,
                &format!(
                    "cd /home/nvidia && mkdir -p models/llama models/draft && \
                     cp -L {CACHE}/{REPO}/snapshots/*/* models/llama/ && \
                     cp -L {CACHE}/{REPO}/snapshots/*/*[sn]* models/draft/ && \
                     rm -rf {CACHE} models/draft/tokenizer* && chown -R nvidia: models"
                ),
            );
        }
        let look =
            "cd /home/nvidia/models && ls -lR --full-time && ls /home/nvidia/.cache/huggingface";
        let before = lab.exec("spark-01", look);
        laptop.applies();
        laptop.is_converged();
        let words = command(lab, "spark-01", "instance/a");
        assert!(
            words.contains("serve /home/nvidia/models/llama "),
            "{words}"
        );
        assert!(
            words.contains("{\"model\":\"/home/nvidia/models/draft\""),
            "{words}"
        );

        lab.exec(
            "spark-02",
            "echo ' ' >>/home/nvidia/models/llama/tokenizer.json",
        );
        let plan = laptop.plan();
        assert_eq!(change(&plan, "spark-01/instance.a")["action"], "keep");
        assert_eq!(
            change(&plan, "spark-02/instance.b")["fields"][0]["path"],
            "revision"
        );
        laptop.applies();
        laptop.is_converged();
        lab.exec("spark-02", "rm /home/nvidia/models/draft/config.json");
        let said = laptop.plan();
        let said = reasons(change(&said, "spark-02/model.draft"));
        assert!(said.contains("config.json is missing"), "{said}");

        laptop.replica("destroy -y").exits(0);
        assert_eq!(lab.exec("spark-01", look), before);
    });
}

/// The environment of the engine says where the cache is: what is there is copied there, and served
/// from there.
#[test]
fn the_environment_moves_the_cache() {
    scenario("3", |lab| {
        let moved = "args: {gpu_memory_utilization: 0.3}, env: {HF_HOME: \"~/big disk/hf\"}";
        let manifest = TWO.replace("args: {gpu_memory_utilization: 0.3}", moved);
        let laptop = set(lab, &manifest);
        let home = "/home/nvidia/big disk/hf";
        lab.exec(
            "spark-01",
            &format!("mkdir -p '{home}' && mv {CACHE} '{home}/hub' && chown -R nvidia: '/home/nvidia/big disk'"),
        );
        let plan = laptop.replica("plan");
        plan.shows("from spark-01 over lan into ~/big disk/hf/hub");
        // What the usual place has is nothing to these servers.
        let usual = lab.exec("spark-02", &format!("find {CACHE} | sort"));
        laptop.applies().shows("from spark-01");
        laptop.is_converged();
        for (host, instance) in [("spark-01", "instance/a"), ("spark-02", "instance/b")] {
            let words = command(lab, host, instance);
            assert!(
                words.contains(&format!("serve {home}/hub/{REPO}/snapshots/")),
                "{words}"
            );
        }
        assert_eq!(lab.exec("spark-02", &format!("find {CACHE} | sort")), usual);
        assert_eq!(lab.exec("spark-01", &format!("ls {CACHE} || true")), "");
    });
}

/// What arguments name and a host has not is told before anything is started for it.
#[test]
fn what_arguments_name_is_looked_for_on_the_host() {
    scenario("3", |lab| {
        let named = "args: {gpu_memory_utilization: 0.3, speculative_config: {model: o/draft, num_speculative_tokens: 3}, \
                     lora_modules: [sql=~/sql], chat_template: ~/chat.jinja}";
        let manifest = TWO.replace("args: {gpu_memory_utilization: 0.3}", named);
        let laptop = set(lab, &manifest);
        laptop
            .replica("validate")
            .exits(0)
            .shows("names `o/draft`, which is not declared");
        lab.exec(
            "spark-01",
            &format!(
                "cd /home/nvidia && mkdir -p sql && touch sql/adapter_config.json chat.jinja && \
                 mkdir -p {CACHE}/models--o--draft/refs {CACHE}/models--o--draft/snapshots/0f && \
                 printf 0f >{CACHE}/models--o--draft/refs/main"
            ),
        );
        let plan = laptop.plan();
        assert_eq!(change(&plan, "spark-01/instance.a")["action"], "create");
        let lacking = change(&plan, "spark-02/instance.b");
        assert_eq!(lacking["action"], "blocked");
        let said = reasons(lacking);
        for text in ["names o/draft", "names ~/sql", "names ~/chat.jinja"] {
            assert!(said.contains(text), "{said}");
        }
    });
}
