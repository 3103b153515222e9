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
//! Of a closed loop, `N` is how many are in flight, and less where the last ones are fewer. Of several
//! rounds, nearly all must be so; where it is now one replica that is late and now another, as chance
//! would have it, or where CPUs were short (A21), that too is only a warning.

use std::path::Path;

use serde_json::json;

use super::a21_short_of_cpu::short;
use super::observation::{COUNTED, are_nearly_all, is_no_chance};
use super::{Case, Finding, MATTERS_MS, Rule, by_replica, latencies, round};
use crate::results::{Anomaly, Figures, Record, Severity, by_round, tidy};
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

/// One round of the load.
struct Round<'a> {
    width: u32,
    ok: usize,
    seconds: f64,
    tokens_per_s: f64,
    fastest: f64,
    /// The replica that was late as a whole, where it is one: its own requests ended together.
    late: Option<&'a str>,
}

/// A round beside what one request alone would achieve.
struct Held<'a> {
    round: &'a Round<'a>,
    alone: Alone<'a>,
}

fn of_ours(case: &Case<'_>) -> Option<Anomaly> {
    let width = match case.point.load.class() {
        Class::Together { requests } => requests,
        Class::Closed { width } => width,
        // Nothing is gained by one alone; and what comes by the clock is as fast as the clock.
        Class::Alone | Class::Open { .. } => return None,
    };
    if capacity(case).is_some_and(|capacity| width > capacity) {
        return None;
    }
    let rounds = by_round(case.records);
    let rounds: Vec<Round<'_>> = rounds
        .iter()
        .filter_map(|round| Round::of(width, round))
        .collect();
    let measured = case.single_alike();
    let by_itself = |round: &Round<'_>| Alone {
        tokens_per_s: round.fastest,
        measured: None,
    };
    lost(case, &rounds, by_itself).or_else(|| {
        let single = measured?;
        lost(case, &rounds, |_| Alone {
            tokens_per_s: single.tokens_per_s,
            measured: Some(&single.path),
        })
    })
}

impl<'a> Round<'a> {
    fn of(width: u32, records: &[&'a Record]) -> Option<Self> {
        let ok: Vec<&Record> = records.iter().copied().filter(|r| r.is_ok()).collect();
        let begun = records.iter().filter_map(|r| r.stamps.sent).min()?;
        let ended = ok.iter().filter_map(|r| r.stamps.last).max()?;
        let seconds = ended.saturating_sub(begun) as f64 / 1e6;
        let tokens: u64 = ok.iter().filter_map(|r| r.n_out).sum();
        (ok.len() >= 2 && seconds > 0.0).then_some(())?;
        Some(Self {
            width,
            ok: ok.len(),
            seconds,
            tokens_per_s: tokens as f64 / seconds,
            fastest: fastest(&ok)?,
            late: late(&ok),
        })
    }

    /// How many times one request's throughput a perfect gain is. What comes in waves has a last
    /// one that may not be full: 17 requests, 16 at once, take as long as 32.
    fn gain(&self) -> f64 {
        let ok = self.ok as f64;
        ok / (ok / f64::from(self.width)).ceil()
    }
}

/// The speed of the fastest request. Of a closed loop, it is one of those that ended while others
/// were still sent: the last ones run among fewer, and would blame the hardware for being faster.
fn fastest(ok: &[&Record]) -> Option<f64> {
    let last_sent = ok.iter().filter_map(|r| r.stamps.sent).max();
    let speed = |among: Vec<&Record>| {
        let speeds = among.into_iter().filter_map(Record::tokens_per_s);
        speeds.max_by(f64::total_cmp)
    };
    let in_full_company = ok.iter().copied().filter(|r| r.stamps.last <= last_sent);
    speed(in_full_company.collect()).or_else(|| speed(ok.to_vec()))
}

/// The replica that ended last, where all of its requests were about as late: that is how one looks
/// that was held up, and not one whose requests wait for each other.
fn late<'a>(ok: &[&'a Record]) -> Option<&'a str> {
    let ends = |records: &[&Record]| records.iter().filter_map(|r| r.stamps.last).max();
    let served = by_replica(ok.iter().copied());
    let (name, own) = served.into_iter().max_by_key(|(_, own)| ends(own))?;
    let own = latencies(&own);
    let (shortest, longest) = own.first().zip(own.last())?;
    (*shortest > GAIN * longest).then_some(name)
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

