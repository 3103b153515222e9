//! A load in a few numbers, for whoever plans or compares.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::result::{BenchResult, Point};

/// A load in a few numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Headline {
    /// Requests that are ok.
    pub ok: usize,
    /// Requests that failed.
    pub failed: usize,
    /// Tokens for each second, all streams together.
    pub output_tps: Option<f64>,
    /// The median time to the first token, in ms.
    pub ttft_p50_ms: Option<f64>,
    /// The median time of each further token, in ms.
    pub tpot_p50_ms: Option<f64>,
    /// The mean time to the last token, in ms.
    pub e2el_mean_ms: Option<f64>,
}

impl Headline {
    /// The headline of one load.
    pub fn of(point: &Point) -> Self {
        let Point { summary, .. } = point;
        let metrics = &summary.metrics;
        Self {
            ok: summary.counts.ok,
            failed: summary.counts.failed,
            output_tps: metrics.output_tps,
            ttft_p50_ms: metrics.ttft.as_ref().map(|d| d.p50.value),
            tpot_p50_ms: metrics.tpot.as_ref().map(|d| d.p50.value),
            e2el_mean_ms: summary.mean_latency_ms(),
        }
    }
}

impl BenchResult {
    /// What it says in a few numbers, point by point.
    pub fn headlines(&self) -> Vec<Headline> {
        self.points.iter().map(Headline::of).collect()
    }
}

/// The throughput that headlines tell of, in words: that of the one, or from the least to the most.
pub fn throughput(headlines: &[Headline]) -> Option<String> {
    let mut all = headlines.iter().filter_map(|headline| headline.output_tps);
    let first = all.next()?;
    let (least, most) = all.fold((first, first), |(least, most), tps| {
        (least.min(tps), most.max(tps))
    });
    Some(if least < most {
        format!("{least:.1} to {most:.1} tok/s")
    } else {
        format!("{most:.1} tok/s")
    })
}

/// What one request alone achieves.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Single {
    /// `n / (t_last − t_sent)`, from the mean latency, in tokens/s.
    pub tokens_per_s: f64,
    /// The mean of `t_last − t_sent`, in ms.
    pub latency_ms: f64,
    /// Tokens of each request.
    pub tokens: u32,
    /// The result that says so.
    pub path: PathBuf,
}

impl Single {
    /// What a load tells of one request alone, where each of its requests was.
    pub(crate) fn of(point: &Point, tokens: u32, path: &Path) -> Option<Self> {
        let latency_ms = point.summary.mean_latency_ms()?;
        point.load.class().is_alone().then(|| Self {
            tokens_per_s: f64::from(tokens) / latency_ms * 1000.0,
            latency_ms,
            tokens,
            path: path.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_points_are_told_from_the_least_to_the_most() {
        let tps = |output_tps| Headline {
            output_tps,
            ..Headline::default()
        };
        let told = |all: &[Headline]| throughput(all);
        assert_eq!(told(&[tps(Some(14.81))]).as_deref(), Some("14.8 tok/s"));
        assert_eq!(
            told(&[
                tps(Some(14.2)),
                tps(None),
                tps(Some(278.0)),
                tps(Some(54.0))
            ])
            .as_deref(),
            Some("14.2 to 278.0 tok/s")
        );
        assert_eq!(told(&[tps(None)]), None);
    }
}
