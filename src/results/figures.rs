//! What a result claims of its load, in the few numbers that are held against others.

use super::result::Point;
use crate::shape::Class;

/// A share by which two numbers may differ and still tell the same.
const SAME: f64 = 0.02;

/// What a baseline claims.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Figures {
    /// Of one request alone.
    pub(crate) single: Option<SingleFigures>,
    /// Of requests sent together.
    pub(crate) batch: Option<BatchFigures>,
    /// Of a load that goes on, many in flight.
    pub(crate) steady: Option<SteadyFigures>,
}

/// What is claimed of one request alone.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct SingleFigures {
    pub(crate) latency_ms: f64,
    pub(crate) tokens: f64,
    pub(crate) tokens_per_s: f64,
}

/// What is claimed of requests sent together.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct BatchFigures {
    pub(crate) size: f64,
    pub(crate) tokens: f64,
    pub(crate) tokens_per_s: f64,
    pub(crate) mean_latency_ms: f64,
}

/// What is claimed of a load that goes on. It has no size: what counts is how fast it went.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct SteadyFigures {
    pub(crate) tokens: f64,
    pub(crate) tokens_per_s: f64,
    pub(crate) mean_latency_ms: f64,
}

impl Figures {
    /// What one of our loads claims.
    pub(crate) fn of(point: &Point) -> Option<Self> {
        let summary = &point.summary;
        let mean_latency_ms = summary.mean_latency_ms()?;
        let typical = summary.typical();
        let tokens = typical.output_tokens as f64;
        let each = summary.tokens_each()?;
        Some(match point.load.class() {
            Class::Alone => Self {
                single: Some(SingleFigures {
                    latency_ms: mean_latency_ms,
                    tokens: each,
                    tokens_per_s: each / mean_latency_ms * 1000.0,
                }),
                ..Self::default()
            },
            Class::Together { .. } => Self {
                batch: Some(BatchFigures {
                    size: typical.ok as f64,
                    tokens,
                    tokens_per_s: summary.metrics.output_tps?,
                    mean_latency_ms,
                }),
                ..Self::default()
            },
            Class::Closed { .. } | Class::Open { .. } => Self {
                steady: Some(SteadyFigures {
                    tokens,
                    tokens_per_s: summary.metrics.output_tps?,
                    mean_latency_ms,
                }),
                ..Self::default()
            },
        })
    }
}

impl SingleFigures {
    /// The tokens that its speed and its time make: `tok/s · s`.
    pub(crate) fn tokens_by_speed(self) -> f64 {
        self.tokens_per_s * self.latency_ms / 1000.0
    }

    /// Whether its tokens are not what its speed and its time make.
    pub(crate) fn contradicts_itself(self) -> bool {
        differ(self.tokens, self.tokens_by_speed())
    }
}

impl BatchFigures {
    /// The time of the whole batch: `tokens / tok/s`, in ms. Requests that are sent together
    /// take about as long each.
    pub(crate) fn wall_ms(self) -> f64 {
        self.tokens / self.tokens_per_s * 1000.0
    }

    /// Whether what is called a latency is the time of the batch divided by its size. It cannot be
    /// a mean of latencies: one of them is the whole time, and the others are more than nothing.
    pub(crate) fn latency_is_a_share(self) -> bool {
        self.size > 1.0 && !differ(self.mean_latency_ms * self.size, self.wall_ms())
    }

    /// Whether the mean latency is below what any batch of this duration can have.
    pub(crate) fn latency_is_impossible(self) -> bool {
        self.size > 1.0 && self.mean_latency_ms * self.size < self.wall_ms() * (1.0 + SAME)
    }
}

/// Whether two numbers do not tell the same.
pub(crate) fn differ(a: f64, b: f64) -> bool {
    (a - b).abs() > SAME * a.abs().max(b.abs())
}
