//! A table for spreadsheets (RFC 4180): a heading, then a row for each load of each result.

use super::simulated;
use crate::results::quantile::{Distribution, Quantile};
use crate::results::result::Point;
use crate::results::stored::StoredResult;

/// The metrics that have a distribution, each with seven columns, in ms.
const DISTRIBUTIONS: [&str; 6] = ["ttft", "tpot", "itl", "icl", "e2el", "response"];

/// Of each distribution.
const STATISTICS: [&str; 7] = ["mean", "min", "p50", "p90", "p95", "p99", "max"];

/// The columns before the distributions.
const COLUMNS: [&str; 25] = [
    "topology",
    "benchmark",
    "started",
    "result",
    "model",
    "endpoint",
    "policy",
    "instances",
    "simulated",
    "valid",
    "anomalies",
    "tags",
    "load",
    "total",
    "ok",
    "failed",
    "input_tokens",
    "output_tokens",
    "wall_s",
    "output_tps",
    "total_tps",
    "rps",
    "tok_s_user",
    "attainment",
    "in_flight_mean",
];

/// The table of these results. A percentile that the number of requests does not bound is left
/// empty.
pub fn csv(results: &[StoredResult]) -> String {
    let statistics = DISTRIBUTIONS.iter().flat_map(|metric| {
        let each = STATISTICS.iter();
        each.map(move |statistic| format!("{metric}_{statistic}_ms"))
    });
    let heading = COLUMNS.iter().map(|&it| it.to_owned()).chain(statistics);
    let mut table = line(heading);
    for stored in results {
        for point in &stored.result.points {
            let cells = conditions(stored, point).into_iter();
            table += &line(cells.chain(numbers(point)).chain(distributions(point)));
        }
    }
    table
}

fn conditions(stored: &StoredResult, point: &Point) -> Vec<String> {
    let (result, job) = (&stored.result, &stored.result.job);
    let anomalies: Vec<&str> = point.anomalies.iter().map(|it| it.id.as_str()).collect();
    let tags: Vec<String> = result
        .tags
        .iter()
        .map(|(k, v)| format!("{k}={v}"))
        .collect();
    vec![
        job.topology.clone(),
        job.name.clone(),
        result.run.started.to_string(),
        stored.path.display().to_string(),
        job.model.clone(),
        job.endpoint.authority.clone(),
        job.endpoint.policy.clone().unwrap_or_default(),
        job.instances.len().to_string(),
        simulated(result).to_string(),
        point.valid.to_string(),
        anomalies.join(" "),
        tags.join(" "),
        point.load.label(),
    ]
}

fn numbers(point: &Point) -> Vec<String> {
    let (summary, metrics) = (&point.summary, &point.summary.metrics);
    let or_empty = |value: Option<f64>| value.map(|it| it.to_string()).unwrap_or_default();
    vec![
        summary.counts.total.to_string(),
        summary.counts.ok.to_string(),
        summary.counts.failed.to_string(),
        metrics
            .input_tokens
            .map(|it| it.to_string())
            .unwrap_or_default(),
        metrics.output_tokens.to_string(),
        summary.window.seconds().to_string(),
        or_empty(metrics.output_tps),
        or_empty(metrics.total_tps),
        or_empty(metrics.rps),
        or_empty(metrics.tok_s_user),
        metrics.attainment.to_string(),
        metrics.in_flight.mean.to_string(),
    ]
}

fn distributions(point: &Point) -> Vec<String> {
    let metrics = &point.summary.metrics;
    let all = [
        &metrics.ttft,
        &metrics.tpot,
        &metrics.itl,
        &metrics.icl,
        &metrics.e2el,
        &metrics.response,
    ];
    all.into_iter()
        .flat_map(|it| statistics(it.as_ref()))
        .collect()
}

fn statistics(of: Option<&Distribution>) -> [String; 7] {
    let Some(d) = of else {
        return Default::default();
    };
    let bounded = |it: Quantile| {
        let known = (!it.at_least).then_some(it.value);
        known.map(|value| value.to_string()).unwrap_or_default()
    };
    [
        d.mean.to_string(),
        d.min.to_string(),
        d.p50.value.to_string(),
        bounded(d.p90),
        bounded(d.p95),
        bounded(d.p99),
        d.max.to_string(),
    ]
}

fn line(cells: impl IntoIterator<Item = String>) -> String {
    let cells: Vec<String> = cells.into_iter().map(|cell| quoted(&cell)).collect();
    cells.join(",") + "\r\n"
}

/// A cell: in quotes where it would not be one otherwise. What a spreadsheet would take for a
/// formula is text to it with an apostrophe before it.
fn quoted(cell: &str) -> String {
    let is_formula = cell.starts_with(['=', '+', '@', '\t', '\r'])
        || (cell.starts_with('-') && cell.parse::<f64>().is_err());
    let cell = if is_formula {
        format!("'{cell}")
    } else {
        cell.to_owned()
    };
    if cell.contains([',', '"', '\n', '\r']) {
        return format!("\"{}\"", cell.replace('"', "\"\""));
    }
    cell
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::scene::notebook_run;

    /// As many cells as a line has, of lines in which nothing is quoted.
    fn cells(line: &str) -> Vec<&str> {
        line.split(',').collect()
    }

    #[test]
    fn each_load_is_a_row_with_as_many_cells_as_the_heading() {
        let mut result = notebook_run();
        result.tags = [("gpu", "gb10"), ("try", "2")]
            .map(|(k, v)| (k.into(), v.into()))
            .into();
        result.points.push(result.points[0].clone());
        let path = "batch.json".into();
        let table = csv(&[StoredResult { path, result }]);
        let lines: Vec<&str> = table.split_terminator("\r\n").collect();
        assert_eq!(lines.len(), 3);
        let heading = cells(lines[0]);
        for line in &lines[1..] {
            assert_eq!(cells(line).len(), heading.len(), "{line}");
        }
        let column = |name: &str| {
            let place = heading.iter().position(|it| *it == name).unwrap();
            cells(lines[1])[place]
        };
        let shown = [
            "valid",
            "anomalies",
            "tags",
            "load",
            "output_tps",
            "tpot_p50_ms",
        ];
        let shown = shown.map(|name| format!("{name}: {}", column(name)));
        insta::assert_snapshot!(shown.join("\n"), @"
        valid: false
        anomalies: A6 A4 A3 A2 A1 A15
        tags: gpu=gb10 try=2
        load: batch 8
        output_tps: 26.481298
        tpot_p50_ms: 184.442929
        ");
        // Eight requests bound no p99.
        assert_eq!(column("ttft_p99_ms"), "");
    }

    #[test]
    fn a_cell_is_one_cell_and_no_formula() {
        let cases = [
            ("a", "a"),
            ("a,b", "\"a,b\""),
            ("say \"a\"\nb", "\"say \"\"a\"\"\nb\""),
            ("=1+2", "'=1+2"),
            ("@x", "'@x"),
            ("-x", "'-x"),
            ("-1.5", "-1.5"),
        ];
        for (cell, shown) in cases {
            assert_eq!(quoted(cell), shown);
        }
    }
}
