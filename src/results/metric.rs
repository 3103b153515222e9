//! Metrics by their names, as `fail_if` asks for them.

use std::fmt;
use std::str::FromStr;

use super::quantile::{Distribution, Quantile};
use super::slo::Attained;
use super::summary::Metrics;

/// A metric of a load: `output_tps`, `ttft.p95`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metric {
    name: &'static str,
    /// Which number of a distribution.
    of: Option<&'static str>,
}

/// Those of which more is better.
const RATES: [&str; 6] = [
    "output_tps",
    "total_tps",
    "rps",
    "goodput_rps",
    "tok_s_user",
    "attainment",
];

/// Those of which less is better, in ms.
const TIMES: [&str; 7] = ["ttft", "tpot", "itl", "icl", "e2el", "response", "connect"];

/// What is told of a time.
const STATISTICS: [&str; 7] = ["mean", "min", "p50", "p90", "p95", "p99", "max"];

/// Why a text names no metric.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no metric: write one of {rates}, or a time and what of it, as in `ttft.p95` (of {times}; \
     {statistics})",
    rates = RATES.join(", "), times = TIMES.join(", "), statistics = STATISTICS.join(", ")
)]
pub struct InvalidMetric(String);

impl FromStr for Metric {
    type Err = InvalidMetric;

    fn from_str(text: &str) -> Result<Self, InvalidMetric> {
        let known = |all: &[&'static str], word: &str| all.iter().copied().find(|it| *it == word);
        let rate = known(&RATES, text).map(|name| Self { name, of: None });
        let time = || {
            let (name, of) = text.split_once('.')?;
            Some(Self {
                name: known(&TIMES, name)?,
                of: Some(known(&STATISTICS, of)?),
            })
        };
        rate.or_else(time)
            .ok_or_else(|| InvalidMetric(text.to_owned()))
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.of {
            Some(of) => write!(f, "{}.{of}", self.name),
            None => f.write_str(self.name),
        }
    }
}

impl Metric {
    /// Whether it is a time, of which less is better.
    pub fn is_time(self) -> bool {
        self.of.is_some()
    }

    /// Whether it tells of good requests, so that somebody must say which are.
    pub fn needs_an_objective(self) -> bool {
        self.name == "goodput_rps"
    }

    /// The metric without what is told of it, as [`LeftOut`](super::LeftOut) names it.
    pub(crate) fn name(self) -> &'static str {
        self.name
    }

    /// Its value: a rate or a share, or a time in ms.
    ///
    /// # Errors
    ///
    /// With why it has none.
    pub(crate) fn value(self, metrics: &Metrics, slo: Option<&Attained>) -> Result<f64, String> {
        match self.of {
            Some(of) => self.time(metrics, of),
            None => self
                .rate(metrics, slo)
                .ok_or_else(|| format!("there is no {self}")),
        }
    }

    fn rate(self, metrics: &Metrics, slo: Option<&Attained>) -> Option<f64> {
        match self.name {
            "output_tps" => metrics.output_tps,
            "total_tps" => metrics.total_tps,
            "rps" => metrics.rps,
            "tok_s_user" => metrics.tok_s_user,
            "goodput_rps" => Some(slo?.goodput_rps),
            // Without an objective whoever answers is good.
            _ => Some(slo.map_or(metrics.attainment, |slo| slo.attainment)),
        }
    }

    fn time(self, metrics: &Metrics, of: &str) -> Result<f64, String> {
        let known = self.distribution(metrics);
        let known = known.ok_or_else(|| format!("there is no {}", self.name))?;
        let bounded = |quantile: Quantile| {
            let few = known.observations.unwrap_or(known.n);
            let is_bounded = !quantile.at_least;
            is_bounded
                .then_some(quantile.value)
                .ok_or_else(|| format!("{few} observations are too few for {self}"))
        };
        match of {
            "mean" => Ok(known.mean),
            "min" => Ok(known.min),
            "max" => Ok(known.max),
            "p50" => bounded(known.p50),
            "p90" => bounded(known.p90),
            "p95" => bounded(known.p95),
            _ => bounded(known.p99),
        }
    }

    fn distribution(self, metrics: &Metrics) -> Option<&Distribution> {
        match self.name {
            "ttft" => metrics.ttft.as_ref(),
            "tpot" => metrics.tpot.as_ref(),
            "itl" => metrics.itl.as_ref(),
            "icl" => metrics.icl.as_ref(),
            "e2el" => metrics.e2el.as_ref(),
            "response" => metrics.response.as_ref(),
            _ => metrics.connect.as_ref(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_written_as_they_are_read_and_nothing_else_is_one() {
        for rate in RATES {
            let read: Metric = rate.parse().unwrap();
            assert!(!read.is_time() && read.to_string() == rate);
        }
        for (time, of) in TIMES.iter().zip(STATISTICS) {
            let text = format!("{time}.{of}");
            let read: Metric = text.parse().unwrap();
            assert!(read.is_time() && read.to_string() == text);
        }
        for text in ["", "ttft", "ttft.p42", "output_tps.p50", "tps"] {
            assert!(text.parse::<Metric>().is_err(), "{text}");
        }
    }
}
