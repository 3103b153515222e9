//! How long a step takes: a function of what it computes and reads, and of nothing else.
//!
//! A step reads the weights once, and of every sequence in it what the KV cache holds of that
//! sequence; what it computes of prompts comes on top, each token by itself and with all before it.
//! Nothing overlaps: where kernels do, the figures that were fitted have it in them.

use std::time::Duration;

/// What one step does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Step {
    /// How many sequences advance.
    pub(super) sequences: usize,
    /// How many tokens of prompts are computed.
    pub(super) prompt_tokens: usize,
    /// How many tokens the KV cache holds of all those sequences: they are read once each.
    pub(super) context: usize,
    /// How many pairs the attention of those prompts has: each token with each before it, and itself.
    pub(super) pairs: u64,
}

impl Step {
    /// Adds a sequence that has `context` tokens in the KV cache and samples its next one.
    pub(super) fn decode(&mut self, context: usize) {
        self.sequences += 1;
        self.context += context;
    }

    /// Adds a chunk of `tokens` of a prompt of which the KV cache has `context` tokens.
    pub(super) fn prefill(&mut self, context: usize, tokens: usize) {
        self.decode(context);
        self.prompt_tokens += tokens;
        let (context, tokens) = (context as u64, tokens as u64);
        self.pairs += tokens * context + tokens * (tokens + 1) / 2;
    }

    /// Whether nothing happens in it.
    pub(super) fn is_empty(&self) -> bool {
        self.sequences == 0
    }
}

/// How fast a model computes on a device.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    /// Milliseconds of a step without context by the number of sequences in it, mostly to read the
    /// weights; linear between the points, and beyond the last one with the slope of the last two.
    pub(super) step_ms: &'static [(f64, f64)],
    /// Seconds to read one token of the KV cache.
    pub(super) token_read: f64,
    /// Seconds for one token of a prompt, without its attention to others.
    pub(super) prompt_token: f64,
    /// Seconds for a token's attention to one other, while a prompt is computed.
    pub(super) pair: f64,
}

impl Pace {
    /// The same, computing prompts so many times as fast.
    pub(super) fn reading_prompts(self, times: f64) -> Self {
        Self {
            prompt_token: self.prompt_token / times,
            pair: self.pair / times,
            ..self
        }
    }

    /// How long a step takes.
    pub(super) fn time(&self, step: &Step) -> Duration {
        let seconds = self.milliseconds(step.sequences as f64) / 1000.0
            + step.context as f64 * self.token_read
            + step.prompt_tokens as f64 * self.prompt_token
            + step.pairs as f64 * self.pair;
        Duration::from_secs_f64(seconds)
    }

    fn milliseconds(&self, sequences: f64) -> f64 {
        let segment = self
            .step_ms
            .windows(2)
            .find(|pair| sequences <= pair[1].0)
            .or(self.step_ms.windows(2).last());
        let Some([(from, low), (to, high)]) = segment else {
            return self.step_ms[0].1;
        };
        low + (high - low) * (sequences - from) / (to - from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACE: Pace = Pace {
        step_ms: &[(1.0, 1.0), (3.0, 2.0)],
        token_read: 1e-6,
        prompt_token: 1e-5,
        pair: 1e-8,
    };

    fn of(steps: impl FnOnce(&mut Step)) -> Duration {
        let mut step = Step::default();
        steps(&mut step);
        PACE.time(&step)
    }

    #[test]
    fn a_step_is_linear_between_its_points_and_beyond_the_last() {
        let sequences = |count| of(|step| (0..count).for_each(|_| step.decode(0)));
        assert_eq!(sequences(2), Duration::from_micros(1500));
        assert_eq!(sequences(5), Duration::from_millis(3));
    }

    #[test]
    fn context_is_read_by_everybody_who_has_it() {
        let two = of(|step| {
            step.decode(1000);
            step.decode(500);
        });
        assert_eq!(two, Duration::from_millis(3));
    }

    #[test]
    fn a_prompt_in_chunks_has_the_pairs_of_a_whole_one() {
        let mut whole = Step::default();
        whole.prefill(0, 1000);
        let mut chunks = Step::default();
        for at in 0..4 {
            chunks.prefill(at * 250, 250);
        }
        assert_eq!(chunks.pairs, whole.pairs);
        assert_eq!(whole.pairs, 500_500);
        assert_eq!(
            of(|step| step.prefill(0, 1000)),
            Duration::from_micros(1000 + 10_000 + 5005)
        );
    }
}
