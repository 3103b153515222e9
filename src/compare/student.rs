//! Student's t distribution, of a whole number of degrees of freedom.

use std::f64::consts::{FRAC_2_PI, FRAC_PI_2};

/// The `p` quantile of Student's t: the value below which a share of `p` lies.
///
/// With `θ = atan(t/√ν)` the share between −t and t is a finite sum of powers of `cos θ`, so that nothing
/// is approximated; θ is found by halving. There is at least one degree of freedom.
pub(super) fn quantile(p: f64, freedom: u32) -> f64 {
    let inside = 2.0 * p.clamp(0.0, 1.0) - 1.0;
    let (mut low, mut high) = (0.0, FRAC_PI_2);
    for _ in 0..f64::MANTISSA_DIGITS {
        let middle = f64::midpoint(low, high);
        if share_within(middle, freedom) < inside.abs() {
            low = middle;
        } else {
            high = middle;
        }
    }
    let angle = f64::midpoint(low, high);
    inside.signum() * f64::from(freedom).sqrt() * angle.tan()
}

/// The share between `−√ν tan θ` and `√ν tan θ`: for odd ν `2/π (θ + sin θ (cos θ + 2/3 cos³θ + … +
/// (2·4…(ν−3))/(3·5…(ν−2)) cos^(ν−2) θ))`, for even ν `sin θ (1 + 1/2 cos²θ + … +
/// (1·3…(ν−3))/(2·4…(ν−2)) cos^(ν−2) θ)` (Abramowitz and Stegun 1964, 26.7.3 and 26.7.4).
fn share_within(angle: f64, freedom: u32) -> f64 {
    let (sin, cos) = angle.sin_cos();
    let odd = freedom % 2;
    let mut term = if odd == 1 { cos } else { 1.0 };
    let mut sum = 0.0;
    for k in 0..freedom / 2 {
        sum += term;
        let power = f64::from(2 * k + odd);
        term *= cos * cos * (power + 1.0) / (power + 2.0);
    }
    if odd == 1 {
        FRAC_2_PI * (angle + sin * sum)
    } else {
        sin * sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The quantiles 0.90, 0.95, 0.975 and 0.995 from one degree of freedom on, as printed in the
    /// NIST/SEMATECH e-Handbook of Statistical Methods, 1.3.6.7.2, and in Fisher and Yates' tables.
    const PRINTED: [[f64; 4]; 30] = [
        [3.078, 6.314, 12.706, 63.657],
        [1.886, 2.920, 4.303, 9.925],
        [1.638, 2.353, 3.182, 5.841],
        [1.533, 2.132, 2.776, 4.604],
        [1.476, 2.015, 2.571, 4.032],
        [1.440, 1.943, 2.447, 3.707],
        [1.415, 1.895, 2.365, 3.499],
        [1.397, 1.860, 2.306, 3.355],
        [1.383, 1.833, 2.262, 3.250],
        [1.372, 1.812, 2.228, 3.169],
        [1.363, 1.796, 2.201, 3.106],
        [1.356, 1.782, 2.179, 3.055],
        [1.350, 1.771, 2.160, 3.012],
        [1.345, 1.761, 2.145, 2.977],
        [1.341, 1.753, 2.131, 2.947],
        [1.337, 1.746, 2.120, 2.921],
        [1.333, 1.740, 2.110, 2.898],
        [1.330, 1.734, 2.101, 2.878],
        [1.328, 1.729, 2.093, 2.861],
        [1.325, 1.725, 2.086, 2.845],
        [1.323, 1.721, 2.080, 2.831],
        [1.321, 1.717, 2.074, 2.819],
        [1.319, 1.714, 2.069, 2.807],
        [1.318, 1.711, 2.064, 2.797],
        [1.316, 1.708, 2.060, 2.787],
        [1.315, 1.706, 2.056, 2.779],
        [1.314, 1.703, 2.052, 2.771],
        [1.313, 1.701, 2.048, 2.763],
        [1.311, 1.699, 2.045, 2.756],
        [1.310, 1.697, 2.042, 2.750],
    ];

    #[test]
    fn quantiles_are_those_of_the_printed_table() {
        for (freedom, row) in (1..).zip(PRINTED) {
            for (p, printed) in [0.90, 0.95, 0.975, 0.995].into_iter().zip(row) {
                let ours = quantile(p, freedom);
                assert!(
                    (ours - printed).abs() <= 0.000_501,
                    "{p} of {freedom}: {ours}, {printed}"
                );
                assert!((quantile(1.0 - p, freedom) + ours).abs() < 1e-9);
            }
        }
    }

    #[test]
    fn a_median_is_nought_and_many_degrees_of_freedom_are_the_normal_distribution() {
        assert!(quantile(0.5, 4).abs() < 1e-12);
        assert!((quantile(0.975, 10_000) - 1.960_20).abs() < 1e-5);
    }
}
