//! Continuous batching in paused time.

use std::future::poll_fn;
use std::time::Duration;

use tokio::time::Instant;

use crate::simulator::Args;
use crate::simulator::engine::{Engine, Generation};
use crate::simulator::kv::params::Handover;
use crate::simulator::log::Log;
use crate::simulator::scheduler::{Finish, Limits, Output, Scheduler, Work};
use crate::simulator::text;

pub(super) fn engine(line: &str) -> Engine {
    let options = Args::typed(line).read().expect("is a line of vLLM");
    Engine::start(
        Scheduler::new(options.limits(), options.timing()),
        options.faults(),
        None,
        Log::silent(),
    )
}

/// Work with a prompt of its own.
pub(super) fn work(prompt: usize, answer: usize) -> Work {
    let first = fastrand::u32(..);
    Work {
        id: 0,
        prompt: (0..prompt as u32)
            .map(|at| first.wrapping_add(at))
            .collect(),
        cache_salt: None,
        seed: u64::from(first),
        max_tokens: answer,
        min_tokens: 0,
        stop_tokens: Vec::new(),
        ignore_eos: true,
        handover: Handover::default(),
    }
}

/// Reads to the end; returns each token with the time at which it came.
async fn read(mut generation: Generation, start: Instant) -> Vec<(Output, Duration)> {
    let mut outputs: Vec<(Output, Duration)> = Vec::new();
    while outputs
        .last()
        .is_none_or(|(output, _)| output.finish.is_none())
    {
        let output = poll_fn(|context| generation.poll_next(context))
            .await
            .expect("the engine lives");
        outputs.push((output, start.elapsed()));
    }
    outputs
}

/// How many run and how many wait.
fn crowd(engine: &Engine) -> (usize, usize) {
    let books = engine.books();
    (books.running(), books.waiting())
}

const GB10: &str = "m --profile gb10-llama-3.1-8b";

#[tokio::test(start_paused = true)]
async fn one_answer_takes_a_step_a_token() {
    let start = Instant::now();
    let outputs = read(engine(GB10).generate([work(20, 100)]), start).await;
    assert_eq!(outputs.len(), 100);
    let (first, last) = (outputs[0].1.as_secs_f64(), outputs[99].1.as_secs_f64());
    assert!((0.07..0.08).contains(&first), "{first}");
    assert!((last - first - 99.0 * 0.0675).abs() < 0.01, "{last}");
}

