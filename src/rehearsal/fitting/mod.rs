//! A profile of how fast an engine computes, fitted to results of measuring it.
//!
//! What was asked in each load of each result is played through as it was: as many at once or as often, of
//! the same lengths, each at the server that it came to. How fast the engine computes is what lets the mean
//! times come out as they were measured ([`crate::simulator`]'s fit says how); what they do not tell stays
//! as it would be of a GB10.

mod engine;
mod measured;
mod played;
mod profile;
#[cfg(test)]
mod tests;
mod why_not;

use std::collections::BTreeMap;

pub(super) use self::engine::of_speed;
use self::engine::{one_engine, servers};
use self::measured::Measured;
pub(super) use self::played::{Played, Span};
use self::profile::SCHEMA;
pub use self::profile::{
    FittedCell, FittedFigure, FittedProfile, ProfileTerm, ProfiledEngine, Uncertain,
};
pub use self::why_not::CannotFit;
use crate::results::StoredResult;
use crate::simulator::{self, Fitted, Pace, WrittenPace, gb10_pace};

/// How many points the time of a step has at the most.
const POINTS: usize = 6;
/// How far apart they are at the least, as a ratio.
const APART: f64 = 1.25;

/// Fits a profile to results.
///
/// # Errors
///
/// When they cannot be believed, are not all of one engine, or do not tell enough.
pub fn fit_profile(results: &[StoredResult]) -> Result<FittedProfile, CannotFit> {
    let files: Vec<String> = results.iter().map(file).collect();
    let servers: Vec<_> = results.iter().map(servers).collect::<Result<_, _>>()?;
    let named = files.iter().zip(&servers);
    let all = named.flat_map(|(file, servers)| servers.iter().map(|it| (file.as_str(), it)));
    let of = one_engine(all)?;
    let mut loads = Vec::new();
    for (stored, servers) in results.iter().zip(&servers) {
        loads.extend(loads_of(stored, servers)?);
    }
    loads.retain(Measured::is_of_use);
    let fitted = fit_loads(&loads)?;
    let cells = loads.iter().map(|load| load.cell(&fitted.pace));
    Ok(FittedProfile {
        schema: SCHEMA.to_owned(),
        of,
        pace: WrittenPace::from(&fitted.pace),
        cells: cells.collect::<Result<_, _>>()?,
        by_default: fitted
            .untold
            .iter()
            .copied()
            .map(ProfileTerm::from)
            .collect(),
        uncertain: Uncertain::of(&fitted),
    })
}

/// How a result is called.
fn file(stored: &StoredResult) -> String {
    stored.path.display().to_string()
}

/// The loads of a result that can be believed.
fn loads_of<'a>(
    stored: &'a StoredResult,
    servers: &'a [engine::MeasuredServer],
) -> Result<Vec<Measured<'a>>, CannotFit> {
    let (file, result) = (file(stored), &stored.result);
    if !result.valid {
        let errors = result.anomalies().filter(|it| it.invalidates());
        let mut rules: Vec<_> = errors.map(|it| it.id.clone()).collect();
        rules.extend(result.interrupted.map(|cut| cut.to_string()));
        rules.sort();
        rules.dedup();
        return Err(CannotFit::NotBelieved { file, rules });
    }
    let Some(records) = stored.records() else {
        return Err(CannotFit::NoRequests { file });
    };
    let loads = result.points.iter().zip(&records);
    loads
        .map(|(point, records)| Measured::of(&file, point, records, servers))
        .collect()
}

fn fit_loads(loads: &[Measured<'_>]) -> Result<Fitted, CannotFit> {
    let default = gb10_pace();
    let begin = Pace {
        step_ms: points(loads)?.into(),
        ..default.clone()
    };
    let mut failed = None;
    let fitted = simulator::fit(&begin, &default, &mut |pace| {
        let figures = loads.iter().map(|load| load.figures(pace));
        let figures: Result<Vec<_>, _> = figures.collect();
        match figures {
            Ok(figures) => figures.concat(),
            Err(why) => {
                failed = Some(why);
                Vec::new()
            }
        }
    });
    failed.map_or(Ok(fitted), Err)
}

/// The numbers of sequences at which the time of a step is looked for, each with what it is at the most.
fn points(loads: &[Measured<'_>]) -> Result<Vec<(f64, f64)>, CannotFit> {
    let mut seen: BTreeMap<u64, f64> = BTreeMap::new();
    for (sequences, ms) in loads.iter().filter_map(Measured::step) {
        let least = seen.entry(sequences as u64).or_insert(ms);
        *least = least.min(ms);
    }
    let mut points: Vec<(f64, f64)> = Vec::new();
    for (sequences, ms) in seen {
        let sequences = sequences as f64;
        match points.last_mut() {
            Some((last, least)) if sequences < *last * APART => *least = least.min(ms),
            _ => points.push((sequences, ms)),
        }
    }
    while points.len() > POINTS {
        // The one that its neighbours tell best goes.
        let ratio = |at: &usize| points[at + 1].0 / points[at - 1].0;
        let closest = (1..points.len() - 1).min_by(|a, b| ratio(a).total_cmp(&ratio(b)));
        points.remove(closest.unwrap_or(1));
    }
    if points.is_empty() {
        return Err(CannotFit::NoTimes);
    }
    Ok(points)
}

impl Uncertain {
    fn of(fitted: &Fitted) -> Self {
        let tidy = |share: f64| (share * 1e4).round() / 1e4;
        let mut all = fitted.uncertain.iter().map(|it| it.map(tidy));
        let points = fitted.pace.step_ms.len();
        Self {
            step: all.by_ref().take(points).flatten().collect(),
            context: all.next().flatten(),
            prompt: all.next().flatten(),
            attention: all.next().flatten(),
        }
    }
}
