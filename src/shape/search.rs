//! A search for the highest rate that meets what is asked of it: the knee.
//!
//! First the lower end, then the upper one, and then the middle of what is left, by ratio, until the
//! bracket is narrow. What it rests on is that a load that is met is met at every lower rate: nothing
//! above a rate that was missed is tried.

use serde::{Deserialize, Serialize};

use super::course::Went;
use super::form::{InvalidLoad, LoadPart};
use super::rate::Pace;
use super::{Class, Load, Several, Shape};
use crate::quantity::Rate;

/// The ratio of its ends at which a bracket is narrow.
const NARROW: f64 = 1.1;

/// No search takes more loads.
const AT_MOST: usize = 10;

/// A search.
#[derive(Debug, Clone, PartialEq)]
pub struct Search {
    /// What is sent, at whichever rate.
    load: Load,
    low: Rate,
    high: Rate,
    probes: Vec<Probe>,
}

/// A rate that was tried.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Probe {
    /// The rate.
    pub rate: Rate,
    /// Whether it met what was asked.
    pub met: bool,
    /// Why it did not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// What a search has found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Found {
    /// The highest rate that met what was asked; none where the lowest did not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<Rate>,
    /// The lowest rate that did not; none where the highest met it too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missed: Option<Rate>,
    /// The rates that were tried, in order.
    pub probes: Vec<Probe>,
}

impl Search {
    pub(super) const EXAMPLE: &'static str = "{rate: search, between: [0.2/s, 8/s], duration: 3m}";

    pub(super) fn check(load: &Load) -> Result<Self, InvalidLoad> {
        let ends = load.between.as_deref();
        let Some(ends) = ends else {
            return Err(InvalidLoad::new(
                LoadPart::Key("rate"),
                "`rate: search` needs `between`: where it is looked for",
                format!("as in `{}`", Self::EXAMPLE),
            ));
        };
        let (low, high) = match ends {
            [low, high] if low < high => (*low, *high),
            [] | [_, ..] => {
                return Err(InvalidLoad::new(
                    LoadPart::Value("between"),
                    "`between` must be two rates, the lower one first",
                    format!("as in `{}`", Self::EXAMPLE),
                ));
            }
        };
        let search = Self {
            load: Load {
                between: None,
                ..load.clone()
            },
            low,
            high,
            probes: Vec::new(),
        };
        Shape::try_from(search.written(low))?;
        Ok(search)
    }

    pub(super) fn label(&self) -> String {
        format!("search {} to {}", self.low, self.high)
    }

    fn written(&self, rate: Rate) -> Load {
        Load {
            rate: Some(Several::One(Pace::Rate(rate))),
            ..self.load.clone()
        }
    }

    fn shape(&self, rate: Rate) -> Option<Shape> {
        self.written(rate).try_into().ok()
    }

    /// The loads at its ends.
    pub(super) fn ends(&self) -> Vec<Shape> {
        let ends = [self.low, self.high].into_iter();
        ends.filter_map(|rate| self.shape(rate)).collect()
    }

    /// How many loads it takes at most.
    pub(super) fn at_most(&self) -> usize {
        let ratio = (self.high.per_s() / self.low.per_s()).ln() / NARROW.ln();
        let halvings = ratio.max(1.0).log2().ceil() as usize;
        (2 + halvings).min(AT_MOST)
    }

    pub(super) fn next(&self) -> Option<Shape> {
        self.shape(self.rate()?)
    }

    fn rate(&self) -> Option<Rate> {
        let Found { answer, missed, .. } = self.found();
        match (answer, missed) {
            (None, None) => Some(self.low),
            // Below the lower end nobody asked.
            (None, Some(_)) => None,
            (Some(answer), None) => (answer < self.high).then_some(self.high),
            (Some(answer), Some(missed)) => {
                let (low, high) = (answer.per_s(), missed.per_s());
                let is_done = high / low <= NARROW || self.probes.len() >= AT_MOST;
                let middle = three_digits((low * high).sqrt());
                let is_between = low < middle && middle < high;
                Rate::of(middle).filter(|_| !is_done && is_between)
            }
        }
    }

    pub(super) fn went(&mut self, load: &Shape, how: &Went) {
        let rate = match load.class() {
            Class::Open { per_s } => Rate::of(per_s),
            Class::Alone | Class::Together { .. } | Class::Closed { .. } => None,
        };
        let Some(rate) = rate else {
            return;
        };
        let why = match how {
            Went::Well => None,
            Went::Badly(why) => Some(why.clone()),
        };
        let met = why.is_none();
        self.probes.push(Probe { rate, met, why });
    }

    pub(super) fn found(&self) -> Found {
        let tried = |met: bool| {
            let of_it = self.probes.iter().filter(move |probe| probe.met == met);
            of_it.map(|probe| probe.rate)
        };
        let least = |a: &Rate, b: &Rate| a.per_s().total_cmp(&b.per_s());
        Found {
            answer: tried(true).max_by(least),
            missed: tried(false).min_by(least),
            probes: self.probes.clone(),
        }
    }
}

/// A rate that people can read.
fn three_digits(per_s: f64) -> f64 {
    let scale = 10_f64.powf(2.0 - per_s.log10().floor());
    (per_s * scale).round() / scale
}
