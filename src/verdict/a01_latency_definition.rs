//! A1: a mean latency of a batch that no request can have had.
//!
//! A batch's mean latency is at least that of one request alone, and more than its whole time
//! divided by its size. What is below is another thing under the same name.

use serde_json::json;

use super::{Case, Finding, MATTERS_MS, Rule, round};
use crate::results::{Anomaly, BatchFigures, Figures, Severity, tidy};
use crate::shape::Class;

/// A batch may be this much faster than the recorded single request before that one is doubted.
const SLACK: f64 = 0.8;

pub(super) const RULE: Rule = Rule {
    id: "A1",
    name: "latency definition",
    check,
};

fn check(case: &Case<'_>) -> Vec<Anomaly> {
    let theirs = case.claim().and_then(|claim| of_baseline(&claim.figures));
    theirs.into_iter().chain(of_ours(case)).collect()
}

fn of_baseline(figures: &Figures) -> Option<Anomaly> {
    let batch = figures.batch?;
    let below_single = figures
        .single
        .is_some_and(|single| batch.mean_latency_ms < SLACK * single.latency_ms);
    if !below_single && !batch.latency_is_impossible() {
        return None;
    }
    let claim = round_ms(batch.mean_latency_ms);
    let wall = batch.wall_ms();
    let why = match figures.single {
        Some(single) => format!("one request alone takes {}", round_ms(single.latency_ms)),
        None => format!("the whole batch takes {}", round_ms(wall)),
    };
    Some(RULE.speak_of_baseline(Finding {
        message: format!(
            "the baseline's mean latency of {claim} is not a latency: {why}; {}",
            true_latency(batch)
        ),
        evidence: json!({
            "mean_latency_ms": tidy(batch.mean_latency_ms),
            "single_latency_ms": figures.single.map(|single| tidy(single.latency_ms)),
            "wall_ms": round(wall),
            "batch_size": batch.size,
            "wall_over_size_ms": tidy(wall / batch.size),
        }),
        cause: if batch.latency_is_a_share() {
            format!(
                "the batch's whole time was divided by its {} requests",
                batch.size
            )
        } else {
            "another quantity was written under the name of a latency".to_owned()
        },
        hint:
            "compare throughput, or measure the baseline again with one stamp a request".to_owned(),
    }))
}

fn true_latency(batch: BatchFigures) -> String {
    let wall = round_ms(batch.wall_ms());
    if batch.latency_is_a_share() {
        format!(
            "it is the batch's {wall} divided by {}; the true one is about {wall}",
            batch.size
        )
    } else {
        format!("its tokens and speed make a batch of {wall}")
    }
}

fn round_ms(ms: f64) -> String {
    if ms < 1000.0 {
        format!("{ms:.1} ms")
    } else {
        format!("{:.0} ms", (ms / 10.0).round() * 10.0)
    }
}

fn of_ours(case: &Case<'_>) -> Option<Anomaly> {
    let whose = match case.point.load.class() {
        Class::Alone => return None,
        Class::Together { .. } => "the batch's mean latency",
        Class::Closed { .. } | Class::Open { .. } => "the mean latency of this load",
    };
    let single = case.single_alike()?;
    let mean = case.point.summary.mean_latency_ms()?;
    let faster = mean < SLACK * single.latency_ms && single.latency_ms - mean > MATTERS_MS;
    let finding = || Finding {
        message: format!(
            "{whose} of {} is below the {} of one request alone",
            round_ms(mean),
            round_ms(single.latency_ms)
        ),
        evidence: json!({
            "mean_latency_ms": round(mean),
            "single_latency_ms": round(single.latency_ms),
            "single": single.path,
        }),
        cause: "the requests that were measured alone met a cold or busy engine".to_owned(),
        hint: "measure the sequential benchmark again".to_owned(),
    };
    faster.then(|| RULE.speak(Severity::Warning, finding()))
}
