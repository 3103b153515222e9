//! A6: a replica that met its first traffic while it was measured.
//!
//! Invalid is the result where it shows: a replica without a warm-up is slower than the others, or
//! the first request on a replica took far longer than those after it. A replica that merely was
//! not warmed is a warning; so is a slow first round of one that was, since one round in several
//! bears upon no median, and may be an accident. Where its log came to say, after the warm-up, that it
//! compiled kernels, that is named as the cause; where it shows in no comparison, it is an error of one
//! that was not warmed, and a warning of one whose warm-up did not meet all that the load asked for.

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
        let compiled = compiled_meanwhile(case, name, warmed);
        let first = slow_first(name, records).or_else(|| slow_first_round(name, records, warmed));
        let cold = first.or_else(|| {
            (!warmed)
                .then(|| slower_than_others(name, &served))
                .flatten()
        });
        match cold {
            Some(anomaly) => found.push(with_log(anomaly, compiled)),
            None if compiled > 0 => found.push(compiling(name, compiled, warmed)),
            None if !warmed => unwarmed.push(*name),
            None => {}
        }
    }
    found.extend(not_warmed(&unwarmed));
    found.extend(unsettled(case));
    found
}

/// The replicas whose warm-up came to its bound before two requests in a row took as long as each
/// other.
fn unsettled(case: &Case<'_>) -> Option<Anomaly> {
    let when = case.job.warm_when?;
    let one = case.warmup.unsettled(when)?;
    let name = &one.instance;
    let last = one.requests.iter().rev().take(3);
    let last: Vec<f64> = last.filter_map(|it| it.e2el_ms).map(round).collect();
    let finding = Finding {
        message: format!(
            "`{name}` did not settle: of {} warm-up requests no two in a row took as long as each \
             other",
            one.requests.len()
        ),
        evidence: json!({
            "within_percent": round(100.0 * when.within),
            "requests": one.requests.len(),
            "last_ms": last,
        }),
        cause: "its speed changes: it is not warm yet, or somebody else uses the machine"
            .to_owned(),
        hint: "raise `warmup: {max: N}`, or look for what else runs there".to_owned(),
    };
    Some(RULE.speak(Severity::Warning, finding).of_replica(name))
}

/// How often a replica's log came to say, while the requests that count were sent, that it compiled
/// kernels. Where its log was not looked at between the warm-up and these, nothing is known of one that
/// was warmed: to have kernels compiled is what a warm-up is for.
fn compiled_meanwhile(case: &Case<'_>, name: &str, warmed: bool) -> u64 {
    let mut servers = case.conditions.servers();
    let server = servers.find(|it| it.instance == name);
    let grown = server.and_then(|it| {
        let since = it.begun.or((!warmed).then_some(it.before))?;
        let after = it.after.filter(|after| after.pid == since.pid)?;
        after.compiled_late.checked_sub(since.compiled_late)
    });
    grown.unwrap_or(0)
}

/// What is known of a cold one, with what its log says.
fn with_log(mut anomaly: Anomaly, compiled: u64) -> Anomaly {
    if compiled > 0 {
        anomaly.evidence["compiled_during_inference"] = compiled.into();
        anomaly.cause = format!(
            "it compiled kernels: while it was measured its log said \"JIT compilation during \
             inference\" {}",
            times(compiled)
        );
    }
    anomaly
}

/// One that compiled meanwhile, though it shows in no comparison.
fn compiling(name: &str, compiled: u64, warmed: bool) -> Anomaly {
    let evidence = json!({"warmed": warmed, "compiled_during_inference": compiled});
    let said = format!(
        "compiled kernels while it was measured (its log said \"JIT compilation during inference\" {})",
        times(compiled)
    );
    if !warmed {
        let message = format!("`{name}` was cold: not warmed, it {said}");
        return cold(name, message, evidence);
    }
    let finding = Finding {
        message: format!("`{name}` {said}"),
        evidence,
        cause: "its warm-up did not meet every shape that the load asked for".to_owned(),
        hint: "measure again: what is compiled stays so until the server is started anew"
            .to_owned(),
    };
    RULE.speak(Severity::Warning, finding).of_replica(name)
}

