//! Shapes as they are written, and what they answer.

use std::time::Duration;

use serde_json::{Value, json};

use super::known::{batch, concurrency, rate, sequential};
use super::*;

fn read(written: Value) -> Result<Shape, InvalidLoad> {
    serde_json::from_value::<Load>(written).unwrap().try_into()
}

#[test]
fn a_shape_is_written_as_it_was_read() {
    for written in [
        json!({"sequential": 1}),
        json!({"batch": 8}),
        json!({"concurrency": 16, "requests": 160}),
        json!({"concurrency": 16, "duration": 60}),
        json!({"concurrency": 4, "requests": 40, "min": 30, "max": 180}),
        json!({"rate": "2/s", "duration": 300, "arrivals": "constant"}),
        json!({"rate": "0.5/s", "requests": 100, "arrivals": {"gamma": 0.5}, "max_in_flight": 64,
            "seed": 7}),
        json!({"ramp": {"from": "1/s", "to": "10/s"}, "duration": 120}),
        json!({"trace": "t.jsonl", "format": "mooncake", "time_scale": 0.1, "limit": 5}),
    ] {
        let shape = read(written.clone()).unwrap();
        assert_eq!(serde_json::to_value(&shape).unwrap(), written);
        assert_eq!(serde_json::from_value::<Shape>(written).unwrap(), shape);
    }
    assert_eq!(
        serde_json::to_string(&concurrency(4, 40)).unwrap(),
        r#"{"concurrency":4,"requests":40}"#
    );
}

#[test]
fn every_shape_is_called_and_classed() {
    let said = |shape: Shape| (shape.label(), shape.class());
    assert_eq!(
        said(sequential(1)),
        ("sequential 1".to_owned(), Class::Alone)
    );
    assert_eq!(
        said(batch(8)),
        ("batch 8".to_owned(), Class::Together { requests: 8 })
    );
    assert_eq!(
        said(concurrency(16, 160)),
        (
            "concurrency 16 x 160".to_owned(),
            Class::Closed { width: 16 }
        )
    );
    assert_eq!(concurrency(1, 10).class(), Class::Alone);
    assert_eq!(
        said(rate(2.0, 300)),
        ("rate 2/s for 300 s".to_owned(), Class::Open { per_s: 2.0 })
    );
    let ramp = read(json!({"ramp": {"from": 1, "to": "10/s"}, "duration": 120})).unwrap();
    assert_eq!(
        said(ramp),
        (
            "ramp 1/s to 10/s for 120 s".to_owned(),
            Class::Open { per_s: 5.5 }
        )
    );
}

/// Where a load is wrong, with what is said of it.
fn wrong(written: Value) -> (LoadPart, String, String) {
    let fault = read(written).unwrap_err();
    (fault.part, fault.message, fault.hint)
}

#[test]
fn a_load_that_is_no_shape_says_where_and_what_to_write() {
    let any = "write one of `{sequential: 1}`, `{batch: 8}`, `{concurrency: 16, requests: 160}`, \
               `{rate: 2/s, duration: 5m}`, `{ramp: {from: 1/s, to: 10/s}, duration: 2m}`, \
               `{trace: traces/conv.jsonl, format: mooncake}`";
    let cases = [
        (
            json!({}),
            LoadPart::Whole,
            "`load` does not say when requests are sent",
            any,
        ),
        (
            json!({"requests": 5}),
            LoadPart::Key("requests"),
            "`requests` is a part of a load, and nothing says when requests are sent",
            any,
        ),
        (
            json!({"batch": 8, "sequential": 1}),
            LoadPart::Key("batch"),
            "`sequential` and `batch` are two loads",
            any,
        ),
        (
            json!({"batch": 0}),
            LoadPart::Value("batch"),
            "`batch` must be 1 or more",
            "it is the number of requests",
        ),
        (
            json!({"batch": 8, "requests": 8}),
            LoadPart::Key("requests"),
            "`batch` takes no `requests`",
            "it is itself the number of requests, as in `{batch: 8}`",
        ),
    ];
    for (written, part, message, hint) in cases {
        assert_eq!(wrong(written), (part, message.to_owned(), hint.to_owned()));
    }
}

