//! After the last request: summed up, judged, and written.

use super::bench::{Driven, Measured};
use super::measure::Measurement;
use super::scrape::Seen;
use super::send::Sent;
use crate::plan::{Failure, Job};
use crate::results::{
    self, Baseline, BenchResult, Canaries, ClientFacts, Comparison, Conditions, CpuPressure, Files,
    JobFacts, Measuring, Overhead, Point, Record, Run, RunFiles, SCHEMA, ServerMetrics, Single,
    Tool, Unproved, Warmup,
};
use crate::shape::Went;
use crate::verdict::{Case, judge};

/// What is known beside the requests.
pub(super) struct Beside {
    pub(super) conditions: Conditions,
    /// Who else measured the topology meanwhile.
    pub(super) others: Vec<Measuring>,
    /// What one request alone achieves there.
    pub(super) single: Option<Single>,
    pub(super) baseline: Option<Baseline>,
}

/// Sums up, judges, and writes.
pub(super) fn conclude(
    job: &Job,
    run: Run,
    sent: Sent,
    beside: Beside,
) -> Result<Measurement, Failure> {
    let Sent {
        measured,
        gauges,
        client,
    } = sent;
    let facts = JobFacts::from(job).told_by(&records(&measured.loads));
    let measured = Measured {
        canaries: with_history(job, measured.canaries),
        ..measured
    };
    let of_all = OfAll {
        job,
        facts: &facts,
        client: &client,
        warmup: &measured.warmup,
        others: &beside.others,
        conditions: &beside.conditions,
        canaries: &measured.canaries,
        single: beside.single.as_ref(),
        baseline: beside.baseline.as_ref(),
    };
    let points = of_all.points(&measured.loads, &gauges);
    let place = RunFiles::of(job, &run);
    let comparison = of_all
        .baseline
        .map(|it| Comparison::of(&points, &facts, it));
    let result = BenchResult {
        schema: SCHEMA.to_owned(),
        tool: Tool::this(),
        run,
        manifest: job.manifest.clone(),
        client,
        topology: job.provenance.clone(),
        roofline: results::rooflines(&beside.conditions, &job.provenance),
        conditions: beside.conditions,
        canaries: measured.canaries,
        comparison,
        job: facts,
        warmup: measured.warmup,
        valid: results::are_valid(&points, measured.search.as_ref()),
        skipped: measured.skipped,
        search: measured.search,
        points,
        unproved: Unproved::by(job),
        interrupted: measured.loads.iter().find_map(|driven| driven.cut),
        files: Files {
            requests: place.requests_name(),
        },
        tags: job.tags.clone(),
        notes: job.notes.clone(),
    };
    place.write(&result, records(&measured.loads))?;
    Ok(Measurement {
        path: place.result(),
        requests: place.requests(),
        saved: results::save_for_the_notebook(job, &result)?,
        valid: result.valid,
        anomalies: result.anomalies().cloned().collect(),
        result,
    })
}

/// All requests of these loads.
fn records(loads: &[Driven]) -> Vec<&Record> {
    let records = loads.iter().flat_map(|driven| &driven.records);
    records.collect()
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
    let point = Point::of(&driven.load, &driven.records).sent(driven.stopped, driven.cpu);
    let point = point.handed_over(driven.hand_over.clone());
    point.counted(counted.collect(), &driven.records)
}

/// What the loads so far came to, each summed up once, for what is driven after them: by all that is
/// known before the whole is.
pub(super) struct SoFar {
    facts: JobFacts,
    client: ClientFacts,
    points: Vec<Point>,
}

impl SoFar {
    pub(super) fn of(job: &Job, overhead: Option<&Overhead>) -> Self {
        Self {
            facts: JobFacts::from(job),
            client: ClientFacts {
                overhead: overhead.cloned(),
                ..ClientFacts::here()
            },
            points: Vec::new(),
        }
    }

    /// How the load went that was driven last.
    pub(super) fn went(
        &mut self,
        job: &Job,
        last: &Driven,
        warmup: &Warmup,
        single: Option<&Single>,
    ) -> Went {
        let of_all = OfAll {
            job,
            facts: &self.facts,
            client: &self.client,
            warmup,
            others: &[],
            conditions: &Conditions::default(),
            canaries: &Canaries::default(),
            single,
            baseline: None,
        };
        let objective = self.facts.slo.as_ref();
        let point = point(last, &Seen::default()).held_to(objective, &last.records);
        let point = of_all.judged(last, point, &self.points);
        let went = how_it_went(&point, job.load.is_search());
        self.points.push(point);
        went
    }
}

fn how_it_went(point: &Point, is_search: bool) -> Went {
    let missed = point.slo.as_ref().filter(|slo| !slo.met);
    let mut invalid = point.anomalies.iter().filter(|it| it.invalidates());
    match (point.stopped, invalid.next()) {
        (Some(stopped), _) => Went::Badly(stopped.to_string()),
        (None, Some(it)) => Went::Badly(format!("{} {}: {}", it.id, it.name, it.message)),
        // A sweep goes on where an objective is missed; who looks for the highest rate that meets it
        // has passed it.
        (None, None) => match missed.filter(|_| is_search) {
            Some(slo) => Went::Badly(format!("{} of {} met it", slo.good, slo.offered)),
            None => Went::Well,
        },
    }
}

/// What every load of a measurement is judged with.
struct OfAll<'a> {
    job: &'a Job,
    facts: &'a JobFacts,
    client: &'a ClientFacts,
    warmup: &'a Warmup,
    others: &'a [Measuring],
    conditions: &'a Conditions,
    canaries: &'a Canaries,
    single: Option<&'a Single>,
    baseline: Option<&'a Baseline>,
}

impl OfAll<'_> {
    /// What came of each load, judged in the light of those before it.
    fn points(&self, loads: &[Driven], gauges: &Seen) -> Vec<Point> {
        let mut points = Vec::new();
        for driven in loads {
            let pressure = CpuPressure::of(driven.pressure, self.conditions);
            let point = point(driven, gauges).under(pressure);
            let point = point.held_to(self.facts.slo.as_ref(), &driven.records);
            let point = self.judged(driven, point, &points);
            points.push(point);
        }
        points
    }

    fn judged(&self, driven: &Driven, point: Point, before: &[Point]) -> Point {
        let Self { job, facts, .. } = self;
        let anomalies = judge(&Case {
            job: facts,
            point: &point,
            records: &driven.records,
            warmup: self.warmup,
            provenance: &job.provenance,
            conditions: self.conditions,
            canaries: self.canaries,
            single: self.single,
            baseline: self.baseline,
            others: self.others,
            cut: driven.cut.as_ref(),
            before,
            client: self.client,
        });
        let baseline = self.baseline;
        let claim = baseline.and_then(|baseline| baseline.claim(&driven.load));
        point.judged(anomalies).failed_if(&facts.fail_if, claim)
    }
}
