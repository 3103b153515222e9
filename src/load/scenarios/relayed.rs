//! The same measurements, sent by whoever is told to over a wire.

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::io::{DuplexStream, duplex};
use tokio::task::JoinHandle;

use super::*;
use crate::plan::{FailureKind, Sender};
use crate::shape::{Class, Course, Load};

/// The end of whoever orders, and what the other end comes to.
fn wire() -> (DuplexStream, JoinHandle<bool>) {
    let (ours, theirs) = duplex(4096);
    let serving = tokio::spawn(async move {
        let (input, output) = tokio::io::split(theirs);
        serve(BufReader::new(input), output).await
    });
    (ours, serving)
}

/// Sends an order over a wire, a wish to stop once that comes, and hears to the end. All that came back
/// is kept.
async fn over_a_wire(
    order: Order,
    told: Teller,
    stop: impl Future<Output = ()>,
    heard: &mut String,
) -> Result<Sent, Failure> {
    let (ours, serving) = wire();
    let (lines, mut input) = tokio::io::split(ours);
    let mut lines = BufReader::new(lines).lines();
    let line = order.line()?;
    input.write_all(line.as_bytes()).await.unwrap();
    tokio::pin!(stop);
    let (told, begin) = told.apart();
    tokio::pin!(begin);
    let (mut has_begun, mut is_stopped) = (false, false);
    let last = loop {
        let line = tokio::select! {
            line = lines.next_line() => line.unwrap().expect("it has a last word"),
            _ = &mut begin, if !has_begun => {
                has_begun = true;
                input.write_all(Order::begin().as_bytes()).await.unwrap();
                continue;
            }
            () = &mut stop, if !is_stopped => {
                is_stopped = true;
                input.write_all(Order::stop().as_bytes()).await.unwrap();
                continue;
            }
        };
        heard.push_str(&line);
        match Said::read(&line).expect("it is one of ours") {
            Said::Told(it) => drop(told.send(it)),
            Said::Sent(sent) => break Ok(*sent),
            Said::Failed(failure) => break Err(failure),
        }
    };
    assert!(serving.await.unwrap());
    last
}

async fn relayed(
    job: &Job,
    keys: &BTreeMap<String, String>,
    stop: impl Future<Output = ()> + Send,
) -> (Result<Measurement, Failure>, String) {
    let mut heard = String::new();
    let out = &mut heard;
    let sender = |errand, told| {
        let order = Order::new(errand, keys.clone());
        over_a_wire(order, told, stop, out)
    };
    let measured = measure_by(job, sender, |_| {}, nobody).await;
    (measured, heard)
}

/// The same, of machines that are looked at.
pub(super) async fn looked_at<S: Future<Output = Surveyed> + Send>(
    job: &Job,
    survey: impl Fn(Look) -> S + Send + Sync,
) -> Result<Measurement, Failure> {
    let mut heard = String::new();
    let (out, stop) = (&mut heard, std::future::pending());
    let sender = |errand, told| {
        let order = Order::new(errand, BTreeMap::new());
        over_a_wire(order, told, stop, out)
    };
    measure_by(job, sender, |_| {}, survey).await
}

pub(super) fn from_spark(mut job: Job) -> Job {
    job.from = Some(Sender {
        node: "spark-01".parse().unwrap(),
        program: "replica".to_owned(),
    });
    job
}

#[tokio::test]
async fn a_node_brings_home_what_this_machine_would_have_seen() {
    let lab = Lab::healthy().await;
    let job = from_spark(lab.job("batch", batch(2)));
    let (outcome, heard) = relayed(&job, &BTreeMap::new(), std::future::pending()).await;
    let outcome = outcome.unwrap();
    assert!(outcome.valid, "{:?}", outcome.anomalies);
    let result = &outcome.result;
    assert_eq!(result.points[0].summary.counts.ok, 2);
    assert_eq!(result.warmup.instances.len(), 2);
    let node = result.client.node.as_ref().unwrap();
    assert_eq!(
        (node.as_str(), node),
        ("spark-01", result.job.from.as_ref().unwrap())
    );
    assert!(
        heard.contains("\"warm\"") && heard.contains("\"over\""),
        "{heard}"
    );
    let here = run(&lab.job("batch", batch(2))).await.result;
    assert_eq!((here.client.node, here.job.from), (None, None));
    assert_ne!(here.job.targets, result.job.targets);
}

/// The file of a trace is on the machine that judges.
#[tokio::test]
async fn a_trace_travels_with_the_errand() {
    let lab = Lab::healthy().await;
    let line =
        |ms| json!({"timestamp": ms, "input_length": 8, "output_length": 4, "hash_ids": [1]});
    let trace = [line(0), line(5), line(10)]
        .map(|it| it.to_string())
        .join("\n");
    fs::write(lab.results.path().join("trace.jsonl"), trace).unwrap();
    let load: Load =
        serde_json::from_value(json!({"trace": "trace.jsonl", "format": "mooncake", "limit": 2}))
            .unwrap();
    let mut course = Course::try_from(load).unwrap();
    course.read(lab.results.path()).unwrap();
    let job = Job {
        load: course,
        ..lab.job("replay", batch(1))
    };
    let (outcome, _) = relayed(&job, &BTreeMap::new(), std::future::pending()).await;
    let result = outcome.unwrap().result;
    assert_eq!(result.points[0].summary.counts.ok, 2);
    // What is known of the load only where the file was read.
    assert_eq!(
        result.points[0].load.class(),
        job.load.only().unwrap().class()
    );
    assert_ne!(result.points[0].load.class(), Class::Open { per_s: 0.0 });
}

