//! What was asked, in a sentence, and what came of it, in another.

use super::super::Reported;
use super::super::markup::Markup;
use super::super::sheet::{Sheet, facts};
use super::{known, median, p95};
use crate::results::{Point, Severity, throughput};
use crate::view::bench::{labels, said_unproved};
use crate::view::words::{count, list, number};

/// The question and the answer.
pub(in super::super) fn answer(it: &Reported) -> Markup {
    let mut out = Markup::default();
    out.words("p", &[], &question(it));
    let (class, said) = verdict(it);
    out.words("p", &[("class", class)], &said);
    if let Some(unproved) = said_unproved(&it.result) {
        out.words("p", &[("class", "verdict warn")], &sentence(&unproved));
    }
    facts(&mut out, &[("tags and notes", labels(&it.result))]);
    numbers(it).write(&mut out);
    out.words("p", &[("class", "caption")], "Times in ms.");
    out
}

/// A clause as a sentence.
fn sentence(clause: &str) -> String {
    let mut letters = clause.chars();
    let first = letters.next().map(|it| it.to_uppercase().to_string());
    format!("{}{}.", first.unwrap_or_default(), letters.as_str())
}

fn question(it: &Reported) -> String {
    let job = &it.result.job;
    let loads = it.result.points.iter().map(|point| point.load.label());
    let names: Vec<String> = it
        .instances()
        .iter()
        .map(|name| (*name).to_owned())
        .collect();
    let way = match (&job.endpoint.policy, names.len()) {
        (Some(policy), 2..) => format!(", {policy} over {}", list(&names)),
        (_, 0) => String::new(),
        _ => format!(", served by {}", list(&names)),
    };
    let simulated = if it.is_simulated() {
        " These servers are simulated: their numbers say nothing of a GPU."
    } else {
        ""
    };
    let warmed = match job.warmup {
        0 => "Nothing was warmed before.".to_owned(),
        n => format!(
            "Before, each answered {}.",
            count(n as usize, "warm-up request")
        ),
    };
    format!(
        "Asked: {} of {} at http://{}{way}; {} an answer. {warmed}{simulated}",
        list(&loads.collect::<Vec<_>>()),
        job.model,
        job.endpoint.authority,
        count(job.max_tokens as usize, "token"),
    )
}

fn verdict(it: &Reported) -> (&'static str, String) {
    let result = &it.result;
    if let Some(cut) = &result.interrupted {
        return ("verdict bad", format!("✗ Invalid: {cut}."));
    }
    if !result.valid {
        let errors = result.anomalies().filter(|found| found.invalidates());
        let mut names: Vec<String> = errors.map(|it| format!("{} {}", it.id, it.name)).collect();
        names.dedup();
        let said = format!(
            "✗ Invalid: these numbers cannot be believed ({}).",
            names.join(", ")
        );
        return ("verdict bad", said);
    }
    let said = throughput(&result.headlines()).unwrap_or_else(|| "measured".to_owned());
    let first = match result.points.as_slice() {
        [point] => one_load(point),
        _ => String::new(),
    };
    let warnings = result
        .anomalies()
        .filter(|it| it.severity == Severity::Warning)
        .count();
    match warnings {
        0 => ("verdict good", format!("✓ Valid: {said}{first}.")),
        n => (
            "verdict warn",
            format!("✓ Valid, with {}: {said}{first}.", count(n, "warning")),
        ),
    }
}

fn one_load(point: &Point) -> String {
    let metrics = &point.summary.metrics;
    let ms = |it: &crate::results::quantile::Distribution| number(it.p50.value);
    let first = metrics.ttft.as_ref().map(ms);
    let further = metrics.tpot.as_ref().map(ms);
    let first = first.map(|ms| format!(", the first token after {ms} ms"));
    let further = further.map(|ms| format!(", each further one {ms} ms later"));
    let said: String = first.into_iter().chain(further).collect();
    if said.is_empty() {
        said
    } else {
        said + " (medians)"
    }
}

fn numbers(it: &Reported) -> Sheet {
    let mut sheet = Sheet::new(&[
        ("load", false),
        ("ok/failed", true),
        ("tokens", true),
        ("wall s", true),
        ("tok/s", true),
        ("tok/s/user", true),
        ("TTFT p50", true),
        ("p95", true),
        ("TPOT p50", true),
        ("p95", true),
        ("e2el mean", true),
        ("", false),
    ]);
    for point in &it.result.points {
        let (summary, metrics) = (&point.summary, &point.summary.metrics);
        sheet.row(vec![
            point.load.label(),
            format!("{}/{}", summary.counts.ok, summary.counts.failed),
            metrics.output_tokens.to_string(),
            known(Some(summary.window.seconds())),
            known(metrics.output_tps),
            known(metrics.tok_s_user),
            median(metrics.ttft.as_ref()),
            p95(metrics.ttft.as_ref()),
            median(metrics.tpot.as_ref()),
            p95(metrics.tpot.as_ref()),
            known(summary.mean_latency_ms()),
            if point.valid { "" } else { "✗ invalid" }.to_owned(),
        ]);
    }
    sheet
}
