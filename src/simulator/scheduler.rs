//! Continuous batching: which sequences advance in the next step, and what comes out of it.
//!
//! A pure state machine without a clock: [`Scheduler::begin`] says how long the step takes, and
//! [`Scheduler::complete`] what it produced. The order of decisions is that of vLLM's V1 scheduler:
//! running sequences first, prompts in chunks within a budget of tokens, the last one that came is
//! preempted when the KV cache is full, then the queue is admitted first come, first served.

mod remote;

use std::collections::VecDeque;
use std::time::Duration;

use self::remote::Arrival;
use super::kv::leases::Leases;
use super::kv::params::Handover;
use super::kv::pull::Pull;
use super::physics::Step;
use super::prefix_cache::{BlockId, BlockPool, Held, Marks};
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
    /// Whether blocks are handed from engine to engine.
    pub(super) connects: bool,
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
    pub(super) handover: Handover,
}

/// Why an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Finish {
    /// The model ended it, or a stop token that the client named.
    Stop(Option<Token>),
    /// It is as long as it may be.
    Length,
    /// What it was to go on from could not be fetched.
    Error,
}

/// One token of one answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Output {
    pub(super) id: SequenceId,
    pub(super) token: Token,
    pub(super) finish: Option<Finish>,
    /// How much of the prompt did not have to be computed.
    pub(super) cached: usize,
    /// The blocks that are kept for another engine, with the last token.
    pub(super) kept: Option<Vec<BlockId>>,
}

