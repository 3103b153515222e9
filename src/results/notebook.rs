//! The notebook's metrics files: read as baselines, written for their readers.
//!
//! What is written keeps the notebook's keys and mends their meaning: `avg_latency_ms` is the mean
//! of `t_last − t_sent`, and `tokens` is what the server counted.

use std::fs;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::figures::{BatchFigures, Figures, SingleFigures};
use super::result::{BenchResult, Point, is_simulated};
use super::store;
use crate::plan::{Failure, Job};
use crate::shape::Class;

/// The key of `config` that tells simulated servers from real ones.
const SIMULATED: &str = "simulated";

/// A metrics file of the notebooks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Notebook {
    pub(crate) timestamp: Option<String>,
    pub(crate) model: Option<String>,
    #[serde(default)]
    pub(crate) config: Map<String, Value>,
    pub(crate) single_request: Option<SingleRequest>,
    pub(crate) batch_processing: Option<BatchProcessing>,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct SingleRequest {
    pub(crate) latency_ms: f64,
    #[serde(serialize_with = "whole")]
    pub(crate) tokens: f64,
    pub(crate) throughput_tokens_per_sec: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct BatchProcessing {
    #[serde(serialize_with = "whole")]
    pub(crate) batch_size: f64,
    #[serde(serialize_with = "whole")]
    pub(crate) total_tokens: f64,
    pub(crate) throughput_tokens_per_sec: f64,
    pub(crate) avg_latency_ms: f64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it")]
fn whole<S: serde::Serializer>(count: &f64, out: S) -> Result<S::Ok, S::Error> {
    out.serialize_u64(count.round() as u64)
}

/// Writes the job's `save:` file, if it asks for one, the result may be believed, and the file has a
/// place for its load.
pub(crate) fn save(job: &Job, result: &BenchResult) -> Result<Option<PathBuf>, Failure> {
    let has_place = result.valid && Notebook::has_place(result);
    let wanted = job.save.as_deref().filter(|_| has_place);
    let Some(path) = wanted else {
        return Ok(None);
    };
    // A half that this result has not is that of the newest result on the very same targets.
    let notebook = Notebook::of(result, |wanted| {
        let targets = &result.job.targets;
        Some(store::newest_like(&job.results, &job.topology, targets, wanted)?.1)
    });
    let write = || {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        store::replace(path, &store::pretty(&notebook)?)
    };
    write()
        .map(|()| Some(path.to_owned()))
        .map_err(|error| Failure::new(format!("cannot write {}: {error}", path.display())))
}

/// Whether the notebook's file has a place for such a load: a request alone, or a batch.
pub fn can_be_saved(class: Class) -> bool {
    class.is_alone() || is_batch(class)
}

fn is_batch(class: Class) -> bool {
    matches!(class, Class::Together { .. })
}

impl Notebook {
    /// Whether its servers only pretended to be vLLM.
    pub(crate) fn is_simulated(&self) -> bool {
        self.config.get(SIMULATED).and_then(Value::as_bool) == Some(true)
    }

    /// The file of a result. A half that it has not is that of the result that `found` has for it.
    pub(super) fn of(
        result: &BenchResult,
        found: impl Fn(fn(&BenchResult) -> bool) -> Option<BenchResult>,
    ) -> Self {
        let local = result
            .run
            .started
            .to_zoned_datetime(jiff::tz::TimeZone::system());
        Self {
            timestamp: Some(local.strftime("%Y-%m-%dT%H:%M:%S%.6f").to_string()),
            model: Some(weights(result)),
            config: config(result),
            single_request: single(result).or_else(|| single(&found(|it| single(it).is_some())?)),
            batch_processing: batch(result).or_else(|| batch(&found(|it| batch(it).is_some())?)),
        }
    }

    /// Whether the file has a place for a load of this result.
    pub(super) fn has_place(result: &BenchResult) -> bool {
        single(result).is_some() || batch(result).is_some()
    }

    /// What it claims.
    pub(crate) fn figures(&self) -> Figures {
        Figures {
            single: self.single_request.map(|single| SingleFigures {
                latency_ms: single.latency_ms,
                tokens: single.tokens,
                tokens_per_s: single.throughput_tokens_per_sec,
            }),
            batch: self.batch_processing.map(|batch| BatchFigures {
                size: batch.batch_size,
                tokens: batch.total_tokens,
                tokens_per_s: batch.throughput_tokens_per_sec,
                mean_latency_ms: batch.avg_latency_ms,
            }),
            steady: None,
        }
    }
}

/// The half of one request: of the first load whose requests were alone.
fn single(result: &BenchResult) -> Option<SingleRequest> {
    let alone = |point: &&Point| point.load.class().is_alone();
    let point = result.points.iter().find(alone)?;
    let latency_ms = point.summary.typical().e2el_mean_ms?;
    let tokens = point.summary.tokens_each()?;
    Some(SingleRequest {
        latency_ms,
        tokens,
        throughput_tokens_per_sec: tokens / latency_ms * 1000.0,
    })
}

/// The half of the batch: of the first load whose requests were sent together.
fn batch(result: &BenchResult) -> Option<BatchProcessing> {
    let together = |point: &&Point| is_batch(point.load.class());
    let Point { summary, .. } = result.points.iter().find(together)?;
    let typical = summary.typical();
    Some(BatchProcessing {
        batch_size: typical.requests as f64,
        total_tokens: typical.output_tokens as f64,
        throughput_tokens_per_sec: summary.metrics.output_tps?,
        avg_latency_ms: typical.e2el_mean_ms?,
    })
}

fn config(result: &BenchResult) -> Map<String, Value> {
    let job = &result.job;
    let policy = job.endpoint.policy.as_deref().unwrap_or("none");
    let transfer = match policy {
        "prefill_decode" => "nixl",
        _ => "none",
    };
    let mut config = json!({
        "num_instances": job.instances.len(),
        "gpu_memory_utilization": memory_share(&result.topology),
        "routing": policy.replace('_', "-"),
        "kv_transfer": transfer,
    });
    if is_simulated(&result.topology) {
        // The notebooks knew real servers alone: they need no word for that.
        config[SIMULATED] = true.into();
    }
    let rounds = result
        .points
        .iter()
        .find_map(|it| it.summary.rounds.as_ref());
    if let Some(rounds) = rounds {
        // The notebooks drove a load once.
        config["rounds"] = rounds.n.into();
        config["round"] = "median".into();
    }
    config.as_object().cloned().unwrap_or_default()
}

/// The model as others call it: its repository, where it has one.
fn weights(result: &BenchResult) -> String {
    let repo = result.topology.pointer("/instances/0/repo");
    repo.and_then(Value::as_str)
        .unwrap_or(&result.job.model)
        .to_owned()
}

/// Finds vLLM's share of the memory in what is known of the conditions, as a setting or in an argv.
fn memory_share(provenance: &Value) -> Option<f64> {
    match provenance {
        Value::Object(map) => map
            .get("gpu_memory_utilization")
            .and_then(Value::as_f64)
            .or_else(|| map.values().find_map(memory_share)),
        Value::Array(list) => list
            .windows(2)
            .find(|pair| pair[0] == "--gpu-memory-utilization")
            .and_then(|pair| pair[1].as_str()?.parse().ok())
            .or_else(|| list.iter().find_map(memory_share)),
        Value::String(text) => text
            .strip_prefix("--gpu-memory-utilization=")
            .and_then(|share| share.parse().ok()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_share_is_found_wherever_it_is_told() {
        let told = [
            json!({"instances": [{"args": {"gpu_memory_utilization": 0.3}}]}),
            json!({"instances": {"a": {"argv": ["serve", "--gpu-memory-utilization", "0.3"]}}}),
            json!([["serve", "--gpu-memory-utilization=0.3"]]),
        ];
        for provenance in told {
            assert_eq!(memory_share(&provenance), Some(0.3));
        }
        assert_eq!(memory_share(&json!({"a": [1, "x"]})), None);
    }
}
