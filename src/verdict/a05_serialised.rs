//! A5: a replica that serves requests one after another though it was given them together; or an
//! endpoint that lets one through at a time, whichever replica serves it.
//!
//! The k-th completion comes at k times the first (within 15 %), no request's tokens begin before
//! the tokens of the one before it have ended, and all were sent before the first was done. An
//! engine that is told to run one at a time (`max_num_seqs: 1`) does as it is told. Of several rounds,
//! nearly all must be so.

use serde_json::json;

use super::observation::are_nearly_all;
use super::{Case, Finding, MATTERS_MS, Rule, round};
use crate::results::{Anomaly, Record, Severity, by_round};

const FEWEST: usize = 3;
const TOLERANCE: f64 = 0.15;

pub(super) const RULE: Rule = Rule {
    id: "A5",
    name: "serialised",
    check,
};

fn check(case: &Case<'_>) -> Vec<Anomaly> {
    let served = case.by_replica();
    let all: Vec<&Record> = served.iter().flat_map(|(_, own)| own.clone()).collect();
    if let Some(steps) = in_nearly_all_rounds(&all).filter(|_| served.len() > 1) {
        return vec![of_endpoint(&steps)];
    }
    let told_so = |name: &str| case.target(name).is_some_and(|t| t.max_num_seqs == Some(1));
    served
        .iter()
        .filter(|(name, _)| !told_so(name))
        .filter_map(|(name, own)| Some(of_replica(name, &in_nearly_all_rounds(own)?)))
        .collect()
}

/// The completions of the first round in which requests ran one after another, where they did so in
/// nearly all.
fn in_nearly_all_rounds(records: &[&Record]) -> Option<Vec<f64>> {
    let rounds = by_round(records.iter().copied());
    let stairs: Vec<Vec<f64>> = rounds.iter().filter_map(|it| staircase(it)).collect();
    let holds = are_nearly_all(stairs.len(), rounds.len());
    stairs.into_iter().next().filter(|_| holds)
}

/// The completions of requests that ran one after another, in ms since the first was sent.
fn staircase(records: &[&Record]) -> Option<Vec<f64>> {
    let mut spans: Vec<[u64; 3]> = records
        .iter()
        .filter_map(|r| Some([r.stamps.last?, r.stamps.first?, r.stamps.sent?]))
        .collect();
    spans.sort_unstable();
    let first_done = spans.first()?[0];
    let begin = spans.iter().map(|[_, _, sent]| *sent).min()?;
    let together = spans.iter().all(|[_, _, sent]| *sent < first_done);
    let step = (first_done.checked_sub(begin)?) as f64;
    let even = spans.iter().enumerate().all(|(i, [last, ..])| {
        let expected = step * (i + 1) as f64;
        ((last - begin) as f64 - expected).abs() <= TOLERANCE * expected
    });
    let disjoint = spans
        .windows(2)
        .all(|pair| pair[1][1] as f64 >= pair[0][0] as f64 - TOLERANCE * step);
    let matters = (spans.last()?[0] - first_done) as f64 / 1000.0 > MATTERS_MS;
    let serial = spans.len() >= FEWEST && together && even && disjoint && matters;
    serial.then(|| {
        spans
            .iter()
            .map(|[last, ..]| (last - begin) as f64 / 1000.0)
            .collect()
    })
}

fn of_replica(replica: &str, completions: &[f64]) -> Anomaly {
    let finding = Finding {
        cause: "something before the engine holds requests back, or it runs one at a time"
            .to_owned(),
        hint: format!(
            "send two requests to `{replica}` directly; look at its `vllm:num_requests_running`"
        ),
        ..served_by(&format!("`{replica}`"), completions)
    };
    RULE.speak(Severity::Error, finding).of_replica(replica)
}

fn of_endpoint(completions: &[f64]) -> Anomaly {
    let finding = Finding {
        cause: "the proxy, or what stands before it, lets one request through at a time".to_owned(),
        hint: "send two requests to each replica directly, past the proxy".to_owned(),
        ..served_by("the endpoint", completions)
    };
    RULE.speak(Severity::Error, finding)
}

fn served_by(who: &str, completions: &[f64]) -> Finding {
    let n = completions.len();
    Finding {
        message: format!(
            "{who} served its {n} requests one after another, {:.2} s each",
            completions[0] / 1000.0
        ),
        evidence: json!({
            "completions_ms": completions.iter().map(|ms| round(*ms)).collect::<Vec<_>>(),
        }),
        cause: String::new(),
        hint: String::new(),
    }
}
