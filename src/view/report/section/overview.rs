//! All loads of all results, a row each.

use super::super::markup::Markup;
use super::super::sheet::Sheet;
use super::super::{Report, Reported, anchor};
use super::{known, median, p95};
use crate::view::bench::labels;

/// The table; of one load alone its own section says all of it.
pub(in super::super) fn overview(report: &Report) -> Markup {
    let mut out = Markup::default();
    let loads: usize = report.results.iter().map(|it| it.result.points.len()).sum();
    if loads < 2 {
        return out;
    }
    table(report).write(&mut out);
    out.words("p", &[("class", "caption")], "Times in ms.");
    if report.results.len() > 1 {
        out.element("p", &[("class", "caption")], |out| {
            out.text("Each in full: ");
            for (place, it) in report.results.iter().enumerate() {
                out.text(if place > 0 { " · " } else { "" });
                let target = format!("#{}", anchor(report, it));
                out.words("a", &[("href", &target)], &it.name());
            }
        });
    }
    out
}

fn table(report: &Report) -> Sheet {
    let mut sheet = Sheet::new(&[
        ("", false),
        ("result of", false),
        ("measured (UTC)", false),
        ("load", false),
        ("ok/failed", true),
        ("tok/s", true),
        ("TTFT p50", true),
        ("p95", true),
        ("TPOT p50", true),
        ("e2el mean", true),
        ("", false),
        ("tags and notes", false),
    ]);
    // Of all, the title says it.
    let are_all_simulated = report.results.iter().all(Reported::is_simulated);
    for it in &report.results {
        let is_told = it.is_simulated() && !are_all_simulated;
        let measured = it.result.run.started.strftime("%Y-%m-%d %H:%M");
        for point in &it.result.points {
            let (summary, metrics) = (&point.summary, &point.summary.metrics);
            sheet.row(vec![
                if point.valid { "✓" } else { "✗ invalid" }.to_owned(),
                it.result.job.name.clone(),
                measured.to_string(),
                point.load.label(),
                format!("{}/{}", summary.counts.ok, summary.counts.failed),
                known(metrics.output_tps),
                median(metrics.ttft.as_ref()),
                p95(metrics.ttft.as_ref()),
                median(metrics.tpot.as_ref()),
                known(summary.mean_latency_ms()),
                if is_told { "simulated" } else { "" }.to_owned(),
                labels(&it.result),
            ]);
        }
    }
    sheet
}
