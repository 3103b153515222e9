//! The result of a measurement: `replica.bench/1`. Fields are added to it, never changed.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::comparison::Comparison;
use super::job::Job;
use super::sample::hex;
use super::shape::LoadShape;
use super::summary::{DEFINITIONS, Summary};
use super::verdict::{Anomaly, invalidates};
use super::warmup::Warmup;

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

/// What measured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tool {
    /// `replica`.
    pub name: String,
    /// Its version.
    pub version: String,
}

/// One run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// Its name: a part of every request's id and cache salt.
    pub id: String,
    /// When it began, by the wall clock; nothing is computed from it.
    pub started: jiff::Timestamp,
}

/// Where the load came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientFacts {
    /// The host's name.
    pub host: String,
    /// Its operating system and architecture: `linux/aarch64`.
    pub platform: String,
    /// Its kernel's release.
    pub kernel: String,
    /// How many cores it lets this process use.
    pub cores: usize,
    /// The clock of every stamp.
    pub clock: String,
}

/// What was asked, without the prompts themselves.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobFacts {
    /// The benchmark's name.
    pub name: String,
    /// The topology's name.
    pub topology: String,
    /// The digest of all that the result depends on.
    pub fingerprint: String,
    /// The digest of what was measured, without the job: results of one are comparable.
    pub targets: String,
    /// The model's name.
    pub model: String,
    /// Where requests went.
    pub endpoint: super::job::Endpoint,
    /// The instances behind it.
    pub instances: Vec<super::job::Target>,
    /// When requests were sent.
    pub load: LoadShape,
    /// The prompts' facts.
    pub prompts: PromptFacts,
    /// Tokens asked of each request.
    pub max_tokens: u32,
    /// Requests sent to every instance before measuring.
    pub warmup: u32,
    /// Seconds that a request may take.
    pub timeout_s: f64,
    /// The name of the definitions of every metric.
    pub definitions: String,
}

/// What is told of prompts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PromptFacts {
    /// How many there are.
    pub count: usize,
    /// The digest of all of them, in order.
    pub sha256: String,
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
    pub(super) fn new(load: LoadShape, summary: Summary, anomalies: Vec<Anomaly>) -> Self {
        Self {
            load,
            summary,
            valid: !anomalies.iter().any(invalidates),
            anomalies,
        }
    }
}

impl Tool {
    pub(super) fn this() -> Self {
        Self {
            name: env!("CARGO_PKG_NAME").to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }
}

impl ClientFacts {
    pub(super) fn here() -> Self {
        let system = rustix::system::uname();
        Self {
            host: system.nodename().to_string_lossy().into_owned(),
            platform: format!("{}/{}", std::env::consts::OS, std::env::consts::ARCH),
            kernel: system.release().to_string_lossy().into_owned(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            clock: "monotonic".to_owned(),
        }
    }
}

impl From<&Job> for JobFacts {
    fn from(job: &Job) -> Self {
        Self {
            name: job.name.clone(),
            topology: job.topology.clone(),
            fingerprint: job.fingerprint.clone(),
            targets: job.targets(),
            model: job.model.clone(),
            endpoint: job.endpoint.clone(),
            instances: job.instances.clone(),
            load: job.load.clone(),
            prompts: PromptFacts::of(&job.prompts),
            max_tokens: job.max_tokens,
            warmup: job.warmup,
            timeout_s: job.timeout_s,
            definitions: DEFINITIONS.to_owned(),
        }
    }
}

impl PromptFacts {
    fn of(prompts: &[String]) -> Self {
        let text = serde_json::to_string(prompts).expect("texts are JSON");
        Self {
            count: prompts.len(),
            sha256: hex(&Sha256::digest(text)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::comparison::Comparison;
    use crate::load::verdict::scene::{cold_b, seed};

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
