//! What splitting does, and what it cannot.

use super::*;
use crate::rehearsal::drive::drive;
use crate::rehearsal::play::Play;
use crate::rehearsal::script::{Place, Script};
use crate::rehearsal::servers::Servers;

const ROLES: [&str; 2] = [", role: prefill", ", role: decode"];
const LONG: &str = "prompts: {synthetic: {input: 4096, output: 64}}, \
                    load: {concurrency: 8, requests: 32}, timeout: 600";

fn split(servers: [&str; 2], benchmark: &str) -> Scene {
    let roles = ROLES.iter().zip(servers);
    let servers: Vec<_> = roles.map(|(role, more)| format!("{role}{more}")).collect();
    let servers: Vec<_> = servers.iter().map(String::as_str).collect();
    Scene::of(GB10, &servers, benchmark).with("kv: {connector: nixl}")
}

fn longest_gap(rehearsal: &Rehearsal) -> f64 {
    only(rehearsal).summary.metrics.itl.as_ref().unwrap().max
}

fn first_token(rehearsal: &Rehearsal) -> f64 {
    only(rehearsal)
        .summary
        .metrics
        .ttft
        .as_ref()
        .unwrap()
        .p50
        .value
}

#[test]
fn who_writes_for_others_does_not_stand_still_for_their_prompts() {
    let (split, replicated) = (
        split(["", ""], LONG).rehearsed(),
        Scene::of(GB10, &["", ""], LONG).rehearsed(),
    );
    assert_eq!(only(&split).summary.counts.ok, 32);
    assert!(longest_gap(&split) < 120.0, "{}", longest_gap(&split));
    assert!(
        longest_gap(&replicated) > 1400.0,
        "{}",
        longest_gap(&replicated)
    );
    assert_eq!(split.expired, 0);
}

#[test]
fn where_the_cache_of_who_writes_is_full_requests_wait() {
    let few = ", args: {num_gpu_blocks_override: 600}";
    let (short, plenty) = (
        split(["", few], LONG).rehearsed(),
        split(["", ""], LONG).rehearsed(),
    );
    assert!(short.kv[&"b".parse().unwrap()] > 0.8);
    assert!(plenty.kv[&"b".parse().unwrap()] < 0.2);
    let (short, plenty) = (first_token(&short), first_token(&plenty));
    assert!(short > plenty * 1.5, "{short} {plenty}");
}

#[test]
fn a_short_prompt_is_read_by_who_answers_as_the_proxy_would_have_it() {
    let benchmark = "prompts: {synthetic: {input: 256, output: 16}}, load: {sequential: 1}";
    let limited = |least: u32| {
        let proxy =
            format!("proxy: {{node: here, port: 8192, limits: {{min_prefill_tokens: {least}}}}}\n");
        split(["", ""], benchmark).with(&proxy).rehearsed()
    };
    let replicated = Scene::of(GB10, &[""; 2], benchmark).rehearsed();
    let alone = first_token(&limited(257));
    assert!((alone - first_token(&replicated)).abs() < 0.01, "{alone}");
    assert!(first_token(&limited(256)) > alone + 1.0);
}

#[test]
fn whose_prompt_is_read_once_there_is_room_for_its_answer_is_served_in_the_end() {
    let benchmark = "prompts: {synthetic: {input: 256, output: 64}}, load: {batch: 12}, repeats: 1";
    let proxy = "proxy: {node: here, port: 8192, limits: {in_flight: 2, queue: 100}}\n";
    let rehearsed = split(["", ""], benchmark).with(proxy).rehearsed();
    let summary = &only(&rehearsed).summary;
    assert_eq!((summary.counts.ok, rehearsed.expired), (12, 0));
}

/// Whatever ends, and in whatever stage of it a client breaks off, every block comes back.
#[test]
fn nothing_is_left_in_any_cache() {
    let few = [", args: {num_gpu_blocks_override: 400}"; 2];
    let load = "load: {rate: 3/s, requests: 40}";
    for timeout in ["0.05", "0.3", "1", "1.5", "1.9", "2.5", "4", "9", "600"] {
        for prompts in [
            "{synthetic: {input: 3000, output: 20}}",
            "{synthetic: {input: 400, output: 60}}",
        ] {
            let benchmark = format!("prompts: {prompts}, {load}, timeout: {timeout}");
            for scene in [split(few, &benchmark), Scene::of(GB10, &few, &benchmark)] {
                is_cleared_up(&scene);
            }
        }
    }
}

fn is_cleared_up(scene: &Scene) {
    let topology = scene.topology();
    let benchmark = topology.benchmarks.values().next().unwrap();
    let servers = Servers::of(&topology, benchmark, Path::new("."), PrefillSpeed::Low).unwrap();
    let script = Script::of(benchmark, Path::new("."), false).unwrap();
    let mut play = Play::of(servers, benchmark.timeout.duration());
    let shape = benchmark.load.only().unwrap();
    let first = Place {
        point: 0,
        round: 0,
        index: 0,
    };
    let ask = |place| script.question(place);
    let driven = drive(&mut play, &ask, shape.schedule(), first);
    // So many that fail end a load.
    assert!(driven.records.len() >= 10);
    play.clear_up();
    for (name, _, now) in play.usage() {
        assert!(
            now.abs() < f64::EPSILON,
            "{name}: {now} of {}",
            scene.benchmark
        );
    }
}

/// Nothing is kept for longer than the lease says, and what is gone by then is told.
#[test]
fn what_nobody_fetches_in_time_is_gone_and_told() {
    let few = ", args: {num_gpu_blocks_override: 300}";
    let benchmark = "prompts: {synthetic: {input: 4096, output: 64}}, load: {batch: 8}, repeats: 1, \
                     timeout: 600";
    let roles: Vec<_> = ROLES
        .iter()
        .zip(["", few])
        .map(|(a, b)| format!("{a}{b}"))
        .collect();
    let roles: Vec<_> = roles.iter().map(String::as_str).collect();
    let scene = Scene::of(GB10, &roles, benchmark).with("kv: {connector: nixl, lease: 2s}");
    let rehearsed = scene.rehearsed();
    assert!(rehearsed.expired > 0);
    assert_eq!(only(&rehearsed).summary.counts.ok, 8);
}