#[test]
fn a_load_that_goes_on_says_what_it_lacks_and_what_is_too_much() {
    let cases = [
        (
            json!({"concurrency": 4}),
            LoadPart::Key("concurrency"),
            "`concurrency` needs `requests` or `duration`: when it ends",
            "as in `{concurrency: 16, requests: 160}`",
        ),
        (
            json!({"concurrency": 4, "requests": 40, "arrivals": "poisson"}),
            LoadPart::Key("arrivals"),
            "`concurrency` takes no `arrivals`",
            "beside it may stand `requests`, `duration`, `min`, `max`",
        ),
        (
            json!({"concurrency": 4, "requests": 40, "min": 30, "max": 20}),
            LoadPart::Key("min"),
            "`min` is longer than `max`",
            "it goes on for at least `min` and for at most `max`",
        ),
        (
            json!({"rate": "2/s"}),
            LoadPart::Key("rate"),
            "`rate` needs `requests` or `duration`: when it ends",
            "as in `{rate: 2/s, duration: 5m}`",
        ),
        (
            json!({"rate": "2/s", "requests": "10x"}),
            LoadPart::Value("requests"),
            "`requests` counts those in flight, and an open load has any number of them",
            "write how many there are in all, or `duration`",
        ),
        (
            json!({"rate": "2/s", "duration": 60, "arrivals": {"gamma": 0.0}}),
            LoadPart::Value("arrivals"),
            "`gamma` must be from 0.01 to 100",
            "below 1 requests come in bursts, 1 is `poisson`, above they are more regular",
        ),
        (
            json!({"trace": "t.jsonl"}),
            LoadPart::Key("trace"),
            "`trace` needs `format`: how the file is to be read",
            "write `mooncake`, `azure` or `burstgpt`",
        ),
        (
            json!({"concurrency": 16, "requests": 8}),
            LoadPart::Value("requests"),
            "8 requests are never 16 in flight",
            "`requests` must be at least `concurrency`, 16",
        ),
        (
            json!({"concurrency": 4, "requests": 0}),
            LoadPart::Value("requests"),
            "`requests` must be 1 or more",
            "it is the number of requests in all",
        ),
    ];
    for (written, part, message, hint) in cases {
        assert_eq!(wrong(written), (part, message.to_owned(), hint.to_owned()));
    }
}

/// What a schedule says, one request ending each time that it waits, each taking a second.
fn flown(shape: &Shape) -> Vec<u32> {
    let Schedule {
        mut pacing, stop, ..
    } = shape.schedule();
    let (mut in_flight, mut flown, mut now) = (0, Vec::new(), Duration::ZERO);
    while stop.admits(flown.len() as u32, now) {
        match pacing.next(now, in_flight) {
            Next::Now => {
                in_flight += 1;
                flown.push(in_flight);
            }
            Next::Wait => {
                in_flight -= 1;
                now += Duration::from_secs(1);
            }
            Next::Done => break,
            Next::At(at) => panic!("a closed loop waits for nobody's clock: {at:?}"),
        }
    }
    flown
}

#[test]
fn a_closed_pacing_fills_its_width_and_keeps_it() {
    assert_eq!(flown(&sequential(3)), [1, 1, 1]);
    assert_eq!(flown(&batch(4)), [1, 2, 3, 4]);
    assert_eq!(flown(&concurrency(2, 5)), [1, 2, 2, 2, 2]);
    assert_eq!(concurrency(2, 5).schedule().in_flight, Some(2));
}

#[test]
fn a_closed_load_is_bounded_by_requests_and_by_time() {
    let sent = |written: Value| flown(&read(written).unwrap()).len();
    // One ends each second, and two begin at the beginning.
    assert_eq!(sent(json!({"concurrency": 2, "duration": 10})), 11);
    assert_eq!(
        sent(json!({"concurrency": 2, "requests": 4, "duration": 10})),
        4
    );
    assert_eq!(
        sent(json!({"concurrency": 2, "requests": 40, "duration": 10})),
        11
    );
    assert_eq!(sent(json!({"concurrency": 2, "requests": 4, "min": 5})), 6);
    assert_eq!(
        sent(json!({"concurrency": 2, "requests": 40, "min": 5, "max": 10})),
        11
    );
    assert_eq!(
        sent(json!({"concurrency": 2, "requests": 8, "min": 1, "max": 10})),
        8
    );
}

