//! A3: many requests at once, and hardly more throughput than one alone.
//!
//! `throughput(N) < 0.5 · N · throughput(1)`, while the engines run N at once. A comparison of the
//! batch with one request, "is it faster at all", would have let the notebook's 26.5 tok/s pass
//! against 13.7; the parallelism of 1.93 of 8 does not pass.
//!
//! `throughput(1)` is, first, what the fastest request of this very batch achieved: alone it could
//! only have been faster, so the parallelism is if anything flattered, and an engine that slows all
//! streams alike, as hardware at its limit does, is never blamed. What requests left waiting shows
//! here, and makes the result invalid. Second, where a sequential result of the same targets and
//! length is at hand, it is compared too; that alone is a warning, since it may be the hardware.
//! Prompts longer than the answers make it a warning as well: prefill fills the hardware by itself.

use std::path::Path;

use serde_json::json;

use super::{Case, MATTERS_MS, round};
use crate::results::{Anomaly, Figures, Record, Severity, Subject, tidy};
use crate::shape::LoadShape;

/// The share of a perfect gain below which there is none to speak of.
const GAIN: f64 = 0.5;

pub(super) fn check(case: &Case<'_>) -> Vec<Anomaly> {
    let theirs = case.baseline.and_then(|b| of_baseline(&b.figures));
    theirs.into_iter().chain(of_ours(case)).collect()
}

fn anomaly(severity: Severity, subject: Subject) -> Anomaly {
    Anomaly {
        id: "A3".to_owned(),
        name: "no parallel gain".to_owned(),
        severity,
        subject,
        replica: None,
        message: String::new(),
        evidence: json!(null),
        cause: String::new(),
        next: String::new(),
    }
}

fn of_baseline(figures: &Figures) -> Option<Anomaly> {
    let (single, batch) = (figures.single?, figures.batch?);
    let parallelism = batch.tokens_per_s / single.tokens_per_s;
    (batch.size > 1.0 && parallelism < GAIN * batch.size).then(|| Anomaly {
        message: format!(
            "the baseline's batch of {} ran at {:.1} tok/s, {parallelism:.2} times one request's {:.1}",
            batch.size, batch.tokens_per_s, single.tokens_per_s
        ),
        evidence: json!({
            "throughput_tps": tidy(batch.tokens_per_s),
            "single_tps": tidy(single.tokens_per_s),
            "parallelism": round(parallelism),
            "requests": batch.size,
        }),
        cause: "requests waited for each other, or for a replica that was not ready".to_owned(),
        next: "measure it again, warm, with every request kept".to_owned(),
        ..anomaly(Severity::Warning, Subject::Baseline)
    })
}

/// What one request alone would achieve, and how that is known.
struct Alone<'a> {
    tokens_per_s: f64,
    measured: Option<&'a Path>,
}

fn of_ours(case: &Case<'_>) -> Option<Anomaly> {
    let LoadShape::Batch(sent) = case.job.load else {
        return None;
    };
    let n = case.summary.counts.ok;
    if n < 2 || capacity(case).is_some_and(|capacity| sent > capacity) {
        return None;
    }
    let recorded = case.single.filter(|s| s.tokens == case.job.max_tokens);
    let ways = [
        fastest(case.records).map(|tokens_per_s| Alone {
            tokens_per_s,
            measured: None,
        }),
        recorded.map(|single| Alone {
            tokens_per_s: single.tokens_per_s,
            measured: Some(&single.path),
        }),
    ];
    ways.into_iter()
        .flatten()
        .find_map(|alone| lost(case, &alone))
}

fn fastest(records: &[Record]) -> Option<f64> {
    records
        .iter()
        .filter(|r| r.is_ok())
        .filter_map(Record::tokens_per_s)
        .max_by(f64::total_cmp)
}

/// Returns how many requests the instances that served run at once, where all of them say it.
fn capacity(case: &Case<'_>) -> Option<u32> {
    case.by_replica()
        .iter()
        .map(|(name, _)| case.target(name)?.max_num_seqs)
        .sum::<Option<u32>>()
        .filter(|capacity| *capacity > 0)
}

fn is_prefill_bound(case: &Case<'_>) -> bool {
    let metrics = &case.summary.metrics;
    metrics
        .input_tokens
        .is_some_and(|n| n > metrics.output_tokens)
}

fn lost(case: &Case<'_>, alone: &Alone<'_>) -> Option<Anomaly> {
    let n = case.summary.counts.ok as f64;
    let throughput = case.summary.metrics.output_tps?;
    let parallelism = throughput / alone.tokens_per_s;
    // What the batch took beyond what half of a perfect gain would have taken.
    let tolerated_s = f64::from(case.job.max_tokens) / (GAIN * alone.tokens_per_s);
    let lost_ms = (case.summary.window.seconds() - tolerated_s) * 1000.0;
    (parallelism < GAIN * n && lost_ms > MATTERS_MS).then(|| {
        let who = match alone.measured {
            None => "the fastest of them",
            Some(_) => "one request alone",
        };
        let severity = match alone.measured {
            None if !is_prefill_bound(case) => Severity::Error,
            _ => Severity::Warning,
        };
        Anomaly {
            message: format!(
                "{n} requests at once ran at {throughput:.1} tok/s where {who} ran at {:.1}: \
                 a parallelism of {parallelism:.2} of {n}",
                alone.tokens_per_s
            ),
            evidence: json!({
                "throughput_tps": round(throughput),
                "single_tps": round(alone.tokens_per_s),
                "single": alone.measured,
                "parallelism": round(parallelism),
                "requests": n,
            }),
            cause: match severity {
                Severity::Error => {
                    "requests waited: for each other, or for a replica that was not ready"
                }
                _ => "the hardware is at its limit, or something serialises requests",
            }
            .to_owned(),
            next: "look at the latencies by replica; warm every replica and measure again"
                .to_owned(),
            ..anomaly(severity, Subject::Result)
        }
    })
}
