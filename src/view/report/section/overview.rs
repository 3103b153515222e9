//! All loads of all results, a row each.

use super::super::markup::Markup;
use super::super::sheet::Sheet;
use super::super::{Report, Reported, anchor};
use super::{known, median, p95};
use crate::view::bench::labels;

/// The table; of one load alone its own section says all of it.
pub(in super::super) fn overview(report: &Report) -> Option<Markup> {
    let loads: usize = report.results.iter().map(|it| it.result.points.len()).sum();
    if loads < 2 {
        return None;
    }
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
    let are_all_simulated = report.results.iter().all(Reported::is_simulated);
    for it in &report.results {
        for point in &it.result.points {
            let (summary, metrics) = (&point.summary, &point.summary.metrics);
            let sign = if point.valid { "✓" } else { "✗ invalid" };
            // Of all, the title says it.
            let simulated = if it.is_simulated() && !are_all_simulated {
                "simulated"
            } else {
                ""
            };
            let measured = it.result.run.started.strftime("%Y-%m-%d %H:%M");
            sheet.row(vec![
                sign.to_owned(),
                it.result.job.name.clone(),
                measured.to_string(),
                point.load.label(),
                format!("{}/{}", summary.counts.ok, summary.counts.failed),
                known(metrics.output_tps),
                median(metrics.ttft.as_ref()),
                p95(metrics.ttft.as_ref()),
                median(metrics.tpot.as_ref()),
                known(summary.mean_latency_ms()),
                simulated.to_owned(),
                labels(&it.result),
            ]);
        }
    }
    let mut out = Markup::default();
    sheet.write(&mut out);
    out.words("p", &[("class", "caption")], "Times in ms.");
    if report.results.len() > 1 {
        out.element("p", &[("class", "caption")], |out| {
            out.text("Each in full: ");
            for (place, it) in report.results.iter().enumerate() {
                out.text(if place > 0 { " · " } else { "" });
                out.words(
                    "a",
                    &[("href", &format!("#{}", anchor(report, it)))],
                    &it.name(),
                );
            }
        });
    }
    Some(out)
}
