//! The notebook's metrics files: read as baselines, written for their readers.
//!
//! What is written keeps the notebook's keys and mends their meaning: `avg_latency_ms` is the mean
//! of `t_last − t_sent`, and `tokens` is what the server counted.

use std::fs;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::result::BenchResult;
use super::store;
use crate::plan::{Failure, Job};
use crate::shape::LoadShape;

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

/// Writes the job's `save:` file, if it asks for one and the result may be believed.
pub(crate) fn save(job: &Job, result: &BenchResult) -> Result<Option<PathBuf>, Failure> {
    let Some(path) = job.save.as_deref().filter(|_| result.valid) else {
        return Ok(None);
    };
    let write = || {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        store::replace(path, &store::pretty(&Notebook::of(job, result))?)
    };
    write()
        .map(|()| Some(path.to_owned()))
        .map_err(|error| Failure::new(format!("cannot write {}: {error}", path.display())))
}

impl Notebook {
    /// One half is this result; the other is the newest result of the other shape on the very same
    /// targets, or nothing.
    fn of(job: &Job, result: &BenchResult) -> Self {
        let other = store::newest_like(&job.results, &job.topology, &result.job.targets, |load| {
            is_batch(load) != is_batch(&job.load)
        });
        let all = [Some(result), other.as_ref().map(|(_, result)| result)];
        let local = result.run.started.to_zoned(jiff::tz::TimeZone::system());
        Self {
            timestamp: Some(local.strftime("%Y-%m-%dT%H:%M:%S%.6f").to_string()),
            model: Some(weights(job)),
            config: config(job),
            single_request: all.into_iter().flatten().find_map(single),
            batch_processing: all.into_iter().flatten().find_map(batch),
        }
    }
}

fn is_batch(load: &LoadShape) -> bool {
    matches!(load, LoadShape::Batch(_))
}

fn single(result: &BenchResult) -> Option<SingleRequest> {
    let latency_ms = result.summary()?.metrics.e2el.as_ref()?.mean;
    let tokens = f64::from(result.job.max_tokens);
    (!is_batch(&result.job.load)).then(|| SingleRequest {
        latency_ms,
        tokens,
        throughput_tokens_per_sec: tokens / latency_ms * 1000.0,
    })
}

fn batch(result: &BenchResult) -> Option<BatchProcessing> {
    let summary = result.summary()?;
    let wanted = is_batch(&result.job.load).then_some(&summary.metrics)?;
    Some(BatchProcessing {
        batch_size: summary.counts.total as f64,
        total_tokens: wanted.output_tokens as f64,
        throughput_tokens_per_sec: wanted.output_tps?,
        avg_latency_ms: wanted.e2el.as_ref()?.mean,
    })
}

fn config(job: &Job) -> Map<String, Value> {
    let policy = job.endpoint.policy.as_deref().unwrap_or("none");
    let transfer = match policy {
        "prefill_decode" => "nixl",
        _ => "none",
    };
    let config = json!({
        "num_instances": job.instances.len(),
        "gpu_memory_utilization": memory_share(&job.provenance),
        "routing": policy.replace('_', "-"),
        "kv_transfer": transfer,
    });
    config.as_object().cloned().unwrap_or_default()
}

/// Returns the model as others call it: its repository, where it has one.
fn weights(job: &Job) -> String {
    let repo = job.provenance.pointer("/instances/0/repo");
    repo.and_then(Value::as_str)
        .unwrap_or(&job.model)
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
