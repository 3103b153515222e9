//! The rules on data that is known: the notebook's run in both of its readings, its baseline, and
//! runs that are healthy and must be let through.

use serde_json::json;

use super::scene::{Scene, batch, cold_b, facts, request, scene, seed, single};
use super::*;
use crate::results::{Comparison, CpuPressure, Pressure, Severity, Status, Subject, Summary};
use crate::shape::known::{self, batch as batch_of};

fn said<'a>(anomalies: &'a [Anomaly], id: &str, subject: Subject) -> Option<&'a Anomaly> {
    anomalies
        .iter()
        .find(|a| a.id == id && a.subject == subject)
}

#[test]
fn the_notebooks_run_with_a_cold_b_is_refused_and_b_is_named() {
    let scene = cold_b();
    let summary = Summary::of(scene.job.load.only().unwrap(), &scene.records);
    assert!((summary.metrics.output_tps.unwrap() - 26.48).abs() < 0.01);
    assert!((summary.metrics.e2el.as_ref().unwrap().mean - 18632.5).abs() < 0.1);
    assert_eq!(scene.errors(), ["A6", "A4", "A3"]);
    let anomalies = scene.judge();
    for id in ["A4", "A6"] {
        let anomaly = said(&anomalies, id, Subject::Result).unwrap();
        assert_eq!(anomaly.replica.as_deref(), Some("b"));
        assert!(anomaly.message.contains("`b`"));
    }
}

#[test]
fn against_the_notebooks_single_request_the_parallelism_is_1_93_of_8() {
    let replicated = seed("replicated_metrics.json");
    let mut scene = cold_b();
    scene.baseline = Some(replicated);
    let anomalies = scene.judge();
    let a3 = said(&anomalies, "A3", Subject::Baseline).unwrap();
    assert_eq!(a3.evidence["parallelism"], 1.93);
    assert!(said(&anomalies, "A1", Subject::Baseline).is_none());
    assert!(said(&anomalies, "A2", Subject::Baseline).is_none());
}

/// NB03, the other reading: each replica serves its four one after another.
fn one_by_one() -> Scene {
    let turns = (0..8).map(|i| {
        let turn = f64::from(i / 2);
        let (from, to) = (turn * 7550.0, (turn + 1.0) * 7550.0);
        request(i, ["a", "b"][i as usize % 2], 0.0, from + 100.0, to)
    });
    scene(turns.collect())
}

#[test]
fn the_notebooks_run_with_serial_replicas_is_called_serialised() {
    let scene = one_by_one();
    assert_eq!(scene.errors(), ["A5", "A5", "A3"]);
    let anomalies = scene.judge();
    let a5 = said(&anomalies, "A5", Subject::Result).unwrap();
    assert_eq!(
        a5.message,
        "`a` served its 4 requests one after another, 7.55 s each"
    );
}

#[test]
fn an_endpoint_that_lets_one_through_at_a_time_is_called_serialised() {
    let mut records = batch(
        [1000.0, 3000.0, 5000.0, 7000.0],
        [2000.0, 4000.0, 6000.0, 8000.0],
    );
    for record in &mut records {
        record.stamps.first = record.stamps.last; // it keeps an answer until it is whole
    }
    let scene = scene(records);
    assert_eq!(scene.errors(), ["A5", "A3"]);
    let message = &scene.judge()[0].message;
    assert_eq!(
        message,
        "the endpoint served its 8 requests one after another, 1.00 s each"
    );
}

#[test]
fn two_waves_of_an_engine_with_few_seats_are_not_serial() {
    let waves = [1000.0, 1010.0, 2000.0, 2010.0];
    assert_eq!(scene(batch(waves, waves)).errors(), Vec::<String>::new());
}

#[test]
fn long_prompts_fill_the_hardware_and_are_only_remarked() {
    let mut scene = scene(batch(
        [1000.0, 1500.0, 2000.0, 2500.0],
        [1200.0, 1700.0, 2300.0, 2600.0],
    ));
    assert_eq!(scene.errors(), ["A3"]);
    for record in &mut scene.records {
        record.n_in = Some(8192);
    }
    let anomalies = scene.judge();
    assert_eq!(anomalies.len(), 1);
    assert_eq!(
        (&*anomalies[0].id, anomalies[0].severity),
        ("A3", Severity::Warning)
    );
}