fn course(written: Value) -> Result<Course, InvalidLoad> {
    serde_json::from_value::<Load>(written).unwrap().try_into()
}

/// The loads of a course, each of which goes as is said.
fn driven(written: Value, how: impl Fn(&str) -> Went) -> (Vec<String>, Walk) {
    let mut walk = course(written).unwrap().walk();
    let mut driven = Vec::new();
    while let Some(load) = walk.next_load() {
        walk.went(&load, &how(&load.label()));
        driven.push(load.label());
    }
    (driven, walk)
}

#[test]
fn a_list_is_a_load_for_each_and_is_written_as_a_list() {
    let written = json!({"concurrency": [1, 2, 8], "requests": "10x", "min": 30});
    let sweep = course(written.clone()).unwrap();
    assert_eq!(serde_json::to_value(&sweep).unwrap(), written);
    assert_eq!(sweep.only(), None);
    assert_eq!(sweep.label(), "concurrency 1 x 10 to concurrency 8 x 80");
    let (all, walk) = driven(written, |_| Went::Well);
    assert_eq!(
        all,
        [
            "concurrency 1 x 10",
            "concurrency 2 x 20",
            "concurrency 8 x 80"
        ]
    );
    assert_eq!((walk.of(), walk.skipped()), (3, Vec::new()));
    let one = course(json!({"concurrency": 4, "requests": "10x"})).unwrap();
    assert_eq!(one, concurrency(4, 40).into());
    assert_eq!(
        serde_json::to_string(&one).unwrap(),
        r#"{"concurrency":4,"requests":40}"#
    );
}

#[test]
fn above_a_load_that_went_badly_nothing_is_driven_and_that_is_said() {
    let rates = json!({"rate": ["1/s", "2/s", "4/s", "8/s"], "duration": 60});
    let (all, walk) = driven(rates, |label| match label {
        "rate 2/s for 60 s" => Went::Badly("A10 errors".to_owned()),
        _other => Went::Well,
    });
    assert_eq!(all, ["rate 1/s for 60 s", "rate 2/s for 60 s"]);
    let skipped = walk.skipped();
    let labels: Vec<String> = skipped.iter().map(|it| it.load.label()).collect();
    assert_eq!(labels, ["rate 4/s for 60 s", "rate 8/s for 60 s"]);
    assert_eq!(skipped[1].why, "`rate 2/s for 60 s` before it: A10 errors");
}

#[test]
fn what_does_not_go_up_is_no_course() {
    let wrong = |written| {
        let fault = course(written).unwrap_err();
        (fault.part, fault.message)
    };
    for values in [json!([4, 2]), json!([2, 2])] {
        assert_eq!(
            wrong(json!({"concurrency": values, "requests": "10x"})),
            (
                LoadPart::Value("concurrency"),
                "the values of `concurrency` must go up".to_owned()
            )
        );
    }
    assert_eq!(
        wrong(json!({"rate": [], "duration": 60})).1,
        "`rate` has nothing in it"
    );
    assert_eq!(
        wrong(json!({"rate": "search", "duration": 60})).1,
        "`rate: search` needs `between`: where it is looked for"
    );
    assert_eq!(
        wrong(json!({"rate": "2/s", "between": ["1/s", "2/s"], "duration": 60})).1,
        "`between` bounds a search, and nothing is looked for"
    );
    assert_eq!(
        wrong(json!({"rate": "search", "between": ["2/s", "1/s"], "duration": 60})).1,
        "`between` must be two rates, the lower one first"
    );
    assert_eq!(
        wrong(json!({"rate": "search", "between": ["1/s", "2/s"]})).1,
        "`rate` needs `requests` or `duration`: when it ends"
    );
}

/// What a search between 0.2/s and 8/s finds, where a rate is met as is said.
fn sought(met: impl Fn(f64) -> bool) -> Found {
    let written = json!({"rate": "search", "between": ["0.2/s", "8/s"], "duration": 180});
    let mut walk = course(written).unwrap().walk();
    let at_most = walk.of();
    let mut tried = 0;
    while let Some(load) = walk.next_load() {
        let Class::Open { per_s } = load.class() else {
            panic!("{load:?}");
        };
        let how = if met(per_s) {
            Went::Well
        } else {
            Went::Badly("too slow".to_owned())
        };
        walk.went(&load, &how);
        tried += 1;
    }
    assert!(tried <= at_most, "{tried} of {at_most}");
    walk.found().unwrap()
}

