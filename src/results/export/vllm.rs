//! The keys of `vllm bench serve`, so that what reads its files reads ours.
//!
//! Times are by our definitions; see `FORMULAS`. What vLLM has and we do not know is null, as its
//! `request_goodput` is too where no objective was asked for, and what
//! only single requests tell (`std_*`, `max_output_tokens_per_s`) is there where those are kept.

use serde_json::{Map, Value, json};

use super::{believed, simulated};
use crate::plan::Failure;
use crate::results::quantile::Distribution;
use crate::results::record::Record;
use crate::results::result::{BenchResult, Point};
use crate::results::stored::StoredResult;
use crate::results::vllm::AT_ONCE;
use crate::shape::Class;

/// A result with vLLM's keys, one document for each of its loads.
///
/// # Errors
///
/// When the result cannot be believed.
pub fn vllm(stored: &StoredResult) -> Result<Vec<Value>, Failure> {
    let result = believed(stored, "vLLM's file")?;
    let records = stored.records();
    let loads = result.points.iter().enumerate();
    let documents = loads.map(|(place, point)| {
        let records = records.as_ref().and_then(|all| all.get(place));
        document(result, point, records.map(Vec::as_slice))
    });
    Ok(documents.collect())
}

fn document(result: &BenchResult, point: &Point, records: Option<&[Record]>) -> Value {
    let mut all = conditions(result, point);
    all.extend(totals(point));
    let metrics = &point.summary.metrics;
    let ok: Vec<&Record> = records
        .into_iter()
        .flatten()
        .filter(|it| it.is_ok())
        .collect();
    if let Some(most) = most_tokens_in_a_second(&ok) {
        all.insert("max_output_tokens_per_s".to_owned(), most.into());
    }
    all.insert(
        "max_concurrent_requests".to_owned(),
        metrics.in_flight.peak.into(),
    );
    let each = |metric: fn(&Record) -> Option<f64>| -> Vec<f64> {
        ok.iter().filter_map(|it| metric(it)).collect()
    };
    let gaps: Vec<f64> = ok.iter().flat_map(|it| it.itl_ms()).collect();
    for (name, distribution, sample) in [
        ("ttft", &metrics.ttft, each(Record::ttft_ms)),
        ("tpot", &metrics.tpot, each(Record::tpot_ms)),
        ("itl", &metrics.itl, gaps),
        ("e2el", &metrics.e2el, each(Record::e2el_ms)),
    ] {
        if let Some(distribution) = distribution {
            all.extend(statistics(name, distribution, &sample));
        }
    }
    Value::Object(all)
}

/// What was asked. Tags stand where `--metadata` puts them; they take no other key's place.
fn conditions(result: &BenchResult, point: &Point) -> Map<String, Value> {
    let job = &result.job;
    let repo = result.topology.pointer("/instances/0/repo");
    let tags = result.tags.iter();
    let mut all: Map<String, Value> = tags
        .map(|(name, value)| (name.clone(), value.as_str().into()))
        .collect();
    let date = result.run.started.strftime("%Y%m%d-%H%M%S").to_string();
    let (rate, concurrency) = pacing(point.load.class());
    all.extend(object(json!({
        "date": date,
        "endpoint_type": "openai",
        "backend": "openai",
        "label": job.name,
        "model_id": repo.and_then(Value::as_str).unwrap_or(&job.model),
        "tokenizer_id": null,
        "num_prompts": point.summary.counts.total,
        "simulated": simulated(result),
        "request_rate": rate,
        "burstiness": 1.0,
        "max_concurrency": concurrency,
    })));
    all
}

/// vLLM's two words for a load.
fn pacing(class: Class) -> (Value, Option<u32>) {
    match class {
        Class::Alone => (AT_ONCE.into(), Some(1)),
        Class::Together { .. } => (AT_ONCE.into(), None),
        Class::Closed { width } => (AT_ONCE.into(), Some(width)),
        Class::Open { per_s } => (per_s.into(), None),
    }
}

fn totals(point: &Point) -> Map<String, Value> {
    let (summary, metrics) = (&point.summary, &point.summary.metrics);
    object(json!({
        "duration": summary.window.seconds(),
        "completed": summary.counts.ok,
        "failed": summary.counts.failed,
        "total_input_tokens": metrics.input_tokens,
        "total_output_tokens": metrics.output_tokens,
        "request_throughput": metrics.rps,
        "request_goodput": point.slo.as_ref().map(|slo| slo.goodput_rps),
        "output_throughput": metrics.output_tps,
        "total_token_throughput": metrics.total_tps,
    }))
}

/// vLLM prints the p99 of whatever there is; where the sample does not bound it, ours is left out.
fn statistics(name: &str, of: &Distribution, sample: &[f64]) -> Map<String, Value> {
    let mut all = object(json!({
        format!("mean_{name}_ms"): of.mean,
        format!("median_{name}_ms"): of.p50.value,
    }));
    if let Some(deviation) = deviation(sample) {
        all.insert(format!("std_{name}_ms"), deviation.into());
    }
    for (p, quantile) in [("p90", of.p90), ("p95", of.p95), ("p99", of.p99)] {
        if !quantile.at_least {
            all.insert(format!("{p}_{name}_ms"), quantile.value.into());
        }
    }
    all
}

