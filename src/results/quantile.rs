//! Quantiles that say what they can bear.
//!
//! A quantile is the one of Hyndman and Fan's definition 7 (what numpy and R give by default). Its
//! confidence bounds are order statistics: they assume nothing of the distribution. Where the
//! sample is too small to bound a quantile from above, it is marked, and printed as `≥x`.
//!
//! Values that hang together are not so many observations: eight requests that one batch decodes end
//! together, and are one. The bounds then count observations, and take each for a run of equal
//! values, which is the worst that it can be.

use serde::{Deserialize, Serialize};

/// How sure each bound of a quantile is, for itself. With it a p99 needs 299 samples, a p95 59, a
/// p90 29 and a median 5.
pub const CONFIDENCE: f64 = 0.95;

/// One quantile of a sample, with its bounds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Quantile {
    /// The estimate, in the unit of the sample.
    pub value: f64,
    /// Whether the sample is too small to bound it from above: read `≥ value`.
    pub at_least: bool,
    /// The bounds, each held with a confidence of [`CONFIDENCE`], where both exist.
    pub ci: Option<[f64; 2]>,
}

/// A sample, summarised.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Distribution {
    /// The unit of every value here: `ms`.
    pub unit: String,
    /// The size of the sample.
    pub n: usize,
    /// How many independent observations it is made of, where they are fewer than its values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observations: Option<usize>,
    /// The arithmetic mean.
    pub mean: f64,
    /// The smallest value.
    pub min: f64,
    /// The median.
    pub p50: Quantile,
    /// The 90th percentile.
    pub p90: Quantile,
    /// The 95th percentile.
    pub p95: Quantile,
    /// The 99th percentile.
    pub p99: Quantile,
    /// The largest value.
    pub max: f64,
}

impl Distribution {
    /// The summary of a sample of milliseconds, each an observation of its own; nothing for an empty
    /// one.
    pub fn of_ms(sample: Vec<f64>) -> Option<Self> {
        let observations = sample.len();
        Self::of_observations_ms(sample, observations)
    }

    /// The summary of a sample of milliseconds that came of so many observations.
    pub fn of_observations_ms(mut sample: Vec<f64>, observations: usize) -> Option<Self> {
        sample.sort_by(f64::total_cmp);
        let (min, max) = (tidy(*sample.first()?), tidy(*sample.last()?));
        let observations = observations.clamp(1, sample.len());
        let at = |p| estimate(&sample, observations, p);
        Some(Self {
            unit: "ms".to_owned(),
            n: sample.len(),
            observations: (observations < sample.len()).then_some(observations),
            mean: tidy(sample.iter().sum::<f64>() / sample.len() as f64),
            min,
            p50: at(0.50)?,
            p90: at(0.90)?,
            p95: at(0.95)?,
            p99: at(0.99)?,
            max,
        })
    }
}

/// A number to six decimals: finer than any stamp, and few enough digits that a result reads
/// back from JSON as the very same.
pub(crate) fn tidy(value: f64) -> f64 {
    (value * 1e6).round() / 1e6
}

/// The `p` quantile of a sorted sample: `x[⌊h⌋] + (h − ⌊h⌋)(x[⌊h⌋+1] − x[⌊h⌋])` with
/// `h = (n−1)p`, counted from 0 (Hyndman and Fan 1996, definition 7).
pub fn quantile(sorted: &[f64], p: f64) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    let h = last as f64 * p;
    let below = h.floor() as usize;
    let above = (below + 1).min(last);
    Some(sorted[below] + (h - h.floor()) * (sorted[above] - sorted[below]))
}

