//! What was measured, by whom it was served, what it is compared with, and whether it can be
//! believed.

mod beside;
mod evidence;
mod held;
mod list;
pub(super) mod roofline;

use std::path::Path;

pub(super) use beside::{baseline, difference, sizes};
pub(super) use evidence::evidence;
use indexmap::IndexMap;
pub(super) use list::labels;
pub use list::{ListDocument, list};

use super::style::{Role, Style};
use super::table::{Align, Cell, Table};
use super::words::{clean, count, number};
use crate::results::quantile::Distribution;
use crate::results::{Anomaly, BenchResult, Point, Severity, Share, is_on_cpus, is_simulated};
use crate::shape::{Found, Skipped};

/// A warm-up that took longer than this, in seconds, is worth a word.
const LONG_WARMUP_S: f64 = 10.0;

/// Renders a result, and says in which file the whole of it is.
pub fn render(result: &BenchResult, file: Option<&Path>, style: Style) -> String {
    let mut blocks = vec![title(result, style)];
    blocks.push(measurements(&result.points, style));
    blocks.push(roofline::lines(result, style));
    blocks.push(not_driven(&result.skipped, style));
    blocks.extend(result.search.iter().map(|it| found(it, style)));
    blocks.push(shares(&result.points, style));
    let beside = result.comparison.iter();
    blocks.extend(beside.map(|it| beside::lines(it, result, style)));
    if style.verbose {
        blocks.push(definitions(is_open(&result.points), style));
    }
    blocks.push(verdict(result, file, style));
    blocks.retain(|block| !block.is_empty());
    let blocks: Vec<String> = blocks.iter().map(|lines| lines.join("\n")).collect();
    blocks.join("\n\n") + "\n"
}

/// What was measured, and under it the conditions.
fn title(result: &BenchResult, style: Style) -> Vec<String> {
    let joined = |parts: Vec<String>| {
        let said = parts.into_iter().filter(|part| !part.is_empty());
        said.collect::<Vec<String>>().join(" · ")
    };
    let job = &result.job;
    let name = style.paint(Role::Title, &clean(&job.name));
    let endpoint = format!("http://{}", job.endpoint.authority);
    let what = [&job.topology, &job.model, &endpoint].map(|part| clean(part));
    let mut lines = style.hang(&joined([vec![name], what.to_vec()].concat()), 2);
    let conditions = joined(conditions(result));
    let conditions = style.wrap(&conditions, style.width.saturating_sub(2));
    lines.extend(
        indented(conditions)
            .iter()
            .map(|l| style.paint(Role::Faint, l)),
    );
    let labels = style.wrap(&clean(&labels(result)), style.width.saturating_sub(2));
    lines.extend(
        indented(labels)
            .into_iter()
            .filter(|line| !line.trim().is_empty()),
    );
    lines
}

/// What a reader should have before any number.
fn conditions(result: &BenchResult) -> Vec<String> {
    let job = &result.job;
    let simulated = is_simulated(&result.topology).then(|| "simulated".to_owned());
    let on_cpus = is_on_cpus(&result.topology).then(|| "on CPUs".to_owned());
    let policy = job.endpoint.policy.as_deref().map(clean);
    let node = result.client.node.as_ref();
    let from = node.map(|node| format!("from {node}"));
    let most = if job.equal_lengths { "" } else { "up to " };
    let tokens = format!("{most}{} tokens each", job.max_tokens);
    let warm = match job.warmup {
        0 => "not warmed".to_owned(),
        n => format!("{} each", count(n as usize, "warm-up request")),
    };
    let long = result.warmup.took_s.filter(|took| *took > LONG_WARMUP_S);
    let warm = match long {
        Some(took) => format!("{warm}, {took:.0} s of warm-up"),
        None => warm,
    };
    // The unit is said once here, so that the table fits on 80 columns.
    let unit = "times in ms".to_owned();
    let made = simulated.or(on_cpus);
    let first = made.into_iter().chain(policy).chain(from);
    first.chain([tokens, warm, unit]).collect()
}

/// A number for a table, or nothing.
fn measured(value: Option<f64>) -> Cell {
    Cell::from(value.map(number).unwrap_or_default())
}

fn median(of: Option<&Distribution>) -> Option<f64> {
    of.map(|distribution| distribution.p50.value)
}

/// The 95th percentile, only where there are requests enough to bound it.
fn p95(of: Option<&Distribution>) -> Option<f64> {
    let p95 = of.map(|distribution| distribution.p95)?;
    (!p95.at_least).then_some(p95.value)
}

