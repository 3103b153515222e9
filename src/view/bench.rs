//! What was measured, by whom it was served, what it is compared with, and whether it can be
//! believed.

use std::path::PathBuf;

use super::look::{Look, Role};
use super::table::{Align, Cell, Table};
use super::words::{clean, number};

/// A result, as far as it is shown. What was not measured is `None` and not shown.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct BenchView {
    /// The benchmark's name.
    pub name: String,
    /// The topology's name.
    pub topology: String,
    /// The model's name, as clients say it.
    pub model: String,
    /// Where requests went: `http://192.168.1.75:8192`.
    pub endpoint: String,
    /// The conditions that a reader should have before any number: `round_robin`,
    /// `vllm 0.13.0+cu130`, `100 tokens`.
    pub conditions: Vec<String>,
    /// The measurements, one for each point of the load.
    pub rows: Vec<Row>,
    /// Who served the requests.
    pub instances: Vec<Share>,
    /// What it is compared with.
    pub baseline: Option<Baseline>,
    /// What is wrong with it, or odd.
    pub anomalies: Vec<Anomaly>,
    /// Says whether it can be believed.
    pub valid: bool,
    /// Where the whole result is.
    pub file: Option<PathBuf>,
}

/// One measurement.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Row {
    /// The load: `batch 8`, `4 rps`.
    pub load: String,
    /// Requests that were answered to the end.
    pub ok: u64,
    /// Requests that were not.
    pub failed: u64,
    /// Tokens that the answered requests brought.
    pub tokens: u64,
    /// Seconds from the first byte sent to the last token.
    pub wall_s: Option<f64>,
    /// Tokens a second, over all requests.
    pub tok_s: Option<f64>,
    /// Time to the first token, median.
    pub ttft_p50_ms: Option<f64>,
    /// Time to the first token, 95th percentile; only where there are requests enough.
    pub ttft_p95_ms: Option<f64>,
    /// Time a further token, median.
    pub tpot_p50_ms: Option<f64>,
    /// Time to the last token, mean.
    pub e2el_mean_ms: Option<f64>,
}

/// What one instance did.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Share {
    /// The instance's name.
    pub name: String,
    /// Requests that it answered to the end.
    pub ok: u64,
    /// Requests that it failed.
    pub failed: u64,
    /// Tokens that it brought.
    pub tokens: u64,
    /// Time to the first token, median.
    pub ttft_p50_ms: Option<f64>,
    /// Time a further token, median.
    pub tpot_p50_ms: Option<f64>,
    /// Time to the last token, mean.
    pub e2el_mean_ms: Option<f64>,
}

/// What a result is compared with.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Baseline {
    /// The other result: its file.
    pub name: String,
    /// The numbers side by side.
    pub rows: Vec<Versus>,
}

/// One number of two results.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Versus {
    /// What it is, with its unit: `tok/s`.
    pub metric: String,
    /// What the other result says.
    pub baseline: Option<f64>,
    /// What this one says.
    pub now: Option<f64>,
    /// How they compare, in a word: `better`, `worse`, `equivalent`.
    pub flag: Option<String>,
    /// Why they may not be compared; there is no ratio then for anybody to quote.
    pub incomparable: Option<String>,
}

/// How grave an anomaly is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Severity {
    /// The numbers stand, and this should be known with them.
    Warning,
    /// The numbers cannot be believed.
    #[default]
    Error,
}

/// Something that contradicts itself, or the physics.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Anomaly {
    /// The rule: `A6`.
    pub id: String,
    /// How grave it is.
    pub severity: Severity,
    /// What is wrong: `cold replica: b answered its first request 23.1 s late`.
    pub message: String,
    /// What was seen.
    pub evidence: Option<String>,
    /// What is the likely cause.
    pub cause: Option<String>,
    /// What to do next.
    pub next: Option<String>,
}

