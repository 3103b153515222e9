//! A measurement's outcome, as machines read it and as the view shows it.

use crate::load::Outcome;
use crate::results;
use crate::shape::LoadShape;
use crate::view::Look;
use crate::view::bench::{self, Anomaly, Baseline, BenchView, Row, Severity, Share, Versus};

/// Returns the result as its own document.
pub(super) fn document(outcome: &Outcome) -> serde_json::Value {
    serde_json::to_value(&outcome.result).unwrap_or_default()
}

/// Returns the result as a table.
pub(super) fn table(outcome: &Outcome, look: Look) -> String {
    let result = &outcome.result;
    let view = BenchView {
        name: result.job.name.clone(),
        topology: result.job.topology.clone(),
        model: result.job.model.clone(),
        endpoint: format!("http://{}", result.job.endpoint.authority),
        conditions: conditions(outcome),
        rows: result.points.iter().map(row).collect(),
        instances: shares(outcome),
        baseline: result.comparison.as_ref().map(baseline),
        anomalies: outcome.anomalies.iter().filter_map(anomaly).collect(),
        valid: outcome.valid,
        file: Some(outcome.path.clone()),
    };
    bench::render(&view, look)
}

fn conditions(outcome: &Outcome) -> Vec<String> {
    let job = &outcome.result.job;
    let policy = job.endpoint.policy.clone();
    let tokens = format!("{} tokens each", job.max_tokens);
    let warm = match job.warmup {
        0 => "not warmed".to_owned(),
        n => format!("{n} warm-up requests each"),
    };
    policy.into_iter().chain([tokens, warm]).collect()
}

fn row(point: &results::Point) -> Row {
    let metrics = &point.summary.metrics;
    let p50 = |d: &Option<results::quantile::Distribution>| d.as_ref().map(|d| d.p50.value);
    let p95 = metrics
        .ttft
        .as_ref()
        .filter(|d| !d.p95.at_least)
        .map(|d| d.p95.value);
    Row {
        load: load_in_words(&point.load),
        ok: point.summary.counts.ok as u64,
        failed: point.summary.counts.failed as u64,
        tokens: metrics.output_tokens,
        wall_s: Some(point.summary.window.seconds()),
        tok_s: metrics.output_tps,
        ttft_p50_ms: p50(&metrics.ttft),
        ttft_p95_ms: p95,
        tpot_p50_ms: p50(&metrics.tpot),
        e2el_mean_ms: metrics.e2el.as_ref().map(|d| d.mean),
    }
}

fn load_in_words(load: &LoadShape) -> String {
    match load {
        LoadShape::Sequential(n) => format!("sequential {n}"),
        LoadShape::Batch(n) => format!("batch {n}"),
    }
}

fn shares(outcome: &Outcome) -> Vec<Share> {
    let Some(summary) = outcome.result.summary() else {
        return Vec::new();
    };
    let share = |(name, share): (&String, &results::Share)| Share {
        name: name.clone(),
        ok: share.ok as u64,
        failed: (share.n - share.ok) as u64,
        tokens: share.tokens,
        ttft_p50_ms: share.ttft.as_ref().map(|d| d.p50.value),
        tpot_p50_ms: share.tpot.as_ref().map(|d| d.p50.value),
        e2el_mean_ms: share.e2el.as_ref().map(|d| d.mean),
    };
    summary.by_instance.iter().map(share).collect()
}

fn baseline(comparison: &results::Comparison) -> Baseline {
    let row = |row: &results::Row| Versus {
        metric: format!("{} {}", row.what, row.unit),
        baseline: Some(row.theirs),
        now: Some(row.ours),
        flag: row.flagged.then(|| "see the remarks".to_owned()),
        incomparable: row.ratio.is_none().then(|| "not comparable".to_owned()),
    };
    Baseline {
        name: comparison.baseline.clone(),
        rows: comparison.rows.iter().map(row).collect(),
    }
}

/// What is only worth knowing is in the document, not in the table.
fn anomaly(anomaly: &results::Anomaly) -> Option<Anomaly> {
    let severity = match anomaly.severity {
        results::Severity::Error => Severity::Error,
        results::Severity::Warning => Severity::Warning,
        results::Severity::Info => return None,
    };
    Some(Anomaly {
        id: format!("{} {}", anomaly.id, anomaly.name),
        severity,
        message: anomaly.message.clone(),
        evidence: evidence(&anomaly.evidence),
        cause: Some(anomaly.cause.clone()),
        next: Some(anomaly.next.clone()),
    })
}

fn evidence(evidence: &serde_json::Value) -> Option<String> {
    let numbers = evidence.as_object()?;
    let shown: Vec<_> = numbers
        .iter()
        .map(|(name, value)| format!("{name} {value}"))
        .collect();
    (!shown.is_empty()).then(|| shown.join(", "))
}
