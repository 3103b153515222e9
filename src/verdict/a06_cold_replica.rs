//! A6: a replica that met its first traffic while it was measured.
//!
//! Invalid is the result where it shows: a replica without a warm-up is slower than the others, or
//! the first request on a replica took far longer than those after it. A replica that merely was
//! not warmed is a warning; so is a slow first round of one that was, since one round in several
//! bears upon no median, and may be an accident.

use serde_json::{Value, json};

use super::{Case, Finding, MATTERS_MS, Rule, latencies, round};
use crate::results::quantile::quantile;
use crate::results::{Anomaly, Record, Severity, by_round};

/// How much slower than the others an unwarmed replica is before it is called cold.
const THAN_OTHERS: f64 = 1.5;

/// How much slower than the slowest later one the first request is before it is called cold.
const THAN_LATER: f64 = 2.0;

/// How many times as far as later rounds lie apart a first one must lie beyond them.
const SPREADS: f64 = 3.0;

/// How many requests must follow the first one.
const LATER: usize = 2;

pub(super) const RULE: Rule = Rule {
    id: "A6",
    name: "cold replica",
    check,
};

fn check(case: &Case<'_>) -> Vec<Anomaly> {
    let served = case.by_replica();
    let mut found = Vec::new();
    let mut unwarmed = Vec::new();
    for (name, records) in &served {
        let warmed = case.warmup.warmed(name);
        let first = slow_first(name, records).or_else(|| slow_first_round(name, records, warmed));
        let cold = first.or_else(|| {
            (!warmed)
                .then(|| slower_than_others(name, &served))
                .flatten()
        });
        match cold {
            Some(anomaly) => found.push(anomaly),
            None if !warmed => unwarmed.push(*name),
            None => {}
        }
    }
    found.extend(not_warmed(&unwarmed));
    found
}

type Served<'a> = [(&'a str, Vec<&'a Record>)];

fn cold(name: &str, message: String, evidence: Value) -> Anomaly {
    RULE.speak(Severity::Error, finding(message, evidence))
        .of_replica(name)
}

fn finding(message: String, evidence: Value) -> Finding {
    Finding {
        message,
        evidence,
        cause: "it compiles kernels and fills its caches on its first requests".to_owned(),
        hint: "set `warmup: 2` or more, and measure again".to_owned(),
    }
}

fn slower_than_others(name: &str, served: &Served<'_>) -> Option<Anomaly> {
    let of = |wanted: &dyn Fn(&str) -> bool| {
        let records: Vec<&Record> = served
            .iter()
            .filter(|(replica, _)| wanted(replica))
            .flat_map(|(_, records)| records.iter().copied())
            .collect();
        quantile(&latencies(&records), 0.5)
    };
    let (mine, others) = (of(&|r| r == name)?, of(&|r| r != name)?);
    (mine > THAN_OTHERS * others && mine - others > MATTERS_MS).then(|| {
        let (mine_s, others_s) = (mine / 1000.0, others / 1000.0);
        let message = format!(
            "`{name}` was cold: not warmed, its requests took {mine_s:.2} s where the others took \
             {others_s:.2} s"
        );
        let evidence = json!({
            "warmed": false,
            "median_ms": round(mine),
            "others_median_ms": round(others),
        });
        cold(name, message, evidence)
    })
}

/// The first request is compared only with requests that were sent after it had ended.
fn slow_first(name: &str, records: &[&Record]) -> Option<Anomaly> {
    let (first, rest) = records.split_first()?;
    let later: Vec<&Record> = rest
        .iter()
        .copied()
        .filter(|r| r.stamps.sent >= first.stamps.last)
        .collect();
    let mine = first.e2el_ms()?;
    let slowest = *latencies(&later).last()?;
    let is_cold = later.len() >= LATER
        && later.len() == rest.len()
        && mine > THAN_LATER * slowest
        && mine - slowest > MATTERS_MS;
    is_cold.then(|| {
        let message = format!(
            "`{name}` was cold: its first request took {:.2} s, the {} after it at most {:.2} s",
            mine / 1000.0,
            later.len(),
            slowest / 1000.0
        );
        let evidence = json!({
            "first_ms": round(mine),
            "later_max_ms": round(slowest),
            "later": later.len(),
        });
        cold(name, message, evidence)
    })
}

/// The first of several rounds, whose requests were all sent before any of them had ended, is compared
/// with the rounds after it: it must lie far beyond what these differ by among themselves.
fn slow_first_round(name: &str, records: &[&Record], warmed: bool) -> Option<Anomaly> {
    let rounds = by_round(records.iter().copied());
    let medians = rounds.iter().map(|it| quantile(&latencies(it), 0.5));
    let medians: Vec<f64> = medians.collect::<Option<_>>()?;
    let (mine, later) = medians.split_first()?;
    let slowest = later.iter().copied().max_by(f64::total_cmp)?;
    let fastest = later.iter().copied().min_by(f64::total_cmp)?;
    let beyond = (mine - slowest).max(0.0);
    let is_cold = later.len() >= LATER
        && *mine > THAN_LATER * slowest
        && beyond > MATTERS_MS
        && beyond > SPREADS * (slowest - fastest);
    is_cold.then(|| {
        let message = format!(
            "`{name}` was cold: its first round took {:.2} s, the {} after it at most {:.2} s",
            mine / 1000.0,
            later.len(),
            slowest / 1000.0
        );
        let evidence = json!({
            "first_round_ms": round(*mine),
            "later_max_ms": round(slowest),
            "later": later.len(),
        });
        let severity = if warmed {
            Severity::Warning
        } else {
            Severity::Error
        };
        RULE.speak(severity, finding(message, evidence))
            .of_replica(name)
    })
}

/// A replica that merely was not warmed.
fn not_warmed(names: &[&str]) -> Option<Anomaly> {
    let (first, more) = names.split_first()?;
    let list: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    let were = if more.is_empty() { "was" } else { "were" };
    let message = format!(
        "{} {were} not warmed before the measurement",
        list.join(", ")
    );
    let finding = Finding {
        cause: "the benchmark asks for no warm-up".to_owned(),
        ..finding(message, json!({"not_warmed": names}))
    };
    let anomaly = RULE.speak(Severity::Warning, finding);
    Some(if more.is_empty() {
        anomaly.of_replica(first)
    } else {
        anomaly
    })
}
