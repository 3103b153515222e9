//! How close the GB10 profile comes to what was measured, and its physics to what others have
//! published: the scheduler is driven through the same experiments, in no time at all.
//!
//! This file has the GB10's, [`published`] the others, with the long prompts that are missing here.
//!
//! Measured: Llama-3.1-8B-Instruct, bf16, one DGX Spark, vLLM 0.13.0 (cu130) with 0.3 of the memory.
//! Single and batch are the in-process notebook run; the sweep is GuideLLM with 256/128 tokens,
//! whose concurrency is an average: it is approached from the whole numbers on both sides.

mod published;
mod solve;

use std::collections::HashMap;
use std::time::Duration;

use super::kv::params::Handover;
use super::profile::{self, Timing};
use super::scheduler::{Limits, Scheduler, SequenceId, Work};
use crate::resource::engine::Profile;

pub(crate) use self::solve::{Figure, Fitted, Term, fit};

/// Average concurrency, tokens a second, milliseconds between tokens.
const SWEEP: &[(f64, f64, f64)] = &[
    (1.0, 14.2, 69.7),
    (3.6, 54.0, 67.0),
    (6.6, 95.0, 69.0),
    (9.8, 135.0, 72.0),
    (13.0, 175.0, 74.0),
    (18.0, 206.0, 89.0),
    (23.0, 242.0, 93.0),
    (27.0, 278.0, 97.0),
];
const SWEEP_SHAPE: Shape = Shape {
    prompt: 256,
    answer: 128,
};
/// What the client of the sweep and its HTTP connection add to each request. An estimate: its
/// figures for one user say 162 ms to the first token, the engine alone needs about 150.
const CLIENT: Duration = Duration::from_millis(15);

/// One figure, measured and simulated.
#[derive(Debug, Clone)]
pub(super) struct Row {
    /// What was done.
    pub(super) what: String,
    /// In which unit.
    pub(super) unit: &'static str,
    pub(super) measured: f64,
    pub(super) simulated: f64,
}

impl Row {
    /// How far off the simulation is: 0.1 is a tenth too much.
    pub(super) fn error(&self) -> f64 {
        self.simulated / self.measured - 1.0
    }

    fn line(&self) -> String {
        let Self {
            what,
            unit,
            measured,
            simulated,
        } = self;
        let error = self.error() * 100.0;
        format!("{what:<16} {unit:<8} {measured:>9.2} {simulated:>9.2} {error:>+6.1}%\n")
    }
}

#[derive(Debug, Clone, Copy)]
struct Shape {
    prompt: usize,
    answer: usize,
}

/// What came of users who each ask again as soon as they are answered.
#[derive(Debug, Clone, Copy)]
struct Steady {
    tokens_per_second: f64,
    between_tokens: f64,
}

/// All figures.
pub(super) fn rows() -> Vec<Row> {
    let row = |what: String, unit, measured, simulated| Row {
        what,
        unit,
        measured,
        simulated,
    };
    let chat = Shape {
        prompt: 16,
        answer: 100,
    };
    let mut rows = vec![
        row("1 x 100 tokens".to_owned(), "s", 6.87, batch(1, chat)),
        row("8 x 100 tokens".to_owned(), "s", 6.53, batch(8, chat)),
    ];
    for (users, tokens_per_second, between_tokens) in SWEEP {
        let steady = around(*users);
        rows.push(row(
            format!("c = {users}"),
            "tok/s",
            *tokens_per_second,
            steady.tokens_per_second,
        ));
        rows.push(row(
            format!("c = {users}"),
            "ms ITL",
            *between_tokens,
            steady.between_tokens,
        ));
    }
    rows
}

/// The figures as a table.
pub(super) fn table() -> String {
    let head = format!(
        "{:<16} {:<8} {:>9} {:>9} {:>7}\n",
        "load", "unit", "measured", "simulated", "error"
    );
    let rows = rows().iter().map(Row::line).collect::<String>();
    let published = published::tables();
    format!("{head}\nGB10, bf16, fitted: the profile gb10-llama-3.1-8b\n{rows}{published}")
}

/// How many seconds a batch takes that arrives at once.
fn batch(size: u64, shape: Shape) -> f64 {
    let mut scheduler = gb10();
    (0..size).for_each(|id| scheduler.submit(work(id, shape), Duration::ZERO));
    let mut now = Duration::ZERO;
    while let Some(step) = scheduler.begin(now) {
        now += step;
        scheduler.complete(now);
    }
    now.as_secs_f64()
}

fn around(users: f64) -> Steady {
    let (below, above) = (steady(users.floor() as u64), steady(users.ceil() as u64));
    let between = |below: f64, above: f64| below + (above - below) * users.fract();
    Steady {
        tokens_per_second: between(below.tokens_per_second, above.tokens_per_second),
        between_tokens: between(below.between_tokens, above.between_tokens),
    }
}

/// Runs so many users for ten answers each. They start spread out, as a constant rate would have it.
fn steady(users: u64) -> Steady {
    let mut scheduler = gb10();
    let lifetime = Duration::from_secs(10);
    let mut asking: Vec<(Duration, SequenceId)> = (0..users)
        .map(|user| (lifetime * user as u32 / users as u32, user))
        .collect();
    let (mut now, mut next, mut answered) = (Duration::ZERO, users, 0);
    let mut last: HashMap<SequenceId, Duration> = HashMap::new();
    let mut gaps = Vec::new();
    let mut measured = Vec::new();
    while answered < users * 10 {
        asking.sort_unstable();
        while asking.first().is_some_and(|(at, _)| *at <= now) {
            let (at, id) = asking.remove(0);
            scheduler.submit(work(id, SWEEP_SHAPE), at);
        }
        let Some(step) = scheduler.begin(now) else {
            now = asking.first().map_or(now, |(at, _)| *at);
            continue;
        };
        now += step;
        for output in scheduler.complete(now) {
            gaps.extend(
                last.insert(output.id, now)
                    .map(|before| now.saturating_sub(before)),
            );
            // What happens before all users are there is not steady yet.
            measured.extend((now > lifetime * 2).then_some(now));
            if output.finish.is_some() {
                answered += 1;
                asking.push((now + CLIENT, next));
                next += 1;
            }
        }
    }
    let time = now.saturating_sub(lifetime * 2);
    Steady {
        tokens_per_second: measured.len() as f64 / time.as_secs_f64(),
        between_tokens: gaps.iter().sum::<Duration>().as_secs_f64() * 1000.0 / gaps.len() as f64,
    }
}

fn gb10() -> Scheduler {
    let timing = Timing::of(Profile::Gb10Llama8b);
    let limits = Limits {
        max_num_seqs: 1024,
        max_num_batched_tokens: 8192,
        max_model_len: timing.max_model_len,
        block_size: 16,
        blocks: profile::kv_blocks(profile::kv_gib(0.3), 16),
        prefix_caching: true,
        connects: false,
    };
    Scheduler::new(limits, timing)
}

/// Work whose prompt no other has.
fn work(id: SequenceId, shape: Shape) -> Work {
    work_of(id, shape.prompt, shape.answer)
}

fn work_of(id: SequenceId, prompt: usize, answer: usize) -> Work {
    Work {
        id,
        prompt: vec![7; prompt],
        cache_salt: Some(id.to_string()),
        seed: id,
        max_tokens: answer,
        min_tokens: 0,
        stop_tokens: Vec::new(),
        ignore_eos: true,
        handover: Handover::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_figure_is_within_ten_percent() {
        for row in rows() {
            assert!(row.error().abs() < 0.10, "{row:?}");
        }
    }
}
