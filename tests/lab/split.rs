//! Prefill and decode split between two hosts.

use super::laptop::Laptop;
use super::sharing::{answers_as_one, counted};
use super::sides::{
    A, B, Known, PROXY, Part, are_replaced_under_load, load, mends, moves_on, reader_dies_beside,
    reader_dies_holding, reader_dies_reading, writer_dies_answering, writer_dies_asked,
};
use super::stage::{is_bare, scenario, until};

/// One host reads prompts, another writes answers, and what is computed goes over the fabric.
const SPLIT: &str = "\
topology: demo
nodes:
  controller: {ssh: controller, addresses: {lan: 192.168.1.75}}
  spark-01: {ssh: spark-01, addresses: {lan: 192.168.1.76, fabric: 192.168.100.10}}
  spark-02: {ssh: spark-02, addresses: {lan: 192.168.1.77, fabric: 192.168.100.11}}
engines:
  demo: {simulate: {profile: fast}}
kv: {connector: nixl, buffer: cpu, port: 5600, lease: 60s}
instances:
  a: {node: spark-01, port: 8100, engine: demo, model: demo, role: prefill}
  b: {node: spark-02, port: 8200, engine: demo, model: demo, role: decode}
proxy: {node: controller, port: 8192, reach: lan}
";

/// What one host has read is fetched by another over the fabric, and the answers are those of one server.
#[test]
fn a_prompt_is_read_on_one_host_and_answered_on_another() {
    scenario("3 --seed", |lab| {
        let laptop = Laptop::with(lab, SPLIT);
        laptop.applies();
        laptop.is_converged();
        for (side, address) in [(A, "0A64A8C0"), (B, "0B64A8C0")] {
            let listening = format!("grep -c ' {address}:15E0 00000000:0000 0A ' /proc/net/tcp");
            assert_eq!(lab.exec(side.host, &listening), "1", "{side:?}");
        }
        let hits = || counted(B.authority, "vllm:external_prefix_cache_hits_total");
        let before = hits();
        let read = answers_as_one(PROXY, A.authority, &[5, 16, 127, 128, 129, 300, 600, 1000]);
        assert!(hits() - before >= read as f64, "{} {before} {read}", hits());
        assert!(counted(B.authority, "vllm:nixl_bytes_transferred_sum") > 0.0);
        until("nothing is held for anybody", || {
            counted(PROXY, "replica_proxy_handoff_unfetched") < 1.0
                && counted(A.authority, "vllm:kv_cache_usage_perc") == 0.0
        });

        laptop.replica("destroy -y").exits(0);
        for (host, port) in [
            ("controller", 8192),
            (A.host, 8100),
            (B.host, 8200),
            (A.host, 5600),
        ] {
            assert_eq!(lab.marked(host, "v1:"), [], "{host}");
            assert_eq!(lab.listeners(host, port), 0, "{host}");
            is_bare(lab, host);
        }
    });
}

/// So many ask at once.
const CLIENTS: usize = 4;

/// The tokens of an answer that takes seconds.
const LONG: u32 = 3900;

/// The one that reads prompts dies, as a whole or its engine alone.
#[test]
fn who_dies_as_it_reads_a_prompt_costs_that_request_alone() {
    scenario("3 --seed", |lab| {
        let laptop = Laptop::with(lab, SPLIT);
        laptop.applies();
        reader_dies_reading(lab, &laptop);
        reader_dies_holding(lab, &laptop, "none");
        reader_dies_beside(lab, &laptop, LONG);
        laptop.replica("destroy -y").exits(0);
    });
}

/// The one that writes answers dies, as a whole or its engine alone.
#[test]
fn who_dies_as_it_answers_costs_that_request_alone() {
    scenario("3 --seed", |lab| {
        let laptop = Laptop::with(lab, SPLIT);
        laptop.applies();
        writer_dies_asked(lab, &laptop);
        writer_dies_answering(lab, &laptop, LONG);
        laptop.replica("destroy -y").exits(0);
    });
}

/// Whoever dies while nobody asks for anything is missed by nobody.
#[test]
fn one_that_died_at_rest_is_done_without_until_it_is_back() {
    scenario("3 --seed", |lab| {
        let laptop = Laptop::with(lab, SPLIT);
        laptop.applies();
        for (nth, side, part) in [
            (1, A, Part::Api),
            (2, A, Part::Engine),
            (3, B, Part::Api),
            (4, B, Part::Engine),
        ] {
            let known = Known::of(nth, 300, 20);
            let (api, engine) = (side.api(lab), side.part(lab, Part::Engine));
            side.kills(lab, part);
            until("it is gone", || !lab.lives(side.host, &api));
            let left = if side == A { "b" } else { "a" };
            known.is_answered(&known.question.ask(PROXY), "none", left);
            mends(lab, &laptop, side, &api);
            assert!(!lab.lives(side.host, &engine), "{side:?} {part:?}");
        }
    });
}

/// Under load, a changed argument replaces each side, and both of them at once, and no request fails.
#[test]
fn each_side_is_replaced_under_load_and_fails_no_request() {
    scenario("3 --seed", |lab| {
        let laptop = Laptop::with(lab, SPLIT);
        laptop.applies();
        are_replaced_under_load(lab, &laptop, SPLIT, CLIENTS);
        laptop.is_converged();
    });
}

/// Whether a client is told of a death as it should be: by an answer that is an error, or by a stream that
/// ends in one.
fn tells_of_a_death(answer: &str) -> bool {
    let ends = [
        "\\\"upstream_broken\\\"",
        "\\\"upstream_died\\\"",
        "EngineCore encountered an issue.",
    ];
    ends.iter().any(|end| answer.contains(end))
}

/// Under load, a death costs no more than what was in flight there, and each client is told.
#[test]
fn a_death_under_load_costs_what_was_in_flight_there() {
    scenario("3 --seed", |lab| {
        let laptop = Laptop::with(lab, SPLIT);
        laptop.applies();
        for (side, part) in [
            (A, Part::Api),
            (B, Part::Api),
            (A, Part::Engine),
            (B, Part::Engine),
        ] {
            let traffic = load(CLIENTS);
            moves_on(&traffic);
            let api = side.api(lab);
            side.kills(lab, part);
            until("it is gone", || !lab.lives(side.host, &api));
            moves_on(&traffic);
            laptop.applies();
            moves_on(&traffic);
            let failed = traffic.ends();
            let untold = failed.iter().find(|it| !tells_of_a_death(it));
            assert_eq!(untold, None, "{side:?} {part:?}");
            // Whose stream broke may ask once more before the proxy has looked why.
            assert!(
                failed.len() <= 2 * CLIENTS,
                "{side:?} {part:?}: {failed:#?}"
            );
            laptop.is_converged();
            // What is held against requests goes with the proxy.
            laptop.replica("destroy -y").exits(0);
            laptop.applies();
        }
    });
}