/// The engine's queue, its running set and its KV cache.
#[derive(Debug)]
pub(super) struct Scheduler {
    limits: Limits,
    timing: Timing,
    pool: BlockPool,
    waiting: VecDeque<Sequence>,
    running: Vec<Sequence>,
    leases: Leases,
    pulls: Vec<(SequenceId, Pull)>,
    planned: Step,
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
    arrival: Arrival,
    /// How many tokens came from another engine.
    external: usize,
    /// Decides the answer, once there is one: what is in the cache has a say.
    seed: u64,
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
            leases: Leases::default(),
            pulls: Vec::new(),
            planned: Step::default(),
            stats,
        }
    }

    /// Puts work at the end of the queue.
    pub(super) fn submit(&mut self, mut work: Work, now: Duration) {
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
        self.waiting.push_back(Sequence {
            tokens,
            computed: 0,
            scheduled: 0,
            held: Held::salted(work.cache_salt.as_deref()),
            arrival: Arrival::of(work.handover.fetch.take()),
            external: 0,
            seed: work.seed,
            course,
            started: false,
            work,
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
            if let Arrival::Wanted(remote) = sequence.arrival {
                self.decline(id, remote);
            }
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
        self.planned = self.step();
        (!self.planned.is_empty()).then(|| self.timing.pace.time(&self.planned))
    }

    /// What each unknown of its [pace](super::physics::Pace) has to do with the step that was planned last.
    pub(super) fn shares(&self) -> Vec<f64> {
        self.timing.pace.shares(&self.planned)
    }

    /// What the step computes that is planned.
    fn step(&self) -> Step {
        let mut step = Step::default();
        for sequence in self
            .running
            .iter()
            .filter(|sequence| sequence.scheduled > 0)
        {
            if sequence.prefills() {
                step.prefill(sequence.computed, sequence.scheduled);
            } else {
                step.decode(sequence.computed);
            }
        }
        step
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
        last.let_go(&mut self.pool);
        self.stats.preemptions += 1;
        self.waiting.push_front(last);
    }

    fn admit_waiting(&mut self, budget: &mut usize, now: Duration) {
        let mut at = 0;
        while *budget > 0 && self.running.len() < self.limits.max_num_seqs {
            let Some(mut sequence) = self.waiting.remove(at) else {
                return;
            };
            // One whose blocks are yet to come keeps its place, and those behind it go on.
            let goes_on = match std::mem::take(&mut sequence.arrival) {
                Arrival::Wanted(remote) => self.order_blocks(&mut sequence, remote),
                Arrival::Coming => {
                    sequence.arrival = Arrival::Coming;
                    true
                }
                arrival @ (Arrival::None | Arrival::Come) => {
                    sequence.arrival = arrival;
                    if self.seat(&mut sequence, budget, now) {
                        self.running.push(sequence);
                        continue;
                    }
                    false
                }
            };
            self.waiting.insert(at, sequence);
            if !goes_on {
                return;
            }
            at += 1;
        }
    }

    /// Gives a sequence its share of the next step. False, and nothing changed, when there is no room.
    fn seat(&mut self, sequence: &mut Sequence, budget: &mut usize, now: Duration) -> bool {
        let cached = match sequence.arrival {
            Arrival::Come => sequence.computed,
            _ => self.pool.take_prefix(&mut sequence.held, &sequence.tokens),
        };
        let wanted = (sequence.tokens.len() - cached).min(*budget);
        if !self.pool.reserve(&mut sequence.held, cached + wanted) {
            sequence.let_go(&mut self.pool);
            return false;
        }
        (sequence.computed, sequence.scheduled) = (cached, wanted);
        *budget -= wanted;
        self.note_admission(sequence, cached, now);
        true
    }

    fn note_admission(&mut self, sequence: &mut Sequence, cached: usize, now: Duration) {
        // One that was preempted comes back: it is not a new request to any counter.
        if sequence.started {
            return;
        }
        sequence.started = true;
        sequence.course.scheduled = now;
        sequence.course.cached_tokens = cached;
        self.note_external(sequence);
        // Of one that was fetched this was counted when its blocks were ordered.
        if self.limits.prefix_caching && !matches!(sequence.arrival, Arrival::Come) {
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
                .write(&mut sequence.held, &sequence.tokens[..sequence.computed]);
            let sampled = sequence.computed == sequence.tokens.len();
            let output = sampled.then(|| self.sample(&mut sequence, now));
            match output.as_ref().and_then(|output| output.finish) {
                None => {
                    self.running.push(sequence);
                    outputs.extend(output);
                }
                Some(finish) => {
                    let kept = self.finish(sequence, finish, now);
                    outputs.extend(output.map(|output| Output { kept, ..output }));
                }
            }
        }
        self.stats.step_tokens.observe(step_tokens as f64);
        outputs
    }

    fn sample(&mut self, sequence: &mut Sequence, now: Duration) -> Output {
        if sequence.course.generated_tokens == 0 {
            sequence.seed = sequence.held.tainted(sequence.work.seed);
        }
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
        Output {
            id: sequence.work.id,
            token,
            finish,
            cached: course.cached_tokens,
            kept: None,
        }
    }

    /// Ends a sequence; returns its blocks where they are kept. As in 0.13.0 those of an answer that
    /// ended of its own accord are not.
    fn finish(
        &mut self,
        sequence: Sequence,
        finish: Finish,
        now: Duration,
    ) -> Option<Vec<BlockId>> {
        let ended = match finish {
            Finish::Stop(_) => FinishReason::Stop,
            Finish::Length => FinishReason::Length,
            Finish::Error => FinishReason::Error,
        };
        self.stats.finish(&sequence.course, ended);
        match sequence.work.handover.keep {
            Some(keep) if finish == Finish::Length => Some(self.keep(sequence.held, keep, now)),
            _ => {
                self.pool.release(sequence.held);
                None
            }
        }
    }
}

impl Sequence {
    /// Lets go of everything that was computed or fetched.
    fn let_go(&mut self, pool: &mut BlockPool) {
        let salted = Held::salted(self.work.cache_salt.as_deref());
        pool.release(std::mem::replace(&mut self.held, salted));
        (self.computed, self.scheduled, self.external) = (0, 0, 0);
        self.arrival = Arrival::None;
    }

    /// Takes what was fetched. The last token of the prompt is computed all the same: it says what
    /// follows.
    fn arrive(&mut self, pool: &mut BlockPool, marks: &Marks) {
        pool.receive(&mut self.held, &self.tokens, marks);
        self.external = self.tokens.len() - self.computed;
        self.computed = self.tokens.len() - 1;
        self.arrival = Arrival::Come;
    }

    /// Whether the current step computes prompt tokens, or again what a preemption threw away.
    fn prefills(&self) -> bool {
        self.scheduled > 1 || self.computed + self.scheduled <= self.work.prompt.len()
    }

    fn next(&self, max_model_len: usize) -> (Token, Option<Finish>) {
        let work = &self.work;
        let position = self.course.generated_tokens;
        let may_stop = position >= work.min_tokens;
        if may_stop && !work.ignore_eos && position >= text::natural_length(self.seed) {
            return (text::END, Some(Finish::Stop(None)));
        }
        let token = text::next_token(self.seed, position);
        if may_stop && work.stop_tokens.contains(&token) {
            return (token, Some(Finish::Stop(Some(token))));
        }
        let full = position + 1 >= work.max_tokens || self.tokens.len() + 1 >= max_model_len;
        (token, full.then_some(Finish::Length))
    }
}
