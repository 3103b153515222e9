//! Continuous batching: which sequences advance in the next step, and what comes out of it.
//!
//! A pure state machine without a clock: [`Scheduler::begin`] says how long the step takes, and
//! [`Scheduler::complete`] what it produced. The order of decisions is that of vLLM's V1 scheduler:
//! running sequences first, prompts in chunks within a budget of tokens, the last one that came is
//! preempted when the KV cache is full, then the queue is admitted first come, first served.

use std::collections::VecDeque;
use std::time::Duration;

use super::prefix_cache::{BlockPool, Held};
use super::profile::Timing;
use super::stats::{FinishReason, RequestTimes, Stats};
use super::text::{self, Token};

/// Names one sequence in the engine.
pub(super) type SequenceId = u64;

/// What may not be exceeded.
#[derive(Debug, Clone)]
pub(super) struct Limits {
    pub(super) max_num_seqs: usize,
    pub(super) max_num_batched_tokens: usize,
    pub(super) max_model_len: usize,
    pub(super) block_size: usize,
    pub(super) blocks: usize,
    pub(super) prefix_caching: bool,
}

/// One answer to be made.
#[derive(Debug, Clone)]
pub(super) struct Work {
    pub(super) id: SequenceId,
    pub(super) prompt: Vec<Token>,
    pub(super) cache_salt: Option<String>,
    /// Decides the answer.
    pub(super) seed: u64,
    pub(super) max_tokens: usize,
    pub(super) min_tokens: usize,
    pub(super) stop_tokens: Vec<Token>,
    pub(super) ignore_eos: bool,
}

/// Why an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Finish {
    /// The model ended it, or a stop token that the client named.
    Stop(Option<Token>),
    /// It is as long as it may be.
    Length,
}

/// One token of one answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Output {
    pub(super) id: SequenceId,
    pub(super) token: Token,
    pub(super) finish: Option<Finish>,
}

/// The engine's queue, its running set and its KV cache.
#[derive(Debug)]
pub(super) struct Scheduler {
    limits: Limits,
    timing: Timing,
    pool: BlockPool,
    waiting: VecDeque<Sequence>,
    running: Vec<Sequence>,
    pub(super) stats: Stats,
}

#[derive(Debug)]
struct Sequence {
    work: Work,
    /// The prompt and what was generated.
    tokens: Vec<Token>,
    /// How many of them are in the KV cache.
    computed: usize,
    /// How many of them the current step computes.
    scheduled: usize,
    held: Held,
    course: RequestTimes,
    started: bool,
}

impl Scheduler {
    /// An idle engine.
    pub(super) fn new(limits: Limits, timing: Timing) -> Self {
        let pool = BlockPool::new(limits.blocks, limits.block_size, limits.prefix_caching);
        let stats = Stats::new(limits.max_model_len);
        Self {
            limits,
            timing,
            pool,
            waiting: VecDeque::new(),
            running: Vec::new(),
            stats,
        }
    }

    /// Puts work at the end of the queue.
    pub(super) fn submit(&mut self, work: Work, now: Duration) {
        let course = RequestTimes {
            arrived: now,
            scheduled: now,
            first_token: now,
            last_token: now,
            prompt_tokens: work.prompt.len(),
            cached_tokens: 0,
            generated_tokens: 0,
            max_tokens: work.max_tokens,
        };
        let tokens = work.prompt.clone();
        let held = Held::salted(work.cache_salt.as_deref());
        self.waiting.push_back(Sequence {
            work,
            tokens,
            computed: 0,
            scheduled: 0,
            held,
            course,
            started: false,
        });
    }

    /// Forgets a sequence that nobody waits for any more.
    pub(super) fn abort(&mut self, id: SequenceId) {
        let queued = self
            .waiting
            .iter()
            .position(|sequence| sequence.work.id == id);
        let running = || {
            self.running
                .iter()
                .position(|sequence| sequence.work.id == id)
        };
        let sequence = match queued {
            Some(at) => self.waiting.remove(at),
            None => running().map(|at| self.running.remove(at)),
        };
        if let Some(sequence) = sequence {
            self.pool.release(sequence.held);
            self.stats.ended[FinishReason::Abort as usize] += 1;
        }
    }

    /// How many sequences run.
    pub(super) fn running(&self) -> usize {
        self.running.len()
    }

    /// How many sequences wait.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// The share of the KV cache in use.
    pub(super) fn kv_usage(&self) -> f64 {
        self.pool.usage()
    }

    /// Plans the next step and returns how long it takes; nothing when there is nothing to do.
    pub(super) fn begin(&mut self, now: Duration) -> Option<Duration> {
        let mut budget = self.limits.max_num_batched_tokens;
        let preempted = self.advance_running(&mut budget);
        if !preempted {
            self.admit_waiting(&mut budget, now);
        }
        let step: Vec<_> = self
            .running
            .iter()
            .filter(|sequence| sequence.scheduled > 0)
            .collect();
        if step.is_empty() {
            return None;
        }
        let prefill = step
            .iter()
            .filter(|sequence| sequence.prefills())
            .map(|sequence| sequence.scheduled)
            .sum();
        Some(self.timing.step(step.len(), prefill))
    }

