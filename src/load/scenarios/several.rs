//! Measurements of several loads, and of loads by the clock.

use super::*;
use crate::shape::{Course, Load};

fn course(written: serde_json::Value) -> Course {
    let load: Load = serde_json::from_value(written).unwrap();
    load.try_into().unwrap()
}

fn labels(result: &BenchResult) -> Vec<String> {
    let points = result.points.iter();
    points.map(|point| point.load.label()).collect()
}

#[tokio::test]
async fn a_sweep_is_a_point_for_each_load_and_its_requests_say_which() {
    let lab = Lab::healthy().await;
    let job = Job {
        load: course(json!({"concurrency": [1, 2, 4], "requests": "5x"})),
        ..lab.job("sweep", batch(1))
    };
    let outcome = run(&job).await;
    let expected = [
        "concurrency 1 x 5",
        "concurrency 2 x 10",
        "concurrency 4 x 20",
    ];
    assert_eq!(labels(&outcome.result), expected);
    let peaks = outcome
        .result
        .points
        .iter()
        .map(|it| it.summary.metrics.in_flight.peak);
    assert_eq!(peaks.collect::<Vec<_>>(), [1, 2, 4]);
    let lines = fs::read_to_string(&outcome.requests).unwrap();
    let records = lines
        .lines()
        .map(|line| serde_json::from_str::<Record>(line).unwrap());
    let of: Vec<u32> = records.map(|record| record.point).collect();
    assert_eq!(of, [vec![0; 5], vec![1; 10], vec![2; 20]].concat());
    assert_eq!(outcome.result.skipped, []);
    let text = fs::read_to_string(&outcome.path).unwrap();
    let read: BenchResult = serde_json::from_str(&text).unwrap();
    assert_eq!(read, outcome.result);
    assert_eq!(
        serde_json::to_value(&read.job.load).unwrap(),
        json!({"concurrency": [1, 2, 4], "requests": "5x"})
    );
}

#[tokio::test]
async fn above_a_load_that_cannot_be_believed_none_is_driven() {
    // The proxy has taken one request that warms it, and 5 of the first load.
    let lab = Lab::new(|asked, instance| match asked.index {
        0..6 => healthy(Some(instance), TOKENS),
        _ => vec![Step::Write(answer(503, &[], "too much"))],
    })
    .await;
    let job = Job {
        load: course(json!({"concurrency": [1, 2, 4, 8], "requests": "5x"})),
        ..lab.job("sweep", batch(1))
    };
    let outcome = run(&job).await;
    assert_eq!(
        labels(&outcome.result),
        ["concurrency 1 x 5", "concurrency 2 x 10"]
    );
    assert!(!outcome.valid && outcome.result.points[0].valid);
    let skipped = &outcome.result.skipped;
    let left: Vec<String> = skipped.iter().map(|it| it.load.label()).collect();
    assert_eq!(left, ["concurrency 4 x 20", "concurrency 8 x 40"]);
    assert!(
        skipped[0]
            .why
            .starts_with("`concurrency 2 x 10` before it: stopped after"),
        "{}",
        skipped[0].why
    );
}

#[tokio::test]
async fn a_load_by_the_clock_tells_what_was_sent_and_how_late() {
    let lab = Lab::healthy().await;
    let job = Job {
        load: course(json!({"rate": "200/s", "requests": 60, "seed": 5})),
        ..lab.job("rate", batch(1))
    };
    let outcome = run(&job).await;
    let point = &outcome.result.points[0];
    assert_eq!(point.summary.counts.ok, 60);
    let achieved = point.achieved.as_ref().unwrap();
    assert_eq!((achieved.requested_rps, achieved.dropped), (200.0, 0));
    assert!(achieved.scheduled_rps > 0.0 && achieved.achieved_rps > 0.0);
    assert!(achieved.lag_ms.unwrap().p50.value >= 0.0);
    assert!(point.sender_cpu.is_some());
    let planned = |path: &Path| -> Vec<u64> {
        let lines = fs::read_to_string(path).unwrap();
        let records = lines
            .lines()
            .map(|line| serde_json::from_str::<Record>(line).unwrap());
        let planned: Vec<u64> = records.map(|record| record.stamps.planned).collect();
        planned.iter().map(|at| at - planned[0]).collect()
    };
    let again = run(&job).await;
    let (one, other) = (planned(&outcome.requests), planned(&again.requests));
    // The same moments, to the microsecond that they are cut at.
    assert!(
        one.iter().zip(&other).all(|(a, b)| a.abs_diff(*b) <= 1),
        "{one:?} {other:?}"
    );
}

#[tokio::test]
async fn what_is_not_sent_is_kept_as_dropped() {
    let lab = Lab::new(|_, instance| {
        let mut steps = vec![Step::Pause(Duration::from_millis(300))];
        steps.extend(healthy(Some(instance), TOKENS));
        steps
    })
    .await;
    let job = Job {
        load: course(json!({"rate": "100/s", "requests": 20, "max_in_flight": 2})),
        ..lab.job("rate", batch(1))
    };
    let outcome = run(&job).await;
    let counts = &outcome.result.points[0].summary.counts;
    assert_eq!(counts.total, 20);
    let dropped = counts.by_status[&Status::Dropped];
    assert!(dropped > 0 && dropped == counts.failed);
    let achieved = outcome.result.points[0].achieved.as_ref().unwrap();
    assert_eq!(achieved.dropped, dropped);
    assert!(outcome.anomalies.iter().any(|it| it.id == "A11"));
    assert!(outcome.anomalies.iter().all(|it| it.id != "A10"));
}

#[tokio::test]
async fn a_search_keeps_what_it_tried_and_what_it_found() {
    let lab = Lab::healthy().await;
    let job = Job {
        load: course(json!({"rate": "search", "between": ["100/s", "200/s"], "requests": 30})),
        ..lab.job("knee", batch(1))
    };
    let outcome = run(&job).await;
    let found = outcome.result.search.as_ref().unwrap();
    assert_eq!(found.probes.len(), outcome.result.points.len());
    assert!(!found.probes.is_empty());
    let text = fs::read_to_string(&outcome.path).unwrap();
    assert_eq!(
        serde_json::from_str::<BenchResult>(&text).unwrap(),
        outcome.result
    );
}
