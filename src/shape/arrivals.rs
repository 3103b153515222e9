//! When requests arrive by themselves: constant, Poisson or gamma, drawn from a seed.
//!
//! A process is drawn as it comes and never rescaled: of so many requests, the last does not land on
//! a moment that was chosen for it, and in a given time there are as many as chance has it.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How the times between arrivals are distributed; their mean is that of the rate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Arrivals {
    /// Independent of each other, as many users are: exponential times.
    #[default]
    Poisson,
    /// All times are equal.
    Constant,
    /// Gamma times of this shape: below 1 they come in bursts, 1 is `poisson`, above they are the more
    /// regular. vLLM calls it burstiness.
    Gamma(f64),
}

/// Times between arrivals whose mean is 1, one after another.
#[derive(Debug, Clone)]
pub(super) struct Gaps {
    arrivals: Arrivals,
    rng: fastrand::Rng,
}

impl Gaps {
    pub(super) fn new(arrivals: Arrivals, seed: u64) -> Self {
        let rng = fastrand::Rng::with_seed(seed);
        Self { arrivals, rng }
    }

    fn draw(&mut self) -> f64 {
        match self.arrivals {
            Arrivals::Constant => 1.0,
            Arrivals::Poisson => self.exponential(),
            Arrivals::Gamma(shape) => self.gamma(shape) / shape,
        }
    }

    /// A number above 0 and up to 1.
    fn positive(&mut self) -> f64 {
        1.0 - self.rng.f64()
    }

    fn exponential(&mut self) -> f64 {
        -self.positive().ln()
    }

    /// A gamma variate of a shape and of scale 1, by Marsaglia and Tsang, "A simple method for
    /// generating gamma variables", ACM TOMS 26(3), 2000; below a shape of 1, by their section 6.
    fn gamma(&mut self, shape: f64) -> f64 {
        if shape < 1.0 {
            let power = self.positive().powf(1.0 / shape);
            return self.gamma(shape + 1.0) * power;
        }
        let d = shape - 1.0 / 3.0;
        let c = 1.0 / (9.0 * d).sqrt();
        loop {
            let x = self.normal();
            let v = (1.0 + c * x).powi(3);
            if v > 0.0 && self.positive().ln() < 0.5 * x * x + d * (1.0 - v + v.ln()) {
                return d * v;
            }
        }
    }

    /// A standard normal variate, by Box and Muller.
    fn normal(&mut self) -> f64 {
        let radius = (2.0 * self.exponential()).sqrt();
        radius * (std::f64::consts::TAU * self.rng.f64()).cos()
    }
}

/// How a rate goes on over time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Intensity {
    /// It stays: so many a second.
    Steady(f64),
    /// It goes from so many to so many in this time, in seconds, evenly.
    Ramp { from: f64, to: f64, over: f64 },
}

impl Intensity {
    /// The moment, in seconds, by which so many are to be expected: the inverse of the integral of
    /// the rate.
    fn moment(self, expected: f64) -> f64 {
        match self {
            Self::Steady(per_s) => expected / per_s,
            Self::Ramp { from, to, over } => {
                // from·t + slope·t²/2 = expected, solved without a difference of near numbers. What
                // lies beyond a ramp that ends at nothing never comes.
                let slope = (to - from) / over;
                let under_the_root = from * from + 2.0 * slope * expected;
                2.0 * expected / (from + under_the_root.sqrt())
            }
        }
    }
}

/// The moments of arrivals, one after another, from the first sending.
#[derive(Debug, Clone)]
pub(super) struct Moments {
    gaps: Gaps,
    intensity: Intensity,
    expected: f64,
}

impl Moments {
    pub(super) fn new(gaps: Gaps, intensity: Intensity) -> Self {
        Self {
            gaps,
            intensity,
            expected: 0.0,
        }
    }
}

impl Iterator for Moments {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        self.expected += self.gaps.draw();
        Duration::try_from_secs_f64(self.intensity.moment(self.expected)).ok()
    }
}