#[tokio::test(start_paused = true)]
async fn eight_at_once_take_no_longer_than_one() {
    let (engine, start) = (engine(GB10), Instant::now());
    let all: Vec<_> = (0..8).map(|_| engine.generate([work(20, 100)])).collect();
    for generation in all {
        assert_eq!(read(generation, start).await.len(), 100);
    }
    assert!(
        start.elapsed() < Duration::from_secs(7),
        "{:?}",
        start.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn a_long_prompt_is_computed_in_chunks_while_others_go_on() {
    let engine = engine(&format!("{GB10} --max-num-batched-tokens 512"));
    let start = Instant::now();
    let short = engine.generate([work(20, 100)]);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let long = engine.generate([work(4096, 1)]);
    let (short, long) = tokio::join!(read(short, start), read(long, start));
    // 4096 tokens in shares of 511 are nine steps of 170 ms beside the decoding.
    let prefill = long[0].1.as_secs_f64() - 1.0;
    assert!((1.9..2.4).contains(&prefill), "{prefill}");
    let stalls = short
        .windows(2)
        .filter(|pair| pair[1].1.saturating_sub(pair[0].1) > Duration::from_millis(200))
        .count();
    assert!((8..=9).contains(&stalls), "{stalls}");
}

#[tokio::test(start_paused = true)]
async fn who_finds_no_seat_waits() {
    let engine = engine(&format!("{GB10} --max-num-seqs 2"));
    let start = Instant::now();
    let all: Vec<_> = (0..3).map(|_| engine.generate([work(20, 10)])).collect();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(crowd(&engine), (2, 1));
    let mut firsts = Vec::new();
    for generation in all {
        firsts.push(read(generation, start).await[0].1);
    }
    // The third takes its seat when the first two have had their ten steps.
    assert!(firsts[2] > Duration::from_millis(700), "{firsts:?}");
}

#[tokio::test(start_paused = true)]
async fn who_leaves_makes_room() {
    let engine = engine(&format!("{GB10} --max-num-seqs 1"));
    let first = engine.generate([work(20, 100_000)]);
    let second = engine.generate([work(20, 2)]);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(engine.books().waiting(), 1);
    drop(first);
    read(second, Instant::now()).await;
    let books = engine.books();
    assert_eq!(
        (books.running(), books.waiting(), books.stats.ended),
        (0, 0, [0, 1, 1, 0])
    );
    assert!(books.kv_usage().abs() < f64::EPSILON);
}

#[tokio::test(start_paused = true)]
async fn a_repeated_prompt_skips_its_known_blocks() {
    let engine = engine(GB10);
    let job = work(3000, 1);
    let start = Instant::now();
    read(engine.generate([job.clone()]), start).await;
    let first = start.elapsed();
    read(engine.generate([job.clone()]), start).await;
    let second = start.elapsed().saturating_sub(first);
    assert!(
        first > Duration::from_secs(1) && second < Duration::from_millis(80),
        "{first:?} {second:?}"
    );
    let salted = Work {
        cache_salt: Some("mine".to_owned()),
        ..job
    };
    read(engine.generate([salted]), start).await;
    assert!(start.elapsed() > first + second + Duration::from_secs(1));
    let stats = engine.books().stats.clone();
    assert_eq!((stats.prefix_queries, stats.prefix_hits), (9000, 2992));
}

fn small(blocks: usize) -> Scheduler {
    let options = Args::typed("m").read().expect("is a line of vLLM");
    let limits = Limits {
        blocks,
        prefix_caching: false,
        ..options.limits()
    };
    Scheduler::new(limits, options.timing())
}

fn run_out(scheduler: &mut Scheduler) -> Vec<Output> {
    let (mut now, mut outputs) = (Duration::ZERO, Vec::new());
    while let Some(step) = scheduler.begin(now) {
        now += step;
        outputs.extend(scheduler.complete(now));
    }
    outputs
}

#[test]
fn a_full_cache_preempts_the_last_one_and_loses_nothing() {
    // Each needs 4 blocks in the end; there are 6.
    let mut scheduler = small(6);
    for id in 0..2 {
        scheduler.submit(Work { id, ..work(16, 48) }, Duration::ZERO);
    }
    let outputs = run_out(&mut scheduler);
    assert!(scheduler.stats.preemptions > 0);
    for id in 0..2 {
        assert_eq!(outputs.iter().filter(|output| output.id == id).count(), 48);
    }
    assert_eq!(scheduler.stats.prompt_tokens, 32);
    assert!(scheduler.kv_usage().abs() < f64::EPSILON);
}

#[test]
fn an_answer_ends_by_itself_unless_told_to_go_on() {
    let natural = Work {
        ignore_eos: false,
        seed: 7,
        ..work(16, 10_000)
    };
    let length = text::natural_length(7);
    let ended = |work: Work| {
        let mut scheduler = small(10_000);
        scheduler.submit(work, Duration::ZERO);
        let outputs = run_out(&mut scheduler);
        (
            outputs.len(),
            outputs.last().and_then(|output| output.finish),
        )
    };
    assert_eq!(
        ended(natural.clone()),
        (length + 1, Some(Finish::Stop(None)))
    );
    assert_eq!(
        ended(Work {
            min_tokens: 1000,
            ..natural.clone()
        }),
        (1001, Some(Finish::Stop(None)))
    );
    assert_eq!(
        ended(Work {
            ignore_eos: true,
            ..natural.clone()
        }),
        (10_000, Some(Finish::Length))
    );
    let third = text::next_token(7, 2);
    let at = (0..3)
        .position(|at| text::next_token(7, at) == third)
        .expect("it comes at 2 at the latest");
    assert_eq!(
        ended(Work {
            stop_tokens: vec![third],
            ..natural
        }),
        (at + 1, Some(Finish::Stop(Some(third))))
    );
}