fn per_s(rate: Option<crate::quantity::Rate>) -> Option<f64> {
    rate.map(crate::quantity::Rate::per_s)
}

#[test]
fn a_search_brackets_the_knee() {
    for knee in [0.21, 0.5, 1.0, 3.3, 7.9] {
        let found = sought(|rate| rate <= knee);
        let (answer, missed) = (per_s(found.answer).unwrap(), per_s(found.missed).unwrap());
        assert!(answer <= knee && knee < missed, "{knee}: {answer} {missed}");
        assert!(missed / answer <= 1.1, "{knee}: {answer} {missed}");
        let misses = found.probes.iter().filter(|it| !it.met);
        assert!(misses.clone().count() > 0);
        assert!(
            misses
                .into_iter()
                .all(|it| it.why.as_deref() == Some("too slow"))
        );
    }
}

#[test]
fn a_search_whose_ends_are_alike_says_so_and_tries_no_more() {
    let all = sought(|_| true);
    assert_eq!((per_s(all.answer), per_s(all.missed)), (Some(8.0), None));
    assert_eq!(all.probes.len(), 2);
    let none = sought(|_| false);
    assert_eq!((per_s(none.answer), per_s(none.missed)), (None, Some(0.2)));
    assert_eq!(none.probes.len(), 1);
}

/// The moments of a load by the clock, in seconds.
fn moments(written: Value) -> Vec<f64> {
    let Schedule {
        mut pacing, stop, ..
    } = read(written).unwrap().schedule();
    let mut moments = Vec::new();
    while let Next::At(at) = pacing.next(Duration::ZERO, 0) {
        if !stop.admits(moments.len() as u32, at) {
            break;
        }
        moments.push(at.as_secs_f64());
    }
    moments
}

/// The greatest distance between a sample and the distribution that it should have (Kolmogorov and
/// Smirnov), times the root of its size: above 1.63 in one of a hundred samples.
fn distance(mut sample: Vec<f64>, distribution: impl Fn(f64) -> f64) -> f64 {
    sample.sort_by(f64::total_cmp);
    let n = sample.len() as f64;
    let far = sample.iter().enumerate().map(|(i, x)| {
        let expected = distribution(*x);
        let (below, above) = (i as f64 / n, (i + 1) as f64 / n);
        f64::max(above - expected, expected - below)
    });
    far.fold(0.0, f64::max) * n.sqrt()
}

fn gaps(moments: &[f64]) -> Vec<f64> {
    let from = [0.0].into_iter().chain(moments.iter().copied());
    from.zip(moments).map(|(a, b)| b - a).collect()
}

/// The gamma distribution of shape 2 and of mean 1/4, the sum of two exponential times.
fn erlang(x: f64) -> f64 {
    1.0 - (-8.0 * x).exp() * (1.0 + 8.0 * x)
}

#[test]
fn arrivals_are_distributed_as_they_are_called() {
    let n = 20_000;
    let of = |arrivals: Value| {
        moments(json!({"rate": "4/s", "requests": n, "arrivals": arrivals, "seed": 3}))
    };
    let mean = |moments: &[f64]| f64::from(n) / moments.last().unwrap();
    let poisson = of(json!("poisson"));
    assert!((mean(&poisson) / 4.0 - 1.0).abs() < 0.02);
    assert!(distance(gaps(&poisson), |x| 1.0 - (-4.0 * x).exp()) < 1.63);
    // The test can tell: these are not exponential.
    let regular = of(json!({"gamma": 2.0}));
    assert!(distance(gaps(&regular), |x| 1.0 - (-4.0 * x).exp()) > 10.0);
    assert!((mean(&regular) / 4.0 - 1.0).abs() < 0.02);
    assert!(distance(gaps(&regular), erlang) < 1.63);
    // A gamma of shape 1/2 is half the square of a normal variate; its variance is twice that of
    // shape 1.
    let bursts = of(json!({"gamma": 0.5}));
    assert!((mean(&bursts) / 4.0 - 1.0).abs() < 0.03);
    let gaps_of = gaps(&bursts);
    let square = gaps_of.iter().map(|gap| (gap - 0.25).powi(2)).sum::<f64>() / f64::from(n);
    assert!((square / (2.0 / 16.0) - 1.0).abs() < 0.05, "{square}");
    let constant = of(json!("constant"));
    assert!(
        constant
            .iter()
            .zip(1..)
            .all(|(at, i)| (at - f64::from(i) / 4.0).abs() < 1e-6)
    );
}

