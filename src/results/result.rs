//! The result of a measurement: `replica.bench/1`. Fields are added to it, never changed.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::anomaly::{Anomaly, invalidates};
use super::facts::{ClientFacts, JobFacts, Run, Tool};
use super::summary::Summary;
use super::warmup::Warmup;
use crate::shape::LoadShape;

/// The name of this form.
pub const SCHEMA: &str = "replica.bench/1";

/// A number with its conditions: what was measured, how, what came of it, and what speaks against
/// it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BenchResult {
    /// [`SCHEMA`].
    pub schema: String,
    /// What measured.
    pub tool: Tool,
    /// When, under which name.
    pub run: Run,
    /// From where.
    pub client: ClientFacts,
    /// What was measured: the job's provenance, as it stands.
    pub topology: Value,
    /// What was asked.
    pub job: JobFacts,
    /// What was sent before, and is in no statistic.
    pub warmup: Warmup,
    /// What came of it; these shapes have one point.
    pub points: Vec<Point>,
    /// How it stands beside the baseline.
    pub comparison: Option<Comparison>,
    /// Says that nothing forbids to believe it.
    pub valid: bool,
    /// What lies beside it.
    pub files: Files,
}

/// One load, and what came of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// The load.
    pub load: LoadShape,
    /// Window, counts, errors, metrics, instances.
    #[serde(flatten)]
    pub summary: Summary,
    /// What speaks against it, and what to know of the baseline.
    pub anomalies: Vec<Anomaly>,
    /// Says that no anomaly is an error.
    pub valid: bool,
}

/// A result beside its baseline.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// The baseline's file.
    pub baseline: String,
    /// Says that like is compared with like.
    pub comparable: bool,
    /// The numbers.
    pub rows: Vec<Row>,
    /// What to know before reading them, a sentence each.
    pub remarks: Vec<String>,
}

/// One number, ours and theirs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// What it is: `throughput`.
    pub what: String,
    /// Its unit: `tok/s`.
    pub unit: String,
    /// Ours.
    pub ours: f64,
    /// Theirs.
    pub theirs: f64,
    /// Ours over theirs; nothing where theirs is not the thing that its name says.
    pub ratio: Option<f64>,
    /// Says that a remark bears on it.
    pub flagged: bool,
}

/// What lies beside a result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Files {
    /// The requests, a line each.
    pub requests: String,
}

impl BenchResult {
    /// Returns all anomalies, point by point.
    pub fn anomalies(&self) -> impl Iterator<Item = &Anomaly> {
        self.points.iter().flat_map(|point| &point.anomalies)
    }

    /// Returns the summary of the only point of a sequential or batch load.
    pub fn summary(&self) -> Option<&Summary> {
        self.points.first().map(|point| &point.summary)
    }
}

impl Point {
    /// Joins what came of a load and what is to be thought of it.
    pub(crate) fn new(load: LoadShape, summary: Summary, anomalies: Vec<Anomaly>) -> Self {
        Self {
            load,
            summary,
            valid: !anomalies.iter().any(invalidates),
            anomalies,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::scene::{cold_b, seed};

    /// The notebook's run, as a result of ours.
    fn notebook_run() -> BenchResult {
        let mut scene = cold_b();
        let baseline = seed("baseline_metrics.json");
        scene.baseline = Some(baseline.clone());
        let summary = Summary::of(&scene.records);
        let anomalies = scene.judge();
        let comparison = Comparison::of(&scene.job, &summary, &baseline, &anomalies);
        let point = Point::new(scene.job.load.clone(), summary, anomalies);
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

    #[test]
    fn the_notebooks_run_as_a_result() {
        let text = serde_json::to_string_pretty(&notebook_run()).unwrap();
        insta::assert_snapshot!(text);
    }

    #[test]
    fn a_result_reads_back_as_itself_and_takes_what_later_versions_add() {
        let result = notebook_run();
        let mut value = serde_json::to_value(&result).unwrap();
        value["added_later"] = "x".into();
        value["points"][0]["metrics"]["added_later"] = 1.into();
        assert_eq!(
            serde_json::from_value::<BenchResult>(value).unwrap(),
            result
        );
    }
}