#[test]
fn who_served_must_be_known_and_of_the_topology() {
    let mut scene = scene(batch([1000.0; 4], [1000.0; 4]));
    scene.records[0].instance = None;
    assert_eq!(
        scene.judge()[0].message,
        "1 of 8 answers do not say which replica served them"
    );
    scene.records[0].instance = Some("c".to_owned());
    assert_eq!(scene.errors(), ["A2"]);
    assert_eq!(scene.judge()[0].replica.as_deref(), Some("c"));
}

#[test]
fn an_engine_that_is_told_to_run_one_at_a_time_does_as_it_is_told() {
    let mut scene = one_by_one();
    scene.job = facts(batch_of(8), Some(1));
    assert!(scene.errors().is_empty());
}

#[test]
fn requests_whose_tokens_interleave_are_not_serial_whenever_they_end() {
    let steps = [1000.0, 2000.0, 3000.0, 4000.0];
    assert_eq!(scene(batch(steps, steps)).errors(), ["A3"]);
}

#[test]
fn the_notebooks_baseline_is_called_out_for_its_latency_and_its_tokens() {
    let mut scene = scene(batch([7055.0; 4], [7100.0; 4]));
    scene.baseline = Some(seed("baseline_metrics.json"));
    let anomalies = scene.judge();
    let a1 = said(&anomalies, "A1", Subject::Baseline).unwrap();
    assert_eq!(
        a1.message,
        "the baseline's mean latency of 816.6 ms is not a latency: one request alone takes 6870 ms; \
         it is the batch's 6530 ms divided by 8; the true one is about 6530 ms"
    );
    let a2 = said(&anomalies, "A2", Subject::Baseline).unwrap();
    assert_eq!(
        a2.message,
        "the baseline's 200 tokens contradict its own 14.55 tok/s x 6.874 s = 100"
    );
    let a15 = said(&anomalies, "A15", Subject::Baseline).unwrap();
    assert_eq!(
        a15.message,
        "the baseline is not comparable: it was measured within the process, ours over HTTP; \
         it does not say how its latencies are defined"
    );
    assert!(
        scene.errors().is_empty(),
        "a baseline's faults are not ours"
    );
}

#[test]
fn what_contradicts_itself_is_set_beside_what_is_true() {
    let mut scene = scene(batch([7055.0; 4], [7100.0; 4]));
    let baseline = seed("baseline_metrics.json");
    scene.baseline = Some(baseline.clone());
    let beside = Comparison::of(&[scene.point()], &scene.job, &baseline);
    assert!(!beside.comparable && beside.rows.iter().all(|row| row.flagged));
    assert_eq!(beside.remarks.len(), 3);
    let row = |what: &str| beside.rows.iter().find(|row| row.what == what).unwrap();
    assert_eq!(row("mean latency").ratio, None);
    let by_wall = row("mean latency by its wall time");
    assert!((by_wall.theirs - 6533.0).abs() < 1.0);
    assert!((by_wall.ratio.unwrap() - 1.083).abs() < 0.001);
    assert!((row("throughput").ratio.unwrap() - 0.920).abs() < 0.001);
}

#[test]
fn a_healthy_batch_passes_whatever_its_speed() {
    let gpu = [7050.0, 7055.0, 7060.0, 7061.0];
    let fast = [21.0, 22.0, 24.0, 60.0]; // a busy machine made one of them wait
    for times in [gpu, fast] {
        let mut scene = scene(batch(times, times.map(|t| t * 1.04)));
        scene.single = Some(single(100.0 / (times[0] * 0.98) * 1000.0));
        assert_eq!(scene.judge(), []);
    }
}

#[test]
fn hardware_at_its_limit_slows_all_alike_and_is_only_remarked() {
    let mut scene = scene(batch([8000.0; 4], [8010.0; 4]));
    assert_eq!(scene.judge(), []);
    scene.single = Some(single(60.0)); // alone 1.7 s, so the batch gains 1.7 of 8
    let anomalies = scene.judge();
    assert_eq!(anomalies.len(), 1);
    assert_eq!(
        (&*anomalies[0].id, anomalies[0].severity),
        ("A3", Severity::Warning)
    );
}

#[test]
fn requests_that_must_queue_do_not_speak_for_a_lack_of_gain() {
    let mut scene = scene(batch([1000.0, 2000.0, 3000.0, 4000.0], [2500.0; 4]));
    assert!(said(&scene.judge(), "A3", Subject::Result).is_some());
    scene.job = facts(batch_of(8), Some(2));
    assert!(said(&scene.judge(), "A3", Subject::Result).is_none());
}

