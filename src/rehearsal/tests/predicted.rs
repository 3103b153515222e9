//! Predictions say how uncertain they are, and why they are none.

use super::*;

const REAL: &str = "topology: t
nodes:
  n: {ssh: u@192.0.2.1, addresses: {lan: 192.0.2.1, fabric: 198.51.100.1}}
  o: {ssh: u@192.0.2.2, addresses: {lan: 192.0.2.2, fabric: 198.51.100.2}}
models: {m: {repo: meta-llama/Llama-3.1-8B-Instruct}, other: {repo: some/other}}
engines: {e: {venv: ~/v, vllm: 0.13.0+cu130}}
instances:
  a: {node: n, port: 8100, engine: e, model: MODEL}
  b: {node: o, port: 8100, engine: e, model: MODEL}
proxy: {node: n, port: 8192}
benchmarks:
  x: {prompts: {synthetic: {input: 4096, output: 32}}, load: {concurrency: [1, 8], requests: 2x}, slo: {ttft: 2s}}
";

fn predicted(model: &str) -> Prediction {
    let text = REAL.replace("MODEL", model);
    let topology = crate::manifest::read(&text).unwrap_or_else(|error| panic!("{error:?}"));
    let mut all = predict(&topology, Path::new("."), 0);
    all.pop().expect("there is one")
}

#[test]
fn real_servers_are_predicted_with_an_interval() {
    let prediction = predicted("m");
    assert_eq!(prediction.prefill_tokens_per_s, [3000.0, 4000.0, 8000.0]);
    assert_eq!(prediction.points.len(), 2);
    for point in &prediction.points {
        let first = point.ttft_p50_ms.unwrap();
        assert!(first.least * 2.0 < first.most, "{first:?}");
        assert!(first.least < first.likely && first.likely < first.most);
        let met = point.attainment.unwrap();
        assert!(met.least <= met.most);
    }
    let written = serde_json::to_value(&prediction).unwrap();
    assert_eq!(written["simulated"], true);
    assert!(written.get("why_not").is_none());
}

#[test]
fn simulated_servers_are_what_they_are() {
    let benchmark = "prompts: {synthetic: {input: 64, output: 8}}, load: {sequential: 2}";
    let topology = Scene::of(GB10, &[""], benchmark).topology();
    let [prediction] = &predict(&topology, Path::new("."), 0)[..] else {
        panic!("there is one benchmark");
    };
    assert!(prediction.prefill_tokens_per_s.is_empty());
    let tokens = prediction.points[0].output_tps.unwrap();
    assert!((tokens.least - tokens.most).abs() < f64::EPSILON);
}

#[test]
fn what_no_profile_knows_is_told() {
    let prediction = predicted("other");
    let why = prediction.why_not.unwrap();
    assert!(why.ends_with("none of `some/other`"), "{why}");
    assert!(prediction.points.is_empty());
}
