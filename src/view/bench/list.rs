//! The results that there are, a line each.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{measured, outcome};
use crate::results::{BenchResult, Headline, Point, Status, StoredResult, is_simulated};
use crate::view::style::{Role, Style};
use crate::view::table::{Align, Cell, Table};
use crate::view::words::count;

/// Renders the results of a topology. Of one with several loads, each load has a line.
pub fn list(topology: &str, results: &[StoredResult], style: Style) -> String {
    if results.is_empty() {
        return format!("There is no such result of {topology}.\n");
    }
    let right = |title| (title, Align::Right);
    let heading = [
        ("", Align::Left),
        ("measured (UTC)", Align::Left),
        ("result of", Align::Left),
        ("load", Align::Left),
        right("ok/failed"),
        right("tok/s"),
        right("TTFT p50"),
        right("TPOT p50"),
        ("", Align::Left),
    ];
    let mut table = Table::new(style, &heading);
    for stored in results {
        for (place, point) in stored.result.points.iter().enumerate() {
            table.row(row(&stored.result, point, place == 0));
        }
    }
    let lines = table.lines().join("\n");
    let number = count(results.len(), "result");
    format!("{lines}\n\n{number} of {topology}.\n")
}

fn row(result: &BenchResult, point: &Point, is_first: bool) -> Vec<Cell> {
    let only_first = |text: String| Cell::from(if is_first { text } else { String::new() });
    let headline = Headline::of(point);
    vec![
        sign(point.valid && result.interrupted.is_none()),
        only_first(result.run.started.strftime("%Y-%m-%d %H:%M:%S").to_string()),
        only_first(result.job.name.clone()),
        Cell::from(point.load.label()),
        outcome(headline.ok, headline.failed),
        measured(headline.output_tps),
        measured(headline.ttft_p50_ms),
        measured(headline.tpot_p50_ms),
        Cell::from(said(result, point, is_first)),
    ]
}

fn sign(valid: bool) -> Cell {
    if valid {
        Cell::dressed("✓", Role::Good)
    } else {
        Cell::dressed("✗", Role::Error)
    }
}

/// What is to be known before any number of it, and what whoever measured said.
fn said(result: &BenchResult, point: &Point, is_first: bool) -> String {
    let mut said = Vec::new();
    if result.interrupted.is_some() {
        said.push("interrupted".to_owned());
    } else if !point.valid {
        let errors = point.anomalies.iter().filter(|it| it.invalidates());
        let mut rules: Vec<&str> = errors.map(|it| it.id.as_str()).collect();
        rules.dedup();
        said.push(format!("invalid: {}", rules.join(" ")));
    }
    if is_simulated(&result.topology) {
        said.push("simulated".to_owned());
    }
    if let Some(node) = &result.client.node {
        said.push(format!("from {node}"));
    }
    if is_first {
        said.push(labels(result));
    }
    said.retain(|it| !it.is_empty());
    said.join("; ")
}

/// `driver=580; after the reboot`
pub(in crate::view) fn labels(result: &BenchResult) -> String {
    let tags = result
        .tags
        .iter()
        .map(|(key, value)| format!("{key}={value}"));
    let tags: Vec<String> = tags.collect();
    let tags = (!tags.is_empty()).then(|| tags.join(", "));
    let all: Vec<String> = tags
        .into_iter()
        .chain(result.notes.iter().cloned())
        .collect();
    all.join("; ")
}

/// The document of `bench list --json`.
#[derive(Debug, Serialize)]
pub struct ListDocument<'a> {
    format: &'static str,
    topology: &'a str,
    results: Vec<Listed<'a>>,
}

#[derive(Debug, Serialize)]
struct Listed<'a> {
    benchmark: &'a str,
    /// The file of the result.
    result: String,
    started: jiff::Timestamp,
    /// Whether `latest.json` points at it.
    newest: bool,
    valid: bool,
    simulated: bool,
    interrupted: bool,
    tags: &'a BTreeMap<String, String>,
    notes: &'a [String],
    loads: Vec<ListedLoad>,
}