#[test]
fn replicas_that_overlap_or_differ_by_little_are_of_one_kind() {
    let noisy = [
        [900.0, 1500.0, 2100.0, 2600.0],
        [1400.0, 2500.0, 2900.0, 3000.0],
    ];
    let wide = [
        [900.0, 1200.0, 1300.0, 1600.0],
        [1700.0, 2050.0, 2250.0, 2600.0],
    ];
    let strays = [
        [1000.0, 1000.0, 1000.0, 2000.0],
        [1000.0, 2400.0, 2400.0, 2400.0],
    ];
    let slight = [[30.0, 31.0, 32.0, 33.0], [90.0, 91.0, 92.0, 93.0]];
    for [a, b] in [noisy, wide, strays, slight] {
        assert!(said(&scene(batch(a, b)).judge(), "A4", Subject::Result).is_none());
    }
    let unequal = scene(batch([1000.0; 4], [1500.0; 4])).judge();
    assert_eq!(unequal.len(), 1);
    assert_eq!(unequal[0].severity, Severity::Warning);
}

/// Requests one after another, alternating between the replicas.
fn sequence(times: &[f64]) -> Scene {
    let mut now = 0.0;
    let mut records = Vec::new();
    for (i, ms) in times.iter().enumerate() {
        records.push(request(
            i as u32,
            ["a", "b"][i % 2],
            now,
            now + 5.0,
            now + ms,
        ));
        now += ms + 1.0;
    }
    let mut scene = scene(records);
    scene.job.load = known::sequential(times.len() as u32).into();
    scene
}

#[test]
fn a_first_request_far_slower_than_the_later_ones_is_cold_even_after_a_warm_up() {
    let scene = sequence(&[700.0, 9000.0, 710.0, 705.0, 700.0, 702.0]);
    assert_eq!(scene.errors(), ["A6"]);
    assert_eq!(scene.judge()[0].replica.as_deref(), Some("b"));
    assert_eq!(sequence(&[700.0; 8]).judge(), []);
}

#[test]
fn a_replica_that_was_merely_not_warmed_is_a_warning() {
    let mut scene = sequence(&[700.0; 4]);
    scene.warmup = Warmup::default();
    let anomalies = scene.judge();
    assert_eq!(anomalies.len(), 1);
    assert_eq!(anomalies[0].severity, Severity::Warning);
    assert_eq!(
        anomalies[0].message,
        "`a`, `b` were not warmed before the measurement"
    );
}

#[test]
fn errors_beyond_one_in_a_hundred_forbid_a_claim() {
    let many = |failed: usize| {
        let mut records: Vec<Record> = (0..200)
            .map(|i| request(i, "a", 0.0, 10.0, 1000.0))
            .collect();
        for record in &mut records[..failed] {
            record.status = Status::HttpError;
            record.http_status = Some(503);
            record.error = Some("no\n  backend".to_owned());
        }
        scene(records)
    };
    assert!(many(2).errors().is_empty());
    assert_eq!(many(2).judge()[0].severity, Severity::Warning);
    assert_eq!(many(3).errors(), ["A10"]);
    let all = many(200);
    assert_eq!(all.errors(), ["A10"]);
    assert_eq!(
        Summary::of(all.job.load.only().unwrap(), &all.records)
            .metrics
            .output_tps,
        None
    );
    assert_eq!(
        all.judge()[0].message,
        "200 of 200 requests failed, 200 of them with http_error 503 from `a`: no backend"
    );
}

#[test]
fn tokens_that_nobody_counted_make_a_result_invalid() {
    let mut scene = scene(batch([1000.0; 4], [1000.0; 4]));
    scene.records[3].n_out = None;
    assert_eq!(scene.errors(), ["A2"]);
    scene.records[3].n_out = Some(150);
    assert_eq!(scene.errors(), ["A2"]);
}

#[test]
fn a_single_request_slower_than_the_batch_is_doubted() {
    let mut scene = scene(batch([1000.0; 4], [1000.0; 4]));
    scene.single = Some(single(20.0));
    let anomalies = scene.judge();
    assert_eq!(anomalies.len(), 1);
    assert_eq!(
        (&*anomalies[0].id, anomalies[0].severity),
        ("A1", Severity::Warning)
    );
}

