//! Runs to judge, made of known times.

use std::path::Path;

use indexmap::IndexMap;
use serde_json::{Value, json};

use super::*;
use crate::plan::Endpoint;
use crate::prompts::{Api, Cache, Sampling};
use crate::results::{
    BenchResult, ClientFacts, Comparison, CpuPressure, Cut, DEFINITIONS, Files, PromptFacts, Run,
    SCHEMA, ServerMetrics, Stamps, Status, Tool, WarmedInstance, WarmupRequest, read_baseline,
    rooflines,
};
use crate::shape::known;
use crate::shape::{Shape, Stopped};

/// A request of 100 tokens, ok, by its moments in milliseconds.
pub(crate) fn request(index: u32, instance: &str, sent: f64, first: f64, last: f64) -> Record {
    let us = |ms: f64| (ms * 1000.0).round() as u64;
    Record {
        point: 0,
        round: 0,
        index,
        id: format!("r-{index}"),
        instance: Some(instance.to_owned()),
        prefilled_by: None,
        echo: None,
        status: Status::Ok,
        http_status: Some(200),
        error: None,
        stamps: Stamps {
            planned: us(sent),
            sent: Some(us(sent)),
            first: Some(us(first)),
            last: Some(us(last)),
            eof: Some(us(last)),
            ended: us(last),
            ..Stamps::default()
        },
        n_in: Some(10),
        n_out: Some(100),
        cached: None,
        tokens: vec![(us(first), 1), (us(last), 99)],
        coalesced_events: 0,
        tokens_estimated: false,
        finish: Some("length".to_owned()),
        text_sha256: None,
        asked: Some(100),
        prompt_number: Some(index),
        prompt: None,
        answer: None,
    }
}

/// Eight requests at once, four a replica, by the time that each of them took.
pub(crate) fn batch(a: [f64; 4], b: [f64; 4]) -> Vec<Record> {
    let of = |name: &'static str, times: [f64; 4], from: u32| {
        times
            .into_iter()
            .zip(from..)
            .map(move |(ms, index)| request(index, name, 0.0, ms * 0.02, ms))
    };
    of("a", a, 0).chain(of("b", b, 4)).collect()
}

/// Rounds of a load, one after another.
pub(crate) fn rounds(of: impl IntoIterator<Item = Vec<Record>>) -> Vec<Record> {
    let mut records: Vec<Record> = Vec::new();
    for (number, round) in (0..).zip(of) {
        let now = records.iter().map(|r| r.stamps.ended).max();
        let now = now.map_or(0, |ended| ended + 1000);
        records.extend(round.into_iter().map(|record| later(record, now, number)));
    }
    records
}

fn later(mut record: Record, by: u64, round: u32) -> Record {
    let stamps = &mut record.stamps;
    for stamp in [
        &mut stamps.sent,
        &mut stamps.first,
        &mut stamps.last,
        &mut stamps.eof,
    ] {
        *stamp = stamp.map(|at| at + by);
    }
    stamps.planned += by;
    stamps.ended += by;
    for (at, _) in &mut record.tokens {
        *at += by;
    }
    Record { round, ..record }
}

pub(crate) fn facts(load: Shape, max_num_seqs: Option<u32>) -> JobFacts {
    let target = |name: &str| Target {
        name: name.to_owned(),
        authority: String::new(),
        nonce: String::new(),
        max_num_seqs,
        role: None,
    };
    JobFacts {
        name: "batch".to_owned(),
        topology: "replicated".to_owned(),
        fingerprint: "f".to_owned(),
        targets: "t".to_owned(),
        model: "llama".to_owned(),
        endpoint: Endpoint {
            authority: String::new(),
            is_proxy: true,
            policy: Some("round_robin".to_owned()),
        },
        instances: vec![target("a"), target("b")],
        from: None,
        load: load.into(),
        prompts: PromptFacts {
            count: 8,
            ..PromptFacts::default()
        },
        api: Api::Completions,
        sampling: Sampling::default().sent(),
        cache: Cache::Salt,
        repeats: None,
        max_tokens: 100,
        equal_lengths: true,
        warmup: 2,
        warm_when: None,
        slo: None,
        fail_if: Vec::new(),
        timeout_s: 120.0,
        definitions: DEFINITIONS.to_owned(),
    }
}

pub(crate) fn warmed(names: &[&str]) -> Warmup {
    let request = WarmupRequest {
        status: Status::Ok,
        ttft_ms: Some(1.0),
        e2el_ms: Some(2.0),
        error: None,
        text_sha256: None,
        http_status: None,
        served_by: None,
    };
    Warmup {
        asked: 1,
        took_s: None,
        instances: names
            .iter()
            .map(|name| WarmedInstance {
                instance: (*name).to_owned(),
                requests: vec![request.clone()],
                stable: None,
                together: Vec::new(),
            })
            .collect(),
        endpoint: None,
    }
}

