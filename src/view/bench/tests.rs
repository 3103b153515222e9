//! Results as transcripts: the seed's own batch, which was measured on a cold replica.

use super::*;
use crate::results::{BaselineRun, Comparison, Row};
use crate::shape::known;
use crate::verdict::scene::notebook_run;

const FILE: &str = "results/replicated/batch/2026-02-06T08-39-45.112Z.json";

/// The notebook's run, through the notebook's proxy.
fn seed_batch() -> BenchResult {
    let mut result = notebook_run();
    result.job.endpoint.authority = "192.168.1.75:8192".to_owned();
    result
}

fn shown(result: &BenchResult, style: Style) -> String {
    render(result, Some(Path::new(FILE)), style)
}

#[test]
fn a_result_that_cannot_be_believed_says_why() {
    insta::assert_snapshot!(shown(&seed_batch(), Style::plain()), @r#"
    batch · replicated · llama · http://192.168.1.75:8192
     round_robin · 100 tokens each · 2 warm-up requests each · times in ms

     load     ok/failed  tokens  wall s  tok/s  TTFT p50  TPOT p50  e2el mean
     batch 8        8/0     800    30.2   26.5       373       184      18632

     instance  share  ok/failed  tokens  TTFT p50  TPOT p50  e2el mean
     a           50%        4/0     400       141      69.8       7055
     b           50%        4/0     400       604       299      30210

    against baseline_metrics.json (no ratios: this result is invalid)
     metric                            baseline    now
     throughput tok/s                       122   26.5
     mean latency ms                        817  18632  not comparable
     mean latency by its wall time ms      6533  18632
     tokens in all                          800    800

    ✗ A6 cold replica `b` was cold: not warmed, its requests took 30.21 s where the others took 7.05 s
        seen:  warmed no, median_ms 30210, others_median_ms 7055
        cause: it compiles kernels and fills its caches on its first requests
        hint:  set `warmup: 2` or more, and measure again
    ✗ A4 bimodal by replica `b` took 4.3 times as long as `a`: median 30.21 s against 7.05 s
        seen:  fast (replica a, n 4, median_ms 7055, iqr_ms 0), slow (replica b, n 4, median_ms 30210, iqr_ms 0), ratio 4.28, observations 1, slower_in 1
        cause: `b` was not in the state of `a`: cold, busy, or another machine
        hint:  read the log of `b`, measure it alone, and give each replica's numbers for itself
    ✗ A3 no parallel gain 8 requests at once ran at 26.5 tok/s where the fastest of them ran at 14.2: a parallelism of 1.87 of 8
        seen:  throughput_tps 26.5, single_tps 14.2, parallelism 1.87, requests 8, in_flight 8
        cause: requests waited: for each other, or for a replica that was not ready
        hint:  look at the latencies by replica; warm every replica and measure again
    ! A2 self-consistency the baseline's 200 tokens contradict its own 14.55 tok/s x 6.874 s = 100
        seen:  tokens 200, tokens_per_s 14.547334, latency_ms 6874.111652, tokens_by_speed 100
        cause: the count was taken from another variable than the speed
        hint:  trust its speed and its time, not its count
    ! A1 latency definition the baseline's mean latency of 816.6 ms is not a latency: one request alone takes 6870 ms; it is the batch's 6530 ms divided by 8; the true one is about 6530 ms
        seen:  mean_latency_ms 816.630334, single_latency_ms 6874.111652, wall_ms 6533, batch_size 8, wall_over_size_ms 816.630334
        cause: the batch's whole time was divided by its 8 requests
        hint:  compare throughput, or measure the baseline again with one stamp a request
    ! A15 not comparable the baseline is not comparable: it was measured within the process, ours over HTTP; it does not say how its latencies are defined
        seen:  differences (it was measured within the process, ours over HTTP; it does not say how its latencies are defined)
        cause: it comes from another set-up, or its file keeps too little of it
        hint:  measure the baseline with `bench`, on a topology of one instance
    ✗ invalid: these numbers cannot be believed
    result: results/replicated/batch/2026-02-06T08-39-45.112Z.json
    "#);
}

#[test]
fn a_valid_result_is_short_and_explains_its_numbers_when_asked() {
    let mut result = seed_batch();
    result.points[0].anomalies.clear();
    result.valid = true;
    let verbose = Style {
        verbose: true,
        ..Style::plain()
    };
    insta::assert_snapshot!(shown(&result, verbose), @"
    batch · replicated · llama · http://192.168.1.75:8192
     round_robin · 100 tokens each · 2 warm-up requests each · times in ms

     load     ok/failed  tokens  wall s  tok/s  TTFT p50  TPOT p50  e2el mean
     batch 8        8/0     800    30.2   26.5       373       184      18632

     instance  share  ok/failed  tokens  TTFT p50  TPOT p50  e2el mean
     a           50%        4/0     400       141      69.8       7055
     b           50%        4/0     400       604       299      30210

    against baseline_metrics.json
     metric                            baseline    now    diff  ratio
     throughput tok/s                       122   26.5   -96.0  0.22x  see the remarks
     mean latency ms                        817  18632                 not comparable
     mean latency by its wall time ms      6533  18632  +12099  2.85x  see the remarks
     tokens in all                          800    800    0.00  1.00x  see the remarks

     failed requests are counted and are in no latency
     TTFT   first token - request sent
     TPOT   (last token - first token) / (tokens - 1), for each request
     e2el   last token - request sent
     tok/s  tokens of answered requests / (last token of all - first request sent)
     x5     driven five times: tok/s of the median round, wall s of all, latencies of all

    ✓ valid
    result: results/replicated/batch/2026-02-06T08-39-45.112Z.json
    ");
}

/// What one instance yields past the proxy, held against what was measured through it.
#[test]
fn what_the_proxy_costs_is_told_with_its_sizes_and_its_age() {
    let mut result = seed_batch();
    result.points[0].anomalies.clear();
    result.valid = true;
    let row = |what: &str, unit: &str, [theirs, ours]: [f64; 2], n| Row {
        load: None,
        what: what.to_owned(),
        unit: unit.to_owned(),
        ours,
        theirs,
        n: Some(n),
        ratio: Some(ours / theirs),
        flagged: false,
    };
    result.comparison = Some(Comparison {
        baseline: "/home/me/lab/results/replicated/chat/2026-02-06T07-57-40.000Z.json".to_owned(),
        measured: Some(BaselineRun {
            benchmark: "chat".to_owned(),
            started: "2026-02-06T07:57:40Z".parse().unwrap(),
            adds_proxy: true,
        }),
        comparable: true,
        rows: vec![
            row("throughput", "tok/s", [104.0, 52.4], [320, 320]),
            row("median TTFT", "ms", [141.6, 141.0], [320, 318]),
            row("p99 TTFT", "ms", [181.2, 180.0], [320, 318]),
            row("median TPOT", "ms", [69.8, 69.8], [320, 318]),
        ],
        remarks: Vec::new(),
    });
    let said = shown(&result, Style::plain());
    let (_, after) = said.split_once("against ").unwrap();
    let (table, _) = after.split_once("\n\n").unwrap();
    insta::assert_snapshot!(table, @"
    chat of 07:57 UTC, measured 42m05s before
     metric            baseline   now   diff  ratio         n
     throughput tok/s       104  52.4  -51.6  0.50x       320
     median TTFT ms         142   141  -0.60  1.00x  318, 320
     p99 TTFT ms            181   180  -1.20  0.99x  318, 320
     median TPOT ms        69.8  69.8   0.00  1.00x  318, 320
     the proxy adds +0.60 ms to the median TTFT, 0.00 ms to the median TPOT
    ");
    // On another day the time of day alone would mislead.
    let beside = result.comparison.as_mut().unwrap();
    let run = beside.measured.as_mut().unwrap();
    run.started = "2026-02-05T08:39:45Z".parse().unwrap();
    let said = shown(&result, Style::plain());
    assert!(
        said.contains("against chat of 2026-02-05 08:39 UTC, measured 1d00h before\n"),
        "{said}"
    );
}

#[test]
fn every_load_of_a_result_is_shown_with_its_own_numbers() {
    let mut result = seed_batch();
    result.points[0].anomalies.clear();
    let mut closed = result.points[0].clone();
    closed.load = known::concurrency(16, 160);
    result.points.push(closed);
    result.comparison = None;
    result.valid = true;
    insta::assert_snapshot!(shown(&result, Style::plain()), @r#"
    batch · replicated · llama · http://192.168.1.75:8192
     round_robin · 100 tokens each · 2 warm-up requests each · times in ms

     load                  ok/failed  tokens  wall s  tok/s  TTFT p50  TPOT p50  e2el mean
     batch 8                     8/0     800    30.2   26.5       373       184      18632
     concurrency 16 x 160        8/0     800    30.2   26.5       373       184      18632

     load                  instance  share  ok/failed  tokens  TTFT p50  TPOT p50  e2el mean
     batch 8               a           50%        4/0     400       141      69.8       7055
     batch 8               b           50%        4/0     400       604       299      30210
     concurrency 16 x 160  a           50%        4/0     400       141      69.8       7055
     concurrency 16 x 160  b           50%        4/0     400       604       299      30210

    ✓ valid
    result: results/replicated/batch/2026-02-06T08-39-45.112Z.json
    "#);
}

#[test]
fn no_line_is_wider_than_a_terminal() {
    let mut result = seed_batch();
    let point = &mut result.points[0];
    point.load = known::concurrency(512, 5120);
    point.summary.counts.ok = 34_004;
    point.summary.counts.failed = 12_345;
    point.summary.metrics.output_tokens = 12_345_678;
    let ttft = point.summary.metrics.ttft.as_mut().unwrap();
    (ttft.p95.value, ttft.p95.at_least) = (123_456.0, false);
    let folded = Style {
        folds: true,
        ..Style::plain()
    };
    for line in shown(&result, folded).lines() {
        assert!(line.chars().count() <= Style::WIDEST, "{line}");
    }
}

#[test]
fn what_memory_allows_stands_beside_what_was_measured() {
    use crate::results::{Bound, Roofline};
    let mut result = seed_batch();
    let spark = Bound::Known(Roofline {
        tok_s_user: 18.145,
        memory_gb_s: 273.0,
        memory_of: "NVIDIA GB10".to_owned(),
        weights_gib: 14.989,
        read_gb: 15.045,
    });
    let said = |result: &BenchResult, style: Style| {
        let lines = roofline::lines(result, style);
        lines.join("\n")
    };
    result.roofline = ["a", "b"].map(|it| (it.to_owned(), spark.clone())).into();
    insta::assert_snapshot!(
        said(&result, Style::plain()),
        @" roofline: 18.1 tok/s a stream at most (273 GB/s of NVIDIA GB10 / 15.0 GB read for a token, no KV cache counted); the fastest ran at 14.3, 79 %"
    );
    let why = "its node tells of no GPU".to_owned();
    result
        .roofline
        .insert("b".to_owned(), Bound::Unknown { why });
    assert!(said(&result, Style::plain()).starts_with(" roofline of a: 18.1 tok/s"));
    let all = Style {
        verbose: true,
        ..Style::plain()
    };
    assert!(said(&result, all).ends_with(" roofline of b: not known, its node tells of no GPU"));
}