fn measurements(points: &[Point], style: Style) -> Vec<String> {
    let right = |title| (title, Align::Right);
    let has_p95 = points
        .iter()
        .any(|point| p95(point.summary.metrics.ttft.as_ref()).is_some());
    // By the clock, what counts is when a request was meant to be sent, and whether it was sent then.
    let is_open = is_open(points);
    let heading = [
        ("load", Align::Left),
        right("ok/failed"),
        right(if is_open { "sent/s" } else { "tokens" }),
        right(if is_open { "lag p99" } else { "wall s" }),
        right("tok/s"),
        right(if has_p95 { "TTFT p50/95" } else { "TTFT p50" }),
        right("TPOT p50"),
        right(if is_open {
            "response mean"
        } else {
            "e2el mean"
        }),
    ];
    let mut table = Table::new(style, &heading);
    for point in points {
        let Point { summary, .. } = point;
        let metrics = &summary.metrics;
        let [sent, took, latency] = extent(point);
        table.row(vec![
            Cell::from(point.label()),
            outcome(summary.counts.ok, summary.counts.failed),
            sent,
            took,
            measured(metrics.output_tps),
            first_token(metrics.ttft.as_ref()),
            measured(median(metrics.tpot.as_ref())),
            latency,
        ]);
    }
    rows(points.is_empty(), &table)
}

/// How much there was of a load, how long it took, and its mean latency; of one by the clock, how many
/// requests a second were sent, how late, and the mean from the moments that were planned.
fn extent(point: &Point) -> [Cell; 3] {
    let Point { summary, .. } = point;
    let metrics = &summary.metrics;
    match &point.achieved {
        Some(achieved) => [
            measured(Some(achieved.achieved_rps)),
            measured(achieved.lag_ms.map(|lag| lag.p99.value)),
            measured(metrics.response.as_ref().map(|response| response.mean)),
        ],
        None => [
            Cell::from(metrics.output_tokens.to_string()),
            measured(Some(summary.seconds())),
            measured(summary.mean_latency_ms()),
        ],
    }
}

/// The loads that were not driven, and why.
fn not_driven(skipped: &[Skipped], style: Style) -> Vec<String> {
    let lines = skipped.iter().map(|it| {
        let why = format!("{} not driven, after {}", it.load.label(), clean(&it.why));
        style.hang(&why, 4)
    });
    indented(lines.flatten().collect())
}

/// What a search has found, and between which rates it lies.
fn found(found: &Found, style: Style) -> Vec<String> {
    let tried = count(found.probes.len(), "rate");
    let answer = match (found.answer, found.missed) {
        (Some(answer), Some(missed)) => {
            format!("{answer} is met, {missed} is not; {tried} tried")
        }
        (Some(answer), None) => format!("{answer} is met, and nothing higher was tried"),
        (None, Some(missed)) => {
            let why = found.probes.iter().find_map(|it| it.why.as_deref());
            format!(
                "not even {missed} is met: {}",
                clean(why.unwrap_or_default())
            )
        }
        (None, None) => "no rate was tried to its end".to_owned(),
    };
    indented(style.hang(&format!("search: {answer}"), 2))
}

fn first_token(ttft: Option<&Distribution>) -> Cell {
    let quantiles = [median(ttft), p95(ttft)];
    let known: Vec<String> = quantiles.into_iter().flatten().map(number).collect();
    Cell::from(known.join("/"))
}

fn outcome(ok: usize, failed: usize) -> Cell {
    let text = format!("{ok}/{failed}");
    if failed == 0 {
        Cell::from(text)
    } else {
        Cell::dressed(text, Role::Error)
    }
}

/// Who served the requests; of several loads, each for itself.
fn shares(points: &[Point], style: Style) -> Vec<String> {
    let right = |title| (title, Align::Right);
    let heading = [
        (if points.len() > 1 { "load" } else { "" }, Align::Left),
        ("instance", Align::Left),
        right("share"),
        right("ok/failed"),
        right("tokens"),
        right("TTFT p50"),
        right("TPOT p50"),
        right("e2el mean"),
    ];
    let from = usize::from(points.len() < 2);
    let mut table = Table::new(style, &heading[from..]);
    for point in points {
        let summary = &point.summary;
        let all: usize = summary.by_instance.values().map(|share| share.n).sum();
        for (name, share) in &summary.by_instance {
            let mut cells = vec![Cell::from(point.label()), Cell::from(clean(name))];
            cells.extend(served(share, all));
            table.row(cells.split_off(from));
        }
    }
    let nobody = points.iter().all(|p| p.summary.by_instance.is_empty());
    rows(nobody, &table)
}

fn served(share: &Share, all: usize) -> [Cell; 6] {
    let percent = 100.0 * share.n as f64 / all.max(1) as f64;
    [
        Cell::from(format!("{percent:.0}%")),
        outcome(share.ok, share.n - share.ok),
        Cell::from(share.tokens.to_string()),
        measured(median(share.ttft.as_ref())),
        measured(median(share.tpot.as_ref())),
        measured(share.e2el.as_ref().map(|d| d.mean)),
    ]
}

fn rows(are_none: bool, table: &Table) -> Vec<String> {
    indented(if are_none { Vec::new() } else { table.lines() })
}

