//! After the last request: summed up, judged, and written.

use super::bench::{Driven, Measured};
use super::measure::Measurement;
use super::scrape::Seen;
use crate::plan::{Failure, Job};
use crate::results::{
    self, Baseline, BenchResult, Canaries, ClientFacts, Comparison, Conditions, Files, JobFacts,
    Point, Run, RunFiles, SCHEMA, ServerMetrics, Tool,
};
use crate::verdict::{Case, judge};

/// What was seen beside the requests.
pub(super) struct Beside {
    pub(super) gauges: Seen,
    pub(super) conditions: Conditions,
}

/// Sums up, judges, and writes.
pub(super) fn conclude(
    job: &Job,
    run: Run,
    measured: Measured,
    seen: Beside,
    baseline: Option<&Baseline>,
) -> Result<Measurement, Failure> {
    let facts = JobFacts::from(job);
    let measured = Measured {
        canaries: with_history(job, measured.canaries),
        ..measured
    };
    let judged = |driven: &Driven| {
        let point = point(driven, &seen.gauges);
        judged(
            job,
            &facts,
            driven,
            point,
            &measured,
            &seen.conditions,
            baseline,
        )
    };
    let points: Vec<Point> = measured.loads.iter().map(judged).collect();
    let place = RunFiles::of(job, &run);
    let result = BenchResult {
        schema: SCHEMA.to_owned(),
        tool: Tool::this(),
        run,
        manifest: job.manifest.clone(),
        client: ClientFacts::here(),
        topology: job.provenance.clone(),
        conditions: seen.conditions,
        canaries: measured.canaries,
        comparison: baseline.map(|baseline| Comparison::of(&facts, &points, baseline)),
        job: facts,
        warmup: measured.warmup,
        valid: points.iter().all(|point| point.valid),
        points,
        interrupted: measured.loads.iter().find_map(|driven| driven.cut),
        files: Files {
            requests: place.requests_name(),
        },
        tags: job.tags.clone(),
        notes: job.notes.clone(),
    };
    let records = measured.loads.iter().flat_map(|driven| &driven.records);
    place.write(&result, records)?;
    Ok(Measurement {
        path: place.result(),
        requests: place.requests(),
        saved: results::save_for_the_notebook(job, &result)?,
        valid: result.valid,
        anomalies: result.anomalies().cloned().collect(),
        result,
    })
}

/// The canaries with those of earlier measurements.
fn with_history(job: &Job, canaries: Canaries) -> Canaries {
    if canaries.is_empty() {
        return canaries;
    }
    let past = results::recent(&job.results, &job.topology);
    Canaries {
        history: results::canary_history(past, &job.provenance),
        ..canaries
    }
}

/// What came of a load: what was seen of it, and what the engines counted.
fn point(driven: &Driven, seen: &Seen) -> Point {
    let counted = driven.before.iter().filter_map(|(instance, before)| {
        let after = driven.after.get(instance)?;
        let seen = seen.get(instance).map_or(&[][..], Vec::as_slice);
        let counted = ServerMetrics::between(before, after, seen)?;
        Some((instance.clone(), counted))
    });
    Point::of(&driven.load, &driven.records).counted(counted.collect(), &driven.records)
}

fn judged(
    job: &Job,
    facts: &JobFacts,
    driven: &Driven,
    point: Point,
    measured: &Measured,
    conditions: &Conditions,
    baseline: Option<&Baseline>,
) -> Point {
    let single = results::single_throughput(&job.results, &job.topology, &facts.targets);
    let anomalies = judge(&Case {
        job: facts,
        point: &point,
        records: &driven.records,
        warmup: &measured.warmup,
        provenance: &job.provenance,
        conditions,
        canaries: &measured.canaries,
        single: single.as_ref(),
        baseline,
        others: &measured.others,
        cut: driven.cut.as_ref(),
    });
    point.judged(anomalies)
}
