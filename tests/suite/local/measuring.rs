//! A number is believed only with its conditions; the run that started this project is refused.

use std::fmt::Write as _;
use std::fs;

use serde_json::Value;

use super::SMALL;
use crate::suite::support::Workdir;

const SEED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/seed");

/// The notebook's topology, simulated, with nothing warmed and `b` cold.
const NOTEBOOK: &str = "\
topology: notebook
nodes: {here: {ssh: local}}
engines:
  gb10: {simulate: {profile: gb10-llama-3.1-8b}, args: {sim_load_seconds: 0}}
instances:
  a: {node: here, port: 8100, engine: gb10, model: llama}
  b: {node: here, port: 8200, engine: gb10, model: llama, args: {sim_cold_seconds: 23.16}}
proxy: {node: here, port: 8192}
benchmarks:
  single:
    prompts: {inline: [Explain how HTTP load balancers work in 3 sentences.]}
    load: {sequential: 1}
    max_tokens: 100
    warmup: 0
  batch:
    prompts: {inline: [What is a REST API?, How does DNS work?, What is a mutex?]}
    load: {batch: 8}
    max_tokens: 100
    warmup: 0
    baseline: baseline_metrics.json
    save: replicated_metrics.json
";

fn anomalies(result: &Value) -> Vec<&Value> {
    let points = result["points"].as_array().unwrap();
    points
        .iter()
        .flat_map(|point| point["anomalies"].as_array().unwrap())
        .collect()
}

/// Prompts of declared lengths, a file beside the manifest, and what is kept of both.
const ASKED: &str = "\
topology: asked
nodes: {here: {ssh: local}}
engines: {demo: {simulate: {profile: fast}}}
instances:
  a: {node: here, port: 8100, engine: demo, model: demo}
  b: {node: here, port: 8200, engine: demo, model: demo}
proxy: {node: here, port: 8192}
benchmarks:
  drawn:
    prompts: {synthetic: {input: {uniform: [20, 60]}, output: {uniform: [2, 9]}, shared_prefix: {tokens: 16, groups: 2}}}
    load: {batch: 8}
    keep: answers
  chat:
    prompts: {jsonl: p.jsonl, field: q, output_field: n}
    api: chat
    sampling: {temperature: 0.7, seed: 3, logprobs: 1}
    load: {batch: 4}
    keep: answers
";

#[test]
fn what_is_asked_is_what_the_servers_count_and_what_is_in_a_file_counts_for_a_result() {
    let place = Workdir::with(ASKED);
    place.write(
        "p.jsonl",
        "{\"q\": \"why?\", \"n\": 5}\n{\"q\": \"how?\", \"n\": 7}\n",
    );
    let _ = place.replica(&["apply", "-y"]).exits(0);
    let requests = |benchmark: &str| -> Vec<Value> {
        let folder = format!("results/{}/{benchmark}", place.topology);
        let latest = place.read(format!("{folder}/latest.json"));
        let latest: Value = serde_json::from_str(&latest).unwrap();
        let file = latest["requests"].as_str().unwrap();
        let lines = place.read(format!("{folder}/{file}"));
        let lines = lines.lines().map(serde_json::from_str);
        lines.collect::<Result<_, _>>().unwrap()
    };
    for record in requests("drawn") {
        assert_eq!(record["n_in"], record["prompt"]["tokens"], "{record}");
        assert_eq!(record["n_out"], record["asked"], "{record}");
    }
    for record in requests("chat") {
        let is_first = record["index"].as_u64().unwrap() % 2 == 0;
        let (prompt, tokens) = if is_first { ("why?", 5) } else { ("how?", 7) };
        assert_eq!(record["prompt"], prompt);
        assert_eq!(
            (&record["asked"], &record["n_out"]),
            (&tokens.into(), &tokens.into())
        );
        assert!(!record["answer"].as_str().unwrap().is_empty());
    }
    let _ = place.replica(&["plan", "--detailed-exitcode"]).exits(0);
    place.write("p.jsonl", "{\"q\": \"why?\", \"n\": 6}\n");
    let _ = place
        .replica(&["plan", "--detailed-exitcode"])
        .exits(2)
        .shows("benchmark.chat");
    place.write("p.jsonl", "why?\n");
    let _ = place
        .replica(&["plan"])
        .exits(65)
        .says("line 1 of `p.jsonl` is no JSON object");
}