/// Renders a result.
pub fn render(view: &BenchView, look: Look) -> String {
    let mut blocks = vec![title(view, look)];
    blocks.push(measurements(&view.rows, look));
    blocks.push(shares(&view.instances, look));
    blocks.extend(view.baseline.iter().map(|it| versus(it, view.valid, look)));
    if look.verbose {
        blocks.push(definitions(look));
    }
    blocks.push(verdict(view, look));
    blocks.retain(|block| !block.is_empty());
    let blocks: Vec<String> = blocks.iter().map(|lines| lines.join("\n")).collect();
    blocks.join("\n\n") + "\n"
}

/// Returns what was measured, and under it the conditions.
fn title(view: &BenchView, look: Look) -> Vec<String> {
    let joined = |parts: Vec<String>| {
        let said = parts.into_iter().filter(|part| !part.is_empty());
        said.collect::<Vec<String>>().join(" · ")
    };
    let name = look.paint(Role::Title, &clean(&view.name));
    let what = [&view.topology, &view.model, &view.endpoint].map(|part| clean(part));
    let mut conditions: Vec<String> = view.conditions.iter().map(|part| clean(part)).collect();
    // Said once here, so that the table fits on 80 columns.
    conditions.push("times in ms".to_owned());
    let mut lines = vec![joined([vec![name], what.to_vec()].concat())];
    let conditions = look.wrap(&joined(conditions), look.width.saturating_sub(2));
    lines.extend(
        indented(conditions)
            .iter()
            .map(|l| look.paint(Role::Faint, l)),
    );
    lines
}

/// Returns a number for a table, or nothing.
fn measured(value: Option<f64>) -> Cell {
    Cell::from(value.map(number).unwrap_or_default())
}

fn measurements(rows: &[Row], look: Look) -> Vec<String> {
    let right = |title| (title, Align::Right);
    let has_p95 = rows.iter().any(|row| row.ttft_p95_ms.is_some());
    let heading = [
        ("load", Align::Left),
        right("ok/failed"),
        right("tokens"),
        right("wall s"),
        right("tok/s"),
        right(if has_p95 { "TTFT p50/95" } else { "TTFT p50" }),
        right("TPOT p50"),
        right("e2el mean"),
    ];
    let mut table = Table::new(look, &heading);
    for row in rows {
        table.row(vec![
            Cell::from(row.load.as_str()),
            outcome(row.ok, row.failed),
            Cell::from(row.tokens.to_string()),
            measured(row.wall_s),
            measured(row.tok_s),
            first_token(row),
            measured(row.tpot_p50_ms),
            measured(row.e2el_mean_ms),
        ]);
    }
    indented(if rows.is_empty() {
        Vec::new()
    } else {
        table.lines()
    })
}

fn first_token(row: &Row) -> Cell {
    let quantiles = [row.ttft_p50_ms, row.ttft_p95_ms];
    let known: Vec<String> = quantiles.into_iter().flatten().map(number).collect();
    Cell::from(known.join("/"))
}

fn outcome(ok: u64, failed: u64) -> Cell {
    let text = format!("{ok}/{failed}");
    if failed == 0 {
        Cell::from(text)
    } else {
        Cell::dressed(text, Role::Error)
    }
}

fn shares(instances: &[Share], look: Look) -> Vec<String> {
    let right = |title| (title, Align::Right);
    let heading = [
        ("instance", Align::Left),
        right("share"),
        right("ok/failed"),
        right("tokens"),
        right("TTFT p50"),
        right("TPOT p50"),
        right("e2el mean"),
    ];
    let all: u64 = instances.iter().map(|it| it.ok + it.failed).sum();
    let mut table = Table::new(look, &heading);
    for it in instances {
        let share = 100.0 * (it.ok + it.failed) as f64 / all.max(1) as f64;
        table.row(vec![
            Cell::from(it.name.as_str()),
            Cell::from(format!("{share:.0}%")),
            outcome(it.ok, it.failed),
            Cell::from(it.tokens.to_string()),
            measured(it.ttft_p50_ms),
            measured(it.tpot_p50_ms),
            measured(it.e2el_mean_ms),
        ]);
    }
    indented(if instances.is_empty() {
        Vec::new()
    } else {
        table.lines()
    })
}

