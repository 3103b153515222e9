//! How long a step takes: a function of what it computes and reads, and of nothing else.
//!
//! A step reads the weights once, and of every sequence in it what the KV cache holds of that
//! sequence; what it computes of prompts comes on top, each token by itself and with all before it.
//! Nothing overlaps: where kernels do, the figures that were fitted have it in them.

use std::borrow::Cow;
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
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Pace {
    /// Milliseconds of a step without context by the number of sequences in it, mostly to read the
    /// weights; linear between the points, and beyond the last one with the slope of the last two.
    pub(crate) step_ms: Cow<'static, [(f64, f64)]>,
    /// Seconds to read one token of the KV cache.
    pub(crate) token_read: f64,
    /// Seconds for one token of a prompt, without its attention to others.
    pub(crate) prompt_token: f64,
    /// Seconds for a token's attention to one other, while a prompt is computed.
    pub(crate) pair: f64,
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
        Duration::from_secs_f64(seconds.max(0.0))
    }

    /// What a step without context takes that has so many sequences.
    pub(crate) fn milliseconds(&self, sequences: f64) -> f64 {
        let (from, share) = self.segment(sequences);
        let low = self.step_ms[from].1;
        let high = self.step_ms.get(from + 1).map_or(low, |(_, high)| *high);
        low + (high - low) * share
    }

    /// Between which point and the next so many sequences lie, and how far towards that.
    fn segment(&self, sequences: f64) -> (usize, f64) {
        let last = self.step_ms.len().saturating_sub(2);
        let from = self.step_ms.windows(2);
        let from = from.take(last).take_while(|pair| sequences > pair[1].0);
        let from = from.count();
        match self.step_ms.get(from..from + 2) {
            Some([(low, _), (high, _)]) => (from, (sequences - low) / (high - low)),
            _ => (from, 0.0),
        }
    }

    /// The unknowns of the sum that a step takes, in seconds: each point of `step_ms`, then what one token
    /// read, one of a prompt and one pair take.
    pub(crate) fn unknowns(&self) -> Vec<f64> {
        let points = self.step_ms.iter().map(|(_, ms)| ms / 1000.0);
        let rest = [self.token_read, self.prompt_token, self.pair];
        points.chain(rest).collect()
    }

    /// How often each of [`Pace::unknowns`] stands in the sum that a step takes.
    pub(super) fn shares(&self, step: &Step) -> Vec<f64> {
        let points = self.step_ms.len();
        let mut shares = vec![0.0; points];
        let (from, share) = self.segment(step.sequences as f64);
        shares[from] = 1.0 - share;
        if let Some(next) = shares.get_mut(from + 1) {
            *next = share;
        }
        let rest = [step.context as f64, step.prompt_tokens as f64];
        shares.extend(rest);
        shares.push(step.pairs as f64);
        shares
    }

    /// The same with other values for its [unknowns](Pace::unknowns).
    pub(super) fn with_unknowns(&self, unknowns: &[f64]) -> Self {
        let points = self.step_ms.iter().zip(unknowns);
        let rest = |place: usize| unknowns[self.step_ms.len() + place];
        Self {
            step_ms: points.map(|((at, _), s)| (*at, s * 1000.0)).collect(),
            token_read: rest(0),
            prompt_token: rest(1),
            pair: rest(2),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACE: Pace = Pace {
        step_ms: Cow::Borrowed(&[(1.0, 1.0), (3.0, 2.0)]),
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

    /// What is fitted are the addends of the very sum that a step takes.
    #[test]
    fn the_addends_of_a_step_sum_up_to_its_time() {
        for sequences in [1, 2, 3, 9] {
            let mut step = Step::default();
            (0..sequences).for_each(|_| step.decode(700));
            step.prefill(300, 40);
            let unknowns = PACE.unknowns();
            let sum: f64 = PACE
                .shares(&step)
                .iter()
                .zip(&unknowns)
                .map(|(a, b)| a * b)
                .sum();
            assert!((sum - PACE.time(&step).as_secs_f64()).abs() < 1e-9);
        }
        assert_eq!(PACE.with_unknowns(&PACE.unknowns()), PACE);
    }

    #[test]
    fn one_point_is_the_same_for_any_number() {
        let flat = Pace {
            step_ms: Cow::Borrowed(&[(8.0, 4.0)]),
            ..PACE
        };
        let step = |count| {
            (0..count).fold(Step::default(), |mut step, _| {
                step.decode(0);
                step
            })
        };
        assert_eq!(flat.time(&step(1)), Duration::from_millis(4));
        assert_eq!(flat.time(&step(90)), Duration::from_millis(4));
    }
}