#[test]
fn the_notebooks_run_is_reproduced_refused_and_its_cold_replica_named() {
    let place = Workdir::with(NOTEBOOK);
    let baseline = fs::read_to_string(format!("{SEED}/baseline_metrics.json")).unwrap();
    place.write("baseline_metrics.json", &baseline);
    let said = place.replica(&["apply", "-y"]).exits(7);
    let said = said
        .shows("A6 cold replica")
        .shows("`b`")
        // The seed's own mistakes: wall time under the name of a latency, tokens that were asked.
        .shows("816.6")
        .shows("200");
    let folder = format!("results/{}/batch", place.topology);
    let latest: Value = serde_json::from_str(&place.read(format!("{folder}/latest.json"))).unwrap();
    let file = format!("{folder}/{}", latest["result"].as_str().unwrap());
    let result: Value = serde_json::from_str(&place.read(file)).unwrap();
    assert_eq!(result["valid"], false);
    let cold: Vec<_> = anomalies(&result)
        .into_iter()
        .filter(|found| found["id"] == "A6" && found["severity"] == "error")
        .map(|found| found["replica"].as_str())
        .collect();
    assert_eq!(cold, [Some("b")], "{said}");
    // 800 tokens over what the cold replica took: the notebook's 26.5 tok/s, and not the 200 that
    // two warm ones yield. A busy machine may be slower, and never faster.
    let speed = result["points"][0]["metrics"]["output_tps"]
        .as_f64()
        .unwrap();
    assert!((20.0..27.5).contains(&speed), "{speed} tok/s");
    // What cannot be believed is not handed on.
    assert!(!place.work().join("replicated_metrics.json").exists());
    let plan = place.replica(&["plan", "--detailed-exitcode"]).exits(2);
    let _ = plan.shows("cannot be believed");
}

/// One replica that compiles a kernel at its first decoding step, which its warm-up brings about.
const COMPILING: &str = "\
topology: compiling
nodes: {here: {ssh: local}}
engines: {demo: {simulate: {profile: fast}, args: {sim_cold_seconds: 0.2, sim_cold_after: 0}}}
instances: {a: {node: here, port: 8100, engine: demo, model: demo}}
benchmarks:
  steady: {prompts: {inline: [Hello]}, load: {sequential: 100}, max_tokens: 4, repeats: 1}
";

/// How often `a` had compiled at each look, and what is said of it.
fn compiled(said: &Value) -> ([u64; 3], Vec<String>) {
    let result = &said["benchmarks"][0];
    let looks = ["before", "begun", "after"].map(|look| {
        let server = &result["conditions"][look]["here"]["servers"]["a"];
        server["compiled_late"].as_u64().unwrap()
    });
    let spoken = anomalies(result).into_iter().filter(|it| it["id"] == "A6");
    let spoken = spoken.map(|it| it["message"].to_string());
    (looks, spoken.collect())
}

#[test]
fn what_a_server_compiles_counts_from_the_end_of_its_warm_up_on() {
    let place = Workdir::with(COMPILING);
    let apply = || compiled(&place.replica(&["apply", "-y", "--json"]).exits(0).json());
    assert_eq!(apply(), ([0, 1, 1], Vec::new()));
    // Later than the warm-up, and sooner than the end.
    place.change("sim_cold_after: 0", "sim_cold_after: 60");
    let (looks, spoken) = apply();
    assert_eq!(looks, [0, 0, 1]);
    assert!(
        spoken[0].contains("`a` compiled kernels while it was measured"),
        "{spoken:?}"
    );
}

#[test]
fn a_valid_result_is_handed_on_with_the_notebooks_own_keys() {
    let mut text = SMALL.to_owned();
    text.push_str("benchmarks:\n");
    for (name, load) in [("single", "sequential: 1"), ("batch", "batch: 4")] {
        let _ = writeln!(
            text,
            "  {name}: {{prompts: {{inline: [Hello]}}, load: {{{load}}}, max_tokens: 100, \
             save: metrics.json}}"
        );
    }
    let place = Workdir::measuring(&text);
    let _ = place.replica(&["apply", "-y"]).exits(0);
    let saved: Value = serde_json::from_str(&place.read("metrics.json")).unwrap();
    let theirs = fs::read_to_string(format!("{SEED}/replicated_metrics.json")).unwrap();
    let theirs: Value = serde_json::from_str(&theirs).unwrap();
    for section in ["single_request", "batch_processing"] {
        for key in theirs[section].as_object().unwrap().keys() {
            assert!(
                saved[section].get(key).is_some(),
                "{section}.{key}: {saved:#}"
            );
        }
    }
}