    fn advance_running(&mut self, budget: &mut usize) -> bool {
        let mut preempted = false;
        let mut at = 0;
        while at < self.running.len() && *budget > 0 {
            let sequence = &mut self.running[at];
            let wanted = (sequence.tokens.len() - sequence.computed).min(*budget);
            if self
                .pool
                .reserve(&mut sequence.held, sequence.computed + wanted)
            {
                sequence.scheduled = wanted;
                *budget -= wanted;
                at += 1;
            } else {
                // The one that came last gives way; perhaps it is this one.
                preempted = true;
                self.preempt_last(budget);
            }
        }
        preempted
    }

    fn preempt_last(&mut self, budget: &mut usize) {
        let Some(mut last) = self.running.pop() else {
            return;
        };
        *budget += last.scheduled;
        let salted = Held::salted(last.work.cache_salt.as_deref());
        self.pool.release(std::mem::replace(&mut last.held, salted));
        (last.computed, last.scheduled) = (0, 0);
        self.stats.preemptions += 1;
        self.waiting.push_front(last);
    }

    fn admit_waiting(&mut self, budget: &mut usize, now: Duration) {
        while *budget > 0 && self.running.len() < self.limits.max_num_seqs {
            let Some(mut sequence) = self.waiting.pop_front() else {
                return;
            };
            let cached = self.pool.take_prefix(&mut sequence.held, &sequence.tokens);
            let wanted = (sequence.tokens.len() - cached).min(*budget);
            if !self.pool.reserve(&mut sequence.held, cached + wanted) {
                let salted = Held::salted(sequence.work.cache_salt.as_deref());
                self.pool
                    .release(std::mem::replace(&mut sequence.held, salted));
                self.waiting.push_front(sequence);
                return;
            }
            (sequence.computed, sequence.scheduled) = (cached, wanted);
            *budget -= wanted;
            self.note_admission(&mut sequence, cached, now);
            self.running.push(sequence);
        }
    }

    fn note_admission(&mut self, sequence: &mut Sequence, cached: usize, now: Duration) {
        // One that was preempted comes back: it is not a new request to any counter.
        if sequence.started {
            return;
        }
        sequence.started = true;
        sequence.course.scheduled = now;
        sequence.course.cached_tokens = cached;
        if self.limits.prefix_caching {
            self.stats.prefix_queries += sequence.tokens.len() as u64;
            self.stats.prefix_hits += cached as u64;
        }
    }

    /// What the step that [`Scheduler::begin`] planned has produced, at its end.
    pub(super) fn complete(&mut self, now: Duration) -> Vec<Output> {
        let mut outputs = Vec::new();
        let mut step_tokens = 0;
        for mut sequence in std::mem::take(&mut self.running) {
            step_tokens += sequence.scheduled;
            sequence.computed += std::mem::take(&mut sequence.scheduled);
            self.pool
                .publish(&mut sequence.held, &sequence.tokens[..sequence.computed]);
            let sampled = sequence.computed == sequence.tokens.len();
            let finish = if sampled {
                self.sample(&mut sequence, now, &mut outputs)
            } else {
                None
            };
            match finish {
                None => self.running.push(sequence),
                Some(finish) => self.finish(sequence, finish),
            }
        }
        self.stats.step_tokens.observe(step_tokens as f64);
        outputs
    }

    fn sample(
        &mut self,
        sequence: &mut Sequence,
        now: Duration,
        outputs: &mut Vec<Output>,
    ) -> Option<Finish> {
        let (token, finish) = sequence.next(self.limits.max_model_len);
        sequence.tokens.push(token);
        let course = &mut sequence.course;
        course.generated_tokens += 1;
        self.stats.generation_tokens += 1;
        if course.generated_tokens == 1 {
            course.first_token = now;
            self.stats.prompt_tokens += course.prompt_tokens as u64;
            self.stats
                .first_token
                .observe(now.saturating_sub(course.arrived).as_secs_f64());
        } else {
            self.stats
                .inter_token
                .observe(now.saturating_sub(course.last_token).as_secs_f64());
        }
        course.last_token = now;
        outputs.push(Output {
            id: sequence.work.id,
            token,
            finish,
        });
        finish
    }

    fn finish(&mut self, sequence: Sequence, finish: Finish) {
        let ended = match finish {
            Finish::Stop(_) => FinishReason::Stop,
            Finish::Length => FinishReason::Length,
        };
        self.stats.finish(&sequence.course, ended);
        self.pool.release(sequence.held);
    }
}

impl Sequence {
    /// Whether the current step computes prompt tokens, or again what a preemption threw away.
    fn prefills(&self) -> bool {
        self.scheduled > 1 || self.computed + self.scheduled <= self.work.prompt.len()
    }

    fn next(&self, max_model_len: usize) -> (Token, Option<Finish>) {
        let work = &self.work;
        let position = self.course.generated_tokens;
        let may_stop = position >= work.min_tokens;
        if may_stop && !work.ignore_eos && position >= text::natural_length(work.seed) {
            return (text::END, Some(Finish::Stop(None)));
        }
        let token = text::next_token(work.seed, position);
        if may_stop && work.stop_tokens.contains(&token) {
            return (token, Some(Finish::Stop(Some(token))));
        }
        let full = position + 1 >= work.max_tokens || self.tokens.len() + 1 >= max_model_len;
        (token, full.then_some(Finish::Length))
    }
}