/// Sets two results side by side. A result that cannot be believed has no ratio to anything.
fn versus(baseline: &Baseline, valid: bool, look: Look) -> Vec<String> {
    let right = |title| (title, Align::Right);
    let heading = [
        ("metric", Align::Left),
        right("baseline"),
        right("now"),
        right("ratio"),
        ("", Align::Left),
    ];
    let mut table = Table::new(look, &heading);
    for row in &baseline.rows {
        let ratio = row.ratio().filter(|_| valid).map(|r| number(r) + "x");
        table.row(vec![
            Cell::from(row.metric.as_str()),
            Cell::or_dash(row.baseline.map(number)),
            Cell::or_dash(row.now.map(number)),
            Cell::from(ratio.unwrap_or_default()),
            row.remark(valid),
        ]);
    }
    let mut lines = vec![format!("against {}", clean(&baseline.name))];
    if !valid {
        lines[0] += " (no ratios: this result is invalid)";
    }
    lines.extend(indented(table.lines()));
    lines
}

impl Versus {
    fn ratio(&self) -> Option<f64> {
        let (before, now) = (self.baseline?, self.now?);
        (self.incomparable.is_none() && before != 0.0).then(|| now / before)
    }

    fn remark(&self, valid: bool) -> Cell {
        match (&self.incomparable, &self.flag) {
            (Some(why), _) => Cell::dressed(format!("not comparable: {why}"), Role::Warning),
            (None, Some(flag)) if valid => Cell::from(flag.as_str()),
            _ => Cell::from(""),
        }
    }
}

fn indented(lines: Vec<String>) -> Vec<String> {
    lines.into_iter().map(|line| format!(" {line}")).collect()
}

fn definitions(look: Look) -> Vec<String> {
    [
        "failed requests are counted and are in no latency",
        "TTFT   first token - request sent",
        "TPOT   (last token - first token) / (tokens - 1), for each request",
        "e2el   last token - request sent",
        "tok/s  tokens of answered requests / (last token of all - first request sent)",
    ]
    .iter()
    .map(|line| look.paint(Role::Faint, &format!(" {line}")))
    .collect()
}

fn verdict(view: &BenchView, look: Look) -> Vec<String> {
    let mut lines = Vec::new();
    for anomaly in &view.anomalies {
        lines.extend(explained(anomaly, look));
    }
    lines.push(if view.valid {
        look.paint(Role::Good, "✓ valid")
    } else {
        let lead = look.paint(Role::Error, "✗ invalid");
        format!("{lead}: these numbers cannot be believed")
    });
    if let Some(file) = &view.file {
        lines.push(format!("result: {}", clean(&file.display().to_string())));
    }
    lines
}

fn explained(anomaly: &Anomaly, look: Look) -> Vec<String> {
    let (sign, role) = match anomaly.severity {
        Severity::Error => ("✗", Role::Error),
        Severity::Warning => ("!", Role::Warning),
    };
    let lead = look.paint(role, &format!("{sign} {}", anomaly.id));
    let mut lines = vec![format!("{lead} {}", clean(&anomaly.message))];
    let details = [
        ("seen", &anomaly.evidence),
        ("cause", &anomaly.cause),
        ("next", &anomaly.next),
    ];
    for (label, text) in details {
        let Some(text) = text else { continue };
        let wrapped = look.wrap(&clean(text), look.width.saturating_sub(11));
        for (place, line) in wrapped.iter().enumerate() {
            let label = if place == 0 {
                format!("{label}:")
            } else {
                String::new()
            };
            let label = look.paint(Role::Faint, &format!("{label:<6}"));
            lines.push(format!("    {label} {line}"));
        }
    }
    lines
}

#[cfg(test)]
mod tests;
