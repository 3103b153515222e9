//! Our numbers beside a baseline's.

use super::anomaly::{Anomaly, Subject};
use super::baseline::{Baseline, Origin};
use super::facts::JobFacts;
use super::figures::{BatchFigures, SingleFigures, SteadyFigures};
use super::headline::Headline;
use super::quantile::{Distribution, Quantile, tidy};
use super::result::{BaselineRun, Comparison, Point, Row};
use super::summary::{Metrics, Summary};
use crate::shape::Class;

impl Comparison {
    /// Sets the judged loads of a job beside a baseline. What was found about the baseline becomes
    /// remarks.
    pub(crate) fn of(points: &[Point], job: &JobFacts, baseline: &Baseline) -> Self {
        let anomalies = points.iter().flat_map(|point| &point.anomalies);
        let about: Vec<&Anomaly> = anomalies
            .filter(|anomaly| anomaly.subject == Subject::Baseline)
            .collect();
        let comparable = !about.iter().any(|anomaly| anomaly.id == "A15");
        let mut rows = Vec::new();
        for point in points {
            let load = (points.len() > 1).then(|| point.label());
            rows.extend(beside(point, baseline).into_iter().map(|row| Row {
                load: load.clone(),
                flagged: row.flagged || !comparable,
                ..row
            }));
        }
        let mut remarks: Vec<String> = Vec::new();
        for anomaly in about {
            if !remarks.contains(&anomaly.message) {
                remarks.push(anomaly.message.clone());
            }
        }
        Self {
            baseline: baseline.path.display().to_string(),
            measured: BaselineRun::of(baseline, points, job),
            comparable,
            rows,
            remarks,
        }
    }
}

impl BaselineRun {
    fn of(baseline: &Baseline, points: &[Point], ours: &JobFacts) -> Option<Self> {
        let Origin::Ours { job, started, .. } = &baseline.origin else {
            return None;
        };
        let are_behind = ours
            .instances
            .iter()
            .all(|it| job.instances.iter().any(|theirs| theirs.name == it.name));
        // Two replicas share a batch, of which one alone has all.
        let is_as_much =
            job.instances.len() == 1 || points.iter().all(|it| it.load.class().is_alone());
        Some(Self {
            benchmark: job.name.clone(),
            started: *started,
            adds_proxy: job.topology == ours.topology
                && job.endpoint.is_proxy
                && !ours.endpoint.is_proxy
                && are_behind
                && is_as_much,
        })
    }
}

fn beside(point: &Point, baseline: &Baseline) -> Vec<Row> {
    let (summary, Some(claim)) = (&point.summary, baseline.claim(&point.load)) else {
        return Vec::new();
    };
    let figures = claim.figures;
    let mut rows = match point.load.class() {
        Class::Alone => beside_single(summary, figures.single),
        Class::Together { .. } => beside_batch(summary, figures.batch),
        Class::Closed { .. } | Class::Open { .. } => beside_steady(summary, figures.steady),
    }
    .unwrap_or_default();
    let (ours, theirs) = (Headline::of(point), claim.headline);
    if let Some(metrics) = &claim.metrics {
        let n = Some([ours.ok, theirs.ok]);
        rows = rows.into_iter().map(|row| Row { n, ..row }).collect();
        rows.extend(beside_quantiles(&summary.metrics, metrics));
        return rows;
    }
    for (what, ours, theirs) in [
        ("median TTFT", ours.ttft_p50_ms, theirs.ttft_p50_ms),
        ("median TPOT", ours.tpot_p50_ms, theirs.tpot_p50_ms),
    ] {
        rows.extend(ours.zip(theirs).map(|(o, t)| Row::new(what, "ms", o, t)));
    }
    rows
}

/// The quantiles of two results of ours; the mean latency stands above.
fn beside_quantiles(ours: &Metrics, theirs: &Metrics) -> Vec<Row> {
    let of = [
        ("TTFT", &ours.ttft, &theirs.ttft, true),
        ("TPOT", &ours.tpot, &theirs.tpot, true),
        ("e2el", &ours.e2el, &theirs.e2el, false),
    ];
    let both = of
        .into_iter()
        .filter_map(|(name, ours, theirs, has_median)| {
            Some(quantiles(
                name,
                ours.as_ref()?,
                theirs.as_ref()?,
                has_median,
            ))
        });
    both.flatten().collect()
}

/// The medians of two samples, and the highest percentile that both are large enough for.
fn quantiles(name: &str, ours: &Distribution, theirs: &Distribution, has_median: bool) -> Vec<Row> {
    let row = |title: &str, ours_at: Quantile, theirs_at: Quantile| Row {
        n: Some([ours.n, theirs.n]),
        ..Row::new(
            &format!("{title} {name}"),
            "ms",
            ours_at.value,
            theirs_at.value,
        )
    };
    let high = [
        ("p99", ours.p99, theirs.p99),
        ("p95", ours.p95, theirs.p95),
        ("p90", ours.p90, theirs.p90),
    ];
    let mut high = high.into_iter();
    let high = high.find(|(_, ours, theirs)| !ours.at_least && !theirs.at_least);
    let median = has_median.then(|| row("median", ours.p50, theirs.p50));
    let high = high.map(|(title, ours, theirs)| row(title, ours, theirs));
    median.into_iter().chain(high).collect()
}

