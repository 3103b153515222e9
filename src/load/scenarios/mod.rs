//! Measurements of scripted servers, over real sockets.

mod compared;
mod failing;
mod healthy;
mod prompts;
mod queueing;
mod relayed;
mod several;
mod unknown;

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tempfile::TempDir;
use tokio::sync::Barrier;

use super::fake::{Asked, Fake, Step, answer, chunk, finish, head, healthy, token};
use super::request::Requests;
use super::*;
use crate::plan::{Endpoint, Failure, Job, Look, Phase, Target, WarmWhen};
use crate::prompts::known::{inline, synthetic};
use crate::prompts::{Api, Cache, Keep, Sampling};
use crate::results::{
    BenchResult, KeptPrompt, PastResult, Record, Severity, Status, Summary, Surveyed, past_results,
    read_baseline,
};
use crate::shape::Shape;
use crate::shape::known::{batch, concurrency, sequential};

const TOKENS: u64 = 4;

fn target(name: &str, fake: &Fake) -> Target {
    Target {
        name: name.to_owned(),
        authority: fake.authority.clone(),
        nonce: format!("replica-{name}"),
        max_num_seqs: Some(256),
        role: None,
    }
}

/// The newest result of the batch that planning would find.
fn newest(lab: &Lab) -> Option<PastResult> {
    let past = past_results(lab.results.path(), "lab", "batch");
    past.into_iter().next()
}

/// Nobody looks at the machines.
async fn nobody(_: Look) -> Surveyed {
    Surveyed::new()
}

/// Two replicas and what stands before them.
struct Lab {
    a: Fake,
    b: Fake,
    proxy: Fake,
    results: TempDir,
}

impl Lab {
    /// A proxy that alternates; `script` is what it sends for each measured request, and for the one
    /// that warms it.
    async fn new(
        script: impl Fn(&Asked, &'static str) -> Vec<Step> + Send + Sync + 'static,
    ) -> Self {
        Self {
            a: Fake::start("replica-a", |_| healthy(None, TOKENS)).await,
            b: Fake::start("replica-b", |_| healthy(None, TOKENS)).await,
            proxy: Fake::start("none", move |asked| {
                script(asked, ["a", "b"][asked.index % 2])
            })
            .await,
            results: TempDir::new().unwrap(),
        }
    }

    async fn healthy() -> Self {
        Self::new(|_, instance| healthy(Some(instance), TOKENS)).await
    }

    fn job(&self, name: &str, load: Shape) -> Job {
        Job {
            name: name.to_owned(),
            topology: "lab".to_owned(),
            fingerprint: "f-1".to_owned(),
            endpoint: Endpoint {
                authority: self.proxy.authority.clone(),
                is_proxy: true,
                policy: Some("round_robin".to_owned()),
            },
            instances: vec![target("a", &self.a), target("b", &self.b)],
            model: "tiny".to_owned(),
            prompts: inline(&["What is a REST API?", "Why?"], TOKENS as u32),
            api: Api::Completions,
            sampling: Sampling::default(),
            cache: Cache::Salt,
            keep: None,
            load: load.into(),
            repeats: Some(1),
            canary: 0,
            idle: Vec::new(),
            idle_placed: Vec::new(),
            placed: Vec::new(),
            manifest: None,
            from: None,
            max_tokens: TOKENS as u32,
            warmup: 2,
            warm_when: WarmWhen::default(),
            slo: None,
            fail_if: Vec::new(),
            timeout_s: 20.0,
            api_keys: BTreeMap::new(),
            baseline: None,
            save: None,
            results: self.results.path().to_owned(),
            provenance: json!({"instances": {"a": {"args": {"gpu_memory_utilization": 0.3}}}}),
            tags: BTreeMap::new(),
            notes: Vec::new(),
        }
    }
}

/// Measures a job that needs no API key, to the end.
async fn measured(job: &Job) -> Result<Measurement, Failure> {
    measured_with(job, &BTreeMap::new(), |_| {}).await
}

async fn measured_with(
    job: &Job,
    keys: &BTreeMap<String, String>,
    tell: impl FnMut(Phase) + Send,
) -> Result<Measurement, Failure> {
    measure(job, keys, std::future::pending(), tell, nobody).await
}

async fn run(job: &Job) -> Measurement {
    measured(job).await.unwrap()
}

/// The requests of a job whose prompts are drawn.
pub(super) async fn requests() -> Requests {
    let lab = Lab::healthy().await;
    let drawn = synthetic(&json!({"input": {"uniform": [5, 40]}, "output": 2}));
    Requests::of(
        &Job {
            prompts: drawn,
            ..lab.job("drawn", sequential(1))
        },
        "1",
    )
}

/// What came of the one load of a measurement.
fn only(outcome: &Measurement) -> &Summary {
    let [point] = outcome.result.points.as_slice() else {
        panic!("{} points", outcome.result.points.len());
    };
    &point.summary
}
