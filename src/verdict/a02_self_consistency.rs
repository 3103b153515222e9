//! A2: numbers that do not agree with each other: tokens that are not `tok/s · s`, streams whose
//! `usage` is missing or is not what came, answers by a server that is not of the topology.

use serde_json::json;

use super::{Case, Finding, Rule, round};
use crate::results::{Anomaly, Figures, Record, Severity, differ, tidy};

pub(super) const RULE: Rule = Rule {
    id: "A2",
    name: "self-consistency",
    check,
};

fn check(case: &Case<'_>) -> Vec<Anomaly> {
    let theirs = case.claim().and_then(|claim| of_baseline(&claim.figures));
    let ok: Vec<&Record> = case.records.iter().filter(|r| r.is_ok()).collect();
    theirs
        .into_iter()
        .chain(uncounted(&ok))
        .chain(miscounted(&ok))
        .chain(foreign(case))
        .chain(unattributed(case, &ok))
        .collect()
}

fn of_baseline(figures: &Figures) -> Option<Anomaly> {
    let single = figures.single.filter(|s| s.contradicts_itself())?;
    let by_speed = single.tokens_by_speed();
    Some(RULE.speak_of_baseline(Finding {
        message: format!(
            "the baseline's {} tokens contradict its own {:.2} tok/s x {:.3} s = {by_speed:.0}",
            single.tokens,
            single.tokens_per_s,
            single.latency_ms / 1000.0,
        ),
        evidence: json!({
            "tokens": single.tokens,
            "tokens_per_s": tidy(single.tokens_per_s),
            "latency_ms": tidy(single.latency_ms),
            "tokens_by_speed": round(by_speed),
        }),
        cause: "the count was taken from another variable than the speed".to_owned(),
        hint: "trust its speed and its time, not its count".to_owned(),
    }))
}

/// Without the server's count nothing is known of tokens: chunks are not tokens.
fn uncounted(ok: &[&Record]) -> Option<Anomaly> {
    let without = ok.iter().filter(|r| r.n_out.is_none()).count();
    (without > 0).then(|| {
        RULE.speak(
            Severity::Error,
            Finding {
                message: format!(
                    "{without} of {} answers have no `usage`: their tokens are unknown",
                    ok.len()
                ),
                evidence: json!({"answers": ok.len(), "without_usage": without}),
                cause: "the server or something before it drops `stream_options.include_usage`"
                    .to_owned(),
                hint: "let the usage through; chunks cannot stand for tokens".to_owned(),
            },
        )
    })
}

/// With continuous usage the token events add up to the final count.
fn miscounted(ok: &[&Record]) -> Option<Anomaly> {
    let certain = |r: &&&Record| r.n_out.is_some() && !r.tokens_estimated;
    let counted: Vec<_> = ok.iter().filter(certain).collect();
    let seen: u64 = counted.iter().flat_map(|r| &r.tokens).map(|(_, n)| n).sum();
    let told: u64 = counted.iter().filter_map(|r| r.n_out).sum();
    differ(seen as f64, told as f64).then(|| {
        RULE.speak(
            Severity::Error,
            Finding {
                message: format!(
                    "the streams brought {seen} tokens, and say that they brought {told}"
                ),
                evidence: json!({"tokens_in_events": seen, "tokens_in_usage": told}),
                cause: "the running `usage` of the stream disagrees with its last one".to_owned(),
                hint: "look at one stream with `curl -N`, past the proxy and through it".to_owned(),
            },
        )
    })
}

/// What says that it served us is one of the instances, or the measurement is of something else.
fn foreign(case: &Case<'_>) -> Option<Anomaly> {
    if case.is_of_unknown() {
        // Whoever served is welcome: it is not known who should have.
        return None;
    }
    let known = |name: &str| case.target(name).is_some();
    let served = case.point.summary.by_instance.keys();
    let name = served.into_iter().find(|name| !known(name))?;
    let finding = Finding {
        message: format!("`{name}` served requests, and is not an instance of this topology"),
        evidence: json!({
            "served": case.point.summary.by_instance.keys().collect::<Vec<_>>(),
            "instances": case.job.instances.iter().map(|i| &i.name).collect::<Vec<_>>(),
        }),
        cause: "the proxy has another configuration than the one that was applied".to_owned(),
        hint: "`replica status` shows its backends; `replica apply` mends them".to_owned(),
    };
    Some(RULE.speak(Severity::Error, finding).of_replica(name))
}

/// The rules about replicas are blind where nobody says who served.
fn unattributed(case: &Case<'_>, ok: &[&Record]) -> Option<Anomaly> {
    let without = ok.iter().filter(|r| r.instance.is_none()).count();
    (without > 0 && case.job.instances.len() > 1).then(|| {
        RULE.speak(
            Severity::Warning,
            Finding {
                message: format!(
                    "{without} of {} answers do not say which replica served them",
                    ok.len()
                ),
                evidence: json!({"answers": ok.len(), "unattributed": without}),
                cause: "the endpoint is not our proxy, or something drops `x-replica-instance`"
                    .to_owned(),
                hint: "measure through the proxy that `replica` runs".to_owned(),
            },
        )
    })
}
