//! What decides a cell, and what a result shows of it.

use super::experiment::Experiment;
use super::verdict::Aim;
use crate::results::{BenchResult, Metric};
use crate::shape::Class;

/// What decides a cell.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Decides {
    /// A metric of each point.
    Metric(Metric),
    /// The rate that a search finds.
    Knee,
}

impl Decides {
    /// What decides where nobody says it: of a load by the clock throughput is asked and latency is
    /// answered, so that no throughput can decide it.
    pub(super) fn of(experiment: &Experiment, has_objective: bool, class: Class) -> Self {
        let usual = match class {
            _ if has_objective => "goodput_rps",
            Class::Open { .. } => "e2el.p50",
            Class::Alone | Class::Together { .. } | Class::Closed { .. } => "output_tps",
        };
        let named = experiment.decide.or_else(|| usual.parse().ok());
        named.map_or(Self::Knee, Self::Metric)
    }

    pub(super) fn name(self) -> String {
        match self {
            Self::Metric(metric) => metric.to_string(),
            Self::Knee => "knee".to_owned(),
        }
    }

    pub(super) fn aim(self) -> Aim {
        match self {
            Self::Metric(metric) => metric.into(),
            Self::Knee => Aim::More,
        }
    }

    /// Whether twice as many GPUs should have twice as much of it.
    pub(super) fn grows_with_gpus(self) -> bool {
        match self {
            Self::Metric(metric) => {
                !metric.is_time()
                    && !matches!(metric.to_string().as_str(), "tok_s_user" | "attainment")
            }
            Self::Knee => true,
        }
    }
}

/// The rate that a search found.
pub(super) fn knee(result: &BenchResult) -> Result<f64, String> {
    if !result.valid {
        return Err("the search cannot be believed".to_owned());
    }
    let found = result.search.as_ref().and_then(|found| found.answer);
    let found = found.ok_or("not even the lowest rate met the objective")?;
    Ok(found.per_s())
}

/// What a benchmark's result shows of that which decides it, and which way that is better: of several
/// loads the last one, which asks the most.
///
/// # Errors
///
/// With why it shows nothing.
pub fn deciding(experiment: &Experiment, result: &BenchResult) -> (Result<f64, String>, Aim) {
    let point = result.points.last();
    let decides = match point {
        Some(point) if result.search.is_none() => {
            Decides::of(experiment, point.slo.is_some(), point.load.class())
        }
        _ => Decides::Knee,
    };
    let value = match (decides, point) {
        (Decides::Metric(metric), Some(point)) => {
            metric.value(&point.summary.metrics, point.slo.as_ref())
        }
        _ => knee(result),
    };
    (value, decides.aim())
}
