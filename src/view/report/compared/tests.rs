//! Comparisons on a page.

use std::path::PathBuf;

use super::super::tests::{asks_nobody, elements};
use super::super::{Report, html};
use super::{Compared, STYLE};
use crate::compare::tests::concluded;
use crate::compare::{
    Aim, Drift, HandedOver, Kept, Moved, NodeCanary, Outcome, Trial, TriedFacts, TunedFacts,
    Verdict,
};
use crate::name::ArmName;
use crate::results::HandOver;

fn page(outcome: Outcome) -> String {
    html(&Report {
        topology: "t".to_owned(),
        comparisons: vec![Compared {
            path: PathBuf::from("results/t/_compare/2026-11-28T07-00-00.000Z.json"),
            outcome,
        }],
        results: Vec::new(),
    })
}

fn split() -> ArmName {
    "split".parse().unwrap()
}

fn tuned() -> TunedFacts {
    let tried = |value: u64, attainment: f64, valid: bool| TriedFacts {
        value: value.into(),
        trial: Trial {
            metric: Some(1.5),
            objective: Some(Kept {
                attainment,
                met: attainment > 0.9,
            }),
            valid,
        },
        aim: Aim::More,
        took_s: 20.0,
        result: PathBuf::from(format!("rate/{value}.json")),
    };
    TunedFacts {
        argument: "max_num_batched_tokens".to_owned(),
        by: "rate".parse().unwrap(),
        chosen: 1024.into(),
        why: "the best of the 1 of 2 that met the objective".to_owned(),
        tried: vec![
            tried(512, 0.4, true),
            tried(1024, 0.95, true),
            tried(2048, 0.99, false),
        ],
        took_s: 65.0,
    }
}

/// One that tells of all that a page can show.
fn whole() -> Outcome {
    let mut outcome = concluded();
    outcome.simulated = true;
    outcome.cells[0].drift = Some(Drift {
        change: 0.8,
        low: 0.75,
        high: 0.85,
        blocks: 18,
    });
    let moved = Moved {
        transfers: 320,
        bytes: 10_737_418_240,
        tokens: 81_000,
        of_tokens: 81_920,
        mean_ms: 15.96,
        lost: 2,
    };
    let handed_over = HandedOver {
        proxy: Some(HandOver {
            count: 320,
            mean_ms: 0.12,
            p50_at_most_ms: Some(0.15),
            p95_at_most_ms: None,
            at_most_ms: vec![(0.15, 200)],
        }),
        fetched: Some(moved),
    };
    outcome.cells[0].handed_over.insert(split(), handed_over);
    let canary = |instance: Option<&str>, ms| NodeCanary {
        node: "spark-02".parse().unwrap(),
        instance: instance.map(str::to_owned),
        before_ms: ms,
        after_ms: ms,
    };
    outcome.blocks[0].canaries = vec![canary(Some("b"), Some(25.0))];
    outcome.blocks[1].canaries = vec![canary(None, None)];
    let split = &mut outcome.arms[&split()];
    split.moved = Some(moved);
    split.tuned = Some(tuned());
    outcome.blocks[0]
        .results
        .insert("batch".parse().unwrap(), PathBuf::from("batch/x.json"));
    outcome
}

#[test]
fn what_was_compared_as_a_page() {
    let mut outcome = concluded();
    outcome.tool.version = "1".to_owned();
    let page = page(outcome);
    elements(&page);
    let (_, body) = page.split_once("<body>").unwrap();
    let (body, _) = body.split_once("<footer>").unwrap();
    insta::assert_snapshot!(body);
}

#[test]
fn what_was_measured_on_cpus_is_called_so() {
    let mut outcome = concluded();
    outcome.on_cpus = true;
    let page = page(outcome);
    for told in [
        "3 arms compared, 2026-11-28 07:00:00 UTC (on CPUs)",
        "On CPUs: ",
        "its numbers say nothing of a GPU",
    ] {
        assert!(page.contains(told), "{told}");
    }
}

#[test]
fn all_that_a_comparison_knows_is_shown() {
    let page = page(whole());
    asks_nobody(&page);
    for told in [
        "<h1>Report on t (simulated)</h1>",
        "3 arms compared, 2026-11-28 07:00:00 UTC (simulated)",
        "their numbers say nothing of a GPU",
        "! batch batch 8: everything became 20 % slower (15 to 25)",
        "10.7 GB",
        "81920",
        "max_num_batched_tokens is 1024, the best of the 1 of 2",
        "in 1m05s together",
        "✓ chosen",
        "✗ cannot be believed",
        "results/t/rate/1024.json",
        "results/t/batch/x.json",
        "! every block of `split` began with an engine that had just been started",
        "replaced here/instance.a, updated here/proxy",
        "≤ 0.15 ms",
        "beyond all bounds",
        "spark-02 (b): 25.0, 25.0",
        "spark-02: no canary",
        "the drift, with its interval of 95 %",
    ] {
        assert!(page.contains(told), "{told}");
    }
    assert!(!page.contains("no hand-over was counted"));
}