#[derive(Debug, Serialize)]
struct ListedLoad {
    load: String,
    valid: bool,
    ok: usize,
    failed: usize,
    by_status: BTreeMap<Status, usize>,
    output_tps: Option<f64>,
    ttft_p50_ms: Option<f64>,
    tpot_p50_ms: Option<f64>,
    e2el_mean_ms: Option<f64>,
}

impl<'a> ListDocument<'a> {
    /// The document of these results.
    pub fn new(topology: &'a str, results: &'a [StoredResult]) -> Self {
        Self {
            format: "replica.results/1",
            topology,
            results: results.iter().map(Listed::of).collect(),
        }
    }
}

impl<'a> Listed<'a> {
    fn of(stored: &'a StoredResult) -> Self {
        let result = &stored.result;
        Self {
            benchmark: &result.job.name,
            result: stored.path.display().to_string(),
            started: result.run.started,
            newest: stored.is_newest(),
            valid: result.valid,
            simulated: is_simulated(&result.topology),
            interrupted: result.interrupted.is_some(),
            tags: &result.tags,
            notes: &result.notes,
            loads: result.points.iter().map(ListedLoad::of).collect(),
        }
    }
}

impl ListedLoad {
    fn of(point: &Point) -> Self {
        let headline = Headline::of(point);
        Self {
            load: point.load.label(),
            valid: point.valid,
            ok: headline.ok,
            failed: headline.failed,
            by_status: point.summary.counts.by_status.clone(),
            output_tps: headline.output_tps,
            ttft_p50_ms: headline.ttft_p50_ms,
            tpot_p50_ms: headline.tpot_p50_ms,
            e2el_mean_ms: headline.e2el_mean_ms,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shape::known;
    use crate::verdict::scene::notebook_run;

    fn results() -> Vec<StoredResult> {
        let stored = |name: &str, result| StoredResult {
            path: format!("results/replicated/{name}.json").into(),
            result,
        };
        let mut good = notebook_run();
        good.valid = true;
        good.points[0].valid = true;
        good.points[0].anomalies.clear();
        good.tags.insert("driver".to_owned(), "580".to_owned());
        good.notes.push("after the reboot".to_owned());
        let mut closed = good.points[0].clone();
        closed.load = known::concurrency(16, 160);
        good.points.push(closed);
        vec![stored("new", good), stored("old", notebook_run())]
    }

    #[test]
    fn each_load_has_a_line_and_says_whether_it_stands() {
        let text = list("replicated", &results(), Style::plain());
        insta::assert_snapshot!(text, @"
           measured (UTC)       result of  load                  ok/failed  tok/s  TTFT p50  TPOT p50
        ✓  2026-02-06 08:39:45  batch      batch 8                     8/0   26.5       373       184  driver=580; after the reboot
        ✓                                  concurrency 16 x 160        8/0   26.5       373       184
        ✗  2026-02-06 08:39:45  batch      batch 8                     8/0   26.5       373       184  invalid: A6 A4 A3

        2 results of replicated.
        ");
        assert!(text.lines().all(|line| line.chars().count() <= 130));
        insta::assert_snapshot!(list("replicated", &[], Style::plain()), @"There is no such result of replicated.");
    }

    #[test]
    fn a_machine_reads_the_same() {
        let results = &results()[1..];
        let document = ListDocument::new("replicated", results);
        let text = serde_json::to_string_pretty(&document).unwrap();
        insta::assert_snapshot!(text, @r#"
        {
          "format": "replica.results/1",
          "topology": "replicated",
          "results": [
            {
              "benchmark": "batch",
              "result": "results/replicated/old.json",
              "started": "2026-02-06T08:39:45.112Z",
              "newest": false,
              "valid": false,
              "simulated": false,
              "interrupted": false,
              "tags": {},
              "notes": [],
              "loads": [
                {
                  "load": "batch 8",
                  "valid": false,
                  "ok": 8,
                  "failed": 0,
                  "by_status": {
                    "ok": 8
                  },
                  "output_tps": 26.481298,
                  "ttft_p50_ms": 372.65,
                  "tpot_p50_ms": 184.442929,
                  "e2el_mean_ms": 18632.5
                }
              ]
            }
          ]
        }
        "#);
    }
}
