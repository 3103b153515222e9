//! Measurements beside others: the notebook's files, read and written.

use super::*;
use crate::results::single_throughput;

#[tokio::test]
async fn the_notebooks_file_has_both_halves_and_contradicts_itself_in_none() {
    let lab = Lab::healthy().await;
    let path = lab.results.path().join("out/replicated_metrics.json");
    let mut single = lab.job("single", sequential(2));
    single.save = Some(path.clone());
    run(&single).await;
    let half: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    assert!(half["batch_processing"].is_null());

    let mut batch = lab.job("batch", batch(4));
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
    let mean = only(&outcome).mean_latency_ms().unwrap();
    assert_eq!(whole["batch_processing"]["avg_latency_ms"], mean);
    assert_eq!(whole["batch_processing"]["total_tokens"], 4 * TOKENS);
    let read = read_baseline(&path).unwrap();
    let figures = read.claim(batch.load.only().unwrap()).unwrap().figures;
    assert!(!figures.single.unwrap().contradicts_itself());
    assert!(!figures.batch.unwrap().latency_is_impossible());
}

#[tokio::test]
async fn a_baseline_is_set_beside_the_result_with_its_faults() {
    let lab = Lab::healthy().await;
    let mut job = lab.job("batch", batch(8));
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
    job.baseline = Some(outcome.path.clone());
    let again = run(&job).await;
    let told = only(&again).metrics.ttft.is_some() && only(&outcome).metrics.ttft.is_some();
    let beside = again.result.comparison.unwrap();
    assert!(beside.comparable, "{:?}", beside.remarks);
    let mut rows = beside.rows.iter();
    assert_eq!(rows.any(|row| row.what == "median TTFT"), told);
    job.baseline = Some(seed_path("environment_config.json"));
    assert!(measured(&job).await.is_err());
}

#[tokio::test]
async fn what_was_simulated_is_known_for_it_wherever_it_is_kept() {
    let lab = Lab::healthy().await;
    let path = lab.results.path().join("metrics.json");
    let mut job = lab.job("batch", batch(8));
    job.save = Some(path.clone());
    let real = run(&job).await;
    assert!(!read_baseline(&path).unwrap().simulated);
    job.provenance["instances"] = json!([{"spec": {"engine": {"simulate": {"profile": "fast"}}}}]);
    let simulated = run(&job).await;
    for file in [&path, &simulated.path] {
        assert!(read_baseline(file).unwrap().simulated, "{}", file.display());
    }
    job.baseline = Some(real.path);
    let beside = run(&job).await.result.comparison.unwrap();
    assert!(!beside.comparable);
    assert!(beside.remarks[0].contains("its engines were real, ours are simulated"));
}

#[tokio::test]
async fn a_closed_loop_is_compared_with_one_and_never_saved_as_a_single_request() {
    let lab = Lab::healthy().await;
    let path = lab.results.path().join("replicated_metrics.json");
    let mut closed = lab.job("closed", concurrency(4, 12));
    closed.save = Some(path.clone());
    let outcome = run(&closed).await;
    assert!(outcome.valid, "{:?}", outcome.anomalies);
    assert_eq!(only(&outcome).counts.ok, 12);
    assert_eq!(only(&outcome).metrics.in_flight.peak, 4);
    assert_eq!((outcome.saved, path.exists()), (None, false));

    // It is no half of anybody else's file either, and no reference for rules.
    let mut together = lab.job("batch", batch(4));
    together.save = Some(path.clone());
    run(&together).await;
    let half: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    assert!(half["single_request"].is_null() && !half["batch_processing"].is_null());
    let targets = &outcome.result.job.targets;
    assert_eq!(single_throughput(lab.results.path(), "lab", targets), None);

    closed.baseline = Some(outcome.path);
    let beside = run(&closed).await.result.comparison.unwrap();
    assert!(beside.comparable, "{:?}", beside.remarks);
    let what: Vec<&str> = beside.rows.iter().map(|row| row.what.as_str()).collect();
    let expected = ["throughput", "mean latency", "tokens in all"];
    // Whether reads merged events, which leaves medians out, is the machine's to say.
    assert_eq!(what[..3], expected);

    together.baseline = closed.baseline;
    let beside = run(&together).await.result.comparison.unwrap();
    assert!(!beside.comparable);
    assert!(beside.remarks[0].contains("its load is `concurrency 4 x 12`, ours `batch 4`"));
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