fn beside_single(summary: &Summary, theirs: Option<SingleFigures>) -> Option<Vec<Row>> {
    let (theirs, latency_ms) = (theirs?, summary.mean_latency_ms()?);
    let tokens = summary.tokens_each()?;
    let speed = tokens / latency_ms * 1000.0;
    let mut rows = vec![
        Row::new(
            "latency of one request",
            "ms",
            latency_ms,
            theirs.latency_ms,
        ),
        Row::new("speed of one request", "tok/s", speed, theirs.tokens_per_s),
    ];
    let claimed = Row::new("tokens of one request", "tokens", tokens, theirs.tokens);
    if theirs.contradicts_itself() {
        let true_tokens = theirs.tokens_by_speed();
        rows.push(claimed.unlike());
        rows.push(Row::new("tokens by its speed", "tokens", tokens, true_tokens).flagged());
    } else {
        rows.push(claimed);
    }
    Some(rows)
}

fn beside_batch(summary: &Summary, theirs: Option<BatchFigures>) -> Option<Vec<Row>> {
    let (theirs, metrics) = (theirs?, &summary.metrics);
    let mean = summary.mean_latency_ms()?;
    let mut rows = vec![Row::new(
        "throughput",
        "tok/s",
        metrics.output_tps?,
        theirs.tokens_per_s,
    )];
    let claimed = Row::new("mean latency", "ms", mean, theirs.mean_latency_ms);
    if theirs.latency_is_impossible() {
        let wall = Row::new(
            "mean latency by its wall time",
            "ms",
            mean,
            theirs.wall_ms(),
        );
        rows.push(claimed.unlike());
        rows.push(wall.flagged());
    } else {
        rows.push(claimed);
    }
    let tokens = summary.typical().output_tokens as f64;
    rows.push(Row::new("tokens in all", "tokens", tokens, theirs.tokens));
    Some(rows)
}

fn beside_steady(summary: &Summary, theirs: Option<SteadyFigures>) -> Option<Vec<Row>> {
    let (theirs, metrics) = (theirs?, &summary.metrics);
    let (speed, mean) = (metrics.output_tps?, summary.mean_latency_ms()?);
    let tokens = summary.typical().output_tokens as f64;
    Some(vec![
        Row::new("throughput", "tok/s", speed, theirs.tokens_per_s),
        Row::new("mean latency", "ms", mean, theirs.mean_latency_ms),
        Row::new("tokens in all", "tokens", tokens, theirs.tokens),
    ])
}

impl Row {
    fn new(what: &str, unit: &str, ours: f64, theirs: f64) -> Self {
        Self {
            load: None,
            what: what.to_owned(),
            unit: unit.to_owned(),
            ours: tidy(ours),
            theirs: tidy(theirs),
            n: None,
            ratio: (theirs > 0.0).then(|| tidy(ours / theirs)),
            flagged: false,
        }
    }

    fn flagged(mut self) -> Self {
        self.flagged = true;
        self
    }

    /// Theirs is something else than its name says: no ratio.
    fn unlike(mut self) -> Self {
        self.ratio = None;
        self.flagged()
    }
}

#[cfg(test)]
mod tests {
    use super::super::quantile::Distribution;
    use super::*;

    /// Times of so many requests, from so many ms on.
    fn times(n: u32, from: f64) -> Distribution {
        let sample = (0..n).map(|at| from + f64::from(at) / f64::from(n));
        Distribution::of_ms(sample.collect()).unwrap()
    }

    #[test]
    fn the_highest_percentile_is_compared_that_both_samples_can_bear() {
        let titles = |ours: u32, theirs: u32| {
            let (ours, theirs) = (times(ours, 100.0), times(theirs, 101.0));
            let rows = quantiles("TTFT", &ours, &theirs, true);
            assert!(rows.iter().all(|row| row.n == Some([ours.n, theirs.n])));
            assert!(rows.iter().all(|row| row.theirs > row.ours));
            rows.into_iter().map(|row| row.what).collect::<Vec<_>>()
        };
        assert_eq!(titles(300, 300), ["median TTFT", "p99 TTFT"]);
        assert_eq!(titles(300, 298), ["median TTFT", "p95 TTFT"]);
        assert_eq!(titles(58, 300), ["median TTFT", "p90 TTFT"]);
        assert_eq!(titles(28, 300), ["median TTFT"]);
    }
}