fn indented(lines: Vec<String>) -> Vec<String> {
    lines.into_iter().map(|line| format!(" {line}")).collect()
}

/// Whether loads come by the clock.
fn is_open(points: &[Point]) -> bool {
    points.iter().any(|point| point.achieved.is_some())
}

fn definitions(is_open: bool, style: Style) -> Vec<String> {
    let by_the_clock = [
        "response  end of the answer - when the request was meant to be sent",
        "lag    request sent - when it was meant to be sent",
    ];
    let by_the_clock = by_the_clock.iter().filter(|_| is_open);
    [
        "failed requests are counted and are in no latency",
        "TTFT   first token - request sent",
        "TPOT   (last token - first token) / (tokens - 1), for each request",
        "e2el   last token - request sent",
        "tok/s  tokens of answered requests / (last token of all - first request sent)",
        "x5     driven five times: tok/s of the median round, wall s of all, latencies of all",
    ]
    .iter()
    .chain(by_the_clock)
    .map(|line| style.paint(Role::Faint, &format!(" {line}")))
    .collect()
}

fn verdict(result: &BenchResult, file: Option<&Path>, style: Style) -> Vec<String> {
    let mut lines = Vec::new();
    for (loads, anomaly) in findings(&result.points) {
        lines.extend(explained(&loads, anomaly, style));
    }
    lines.extend(held::lines(&result.points, style));
    lines.extend(unproved(result, style));
    lines.push(if result.valid {
        style.paint(Role::Good, "✓ valid") + as_far_as(result)
    } else {
        let lead = style.paint(Role::Error, "✗ invalid");
        format!("{lead}: these numbers cannot be believed")
    });
    if let Some(file) = file {
        lines.push(format!("result: {}", clean(&file.display().to_string())));
    }
    lines
}

/// What nothing proves of the servers, where they were not declared.
fn unproved(result: &BenchResult, style: Style) -> Vec<String> {
    let Some(said) = said_unproved(result) else {
        return Vec::new();
    };
    let lead = style.paint(Role::Warning, "!");
    style.hang(&format!("{lead} {said}"), 2)
}

/// The same as a sentence.
pub(super) fn said_unproved(result: &BenchResult) -> Option<String> {
    let things: Vec<&str> = result.unproved.iter().map(|it| it.words()).collect();
    let (last, others) = things.split_last()?;
    let others = others.join(", ");
    let before = if others.is_empty() { "" } else { " or " };
    Some(format!(
        "these servers were not declared, and nothing proves {others}{before}{last}"
    ))
}

fn as_far_as(result: &BenchResult) -> &'static str {
    if result.unproved.is_empty() {
        ""
    } else {
        ", as far as a client can see"
    }
}

/// What was found, each thing once, with the loads that it was found in: none where it was in all.
fn findings(points: &[Point]) -> Vec<(String, &Anomaly)> {
    let mut found: IndexMap<(&str, &str), (Vec<String>, &Anomaly)> = IndexMap::new();
    for point in points {
        for anomaly in &point.anomalies {
            let key = (anomaly.id.as_str(), anomaly.message.as_str());
            let (loads, _) = found.entry(key).or_insert((Vec::new(), anomaly));
            loads.push(point.load.label());
        }
    }
    let found = found.into_values();
    found
        .map(|(loads, anomaly)| {
            let is_in_all = loads.len() == points.len();
            let named = (!is_in_all).then(|| loads.join(", ") + ": ");
            (named.unwrap_or_default(), anomaly)
        })
        .collect()
}

fn explained(loads: &str, anomaly: &Anomaly, style: Style) -> Vec<String> {
    let (sign, role) = match anomaly.severity {
        Severity::Error => ("✗", Role::Error),
        Severity::Warning => ("!", Role::Warning),
        // What is only worth knowing is in the file.
        Severity::Info => return Vec::new(),
    };
    let lead = format!("{sign} {} {}", anomaly.id, anomaly.name);
    let message = format!("{lead} {loads}{}", clean(&anomaly.message));
    let mut lines = style.wrap(&message, style.width.saturating_sub(2));
    for (place, line) in lines.iter_mut().enumerate() {
        *line = match line.strip_prefix(&lead).filter(|_| place == 0) {
            Some(rest) => style.paint(role, &lead) + rest,
            None => format!("  {line}"),
        };
    }
    let details = [
        ("seen", &evidence(anomaly)),
        ("cause", &anomaly.cause),
        ("hint", &anomaly.hint),
    ];
    for (label, text) in details {
        if text.is_empty() {
            continue;
        }
        let wrapped = style.wrap(&clean(text), style.width.saturating_sub(11));
        for (place, line) in wrapped.iter().enumerate() {
            let label = if place == 0 {
                format!("{label}:")
            } else {
                String::new()
            };
            let label = style.paint(Role::Faint, &format!("{label:<6}"));
            lines.push(format!("    {label} {line}"));
        }
    }
    lines
}

#[cfg(test)]
mod tests;
