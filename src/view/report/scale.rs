//! From values to places on a drawing, and the values that are written beside it.

/// How values lie on an axis.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Spread {
    /// Equal steps are equally long.
    Linear,
    /// Equal ratios are equally long. For values above 0.
    Log,
}

/// An axis: from which value to which, and from where to where.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Scale {
    spread: Spread,
    low: f64,
    high: f64,
    from: f64,
    to: f64,
}

/// The ratio from which on a linear axis would press the small values together.
const WIDE: f64 = 30.0;

/// The ratio up to which a logarithmic axis has too few of the values 1, 2 and 5 to be read by.
const NARROW: f64 = 8.0;

impl Scale {
    /// An axis on which all these values lie, between these places. `from_zero` begins it at 0.
    pub(super) fn over(values: &[f64], from_zero: bool, from: f64, to: f64) -> Self {
        let finite = || values.iter().copied().filter(|it| it.is_finite());
        let least = finite().fold(f64::INFINITY, f64::min);
        let most = finite().fold(f64::NEG_INFINITY, f64::max);
        let (least, most) = if least > most {
            (0.0, 1.0)
        } else {
            (least, most)
        };
        let low = if from_zero { least.min(0.0) } else { least };
        let (low, high) = if low < most {
            (low, most)
        } else {
            // One value alone stands in the middle.
            (
                most - most.abs().max(1.0) / 2.0,
                most + most.abs().max(1.0) / 2.0,
            )
        };
        let room = if from_zero { 0.05 } else { 0.0 } * (high - low);
        Self {
            spread: Spread::Linear,
            low,
            high: high + room,
            from,
            to,
        }
    }

    /// The same for values of all sizes: logarithmic where they differ so much that a linear axis
    /// would hide the small ones.
    pub(super) fn of_any_size(values: &[f64], from: f64, to: f64) -> Self {
        let linear = Self::over(values, false, from, to);
        let spreads = linear.low > 0.0 && linear.high / linear.low > WIDE;
        Self {
            spread: if spreads { Spread::Log } else { Spread::Linear },
            ..if spreads {
                linear
            } else {
                Self::over(values, true, from, to)
            }
        }
    }

    /// An axis from a value to a value.
    pub(super) fn between(low: f64, high: f64, from: f64, to: f64) -> Self {
        Self {
            spread: Spread::Linear,
            low,
            high,
            from,
            to,
        }
    }

    /// An axis of ratios, from one to another, both above 0.
    pub(super) fn of_ratios(low: f64, high: f64, from: f64, to: f64) -> Self {
        Self {
            spread: Spread::Log,
            ..Self::between(low, high, from, to)
        }
    }

    /// The place of a value.
    pub(super) fn at(self, value: f64) -> f64 {
        let share = match self.spread {
            Spread::Linear => (value - self.low) / (self.high - self.low),
            Spread::Log => (value / self.low).ln() / (self.high / self.low).ln(),
        };
        self.from + share.clamp(0.0, 1.0) * (self.to - self.from)
    }

    /// Round values along the axis, about so many.
    pub(super) fn ticks(self, about: usize) -> Vec<f64> {
        match self.spread {
            Spread::Linear => self.linear_ticks(about),
            Spread::Log if self.high / self.low < NARROW => self.linear_ticks(about),
            Spread::Log => self.log_ticks(),
        }
    }

    fn linear_ticks(self, about: usize) -> Vec<f64> {
        let rough = (self.high - self.low) / about.max(1) as f64;
        let power = 10_f64.powf(rough.log10().floor());
        let steps = [1.0, 2.0, 2.5, 5.0, 10.0].map(|it| it * power);
        let step = steps.into_iter().find(|it| *it >= rough).unwrap_or(rough);
        let first = (self.low / step).ceil() as i64;
        let last = (self.high / step).floor() as i64;
        (first..=last).map(|n| n as f64 * step).collect()
    }

    fn log_ticks(self) -> Vec<f64> {
        let decades = self.low.log10().floor() as i32..=self.high.log10().ceil() as i32;
        let wide = self.high / self.low > 2000.0;
        let within: &[f64] = if wide { &[1.0] } else { &[1.0, 2.0, 5.0] };
        let all = decades.flat_map(|decade| within.iter().map(move |it| it * 10_f64.powi(decade)));
        all.filter(|it| (self.low..=self.high).contains(it))
            .collect()
    }
}

/// A value beside an axis: as short as it can be.
pub(super) fn tick(value: f64) -> String {
    if value.abs() >= 10_000.0 {
        return format!("{}k", tick(value / 1000.0));
    }
    let text = format!("{value:.3}");
    let short = text.trim_end_matches('0').trim_end_matches('.');
    if short == "-0" {
        "0".to_owned()
    } else {
        short.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(scale: Scale) -> String {
        let ticks: Vec<String> = scale.ticks(5).into_iter().map(tick).collect();
        ticks.join(" ")
    }

    #[test]
    fn ticks_are_round_and_lie_within() {
        let cases = [
            (Scale::over(&[3.0, 97.0], true, 0.0, 1.0), "0 25 50 75 100"),
            (
                Scale::over(&[0.02, 0.11], true, 0.0, 1.0),
                "0 0.025 0.05 0.075 0.1",
            ),
            (Scale::over(&[1.0, 64.0], false, 0.0, 1.0), "20 40 60"),
            (Scale::over(&[0.0, 27000.0], true, 0.0, 1.0), "0 10k 20k"),
            (
                Scale::of_any_size(&[4.0, 900.0], 0.0, 1.0),
                "5 10 20 50 100 200 500",
            ),
            (Scale::of_any_size(&[4.0, 9.0], 0.0, 1.0), "0 2 4 6 8"),
            (Scale::over(&[], true, 0.0, 1.0), "0 0.25 0.5 0.75 1"),
            (Scale::of_ratios(0.93, 1.12, 0.0, 1.0), "0.95 1 1.05 1.1"),
            (Scale::of_ratios(0.1, 2.5, 0.0, 1.0), "0.1 0.2 0.5 1 2"),
        ];
        for (scale, ticks) in cases {
            assert_eq!(shown(scale), ticks, "{scale:?}");
        }
    }

    #[test]
    fn a_value_has_its_place() {
        let linear = Scale::between(0.0, 10.0, 100.0, 200.0);
        assert_eq!(
            [0.0, 5.0, 10.0, 99.0].map(|it| linear.at(it) as i64),
            [100, 150, 200, 200]
        );
        let upwards = Scale::between(0.0, 10.0, 200.0, 100.0);
        assert!((upwards.at(2.5) - 175.0).abs() < 1e-9);
        let log = Scale::of_any_size(&[1.0, 100.0], 0.0, 100.0);
        assert!((log.at(10.0) - 50.0).abs() < 1e-9);
        let one = Scale::over(&[7.0], false, 0.0, 10.0);
        assert!((one.at(7.0) - 5.0).abs() < 1e-9);
    }
}