fn times(count: u64) -> String {
    match count {
        1 => "once".to_owned(),
        count => format!("{count} times"),
    }
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

#[cfg(test)]
mod tests {
    use super::super::scene::{Scene, batch, rounds, scene, warmed};
    use crate::plan::{NodeConditions, ServerConditions, WarmWhen};
    use crate::results::{Severity, Surveyed, WarmupRequest};

    /// Five rounds on two warm replicas, of which `b` had compiled so often before its warm-up, after it,
    /// and at the end.
    fn compiled(first_of_b: f64, [before, begun, after]: [u64; 3]) -> Scene {
        let round = |b: f64| batch([500.0; 4], [b; 4]);
        let steady = [round(505.0), round(500.0), round(510.0), round(500.0)];
        let all = [round(first_of_b)].into_iter().chain(steady);
        let mut scene = scene(rounds(all));
        let seen = |compiled_late: u64| -> Surveyed {
            let server = ServerConditions {
                pid: 7,
                compiled_late,
                ..ServerConditions::default()
            };
            let node = NodeConditions {
                servers: [("b".to_owned(), server)].into(),
                ..NodeConditions::default()
            };
            [("spark-02".parse().unwrap(), node)].into()
        };
        scene.conditions.before = seen(before);
        scene.conditions.begun = seen(begun);
        scene.conditions.after = seen(after);
        scene
    }

    fn said(scene: &Scene) -> Vec<(Severity, String, String)> {
        let anomalies = scene.judge().into_iter().filter(|it| it.id == "A6");
        anomalies
            .map(|it| (it.severity, it.message, it.cause))
            .collect()
    }

    #[test]
    fn what_is_compiled_in_the_warm_up_does_not_count_and_what_is_later_does() {
        assert!(said(&compiled(505.0, [3, 5, 5])).is_empty());
        let found = said(&compiled(505.0, [3, 5, 6]));
        let text = "`b` compiled kernels while it was measured (its log said \"JIT compilation during \
                    inference\" once)";
        assert_eq!((found[0].0, found[0].1.as_str()), (Severity::Warning, text));
        assert_eq!(found.len(), 1);
        // Nobody looked in between.
        let mut unseen = compiled(505.0, [3, 5, 6]);
        unseen.conditions.begun.clear();
        assert!(said(&unseen).is_empty());
    }

    #[test]
    fn who_compiles_without_a_warm_up_is_cold() {
        let unwarmed = |looks| {
            let mut scene = compiled(505.0, looks);
            scene.warmup = warmed(&["a"]);
            scene
        };
        let silent = said(&unwarmed([3, 5, 5]));
        assert_eq!(silent[0].0, Severity::Warning);
        assert!(silent[0].1.contains("not warmed"));
        let text = "`b` was cold: not warmed, it compiled kernels while it was measured (its log said \
                    \"JIT compilation during inference\" 2 times)";
        let found = said(&unwarmed([3, 3, 5]));
        assert_eq!((found[0].0, found[0].1.as_str()), (Severity::Error, text));
        let mut unseen = unwarmed([3, 4, 5]);
        unseen.conditions.begun.clear();
        assert_eq!(said(&unseen), found);
    }

    /// Another process counts from 0 again, which is for another rule.
    #[test]
    fn what_another_process_compiled_is_not_counted() {
        let mut anew = compiled(1500.0, [3, 3, 5]);
        let nodes = anew.conditions.after.values_mut();
        for server in nodes.flat_map(|node| node.servers.values_mut()) {
            server.pid = 8;
        }
        assert!(!said(&anew)[0].2.contains("JIT"));
    }

    #[test]
    fn a_warm_up_that_never_settles_is_warned_of() {
        let with = |times: &[f64]| {
            let mut scene = scene(batch([500.0; 4], [500.0; 4]));
            scene.job.warm_when = Some(WarmWhen {
                within: 0.05,
                max: 4,
            });
            let warmed = &mut scene.warmup.instances[1];
            let one = warmed.requests[0].clone();
            let took = times.iter().map(|ms| WarmupRequest {
                e2el_ms: Some(*ms),
                ..one.clone()
            });
            warmed.requests = took.collect();
            said(&scene)
        };
        assert!(with(&[900.0, 500.0, 505.0]).is_empty());
        assert!(with(&[900.0, 500.0, 505.0, 700.0]).is_empty());
        // It was asked for no more.
        assert!(with(&[900.0, 500.0, 700.0]).is_empty());
        let found = with(&[900.0, 500.0, 700.0, 400.0]);
        let text =
            "`b` did not settle: of 4 warm-up requests no two in a row took as long as each other";
        assert_eq!((found[0].0, found[0].1.as_str()), (Severity::Warning, text));
    }

    #[test]
    fn a_slow_first_round_of_who_compiled_has_its_cause_named() {
        let accident = said(&compiled(1500.0, [3, 3, 3]));
        let found = said(&compiled(1500.0, [3, 3, 4]));
        assert_eq!([accident[0].0, found[0].0], [Severity::Warning; 2]);
        assert!(!accident[0].2.contains("JIT"));
        assert!(
            found[0]
                .2
                .ends_with("\"JIT compilation during inference\" once")
        );
    }
}