/// The standard deviation of a population, as numpy's `std` has it.
fn deviation(sample: &[f64]) -> Option<f64> {
    let n = sample.len() as f64;
    let mean = sample.iter().sum::<f64>() / n;
    let squares: f64 = sample.iter().map(|it| (it - mean).powi(2)).sum();
    (!sample.is_empty()).then(|| crate::results::tidy((squares / n).sqrt()))
}

/// The most tokens that came within one second, the seconds counted from the first sending.
fn most_tokens_in_a_second(ok: &[&Record]) -> Option<u64> {
    let start = ok.iter().filter_map(|it| it.stamps.sent).min()?;
    let mut seconds = std::collections::BTreeMap::<u64, u64>::new();
    for (at, tokens) in ok.iter().flat_map(|it| &it.tokens) {
        *seconds
            .entry(at.saturating_sub(start) / 1_000_000)
            .or_default() += tokens;
    }
    seconds.into_values().max()
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::{BenchResult, read_baseline};
    use crate::verdict::scene::{batch, notebook_run};

    fn believed_run() -> BenchResult {
        BenchResult {
            valid: true,
            ..notebook_run()
        }
    }

    #[test]
    fn goodput_is_told_where_an_objective_was_asked_for() {
        let mut result = believed_run();
        let slo: crate::plan::Slo = serde_json::from_value(json!({"e2el": 10})).unwrap();
        let records = batch([7055.0; 4], [30210.0; 4]);
        let point = result.points.remove(0).held_to(Some(&slo), &records);
        // Four of eight within ten seconds, in 30.21 s.
        let told = document(&result, &point, Some(&records));
        assert_eq!(told["request_goodput"], 0.132_406);
    }

    #[test]
    fn a_result_has_vllms_keys() {
        let mut result = believed_run();
        result.tags.insert("gpu".to_owned(), "gb10".to_owned());
        let records = batch([7055.0; 4], [30210.0; 4]);
        let document = document(&result, &result.points[0], Some(&records));
        let text = serde_json::to_string_pretty(&document).unwrap();
        insta::assert_snapshot!(text, @r#"
        {
          "gpu": "gb10",
          "date": "20260206-083945",
          "endpoint_type": "openai",
          "backend": "openai",
          "label": "batch",
          "model_id": "llama",
          "tokenizer_id": null,
          "num_prompts": 8,
          "simulated": false,
          "request_rate": "inf",
          "burstiness": 1.0,
          "max_concurrency": null,
          "duration": 30.21,
          "completed": 8,
          "failed": 0,
          "total_input_tokens": 80,
          "total_output_tokens": 800,
          "request_throughput": 0.264813,
          "request_goodput": null,
          "output_throughput": 26.481298,
          "total_token_throughput": 29.129427,
          "max_output_tokens_per_s": 396,
          "max_concurrent_requests": 8,
          "mean_ttft_ms": 372.65,
          "median_ttft_ms": 372.65,
          "std_ttft_ms": 231.55,
          "mean_tpot_ms": 184.442929,
          "median_tpot_ms": 184.442929,
          "std_tpot_ms": 114.605556,
          "mean_itl_ms": 184.442929,
          "median_itl_ms": 184.442929,
          "std_itl_ms": 114.605556,
          "p90_itl_ms": 299.048485,
          "p95_itl_ms": 299.048485,
          "mean_e2el_ms": 18632.5,
          "median_e2el_ms": 18632.5,
          "std_e2el_ms": 11577.5
        }
        "#);
    }

    #[test]
    fn what_we_write_for_vllms_readers_is_a_baseline_that_says_the_same() {
        let place = tempfile::tempdir().unwrap();
        let stored = StoredResult {
            path: "batch.json".into(),
            result: believed_run(),
        };
        let documents = vllm(&stored).unwrap();
        let path = place.path().join("vllm.json");
        std::fs::write(&path, documents[0].to_string()).unwrap();
        let baseline = read_baseline(&path).unwrap();
        let point = &stored.result.points[0];
        let claim = baseline.claim(&point.load).unwrap();
        assert_eq!(claim.load.as_ref(), Some(&point.load));
        let metrics = &point.summary.metrics;
        let figures = claim.figures.batch.unwrap();
        assert_eq!(Some(figures.tokens_per_s), metrics.output_tps);
        assert!((figures.mean_latency_ms - 18632.5).abs() < 0.1);
        assert_eq!(
            claim.headline.ttft_p50_ms,
            metrics.ttft.as_ref().map(|it| it.p50.value)
        );
    }

    #[test]
    fn a_result_that_cannot_be_believed_is_not_handed_on() {
        let stored = StoredResult {
            path: "batch.json".into(),
            result: notebook_run(),
        };
        let why = vllm(&stored).unwrap_err().to_string();
        insta::assert_snapshot!(why, @"the result of `batch` cannot be believed, and vLLM's file has no place to say so: batch.json");
    }

    #[test]
    fn the_deviation_is_numpys() {
        assert_eq!(deviation(&[1.0, 2.0, 3.0, 4.0]), Some(1.118_034));
        assert_eq!(deviation(&[]), None);
    }
}
