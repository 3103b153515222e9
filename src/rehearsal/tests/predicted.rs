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
    predicted_in(Path::new("."), &REAL.replace("MODEL", model))
}

/// What is predicted of a manifest that lies in a folder.
fn predicted_in(folder: &Path, text: &str) -> Prediction {
    let topology = crate::manifest::read(text).unwrap_or_else(|error| panic!("{error:?}"));
    let mut all = predict(&topology, folder, 0);
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

/// A profile of a model that no other is of.
fn profile(version: &str, by_default: &[&str]) -> serde_json::Value {
    serde_json::json!({
        "schema": "replica.profile/1",
        "of": {"model": "some/other", "engine": {"vllm": version, "packages": {}}, "args": {}},
        "pace": {"step_ms": [[1, 10], [8, 12]], "token_read_us": 0.1, "prompt_token_us": 50, "pair_ns": 1},
        "uncertain": {"step": [0.01, 0.01], "context": 0.1, "prompt": 0.1, "attention": null},
        "by_default": by_default,
        "cells": [],
    })
}

#[test]
fn a_profile_of_measurements_is_gone_by() {
    let place = tempfile::tempdir().unwrap();
    let text = REAL.replace("MODEL", "other");
    let text = text.replace(
        "vllm: 0.13.0+cu130",
        "vllm: 0.13.0+cu130, profile: mine.json",
    );
    let of = |profile: &serde_json::Value| {
        std::fs::write(place.path().join("mine.json"), profile.to_string()).unwrap();
        predicted_in(place.path(), &text)
    };
    let certain = of(&profile("0.13.0+cu130", &["attention"]));
    assert_eq!(certain.profiles, ["mine.json"]);
    assert!(certain.prefill_tokens_per_s.is_empty(), "{certain:?}");
    let between = certain.points[0].tpot_p50_ms.unwrap();
    assert!((10.0..11.0).contains(&between.likely), "{between:?}");
    let uncertain = of(&profile("0.13.0+cu130", &["prompt", "attention"]));
    assert_eq!(uncertain.prefill_tokens_per_s.len(), 3);
    let other = of(&profile("0.14.0", &[])).why_not.unwrap();
    assert!(
        other.ends_with("is of 0.14.0, and not of 0.13.0+cu130"),
        "{other}"
    );
    let none = predicted_in(Path::new("."), &text).why_not.unwrap();
    assert!(
        none.contains("cannot read the profile ./mine.json"),
        "{none}"
    );
}
