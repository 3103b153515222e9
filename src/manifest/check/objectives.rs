//! What measurements are held against: objectives, and conditions to fail under.

use super::super::problem::Problem;
use super::Checker;
use crate::plan::{FailIf, Slo};
use crate::resource::benchmark::{BenchmarkDeclaration, Objective};
use crate::results::Metric;

/// An objective has a limit, and asks for a share that can be reached.
pub(super) fn objectives_limit_something(seen: &Checker<'_>) -> Vec<Problem> {
    let mut out = Vec::new();
    for (name, slo) in &seen.document.slos {
        out.extend(limits_nothing(seen, &["slos", name.as_str()], slo));
    }
    for (name, benchmark) in &seen.document.benchmarks {
        if let Some(Objective::Inline(slo)) = &benchmark.slo {
            let at = ["benchmarks", name.as_str(), "slo"];
            out.extend(limits_nothing(seen, &at, slo));
        }
    }
    out
}

fn limits_nothing(seen: &Checker<'_>, at: &[&str], slo: &Slo) -> Option<Problem> {
    if slo.limits().next().is_none() {
        let problem = seen.report_key(at, "this objective limits nothing")?;
        return Some(problem.hint("as in `{ttft: 2s, tpot: 100ms, attainment: 99%}`"));
    }
    if slo.attainment.share() > 1.0 {
        let at = [at, &["attainment"]].concat();
        let problem = seen.report(&at, "more than all requests cannot be good")?;
        return Some(problem.hint("`attainment` is 100% at most"));
    }
    None
}

/// A condition to fail under looks at something, and holds it against something.
pub(super) fn conditions_can_be_judged(seen: &Checker<'_>) -> Vec<Problem> {
    let mut out = Vec::new();
    for (name, benchmark) in &seen.document.benchmarks {
        for (index, condition) in benchmark.fail_if.iter().enumerate() {
            let index = index.to_string();
            let at = ["benchmarks", name.as_str(), "fail_if", &index];
            out.extend(cannot_be_judged(seen, &at, benchmark, condition));
        }
    }
    out
}

fn cannot_be_judged(
    seen: &Checker<'_>,
    at: &[&str],
    benchmark: &BenchmarkDeclaration,
    condition: &FailIf,
) -> Option<Problem> {
    let inside = |key| [at, &[key]].concat();
    let limits = [
        condition.worse_than.is_some(),
        condition.above.is_some(),
        condition.below.is_some(),
    ];
    let limits = limits.iter().filter(|is_there| **is_there).count();
    let written = match (&condition.metric, condition.anomaly, limits) {
        (None, Some(_), 0) => return None,
        (Some(metric), None, 1) => metric,
        _ => {
            let problem = seen.report(at, "this is no one condition")?;
            return Some(problem.hint(
                "write a metric and one limit, as in `{metric: ttft.p95, above: 2s}`, \
                 `{metric: output_tps, below: 100}` or `{metric: output_tps, worse_than: 5%}`; or \
                 `{anomaly: warning}`",
            ));
        }
    };
    let metric: Metric = match written.parse() {
        Ok(metric) => metric,
        Err(error) => return seen.report(&inside("metric"), error.to_string()),
    };
    let (key, title, hint) = if condition.worse_than.is_some() && benchmark.baseline.is_none() {
        (
            "worse_than",
            "there is nothing that it could be worse than".to_owned(),
            "give the benchmark a `baseline:`, such as a result of `bench`",
        )
    } else if condition.above.is_some() && !metric.is_time() {
        let title = format!("of `{metric}` more is better");
        ("above", title, "write `below: 100`")
    } else if condition.below.is_some() && metric.is_time() {
        let title = format!("`{metric}` is a time, of which less is better");
        ("below", title, "write `above: 2s`")
    } else if metric.needs_an_objective() && benchmark.slo.is_none() {
        let title = format!("without an objective there is no `{metric}`");
        ("metric", title, "give the benchmark an `slo:`")
    } else {
        return None;
    };
    Some(seen.report(&inside(key), title)?.hint(hint))
}
