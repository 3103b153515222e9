//! Results as transcripts: the seed's own batch, which was measured on a cold replica.

use super::*;

fn seed_batch() -> BenchView {
    BenchView {
        name: "batch".to_owned(),
        topology: "replicated-serving".to_owned(),
        model: "llama".to_owned(),
        endpoint: "http://192.168.1.75:8192".to_owned(),
        conditions: ["round_robin", "vllm 0.13.0+cu130", "100 tokens"]
            .map(str::to_owned)
            .to_vec(),
        rows: vec![Row {
            load: "batch 8".to_owned(),
            ok: 8,
            failed: 0,
            tokens: 800,
            wall_s: Some(30.2),
            tok_s: Some(26.5),
            ttft_p50_ms: Some(171.3),
            ttft_p95_ms: None,
            tpot_p50_ms: Some(68.94),
            e2el_mean_ms: Some(18_630.0),
        }],
        instances: vec![
            Share {
                name: "a".to_owned(),
                ok: 4,
                tokens: 400,
                e2el_mean_ms: Some(7_060.0),
                ..Share::default()
            },
            Share {
                name: "b".to_owned(),
                ok: 4,
                tokens: 400,
                e2el_mean_ms: Some(30_200.0),
                ..Share::default()
            },
        ],
        baseline: Some(seed_baseline()),
        anomalies: vec![Anomaly {
            id: "A6".to_owned(),
            severity: Severity::Error,
            message: "cold replica: b answered its first request 23.1 s late".to_owned(),
            evidence: Some(
                "b.log:412 says \"Triton kernel JIT compilation during inference\"".to_owned(),
            ),
            cause: Some("b compiled its kernels while it was measured".to_owned()),
            next: Some("raise warmup to 2 and run `replica bench batch` again".to_owned()),
        }],
        valid: false,
        file: Some("results/replicated-serving/batch/2026-02-07T10-12-04Z.json".into()),
    }
}

fn seed_baseline() -> Baseline {
    let versus = |metric: &str, baseline, now| Versus {
        metric: metric.to_owned(),
        baseline,
        now: Some(now),
        flag: None,
        incomparable: None,
    };
    Baseline {
        name: "baseline_metrics.json".to_owned(),
        rows: vec![
            Versus {
                flag: Some("worse".to_owned()),
                ..versus("tok/s", Some(104.2), 26.5)
            },
            Versus {
                incomparable: Some("wall / batch, not a latency".to_owned()),
                ..versus("latency ms", Some(816.0), 18_630.0)
            },
            versus("TTFT ms", None, 171.3),
        ],
    }
}

#[test]
fn a_result_that_cannot_be_believed_says_why() {
    insta::assert_snapshot!(render(&seed_batch(), Look::plain()), @r#"
    batch · replicated-serving · llama · http://192.168.1.75:8192
     round_robin · vllm 0.13.0+cu130 · 100 tokens · times in ms

     load     ok/failed  tokens  wall s  tok/s  TTFT p50  TPOT p50  e2el mean
     batch 8        8/0     800    30.2   26.5       171      68.9      18630

     instance  share  ok/failed  tokens  e2el mean
     a           50%        4/0     400       7060
     b           50%        4/0     400      30200

    against baseline_metrics.json (no ratios: this result is invalid)
     metric      baseline    now
     tok/s            104   26.5
     latency ms       816  18630  not comparable: wall / batch, not a latency
     TTFT ms            -    171

    ✗ A6 cold replica: b answered its first request 23.1 s late
        seen:  b.log:412 says "Triton kernel JIT compilation during inference"
        cause: b compiled its kernels while it was measured
        next:  raise warmup to 2 and run `replica bench batch` again
    ✗ invalid: these numbers cannot be believed
    result: results/replicated-serving/batch/2026-02-07T10-12-04Z.json
    "#);
}

#[test]
fn a_valid_result_is_short_and_explains_its_numbers_when_asked() {
    let view = BenchView {
        anomalies: Vec::new(),
        valid: true,
        ..seed_batch()
    };
    let verbose = Look {
        verbose: true,
        ..Look::plain()
    };
    insta::assert_snapshot!(render(&view, verbose), @r"
    batch · replicated-serving · llama · http://192.168.1.75:8192
     round_robin · vllm 0.13.0+cu130 · 100 tokens · times in ms

     load     ok/failed  tokens  wall s  tok/s  TTFT p50  TPOT p50  e2el mean
     batch 8        8/0     800    30.2   26.5       171      68.9      18630

     instance  share  ok/failed  tokens  e2el mean
     a           50%        4/0     400       7060
     b           50%        4/0     400      30200

    against baseline_metrics.json
     metric      baseline    now  ratio
     tok/s            104   26.5  0.25x  worse
     latency ms       816  18630         not comparable: wall / batch, not a latency
     TTFT ms            -    171

     failed requests are counted and are in no latency
     TTFT   first token - request sent
     TPOT   (last token - first token) / (tokens - 1), for each request
     e2el   last token - request sent
     tok/s  tokens of answered requests / (last token of all - first request sent)

    ✓ valid
    result: results/replicated-serving/batch/2026-02-07T10-12-04Z.json
    ");
}

#[test]
fn no_line_is_wider_than_a_terminal() {
    let mut view = seed_batch();
    for row in &mut view.rows {
        row.load = "ramp 0.083..17 rps".to_owned();
        row.ok = 34_004;
        row.failed = 12_345;
        row.tokens = 12_345_678;
        row.ttft_p95_ms = Some(123_456.0);
    }
    let folded = Look {
        folds: true,
        ..Look::plain()
    };
    for line in render(&view, folded).lines() {
        assert!(line.chars().count() <= Look::WIDEST, "{line}");
    }
}