impl Held<'_> {
    fn parallelism(&self) -> f64 {
        self.round.tokens_per_s / self.alone.tokens_per_s
    }

    fn is_lost(&self) -> bool {
        let wanted = GAIN * self.round.gain();
        // What it took beyond what half of a perfect gain would have taken.
        let tokens = self.round.tokens_per_s * self.round.seconds;
        let tolerated_s = tokens / (wanted * self.alone.tokens_per_s);
        let lost_ms = (self.round.seconds - tolerated_s) * 1000.0;
        self.parallelism() < wanted && lost_ms > MATTERS_MS
    }
}

fn lost<'a>(
    case: &Case<'_>,
    rounds: &'a [Round<'a>],
    alone: impl Fn(&Round<'_>) -> Alone<'a>,
) -> Option<Anomaly> {
    let held = rounds.iter().map(|round| Held {
        round,
        alone: alone(round),
    });
    let lost: Vec<Held<'_>> = held.filter(Held::is_lost).collect();
    if !are_nearly_all(lost.len(), rounds.len()) {
        return None;
    }
    let is_measured = lost.first()?.alone.measured.is_some();
    // Where CPUs were short, they were the hardware at its limit: which request waited for another, and
    // which for a CPU, cannot be told apart.
    let is_limit = is_prefill_bound(case) || !short(case).is_empty();
    let severity = if is_measured || is_limit || is_of_chance(case, &lost, rounds) {
        Severity::Warning
    } else {
        Severity::Error
    };
    // The round in the middle is told of.
    let mut by_gain: Vec<&Held<'_>> = lost.iter().collect();
    by_gain.sort_by(|a, b| a.parallelism().total_cmp(&b.parallelism()));
    let told = by_gain[by_gain.len() / 2];
    Some(RULE.speak(
        severity,
        explained(case, told, severity, lost.len(), rounds.len()),
    ))
}

/// Whether it was now one replica that was late and now another, as it is where the machine is busy.
/// Requests that wait for each other are no chance, nor is the same replica, round after round.
fn is_of_chance(case: &Case<'_>, lost: &[Held<'_>], rounds: &[Round<'_>]) -> bool {
    let late = |name: Option<&str>| lost.iter().filter(|held| held.round.late == name).count();
    let names = case.point.summary.by_instance.keys();
    let most = names.map(|name| late(Some(name))).max().unwrap_or_default();
    let replicas = case.point.summary.by_instance.len();
    let repeats = is_no_chance(replicas, most, rounds.len());
    let waited = are_nearly_all(late(None), rounds.len());
    replicas > 1 && rounds.len() >= COUNTED && !waited && !repeats
}

fn explained(
    case: &Case<'_>,
    told: &Held<'_>,
    severity: Severity,
    lost: usize,
    rounds: usize,
) -> Finding {
    let Held { round: seen, alone } = told;
    let (n, width) = (seen.ok, seen.width);
    let (throughput, parallelism) = (seen.tokens_per_s, told.parallelism());
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
    let mut evidence = json!({
        "throughput_tps": round(throughput),
        "single_tps": round(alone.tokens_per_s),
        "single": alone.measured,
        "parallelism": round(parallelism),
        "requests": n as f64,
        "in_flight": width,
    });
    if rounds > 1 {
        evidence["rounds"] = rounds.into();
        evidence["rounds_lost"] = lost.into();
    }
    Finding {
        message: format!(
            "{sent} ran at {throughput:.1} tok/s where {who} ran at {:.1}: \
             a parallelism of {parallelism:.2} of {}",
            alone.tokens_per_s,
            round(seen.gain())
        ),
        evidence,
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
