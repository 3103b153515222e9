//! Measurements beside others: the notebook's files, read and written.

use super::*;

#[tokio::test]
async fn the_notebooks_file_has_both_halves_and_contradicts_itself_in_none() {
    let lab = Lab::healthy().await;
    let path = lab.results.path().join("out/replicated_metrics.json");
    let mut single = lab.job("single", LoadShape::Sequential(2));
    single.save = Some(path.clone());
    run(&single).await;
    let half: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    assert!(half["batch_processing"].is_null());

    let mut batch = lab.job("batch", LoadShape::Batch(4));
    batch.save = Some(path.clone());
    let outcome = run(&batch).await;
    assert_eq!(outcome.saved.as_deref(), Some(path.as_path()));
    let whole: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    assert_eq!(keys(&whole), keys(&seed("replicated_metrics.json")));
    for part in ["config", "single_request", "batch_processing"] {
        assert_eq!(
            keys(&whole[part]),
            keys(&seed("replicated_metrics.json")[part])
        );
    }
    assert_eq!(
        whole["config"],
        json!({"num_instances": 2, "gpu_memory_utilization": 0.3, "routing": "round-robin", "kv_transfer": "none"})
    );
    let mean = outcome
        .result
        .summary()
        .unwrap()
        .metrics
        .e2el
        .as_ref()
        .unwrap()
        .mean;
    assert_eq!(whole["batch_processing"]["avg_latency_ms"], mean);
    assert_eq!(whole["batch_processing"]["total_tokens"], 4 * TOKENS);
    let read = read_baseline(&path).unwrap();
    assert!(!read.figures.single.unwrap().contradicts_itself());
    assert!(!read.figures.batch.unwrap().latency_is_impossible());
}

#[tokio::test]
async fn a_baseline_is_set_beside_the_result_with_its_faults() {
    let lab = Lab::healthy().await;
    let mut job = lab.job("batch", LoadShape::Batch(8));
    job.baseline = Some(seed_path("baseline_metrics.json"));
    let outcome = run(&job).await;
    assert!(outcome.valid);
    let beside = outcome.result.comparison.as_ref().unwrap();
    let remarks = beside.remarks.join("\n");
    for fault in [
        "816.6 ms",
        "200 tokens",
        "within the process",
        "ours `tiny`",
    ] {
        assert!(remarks.contains(fault), "{remarks}");
    }
    job.baseline = Some(outcome.path);
    let again = run(&job).await;
    let beside = again.result.comparison.unwrap();
    assert!(beside.comparable, "{:?}", beside.remarks);
    assert!(beside.rows.iter().any(|row| row.what == "median TTFT"));
    job.baseline = Some(seed_path("environment_config.json"));
    assert!(measure(&job, |_| {}).await.is_err());
}

fn seed(name: &str) -> serde_json::Value {
    serde_json::from_slice(&fs::read(seed_path(name)).unwrap()).unwrap()
}

fn seed_path(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data/seed")
        .join(name)
}

fn keys(value: &serde_json::Value) -> Vec<String> {
    value.as_object().unwrap().keys().cloned().collect()
}
