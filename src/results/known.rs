//! A result for tests: the notebook's run, with what is to be thought of it.

use super::*;
use crate::verdict::scene::{cold_b, seed};

/// The notebook's run, as a result of ours.
pub(crate) fn notebook_run() -> BenchResult {
    let mut scene = cold_b();
    let baseline = seed("baseline_metrics.json");
    scene.baseline = Some(baseline.clone());
    let point = scene.point();
    let comparison = Comparison::of(&scene.job, std::slice::from_ref(&point), &baseline);
    BenchResult {
        schema: SCHEMA.to_owned(),
        tool: Tool {
            name: "replica".to_owned(),
            version: "0.0.0".to_owned(),
        },
        run: Run {
            id: "00000000deadbeef".to_owned(),
            started: "2026-02-06T08:39:45.112Z".parse().unwrap(),
        },
        client: ClientFacts {
            host: "controller".to_owned(),
            platform: "linux/aarch64".to_owned(),
            kernel: "6.11.0".to_owned(),
            cores: 4,
            clock: "monotonic".to_owned(),
        },
        topology: scene.provenance,
        job: scene.job,
        warmup: scene.warmup,
        valid: point.valid,
        points: vec![point],
        comparison: Some(Comparison {
            baseline: "baseline_metrics.json".to_owned(),
            ..comparison
        }),
        files: Files {
            requests: "2026-02-06T08-39-45.112Z.requests.jsonl".to_owned(),
        },
    }
}