#[test]
fn an_arm_that_splits_and_hands_nothing_over_is_told_of() {
    assert!(page(concluded()).contains("! split: no hand-over was counted"));
}

#[test]
fn a_verdict_is_told_by_a_word_and_a_mark_and_never_by_a_colour_alone() {
    let verdicts = [
        (Some(Verdict::Better), "▲ better", "polygon"),
        (Some(Verdict::Worse), "▼ worse", "polygon"),
        (Some(Verdict::Equivalent), "◆ equivalent", "polygon"),
        (Some(Verdict::TooFew), "○ too few pairs", "circle"),
        (None, "○ no verdict", "circle"),
    ];
    let mut seen = Vec::new();
    for (verdict, signed, mark) in verdicts {
        let mut outcome = concluded();
        outcome.contrasts.truncate(1);
        outcome.cells[0].said[0].verdict = verdict;
        let page = page(outcome);
        let (_, forest) = page.split_once("drawing forest").unwrap();
        let (forest, rest) = forest.split_once("</svg>").unwrap();
        let (_, word) = signed.split_once(' ').unwrap();
        assert!(forest.contains(&format!(">{word}</text>")), "{forest}");
        assert!(
            forest.contains(&format!("<{mark} class=\"mark")),
            "{forest}"
        );
        assert!(rest.contains(signed), "{signed}");
        let (_, shape) = forest.split_once("class=\"mark").unwrap();
        seen.push(shape.to_owned());
    }
    let shapes: std::collections::BTreeSet<_> = seen.iter().collect();
    assert_eq!(shapes.len(), 4, "{seen:#?}");
}

#[test]
fn one_that_is_not_finished_says_how_far_it_is() {
    let mut outcome = concluded();
    outcome.blocks.truncate(5);
    outcome.cells.clear();
    let page = page(outcome);
    elements(&page);
    assert!(page.contains("Not finished: 5 of 18 blocks are measured"));
    assert!(!page.contains("<svg") && !page.contains("beside replicated, of"));
}

#[test]
fn a_value_that_cannot_be_believed_is_a_cross_and_a_cell_without_ratio_has_no_mark() {
    let mut outcome = concluded();
    outcome.cells[0].arms[&split()][1] = None;
    assert_eq!(page(outcome.clone()).matches("class=\"void\"").count(), 2);
    for said in &mut outcome.cells[0].said {
        (said.ratio, said.verdict) = (None, None);
    }
    assert!(!page(outcome).contains("drawing forest"));
}

#[test]
fn an_interval_that_reaches_too_far_is_cut_and_has_no_end() {
    let ends = |low: f64, high: f64| {
        let mut outcome = concluded();
        outcome.contrasts.truncate(1);
        let ratio = outcome.cells[0].said[0].ratio.as_mut().unwrap();
        (ratio.low, ratio.high) = (low, high);
        let page = page(outcome);
        page.matches("class=\"interval\"").count() - 1
    };
    assert_eq!(ends(1.1, 1.25), 2);
    assert_eq!(ends(1.1, 50.0), 1);
    assert_eq!(ends(0.02, 50.0), 0);
}

#[test]
fn what_others_wrote_in_a_comparison_is_a_text() {
    let hostile = "</script><script>alert(1)</script>\"'&\u{202e}\x1b[2J";
    let mut outcome = whole();
    outcome.topology = hostile.to_owned();
    outcome.tool.version = hostile.to_owned();
    for contrast in &mut outcome.contrasts {
        for difference in &mut contrast.differences {
            (difference.what, difference.how) = (hostile.to_owned(), hostile.to_owned());
        }
    }
    let cell = &mut outcome.cells[0];
    (cell.load, cell.metric) = (hostile.to_owned(), hostile.to_owned());
    cell.said[0].reasons.push(hostile.to_owned());
    let tuned = outcome.arms[&split()].tuned.as_mut().unwrap();
    (tuned.argument, tuned.why) = (hostile.to_owned(), hostile.to_owned());
    tuned.chosen = hostile.into();
    tuned.tried[0].value = hostile.into();
    tuned.tried[0].result = PathBuf::from(hostile);
    outcome.blocks[0].results[0] = PathBuf::from(hostile);
    let page = page(outcome);
    asks_nobody(&page);
    assert!(page.contains("&lt;script&gt;alert(1)"));
    assert!(!page.contains(['\u{202e}', '\x1b']));
}

#[test]
fn only_a_page_with_comparisons_has_their_style() {
    assert!(page(concluded()).contains(STYLE));
    assert!(!STYLE.contains("url(") && !STYLE.contains("@import"));
    let plain = html(&Report {
        topology: "t".to_owned(),
        comparisons: Vec::new(),
        results: Vec::new(),
    });
    assert!(!plain.contains(STYLE));
}