/// A closed loop of equal requests: `width` at once, each lane one after another, of so long each.
fn closed(width: u32, requests: u32, ms: impl Fn(u32) -> f64) -> Scene {
    let mut free = vec![0.0; width as usize];
    let mut records = Vec::new();
    for index in 0..requests {
        let ends = |lane: &usize, other: &usize| f64::total_cmp(&free[*lane], &free[*other]);
        let lane = (0..width as usize).min_by(ends).unwrap();
        let from = free[lane];
        free[lane] = from + ms(index);
        let name = ["a", "b"][lane % 2];
        records.push(request(index, name, from, from + 5.0, free[lane]));
    }
    let mut scene = scene(records);
    scene.job.load = known::concurrency(width, requests).into();
    scene
}

#[test]
fn a_healthy_closed_loop_passes_and_its_last_wave_need_not_be_full() {
    for requests in [16, 17, 31, 160] {
        assert_eq!(closed(16, requests, |_| 7000.0).judge(), [], "{requests}");
    }
}

#[test]
fn a_closed_loop_whose_requests_wait_has_no_parallel_gain() {
    // One at a time behind the endpoint: each of 4 in flight waits for the 3 before it.
    let mut now = 0.0;
    let records = (0..40).map(|index| {
        let sent = f64::max(now - 3.0 * 1000.0, 0.0);
        now += 1000.0;
        request(
            index,
            ["a", "b"][index as usize % 2],
            sent,
            now - 900.0,
            now,
        )
    });
    let mut scene = scene(records.collect());
    scene.job.load = known::concurrency(4, 40).into();
    scene.single = Some(single(100.0));
    let anomalies = scene.judge();
    let a3 = said(&anomalies, "A3", Subject::Result).unwrap();
    assert_eq!(
        a3.message,
        "40 requests, 4 at once, ran at 100.0 tok/s where the fastest of them ran at 100.0: \
         a parallelism of 1.00 of 4"
    );
    assert_eq!(a3.severity, Severity::Error);
    assert_eq!(
        (&a3.evidence["requests"], &a3.evidence["in_flight"]),
        (&json!(40.0), &json!(4))
    );
}

/// Two real servers on two busy cores gain less than half of eight: 5 of 9 such runs were refused.
#[test]
fn where_cpus_are_short_a_gain_that_is_missed_is_only_doubted() {
    let mut scene = closed(4, 40, |index| if index == 0 { 1000.0 } else { 4000.0 });
    let severity = |scene: &Scene| {
        let anomalies = scene.judge();
        said(&anomalies, "A3", Subject::Result).unwrap().severity
    };
    assert_eq!(severity(&scene), Severity::Error);
    scene.cpu_pressure = Some(CpuPressure {
        client: Some(Pressure { some_share: 0.9 }),
        ..CpuPressure::default()
    });
    assert_eq!(severity(&scene), Severity::Warning);
}

#[test]
fn a_closed_loop_beyond_the_seats_of_the_engines_must_queue() {
    let mut scene = closed(4, 40, |index| if index == 0 { 1000.0 } else { 4000.0 });
    assert!(said(&scene.judge(), "A3", Subject::Result).is_some());
    scene.job = facts(known::concurrency(4, 40), Some(1));
    assert!(said(&scene.judge(), "A3", Subject::Result).is_none());
}

#[test]
fn the_last_request_of_a_closed_loop_is_faster_for_being_alone_and_blames_nobody() {
    let scene = closed(16, 17, |index| if index == 16 { 1000.0 } else { 5000.0 });
    assert_eq!(scene.judge(), []);
}

#[test]
fn a_baseline_of_another_class_has_no_number_for_a_closed_loop() {
    let mut scene = closed(8, 80, |_| 7000.0);
    scene.baseline = Some(seed("replicated_metrics.json"));
    let anomalies = scene.judge();
    let a15 = said(&anomalies, "A15", Subject::Baseline).unwrap();
    assert!(a15.message.ends_with("it has no number for this load"));
    let baseline = scene.baseline.as_ref().unwrap();
    let beside = Comparison::of(&[scene.point()], &scene.job, baseline);
    assert!(!beside.comparable && beside.rows.is_empty());
}

#[test]
fn a_result_beside_another_measurement_is_refused_and_the_other_named() {
    let mut scene = scene(batch([1000.0; 4], [1000.0; 4]));
    scene.others = vec![Measuring {
        run: "2".to_owned(),
        benchmark: "two".to_owned(),
        pid: 4711,
        started: "2026-02-06T08:39:45.112Z".parse().unwrap(),
    }];
    assert_eq!(scene.errors(), ["A19"]);
    assert_eq!(
        scene.judge()[0].message,
        "`two` (pid 4711) was measured against the same servers at the same time"
    );
}