#[tokio::test]
async fn a_key_opens_the_server_and_comes_back_in_no_line() {
    let lab = Lab::healthy().await;
    let job = from_spark(lab.job("batch", batch(2)));
    let keys = BTreeMap::from([(lab.a.authority.clone(), "sk-hush".to_owned())]);
    let (outcome, heard) = relayed(&job, &keys, std::future::pending()).await;
    let shown = &lab.a.asked()[0].headers["authorization"];
    assert_eq!(shown, "Bearer sk-hush");
    assert!(!heard.contains("sk-hush"));
    assert!(!format!("{:?}", outcome.unwrap()).contains("sk-hush"));
    let order = |errand| format!("{:?}", Order::new(errand, keys));
    let errand = send::Errand::of(&job, &some_run());
    assert!(!order(errand).contains("sk-hush"));
}

fn some_run() -> crate::results::Run {
    crate::results::Run {
        id: "1".to_owned(),
        started: jiff::Timestamp::UNIX_EPOCH,
    }
}

#[tokio::test]
async fn a_stop_brings_home_what_there_is() {
    let (lab, stuck) = failing::answering(3).await;
    let mut job = from_spark(lab.job("batch", sequential(8)));
    job.warmup = 0;
    let stop = async move { stuck.notified().await };
    let (outcome, _) = relayed(&job, &BTreeMap::new(), stop).await;
    let cut = outcome.unwrap().result.interrupted.unwrap();
    assert_eq!((cut.asked, cut.ended, cut.in_flight), (8, 3, 1));
    lab.proxy.left().await;
}

/// What fails there fails here, and is of the same kind.
#[tokio::test]
async fn why_nothing_was_sent_is_told() {
    let lab = Lab::healthy().await;
    let mut job = from_spark(lab.job("batch", batch(2)));
    job.instances[0].nonce = "replica-other".to_owned();
    let (outcome, _) = relayed(&job, &BTreeMap::new(), std::future::pending()).await;
    let there = outcome.unwrap_err();
    assert_eq!(there, measured(&job).await.unwrap_err());
    assert_eq!(there.kind, FailureKind::World);
}

/// Nobody is left who wants it: what was in flight is let go of, and nothing more is sent.
#[tokio::test]
async fn whoever_ordered_it_is_gone_and_nothing_goes_on() {
    let (lab, stuck) = failing::answering(0).await;
    let mut job = lab.job("batch", sequential(8));
    job.warmup = 0;
    let (mut ours, serving) = wire();
    let order = Order::new(send::Errand::of(&job, &some_run()), BTreeMap::new());
    let lines = order.line().unwrap() + &Order::begin();
    ours.write_all(lines.as_bytes()).await.unwrap();
    stuck.notified().await;
    drop(ours);
    assert!(!serving.await.unwrap());
    lab.proxy.left().await;
    assert_eq!(lab.proxy.asked().len(), 1);
}

/// A cable that was pulled says nothing: it is the silence that tells.
#[tokio::test]
async fn whoever_shows_no_life_is_taken_for_gone_and_whoever_does_is_not() {
    let (lab, stuck) = failing::answering(0).await;
    let mut job = lab.job("batch", sequential(8));
    (job.warmup, job.timeout_s) = (0, 600.0);
    let (mut ours, serving) = wire();
    let order = Order::new(send::Errand::of(&job, &some_run()), BTreeMap::new());
    let lines = order.line().unwrap() + &Order::begin();
    ours.write_all(lines.as_bytes()).await.unwrap();
    stuck.notified().await;
    // The thread that sends has a clock of its own.
    tokio::time::pause();
    for _ in 0..4 {
        tokio::time::advance(SILENCE / 2).await;
        ours.write_all(Order::beat().as_bytes()).await.unwrap();
        tokio::task::yield_now().await;
        assert!(!serving.is_finished());
    }
    assert!(!serving.await.unwrap());
    lab.proxy.left().await;
}

#[tokio::test]
async fn an_order_that_is_none_is_a_fault_of_ours_and_is_not_repeated() {
    let (mut ours, serving) = wire();
    ours.write_all(b"{\"keys\": \"sk-hush\"}\n").await.unwrap();
    assert!(serving.await.unwrap());
    let mut said = String::new();
    ours.read_to_string(&mut said).await.unwrap();
    let Some(Said::Failed(failure)) = Said::read(said.trim()) else {
        panic!("{said}");
    };
    assert_eq!(failure.kind, FailureKind::Bug);
    assert!(!said.contains("hush"));
}
