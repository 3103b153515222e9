//! What is compared with what, and by what.

use super::super::arms::COMPARE;
use super::super::problem::Problem;
use super::super::suggest::nearest;
use super::Checker;
use crate::name::{ArmName, BenchmarkName};
use crate::results::Metric;

/// There are two arms, and those that others are held against are among them.
pub(super) fn has_arms(seen: &Checker<'_>) -> Vec<Problem> {
    let Some(compare) = &seen.document.compare else {
        return Vec::new();
    };
    let mut out = Vec::new();
    if compare.arms.len() < 2 {
        let problem = seen.report_key(&[COMPARE, "arms"], "a comparison has two arms or more");
        let hint = "each is a name with changes to the topology; `as_declared: {}` changes nothing";
        out.extend(problem.map(|problem| problem.hint(hint)));
    }
    for (at, name) in compare.against.iter().enumerate() {
        if !compare.arms.contains_key(name) {
            let title = format!("there is no arm `{name}`");
            let problem = seen.report(&[COMPARE, "against", &at.to_string()], title);
            let arms = compare.arms.keys().map(ArmName::as_str);
            out.extend(problem.map(|problem| hinted(problem, name.as_str(), arms)));
        }
    }
    out
}

/// What is measured of the arms is declared.
pub(super) fn measures_what_is_declared(seen: &Checker<'_>) -> Vec<Problem> {
    let Some(compare) = &seen.document.compare else {
        return Vec::new();
    };
    let known = &seen.document.benchmarks;
    if known.is_empty() {
        let problem = seen.report_key(&[COMPARE], "nothing is measured of the arms");
        let hint = "declare what to measure under `benchmarks:`";
        return problem.map(|it| it.hint(hint)).into_iter().collect();
    }
    let mut out = Vec::new();
    for (path, name) in compare.named() {
        if known.contains_key(name) {
            continue;
        }
        let path: Vec<_> = path.iter().map(String::as_str).collect();
        let problem = seen.report(&path, format!("there is no benchmark `{name}`"));
        let names = known.keys().map(BenchmarkName::as_str);
        out.extend(problem.map(|problem| hinted(problem, name.as_str(), names)));
    }
    out
}

/// No arm is measured cold.
pub(super) fn warms_what_it_measures(seen: &Checker<'_>) -> Vec<Problem> {
    let Some(compare) = &seen.document.compare else {
        return Vec::new();
    };
    let is_compared = |name: &BenchmarkName| match &compare.benchmarks {
        None => true,
        Some(_) => compare.named().iter().any(|(_, named)| *named == name),
    };
    let benchmarks = seen.document.benchmarks.iter();
    let cold = benchmarks.filter(|(name, it)| {
        let warmup = it.warmup;
        is_compared(name) && (warmup.per_instance == 0 || warmup.max < 2)
    });
    let problems = cold.filter_map(|(name, _)| {
        let title = format!("`{name}` is compared, and is not warmed until it is stable");
        let problem = seen.report(&["benchmarks", name.as_str(), "warmup"], title)?;
        Some(problem.hint("leave `warmup` out: cold arms are not compared"))
    });
    problems.collect()
}

/// A verdict can follow from what is measured.
pub(super) fn can_be_decided(seen: &Checker<'_>) -> Vec<Problem> {
    let Some(compare) = &seen.document.compare else {
        return Vec::new();
    };
    let mut out = Vec::new();
    let mut report = |path: &[&str], title: &str, hint: &str| {
        out.extend(seen.report(path, title).map(|problem| problem.hint(hint)));
    };
    if compare.rounds == 0 {
        let hint = "it is how often each arm is measured; a verdict takes 5 or more";
        report(&[COMPARE, "rounds"], "`rounds` must be 1 or more", hint);
    }
    let margin = compare.margin.share();
    if margin <= 0.0 || margin >= 0.5 {
        let hint = "two arms that differ by less are called equivalent: `3%`";
        report(
            &[COMPARE, "margin"],
            "`margin` must lie between 0% and 50%",
            hint,
        );
    }
    if let Some(decide) = &compare.decide {
        match decide.parse::<Metric>() {
            Err(error) => {
                let hint = "without the key, each benchmark is decided by what it is for";
                report(&[COMPARE, "decide"], &error.to_string(), hint);
            }
            Ok(metric) if metric.needs_an_objective() => {
                let hint = "give each benchmark an `slo:`, or leave `decide` out";
                let without = seen
                    .document
                    .benchmarks
                    .iter()
                    .find(|(_, it)| it.slo.is_none());
                if let Some((name, _)) = without {
                    let title = format!("`{metric}` needs an objective, and `{name}` has none");
                    report(&[COMPARE, "decide"], &title, hint);
                }
            }
            Ok(_) => {}
        }
    }
    out
}

/// One argument is tuned, and there is a choice.
pub(super) fn tunes_one_argument(seen: &Checker<'_>) -> Vec<Problem> {
    let Some(compare) = &seen.document.compare else {
        return Vec::new();
    };
    let mut out = Vec::new();
    for (name, arm) in &compare.arms {
        let Some(tune) = &arm.tune else { continue };
        let at = [COMPARE, "arms", name.as_str(), "tune", "args"];
        let is_choice = tune.args.values().all(|values| values.len() > 1);
        if tune.args.len() == 1 && is_choice {
            continue;
        }
        let title = "one argument is tuned, among two values or more";
        let problem = seen.report_key(&at, title);
        let hint = "as in `args: {max_num_batched_tokens: [512, 1024, 2048]}`";
        out.extend(problem.map(|problem| problem.hint(hint)));
    }
    out
}

fn hinted<'a>(
    problem: Problem,
    name: &str,
    known: impl Iterator<Item = &'a str> + Clone,
) -> Problem {
    if let Some(near) = nearest(name, known.clone()) {
        return problem.hint(format!("did you mean `{near}`?"));
    }
    let known: Vec<_> = known.map(|it| format!("`{it}`")).collect();
    problem.hint(format!("there is {}", known.join(", ")))
}