#[test]
fn a_closed_loop_keeps_its_width_and_is_measured_once() {
    let mut text = SMALL.to_owned();
    text.push_str(
        "benchmarks:\n  closed: {prompts: {inline: [Hello]}, load: {concurrency: 4, requests: 20}, \
         max_tokens: 50, repeats: 1}\n",
    );
    let place = Workdir::measuring(&text);
    let said = place.replica(&["apply", "-y"]).exits(0);
    let _ = said.shows("concurrency 4 x 20").shows("20/0");
    let folder = format!("results/{}/closed", place.topology);
    let latest: Value = serde_json::from_str(&place.read(format!("{folder}/latest.json"))).unwrap();
    let file = format!("{folder}/{}", latest["result"].as_str().unwrap());
    let result: Value = serde_json::from_str(&place.read(file)).unwrap();
    let load = serde_json::json!({"concurrency": 4, "requests": 20});
    assert_eq!(result["points"][0]["load"], load);
    assert_eq!(result["points"][0]["metrics"]["in_flight"]["peak"], 4);
    let _ = place.replica(&["plan", "--detailed-exitcode"]).exits(0);
    place.change("requests: 20", "requests: 24");
    let plan = place.replica(&["plan", "--detailed-exitcode"]).exits(2);
    let _ = plan.shows("the newest result is of something else");
}

#[test]
fn a_sweep_and_a_rate_are_measured_load_by_load_and_once() {
    let mut text = SMALL.to_owned();
    text.push_str(
        "benchmarks:\n  sweep: {prompts: {inline: [Hello]}, load: {concurrency: [1, 2, 4], requests: 5x}, \
         max_tokens: 20}\n  rate: {prompts: {inline: [Hello]}, load: {rate: 1200/min, requests: 30}, \
         max_tokens: 20}\n",
    );
    let place = Workdir::measuring(&text);
    let said = place.replica(&["apply", "-y"]).exits(0);
    let said = said.shows("concurrency 1 x 5").shows("concurrency 4 x 20");
    let _ = said.shows("rate 20/s x 30").shows("lag p99");
    let result = |name: &str| -> Value {
        let folder = format!("results/{}/{name}", place.topology);
        let latest = place.read(format!("{folder}/latest.json"));
        let latest: Value = serde_json::from_str(&latest).unwrap();
        let file = format!("{folder}/{}", latest["result"].as_str().unwrap());
        serde_json::from_str(&place.read(file)).unwrap()
    };
    let sweep = result("sweep");
    let written = serde_json::json!({"concurrency": [1, 2, 4], "requests": "5x"});
    assert_eq!(sweep["job"]["load"], written);
    let points = sweep["points"].as_array().unwrap();
    let peaks: Vec<_> = points
        .iter()
        .map(|it| &it["metrics"]["in_flight"]["peak"])
        .collect();
    assert_eq!(peaks, [1, 2, 4]);
    let rate = result("rate");
    assert_eq!(rate["points"][0]["achieved"]["requested_rps"], 20.0);
    assert_eq!(rate["points"][0]["achieved"]["dropped"], 0);
    let _ = place.replica(&["plan", "--detailed-exitcode"]).exits(0);
    place.change("1200/min", "900/min");
    let plan = place.replica(&["plan", "--detailed-exitcode"]).exits(2);
    let _ = plan.shows("the newest result is of something else");
}

#[test]
fn nothing_is_measured_of_what_is_not_as_declared() {
    let place = Workdir::local();
    let _ = place
        .replica(&["bench"])
        .exits(1)
        .says("not as the manifest declares")
        .says("replica apply");
}

#[test]
fn results_go_where_they_are_told_to() {
    let place = Workdir::local();
    let _ = place
        .replica(&["apply", "-y", "--results", "kept"])
        .exits(0);
    let latest = format!("kept/{}/single/latest.json", place.topology);
    assert!(place.work().join(latest).is_file());
    assert!(!place.work().join("results").exists());
    let _ = place
        .replica(&["plan", "--results", "kept", "--detailed-exitcode"])
        .exits(0);
}

/// Two benchmarks whose measurements would each be load of the other.
const TWO_BENCHMARKS: &str = "\
topology: two
nodes: {here: {ssh: local}}
engines:
  gb10: {simulate: {profile: gb10-llama-3.1-8b}, args: {sim_load_seconds: 0}}
instances: {a: {node: here, port: 8100, engine: gb10, model: llama}}
benchmarks:
  second-by-name: {prompts: {inline: [Hello]}, load: {sequential: 1}, max_tokens: 8, warmup: 1}
  first-by-name: {prompts: {inline: [Hello]}, load: {batch: 16}, max_tokens: 8, warmup: 1}
";

