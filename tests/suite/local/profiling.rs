//! How fast an engine computes is told by measuring it, and then predicts what was not measured.

use serde_json::Value;

use crate::suite::support::Workdir;

/// A server whose physics is known. Its steps are long beside what a busy machine adds to them.
const KNOWN: &str = "\
topology: known
nodes: {here: {ssh: local}}
engines:
  demo:
    simulate: {}
    args:
      sim_load_seconds: 0
      sim_pace: {step_ms: [[1, 20], [8, 24]], token_read_us: 0.2, prompt_token_us: 25, pair_ns: 0.9}
instances:
  a: {node: here, port: 8100, engine: demo, model: demo}
benchmarks:
  one: &short
    prompts: {synthetic: {input: 64, output: 24}}
    load: {sequential: 2}
    repeats: 1
    warmup: 1
  eight: {<<: *short, load: {batch: 8}}
  deep: {<<: *short, prompts: {synthetic: {input: 3000, output: 24}}, load: {batch: 8}}
  long: {<<: *short, prompts: {synthetic: {input: 6000, output: 4}}}
  alone: {<<: *short, prompts: {synthetic: {input: 1500, output: 4}}, load: {sequential: 4}}
  other: {<<: *short, prompts: {synthetic: {input: 1500, output: 24}}, load: {concurrency: 4, requests: 8}}
";

/// What was predicted of a load, or measured of it.
fn median<'a>(of: &'a Value, keys: &[&str]) -> &'a Value {
    keys.iter().fold(of, |value, key| &value[*key])
}

fn is_about(one: &Value, other: f64, share: f64) -> bool {
    (one.as_f64().unwrap() / other - 1.0).abs() < share
}

/// What an apply measures, with the CPU that it needs: who has too little of it is slow for another reason
/// than the engine, and says so.
fn measured(place: &Workdir) -> Value {
    let mut applied = Value::Null;
    for _ in 0..4 {
        let _ = std::fs::remove_dir_all(place.work().join("results"));
        applied = place.replica(&["apply", "-y", "--json"]).json();
        if !applied["benchmarks"].to_string().contains("\"A21\"") {
            break;
        }
    }
    applied
}

#[test]
fn what_was_measured_predicts_what_was_not() {
    let place = Workdir::measuring(KNOWN);
    let applied = measured(&place);
    let fit = [
        "profile",
        "topology.yaml",
        "one",
        "eight",
        "deep",
        "long",
        "--out",
        "mine.json",
    ];
    let _ = place
        .replica(&fit)
        .exits(0)
        .shows("a simulated engine")
        .shows("batch 8")
        .shows("written to mine.json");
    let profile: Value = serde_json::from_str(&place.read("mine.json")).unwrap();
    let pace = &profile["pace"];
    assert!(is_about(&pace["step_ms"][0][1], 20.0, 0.1), "{profile:#}");
    assert!(
        is_about(&pace["prompt_token_us"], 25.0, 0.15),
        "{profile:#}"
    );
    let by_default = profile["by_default"].as_array().unwrap();
    assert!(!by_default.contains(&"prompt".into()), "{profile:#}");

    // The same server, as it would be by the profile alone.
    let file = place.work().join("mine.json");
    let known = KNOWN
        .lines()
        .find(|line| line.contains("sim_pace"))
        .unwrap();
    place.change(known, &format!("      sim_pace: {}", file.display()));
    let plan = place
        .replica(&["plan", "--predict", "--json"])
        .exits(0)
        .json();
    let named = |all: &Value, name: &str, key: &[&str]| -> Value {
        let mut all = all.as_array().unwrap().iter();
        let one = all.find(|it| median(it, key) == name);
        one.unwrap_or_else(|| panic!("{name}")).clone()
    };
    // Of prompts that come together, who is read first is chance, and the half of eight lies between two
    // of their places: how soon an answer begins is told of one alone.
    for (benchmark, key, metric) in [
        ("alone", "ttft_p50_ms", "ttft"),
        ("other", "tpot_p50_ms", "tpot"),
    ] {
        let predicted = &named(&plan["predicted"], benchmark, &["benchmark"])["points"][0];
        let measured = &named(&applied["benchmarks"], benchmark, &["job", "name"])["points"][0];
        let measured = median(measured, &["metrics", metric, "p50", "value"]);
        let said = &predicted[key]["likely"];
        assert!(
            is_about(said, measured.as_f64().unwrap(), 0.2),
            "{metric}: {said} {measured}"
        );
    }
}

#[test]
fn what_tells_no_profile_says_why() {
    let place = Workdir::with(&KNOWN.replace("repeats: 1", "repeats: 1\n    cache: allow"));
    let _ = place
        .replica(&["profile"])
        .exits(1)
        .says("there is no result of");
    place.write("mine.json", "{}");
    place.change(
        "    simulate: {}",
        "    simulate: {}\n    profile: mine.json",
    );
    let _ = place
        .replica(&["validate"])
        .exits(65)
        .says("a simulated engine has no `profile`");
    let real = "topology: t\nnodes: {n: {ssh: u@192.0.2.1, addresses: {lan: 192.0.2.1}}}\n\
                models: {m: {repo: o/m}}\nengines: {e: {venv: ~/v, vllm: 0.13.0, profile: mine.json}}\n\
                instances:\n  a: {node: n, port: 8100, engine: e, model: m}\n";
    place.write("real.yaml", real);
    let said = place.replica(&["validate", "real.yaml"]).exits(65);
    let _ = said.says("it does not say `\"schema\": \"replica.profile/1\"`");
}
