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
//!
//! Of a closed loop, `N` is how many are in flight, and less where the last ones are fewer.

use std::path::Path;

use serde_json::json;

use super::{Case, Finding, MATTERS_MS, Rule, round};
use crate::results::{Anomaly, Figures, Point, Record, Severity, tidy};
use crate::shape::Class;

/// The share of a perfect gain below which there is none to speak of.
const GAIN: f64 = 0.5;

pub(super) const RULE: Rule = Rule {
    id: "A3",
    name: "no parallel gain",
    check,
};

fn check(case: &Case<'_>) -> Vec<Anomaly> {
    let theirs = case.claim().and_then(|claim| of_baseline(&claim.figures));
    theirs.into_iter().chain(of_ours(case)).collect()
}

fn of_baseline(figures: &Figures) -> Option<Anomaly> {
    let (single, batch) = (figures.single?, figures.batch?);
    let parallelism = batch.tokens_per_s / single.tokens_per_s;
    let finding = || Finding {
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
        hint: "measure it again, warm, with every request kept".to_owned(),
    };
    let lost = batch.size > 1.0 && parallelism < GAIN * batch.size;
    lost.then(|| RULE.speak_of_baseline(finding()))
}

/// What one request alone would achieve, and how that is known.
struct Alone<'a> {
    tokens_per_s: f64,
    measured: Option<&'a Path>,
}

/// What was sent at once, and what there is to gain from it.
struct Wanted {
    /// How many were in flight.
    width: u32,
    /// How many times one request's throughput a perfect gain is. What comes in waves has a last
    /// one that may not be full: 17 requests, 16 at once, take as long as 32.
    gain: f64,
}

impl Wanted {
    fn of(point: &Point) -> Option<Self> {
        let width = match point.load.class() {
            Class::Together { requests } => requests,
            Class::Closed { width } => width,
            // Nothing is gained by one alone; and what comes by the clock is as fast as the clock.
            Class::Alone | Class::Open { .. } => return None,
        };
        let ok = point.summary.counts.ok as f64;
        let waves = (ok / f64::from(width)).ceil();
        (ok >= 2.0).then(|| Self {
            width,
            gain: ok / waves,
        })
    }
}

fn of_ours(case: &Case<'_>) -> Option<Anomaly> {
    let wanted = Wanted::of(case.point)?;
    if capacity(case).is_some_and(|capacity| wanted.width > capacity) {
        return None;
    }
    let ways = [
        fastest(case).map(|tokens_per_s| Alone {
            tokens_per_s,
            measured: None,
        }),
        case.single_alike().map(|single| Alone {
            tokens_per_s: single.tokens_per_s,
            measured: Some(&single.path),
        }),
    ];
    ways.into_iter()
        .flatten()
        .find_map(|alone| lost(case, &wanted, &alone))
}

/// The speed of the fastest request. Of a closed loop, it is one of those that ended while others
/// were still sent: the last ones run among fewer, and would blame the hardware for being faster.
fn fastest(case: &Case<'_>) -> Option<f64> {
    let ok = || case.records.iter().filter(|r| r.is_ok());
    let last_sent = case.records.iter().filter_map(|r| r.stamps.sent).max();
    let speed = |among: Vec<&Record>| {
        let speeds = among.into_iter().filter_map(Record::tokens_per_s);
        speeds.max_by(f64::total_cmp)
    };
    let in_full_company = ok().filter(|r| r.stamps.last <= last_sent).collect();
    speed(in_full_company).or_else(|| speed(ok().collect()))
}

/// How many requests the instances that served run at once, where all of them say it.
fn capacity(case: &Case<'_>) -> Option<u32> {
    case.by_replica()
        .iter()
        .map(|(name, _)| case.target(name)?.max_num_seqs)
        .sum::<Option<u32>>()
        .filter(|capacity| *capacity > 0)
}

fn is_prefill_bound(case: &Case<'_>) -> bool {
    let metrics = &case.point.summary.metrics;
    metrics
        .input_tokens
        .is_some_and(|n| n > metrics.output_tokens)
}

fn lost(case: &Case<'_>, wanted: &Wanted, alone: &Alone<'_>) -> Option<Anomaly> {
    let summary = &case.point.summary;
    let throughput = summary.metrics.output_tps?;
    let parallelism = throughput / alone.tokens_per_s;
    // What it took beyond what half of a perfect gain would have taken.
    let tokens = summary.metrics.output_tokens as f64;
    let tolerated_s = tokens / (GAIN * wanted.gain * alone.tokens_per_s);
    let lost_ms = (summary.window.seconds() - tolerated_s) * 1000.0;
    let severity = match alone.measured {
        None if !is_prefill_bound(case) => Severity::Error,
        _ => Severity::Warning,
    };
    let speaks = parallelism < GAIN * wanted.gain && lost_ms > MATTERS_MS;
    speaks.then(|| RULE.speak(severity, explained(case, wanted, alone, severity)))
}

fn explained(case: &Case<'_>, wanted: &Wanted, alone: &Alone<'_>, severity: Severity) -> Finding {
    let summary = &case.point.summary;
    let (n, width) = (summary.counts.ok, wanted.width);
    let throughput = summary.metrics.output_tps.unwrap_or_default();
    let parallelism = throughput / alone.tokens_per_s;
    let sent = match case.point.load.class() {
        Class::Closed { .. } => format!("{n} requests, {width} at once,"),
        Class::Alone | Class::Together { .. } | Class::Open { .. } => {
            format!("{n} requests at once")
        }
    };
    let who = match alone.measured {
        None => "the fastest of them",
        Some(_) => "one request alone",
    };
    Finding {
        message: format!(
            "{sent} ran at {throughput:.1} tok/s where {who} ran at {:.1}: \
             a parallelism of {parallelism:.2} of {}",
            alone.tokens_per_s,
            round(wanted.gain)
        ),
        evidence: json!({
            "throughput_tps": round(throughput),
            "single_tps": round(alone.tokens_per_s),
            "single": alone.measured,
            "parallelism": round(parallelism),
            "requests": n as f64,
            "in_flight": width,
        }),
        cause: match severity {
            Severity::Error => {
                "requests waited: for each other, or for a replica that was not ready"
            }
            Severity::Warning | Severity::Info => {
                "the hardware is at its limit, or something serialises requests"
            }
        }
        .to_owned(),
        hint: "look at the latencies by replica; warm every replica and measure again".to_owned(),
    }
}
