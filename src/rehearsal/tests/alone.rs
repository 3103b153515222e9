//! One request alone is what the physics makes of it.

use super::*;
use crate::rehearsal::costs::{PROXY, SIMULATED_SERVER, WIRE};

/// Milliseconds of a step with so many tokens in the cache, and of a prompt read from its beginning.
fn step_ms(context: f64) -> f64 {
    67.45 + context * 131_072.0 / 220e9 * 1000.0
}

fn prompt_ms(tokens: f64) -> f64 {
    let pairs = tokens * (tokens + 1.0) / 2.0;
    67.45 + (tokens + pairs * 524_288.0 / 15e9) / 3.0
}

fn is_about(one: f64, other: f64) -> bool {
    (one - other).abs() < 0.003
}

#[test]
fn a_request_alone_takes_as_long_as_its_steps() {
    let benchmark = "prompts: {synthetic: {input: 256, output: 128}}, load: {sequential: 1}";
    let rehearsed = Scene::of(GB10, &[""], benchmark).rehearsed();
    let metrics = &only(&rehearsed).summary.metrics;
    let way = (WIRE * 2 + SIMULATED_SERVER).as_secs_f64() * 1000.0;
    let first = metrics.ttft.as_ref().unwrap().mean;
    assert!(is_about(first, prompt_ms(256.0) + way), "{first}");
    let steps: f64 = (0..127).map(|k| step_ms(256.0 + f64::from(k))).sum();
    let each = metrics.tpot.as_ref().unwrap().mean;
    assert!(is_about(each, steps / 127.0), "{each}");
    assert_eq!(
        (metrics.output_tokens, metrics.input_tokens),
        (128, Some(256))
    );
}

/// Through a proxy each part of the way has its cost, and each part of the work.
#[test]
fn a_request_that_two_share_is_read_handed_over_and_written() {
    let benchmark = "prompts: {synthetic: {input: 2048, output: 16}}, load: {sequential: 1}";
    let roles = [", role: prefill", ", role: decode"];
    let scene = Scene::of(GB10, &roles, benchmark).with("kv: {connector: nixl}");
    let rehearsed = scene.rehearsed();
    let summary = &only(&rehearsed).summary;
    let first = summary.metrics.ttft.as_ref().unwrap().mean;
    let reading = prompt_ms(2048.0);
    let fetching = 0.2 + 2048.0 * 131_072.0 / 20.4e9 * 1000.0;
    // The last token of the prompt is computed again: it says what follows.
    let step = step_ms(2047.0) + (1.0 + 2048.0 * 524_288.0 / 15e9) / 3.0;
    let handing = crate::rehearsal::costs::HAND_OVER;
    let ways = WIRE * 6 + PROXY * 2 + SIMULATED_SERVER * 2 + handing;
    let expected = reading + fetching + step + ways.as_secs_f64() * 1000.0;
    assert!(is_about(first, expected), "{first} {expected}");
    assert_eq!(summary.by_instance.keys().collect::<Vec<_>>(), ["b"]);
}

/// A chunk of a prompt takes as many steps as it has budgets.
#[test]
fn a_prompt_is_read_in_chunks_of_the_budget() {
    let benchmark = "prompts: {synthetic: {input: 2048, output: 1}}, load: {sequential: 1}";
    let took = |servers: &[&str]| {
        let rehearsed = Scene::of(GB10, servers, benchmark).rehearsed();
        only(&rehearsed).summary.metrics.ttft.as_ref().unwrap().mean
    };
    let (whole, chunked) = (
        took(&[""]),
        took(&[", args: {max_num_batched_tokens: 512}"]),
    );
    let more = 3.0 * 67.45 + (512.0 + 1024.0 + 1536.0) * 131_072.0 / 220e9 * 1000.0;
    assert!(is_about(chunked - whole, more), "{whole} {chunked}");
}