/// Returns when a result's measurement began and ended, in microseconds of this machine's clock.
fn measured(result: &Value) -> (i64, i64) {
    let began: jiff::Timestamp = result["run"]["started"].as_str().unwrap().parse().unwrap();
    let window = &result["points"][0]["window"];
    let after = |key: &str| began.as_microsecond() + window[key].as_i64().unwrap();
    (after("start_us"), after("end_us"))
}

#[test]
fn two_benchmarks_are_measured_one_after_another_in_the_order_of_the_manifest() {
    let place = Workdir::with(TWO_BENCHMARKS);
    let applied = place.replica(&["apply", "-y", "--json"]).exits(0).json();
    let again = place.replica(&["bench", "--json"]).exits(0).json();
    for results in [&applied["benchmarks"], &again] {
        let results = results.as_array().unwrap();
        let names: Vec<_> = results.iter().map(|it| &it["job"]["name"]).collect();
        assert_eq!(names, ["second-by-name", "first-by-name"]);
        let ((began, ended), (then, _)) = (measured(&results[0]), measured(&results[1]));
        assert!(began < ended && ended < then, "{began} to {ended}, {then}");
    }
}

#[test]
fn a_measurement_of_something_else_says_of_what_and_one_of_this_counts_again() {
    let one = "one: {prompts: {inline: [Hello]}, load: {sequential: 1}, max_tokens: 16}";
    let place = Workdir::with(&format!("{SMALL}benchmarks:\n  {one}\n"));
    let _ = place.replica(&["apply", "-y"]).exits(0);
    place.change("max_tokens: 16", "max_tokens: 24");
    let _ = place
        .replica(&["plan"])
        .exits(0)
        .shows("max_tokens: 16 -> 24")
        .shows("1 to measure");
    let _ = place.replica(&["apply", "-y"]).exits(0).shows("1 measured");
    place.change("max_tokens: 24", "max_tokens: 16");
    let _ = place.replica(&["plan"]).exits(0).shows("No changes.");
}

#[test]
fn an_objective_that_is_missed_is_told_and_is_exit_eight_and_the_result_stands() {
    let one = |slo: &str| {
        format!(
            "one: {{prompts: {{inline: [Hello]}}, load: {{sequential: 8}}, max_tokens: 16, \
             repeats: 1, slo: {slo}, \
             fail_if: [{{metric: rps, below: 0.001}}]}}"
        )
    };
    let text = format!(
        "{SMALL}slos: {{lax: {{e2el: 1m}}}}\nbenchmarks:\n  {}\n",
        one("lax")
    );
    let place = Workdir::with(&text);
    let _ = place
        .replica(&["apply", "-y"])
        .exits(0)
        .shows("SLO met: 100 % of 8 requests within e2el 60 s")
        .shows("fail_if rps below 0.001");
    place.change("slo: lax", "slo: {e2el: 0.01ms, attainment: 50%}");
    let said = place.replica(&["apply", "-y"]).exits(8);
    let _ = said.shows("SLO missed: 0").shows("missed by e2el 8");
    let document = place.replica(&["bench", "--json"]).exits(8).json();
    let result = &document.as_array().unwrap()[0];
    let slo = &result["points"][0]["slo"];
    assert_eq!(
        (&result["valid"], &slo["met"], &slo["goodput_rps"]),
        (&true.into(), &false.into(), &0.0.into())
    );
    // It was measured, and is not measured again for being slow.
    let _ = place.replica(&["plan", "--detailed-exitcode"]).exits(0);
}

/// Engines that imitate an 8B, one at the pace of a GB10 and one at none, on a node of which it is said
/// that its memory is a GB10's.
const BOUNDED: &str = "\
topology: bounded
nodes: {here: {ssh: local, memory_bandwidth: 273 GB/s}}
engines:
  gb10: {simulate: {profile: gb10-llama-3.1-8b}, args: {sim_load_seconds: 0}}
  fast: {simulate: {profile: fast}}
instances: {a: {node: here, port: 8100, engine: gb10, model: llama}}
benchmarks:
  short:
    prompts: {inline: [Why?]}
    load: {sequential: 2}
    max_tokens: 8
";

#[test]
fn who_is_faster_than_its_memory_is_refused_and_who_is_not_has_it_beside() {
    let place = Workdir::with(BOUNDED);
    let _ = place
        .replica(&["apply", "-y"])
        .exits(0)
        .shows("roofline: 18.1 tok/s a stream at most (273 GB/s of the manifest / 15.0 GB read");
    place.change("engine: gb10, model", "engine: fast, model");
    let _ = place
        .replica(&["apply", "-y"])
        .exits(7)
        .shows("A8 above roofline")
        .shows("no more than 18.1 can be read out of its memory");
}