#[test]
fn a_schedule_is_drawn_from_its_seed_and_is_never_stretched() {
    let of = |seed: u64| moments(json!({"rate": "4/s", "duration": 100, "seed": seed}));
    assert_eq!(of(1), of(1));
    assert_ne!(of(1), of(2));
    let counts: Vec<usize> = (0..50).map(|seed| of(seed).len()).collect();
    // A Poisson process has as many as chance has it: 400 with a deviation of 20.
    assert!(counts.iter().any(|n| *n < 390) && counts.iter().any(|n| *n > 410));
    let mean = counts.iter().sum::<usize>() as f64 / 50.0;
    assert!((mean - 400.0).abs() < 12.0, "{mean}");
    // What is sent first does not depend on when it ends.
    let longer = moments(json!({"rate": "4/s", "duration": 200, "seed": 1}));
    assert_eq!(longer[..of(1).len()], of(1));
}

#[test]
fn a_ramp_comes_as_its_rate_goes() {
    let constant = |from: &str, to: &str| {
        moments(json!({"ramp": {"from": from, "to": to}, "duration": 10, "arrivals": "constant"}))
    };
    let up = constant("1/s", "9/s");
    // 50 in all, and in the first half of the time 1·5 + (4·5)/2 = 15 of them.
    assert!(up.len() == 50 || up.len() == 49);
    assert_eq!(up.iter().filter(|at| **at <= 5.001).count(), 15);
    let down = constant("9/s", "1/s");
    assert_eq!(down.iter().filter(|at| **at <= 5.001).count(), 35);
    let level = constant("2/s", "2/s");
    assert!(
        level
            .iter()
            .zip(1..)
            .all(|(at, i)| (at - f64::from(i) / 2.0).abs() < 1e-6)
    );
}

#[test]
fn a_trace_is_replayed_at_its_times_and_told_apart_by_its_content() {
    let folder = tempfile::TempDir::new().unwrap();
    let line =
        |at: u32| format!("{{\"timestamp\": {at}, \"input_length\": 7, \"output_length\": 2}}\n");
    let text: String = [500, 1500, 1600, 9000].map(line).concat();
    std::fs::write(folder.path().join("t.jsonl"), &text).unwrap();
    let written = json!({"trace": "t.jsonl", "format": "mooncake", "time_scale": 0.1, "limit": 3});
    let mut replay = course(written.clone()).unwrap();
    replay.read(folder.path()).unwrap();
    let load = replay.only().unwrap();
    let Schedule { mut pacing, .. } = load.schedule();
    let at = |ms| Next::At(Duration::from_millis(ms));
    let sent: Vec<Next> = (0..4).map(|_| pacing.next(Duration::ZERO, 0)).collect();
    assert_eq!(sent, [at(0), at(100), at(110), Next::Done]);
    assert_eq!(load.trace().unwrap().requests()[2].input, 7);
    let kept = serde_json::to_value(&replay).unwrap();
    assert_eq!(kept["sha256"].as_str().map(str::len), Some(64));
    // What was kept reads back as the same load, and refuses another file.
    let mut again = course(kept).unwrap();
    assert_eq!(again, replay);
    std::fs::write(folder.path().join("t.jsonl"), line(1)).unwrap();
    let why = again.read(folder.path()).unwrap_err();
    assert_eq!(why.message, "`t.jsonl` is another file than `sha256` says");
    let nowhere = course(written)
        .unwrap()
        .read(std::path::Path::new("nowhere"));
    assert!(
        nowhere
            .unwrap_err()
            .message
            .starts_with("cannot read `t.jsonl`")
    );
}