fn estimate(sorted: &[f64], observations: usize, p: f64) -> Option<Quantile> {
    let value = quantile(sorted, p)?;
    let (lower, upper) = bounds(observations, p);
    // Observation number `k` of `m` stands for the values from `(k−1)n/m` to `kn/m`.
    let (n, m) = (sorted.len(), observations);
    let ci = lower.zip(upper).map(|(low, high)| {
        let (first, end) = ((low - 1) * n / m, (high * n).div_ceil(m));
        [tidy(sorted[first]), tidy(sorted[end - 1])]
    });
    Some(Quantile {
        value: tidy(value),
        at_least: upper.is_none(),
        ci,
    })
}

/// The ranks, counted from 1, of the order statistics that bound the `p` quantile of `n`
/// samples. With `B ~ Binomial(n, p)` samples at or below the true quantile, the lower rank is the
/// largest `l` with `P(B ≥ l) ≥ c`, the upper one the smallest `u` with `P(B ≤ u−1) ≥ c`.
fn bounds(n: usize, p: f64) -> (Option<usize>, Option<usize>) {
    let odds = (p / (1.0 - p)).ln();
    let mut log_mass = n as f64 * (1.0 - p).ln();
    let mut below = 0.0; // P(B ≤ k−1)
    let (mut lower, mut upper) = (None, None);
    for k in 0..n {
        if k > 0 && 1.0 - below >= CONFIDENCE {
            lower = Some(k);
        }
        below += log_mass.exp();
        if below >= CONFIDENCE {
            upper = Some(k + 1);
            break;
        }
        log_mass += ((n - k) as f64 / (k + 1) as f64).ln() + odds;
    }
    (lower, upper)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_numpy() {
        let sample = [1.0, 2.0, 3.0, 4.0];
        assert_eq!(quantile(&sample, 0.5), Some(2.5));
        assert!((quantile(&sample, 0.9).unwrap() - 3.7).abs() < 1e-12);
        assert_eq!(quantile(&sample, 0.0), Some(1.0));
        assert_eq!(quantile(&sample, 1.0), Some(4.0));
        assert_eq!(quantile(&[7.0], 0.99), Some(7.0));
        assert_eq!(quantile(&[], 0.5), None);
    }

    #[test]
    fn a_quantile_is_bounded_only_from_the_known_sample_sizes_on() {
        for (p, needed) in [(0.50, 5), (0.90, 29), (0.95, 59), (0.99, 299)] {
            assert_eq!(bounds(needed - 1, p).1, None, "p{p}");
            assert_eq!(bounds(needed, p).1, Some(needed), "p{p}");
        }
    }

    #[test]
    fn the_bounds_of_a_median_lie_about_it() {
        // Of 100 samples the 42nd and the 59th: 0.9557 and 0.9557 by the binomial tables.
        assert_eq!(bounds(100, 0.5), (Some(42), Some(59)));
    }

    #[test]
    fn requests_that_end_together_bound_a_quantile_as_one() {
        let batches = |rounds: i32| {
            let ends = (0..rounds).flat_map(|round| [f64::from(round); 8]);
            Distribution::of_observations_ms(ends.collect(), rounds as usize).unwrap()
        };
        let four = batches(4);
        assert_eq!((four.n, four.observations), (32, Some(4)));
        assert!(four.p50.at_least && four.p50.ci.is_none());
        let alone = Distribution::of_ms((0..20).map(f64::from).collect()).unwrap();
        let twenty = batches(20);
        assert_eq!(twenty.p50.ci, alone.p50.ci);
        assert!(twenty.p95.at_least && twenty.p90.at_least);
        let old = serde_json::json!(alone);
        assert!(old.get("observations").is_none());
    }

    #[test]
    fn a_hundred_samples_do_not_make_a_p99() {
        let few = Distribution::of_ms((0..100).map(f64::from).collect()).unwrap();
        assert!(few.p99.at_least && few.p99.ci.is_none());
        assert!(!few.p95.at_least);
        let many = Distribution::of_ms((0..300).map(f64::from).collect()).unwrap();
        assert!(!many.p99.at_least);
        assert_eq!(Distribution::of_ms(Vec::new()), None);
    }
}