pub(crate) fn client() -> ClientFacts {
    ClientFacts {
        node: None,
        host: "controller".to_owned(),
        platform: "linux/aarch64".to_owned(),
        kernel: "6.11.0".to_owned(),
        cores: 4,
        clock: "monotonic".to_owned(),
        descriptors: None,
        ports: None,
        overhead: None,
    }
}

pub(crate) struct Scene {
    pub(crate) job: JobFacts,
    pub(crate) records: Vec<Record>,
    pub(crate) warmup: Warmup,
    pub(crate) single: Option<Single>,
    pub(crate) baseline: Option<Baseline>,
    pub(crate) provenance: Value,
    pub(crate) others: Vec<Measuring>,
    pub(crate) cut: Option<Cut>,
    pub(crate) cpu_pressure: Option<CpuPressure>,
    pub(crate) conditions: Conditions,
    pub(crate) canaries: Canaries,
    /// The loads before it.
    pub(crate) before: Vec<Point>,
    /// What the sender tells.
    pub(crate) sender_cpu: Option<f64>,
    pub(crate) stopped: Option<Stopped>,
    pub(crate) client: ClientFacts,
    /// What the engines counted.
    pub(crate) server: IndexMap<String, ServerMetrics>,
}

pub(crate) fn scene(records: Vec<Record>) -> Scene {
    let first = records.iter().filter(|r| r.round == 0);
    let n = u32::try_from(first.count()).unwrap();
    Scene {
        job: facts(known::batch(n), Some(256)),
        records,
        warmup: warmed(&["a", "b"]),
        single: None,
        baseline: None,
        provenance: json!({"models": {"llama": "meta-llama/Llama-3.1-8B-Instruct"}}),
        others: Vec::new(),
        cut: None,
        cpu_pressure: None,
        conditions: Conditions::default(),
        canaries: Canaries::default(),
        before: Vec::new(),
        sender_cpu: None,
        stopped: None,
        client: client(),
        server: IndexMap::new(),
    }
}

pub(crate) fn single(tokens_per_s: f64) -> Single {
    Single {
        tokens_per_s,
        latency_ms: 100.0 / tokens_per_s * 1000.0,
        tokens: 100,
        path: "single.json".into(),
    }
}

pub(crate) fn seed(name: &str) -> Baseline {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/seed");
    read_baseline(&folder.join(name)).unwrap()
}

impl Scene {
    pub(crate) fn judge(&self) -> Vec<Anomaly> {
        judge(&self.case(&self.unjudged()))
    }

    /// What came of it, judged.
    pub(crate) fn point(&self) -> Point {
        self.unjudged().judged(self.judge())
    }

    fn unjudged(&self) -> Point {
        Point::of(self.job.load.only().unwrap(), &self.records)
            .sent(self.stopped, self.sender_cpu)
            .counted(self.server.clone(), &self.records)
            .under(self.cpu_pressure.clone())
    }

    fn case<'a>(&'a self, point: &'a Point) -> Case<'a> {
        Case {
            job: &self.job,
            point,
            records: &self.records,
            warmup: &self.warmup,
            provenance: &self.provenance,
            conditions: &self.conditions,
            canaries: &self.canaries,
            single: self.single.as_ref(),
            baseline: self.baseline.as_ref(),
            others: &self.others,
            cut: self.cut.as_ref(),
            before: &self.before,
            client: &self.client,
        }
    }

    /// The rules that make the result invalid.
    pub(crate) fn errors(&self) -> Vec<String> {
        let anomalies = self.judge();
        let errors = anomalies.iter().filter(|a| a.invalidates());
        errors.map(|a| a.id.clone()).collect()
    }
}

/// NB03, the likelier reading: A's four together at 7.055 s, B's four at 30.21 s.
pub(crate) fn cold_b() -> Scene {
    let mut scene = scene(batch([7055.0; 4], [30210.0; 4]));
    scene.warmup = warmed(&["a"]);
    scene
}

/// The notebook's run, as a result of ours.
pub(crate) fn notebook_run() -> BenchResult {
    let mut scene = cold_b();
    let baseline = seed("baseline_metrics.json");
    scene.baseline = Some(baseline.clone());
    let point = scene.point();
    let comparison = Comparison::of(std::slice::from_ref(&point), &scene.job, &baseline);
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
        manifest: None,
        client: client(),
        roofline: rooflines(&scene.conditions, &scene.provenance),
        topology: scene.provenance,
        conditions: scene.conditions,
        canaries: scene.canaries,
        job: scene.job,
        warmup: scene.warmup,
        valid: point.valid,
        points: vec![point],
        skipped: Vec::new(),
        search: None,
        comparison: Some(Comparison {
            baseline: "baseline_metrics.json".to_owned(),
            ..comparison
        }),
        unproved: Vec::new(),
        interrupted: None,
        files: Files {
            requests: "2026-02-06T08-39-45.112Z.requests.jsonl".to_owned(),
        },
        tags: std::collections::BTreeMap::new(),
        notes: Vec::new(),
    }
}
