//! The faults that tests of others ask for, in time that is paused where time matters.

use std::future::poll_fn;
use std::time::Duration;

use serde_json::json;
use tokio::time::{Instant, timeout};

use super::batching::{engine, work};
use super::client::{get, post};
use super::world::Inside;
use crate::simulator::engine::Generation;

async fn finish(mut generation: Generation) -> Duration {
    while poll_fn(|context| generation.poll_next(context))
        .await
        .is_some_and(|output| output.finish.is_none())
    {}
    Instant::now().elapsed()
}

#[tokio::test(start_paused = true)]
async fn a_cold_engine_holds_up_all_that_is_behind_its_first_request() {
    let engine = engine("m --profile gb10-llama-3.1-8b --sim-cold-seconds 23.16");
    let start = Instant::now();
    let first = engine.generate([work(20, 100)]);
    tokio::time::sleep(Duration::from_secs(5)).await;
    let second = engine.generate([work(20, 100)]);
    finish(first).await;
    assert!(
        start.elapsed() > Duration::from_secs_f64(23.16 + 6.0),
        "{:?}",
        start.elapsed()
    );
    finish(second).await;
    let cold = start.elapsed();
    // Warm from now on.
    let start = Instant::now();
    finish(engine.generate([work(20, 100)])).await;
    assert!(
        start.elapsed() < Duration::from_secs(8) && cold < Duration::from_secs(32),
        "{cold:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn one_token_leaves_an_engine_cold() {
    let engine = engine("m --profile gb10-llama-3.1-8b --sim-cold-seconds 23.16");
    let start = Instant::now();
    finish(engine.generate([work(20, 1)])).await;
    assert!(start.elapsed() < Duration::from_secs(1));
    finish(engine.generate([work(20, 2)])).await;
    assert!(start.elapsed() > Duration::from_secs(23));
}

#[tokio::test(start_paused = true)]
async fn a_serialising_engine_takes_as_long_as_all_together() {
    let engine = engine("m --profile gb10-llama-3.1-8b --sim-serialise");
    let start = Instant::now();
    let all: Vec<_> = (0..4).map(|_| engine.generate([work(20, 100)])).collect();
    for one in all {
        finish(one).await;
    }
    let serial = start.elapsed().as_secs_f64();
    assert!((4.0 * 6.6..4.0 * 7.0).contains(&serial), "{serial}");
}

#[tokio::test]
async fn a_wedged_engine_is_healthy_and_silent() {
    let server = Inside::serving("m --sim-wedge-after 2").await;
    let body = json!({"prompt": "hello", "max_tokens": 3});
    for _ in 0..2 {
        assert_eq!(
            post(server.address, "/v1/completions", &body)
                .await
                .status(),
            200
        );
    }
    let third = post(server.address, "/v1/completions", &body);
    assert!(
        timeout(Duration::from_millis(300), third).await.is_err(),
        "it should have hung"
    );
    assert_eq!(get(server.address, "/health").await.status(), 200);
}

#[tokio::test]
async fn a_poisoned_prompt_ends_the_engine_and_everybody_is_told() {
    let server = Inside::serving("m --sim-poison hemlock").await;
    let ask = |prompt: &str| json!({"prompt": prompt, "max_tokens": 3});
    let innocent = post(server.address, "/v1/completions", &ask("hello")).await;
    assert_eq!(innocent.status(), 200);
    let poisoned = post(server.address, "/v1/completions", &ask("a cup of hemlock")).await;
    assert_eq!(poisoned.status(), 500);
    assert_eq!(get(server.address, "/health").await.status(), 503);
}
