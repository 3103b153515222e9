//! Servers that fall behind, and connections that do not last: what a client must not hide.

use std::collections::BTreeSet;

use tokio::net::TcpListener;
use tokio::sync::Mutex;

use super::*;
use crate::shape::Course;

/// How long the server is busy with a request; the next waits for it.
const SERVICE: Duration = Duration::from_millis(20);
/// How long after the last a request is planned.
const EVERY: Duration = Duration::from_millis(10);
const REQUESTS: u32 = 40;

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn constant(requests: u32) -> Course {
    let every = 1.0 / EVERY.as_secs_f64();
    let load = json!({"rate": every, "requests": requests, "arrivals": "constant"});
    serde_json::from_value(load).unwrap()
}

/// A proxy whose servers take one request at a time.
async fn serialised() -> Lab {
    let turn = Arc::new(Mutex::new(()));
    Lab::new(move |_, instance| {
        let mut steps = vec![Step::Alone(Arc::clone(&turn), SERVICE)];
        steps.extend(healthy(Some(instance), TOKENS));
        steps
    })
    .await
}

fn records(outcome: &Measurement) -> Vec<Record> {
    let text = fs::read_to_string(&outcome.requests).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
    lines.collect()
}

/// With arrivals every 10 ms and 20 ms of service (D/D/1), request k, from 0, is answered no sooner than
/// 20 (k + 1) - 10 k ms after it was planned.
#[tokio::test]
async fn a_server_that_serialises_makes_each_wait_for_all_before_it() {
    let lab = serialised().await;
    let job = Job {
        load: constant(REQUESTS),
        warmup: 1,
        ..lab.job("rate", batch(1))
    };
    let outcome = run(&job).await;
    let mut records = records(&outcome);
    records.sort_by_key(|record| record.index);
    assert_eq!(records.len(), REQUESTS as usize, "none is left out");
    let first = records[0].stamps.planned;
    for (k, record) in (0_u32..).zip(&records) {
        assert_eq!(record.status, Status::Ok);
        let planned = Duration::from_micros(record.stamps.planned - first);
        assert!(
            planned.abs_diff(EVERY * k) <= Duration::from_micros(1),
            "{k}: {planned:?}"
        );
        let response = record.response_ms().unwrap();
        let least = ms(SERVICE * (k + 1)) - ms(EVERY * k);
        // The first may be sent after its moment, and none before it.
        assert!(response >= least - 0.01, "{k}: {response} ms, not {least}");
    }
    let point = &outcome.result.points[0];
    let response = point.summary.metrics.response.as_ref().unwrap();
    let waited = (ms(SERVICE) - ms(EVERY)) * f64::from(REQUESTS - 1);
    assert!(response.max >= waited, "{response:?}");
    let achieved = point.achieved.as_ref().unwrap();
    assert_eq!((achieved.requested_rps, achieved.dropped), (100.0, 0));
    // All were sent, and no more came of it than the server can do.
    let tps = point.summary.metrics.output_tps.unwrap();
    assert!(tps <= TOKENS as f64 / SERVICE.as_secs_f64(), "{tps}");
}

/// A proxy that closes every other connection as soon as it is made, before anything was sent.
async fn closing(to: &Fake) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let authority = listener.local_addr().unwrap().to_string();
    let to = to.authority.clone();
    tokio::spawn(async move {
        for number in 0_u32.. {
            let Ok((mut stream, _)) = listener.accept().await else {
                return;
            };
            if number % 2 == 0 {
                continue;
            }
            let mut other = tokio::net::TcpStream::connect(&to).await.unwrap();
            tokio::spawn(async move {
                let _ = tokio::io::copy_bidirectional(&mut stream, &mut other).await;
            });
        }
    });
    authority
}

#[tokio::test]
async fn a_connection_is_a_requests_own_and_nothing_is_sent_twice() {
    let lab = Lab::healthy().await;
    let job = Job {
        load: constant(30),
        ..lab.job("rate", batch(1))
    };
    let before = lab.proxy.accepted();
    let outcome = run(&job).await;
    assert_eq!(only(&outcome).counts.ok, 30);
    let asked = lab.proxy.asked();
    let ids: BTreeSet<&String> = asked.iter().map(|it| &it.headers["x-request-id"]).collect();
    assert_eq!(ids.len(), asked.len());
    // Some of those kept ready may be left at the end; none carried two.
    assert!(lab.proxy.accepted() - before >= asked.len());
}

#[tokio::test]
async fn a_connection_that_is_closed_before_it_is_used_costs_no_request() {
    let lab = Lab::healthy().await;
    let mut job = Job {
        load: constant(30),
        warmup: 0,
        ..lab.job("rate", batch(1))
    };
    job.endpoint.authority = closing(&lab.proxy).await;
    let outcome = run(&job).await;
    let counts = &only(&outcome).counts;
    let asked = lab.proxy.asked();
    let ids: BTreeSet<&String> = asked.iter().map(|it| &it.headers["x-request-id"]).collect();
    assert_eq!(ids.len(), asked.len(), "nothing is sent twice");
    assert_eq!(counts.total, 30);
    // What had its connection closed under it is told as such, and never as an answer.
    assert_eq!(counts.ok, asked.len());
    assert!(counts.ok >= 15, "{counts:?}");
}
