//! Measurements that do not go well: each failure has its name, and nothing is hidden.

use super::*;
use crate::plan::FailureKind;
use tokio::sync::Notify;

#[tokio::test]
async fn an_instance_that_is_another_is_not_measured() {
    let lab = Lab::healthy().await;
    let mut job = lab.job("single", sequential(1));
    job.instances[1].nonce = "replica-of-yesterday".to_owned();
    let failure = measured(&job).await.unwrap_err();
    assert!(failure.message.starts_with("instance `b` at 127.0.0.1:"));
    assert!(
        failure
            .message
            .contains("does not serve `replica-of-yesterday`")
    );
    assert!(lab.proxy.asked().is_empty() && lab.a.asked().is_empty());
}

#[tokio::test]
async fn an_instance_that_answers_no_warm_up_fails_with_its_body() {
    let mut lab = Lab::healthy().await;
    lab.b = Fake::start("replica-b", |_| {
        vec![Step::Write(answer(500, &[], "CUDA is gone"))]
    })
    .await;
    let job = lab.job("single", sequential(1));
    let failure = measured(&job).await.unwrap_err();
    assert_eq!(
        failure.message,
        "instance `b` answered none of 2 warm-up requests: CUDA is gone"
    );
}

#[tokio::test]
async fn each_failure_has_its_name_and_its_first_body_and_no_latency() {
    let lab = Lab::new(|asked, instance| {
        let begin = || {
            vec![
                Step::Write(head(Some(instance))),
                Step::Write(token("a", 1)),
            ]
        };
        match asked.index {
            0 => vec![Step::Write(answer(
                429,
                &[("retry-after", "1")],
                "slow down",
            ))],
            1 => vec![Step::Write(answer(500, &[], "oh no"))],
            2 => [
                begin(),
                vec![Step::Write(chunk(
                    b"data: {\"error\":{\"message\":\"died\"}}\n\n",
                ))],
                vec![Step::Write(finish(1))],
            ]
            .into_iter()
            .flatten()
            .collect(),
            3 => begin().into_iter().chain([Step::Close]).collect(),
            4 => begin().into_iter().chain([Step::Hang]).collect(),
            5 => vec![Step::Close],
            6 => healthy(Some(instance), 2),
            _ => healthy(Some(instance), TOKENS),
        }
    })
    .await;
    let mut job = lab.job("failing", sequential(8));
    job.warmup = 0;
    job.timeout_s = 1.0;
    let outcome = run(&job).await;
    assert!(!outcome.valid);
    let summary = only(&outcome);
    let expected = [
        (Status::Ok, 1),
        (Status::HttpError, 2),
        (Status::SseError, 1),
        (Status::Truncated, 2),
        (Status::Timeout, 1),
        (Status::LengthMismatch, 1),
    ];
    assert_eq!(summary.counts.by_status, expected.into_iter().collect());
    assert_eq!(summary.metrics.e2el.as_ref().unwrap().n, 1);
    assert!((summary.metrics.attainment - 0.125).abs() < 1e-9);
    let bodies: Vec<_> = summary
        .errors
        .iter()
        .filter_map(|e| e.first_body.as_deref())
        .collect();
    for body in ["slow down", "oh no"] {
        assert!(bodies.contains(&body), "{bodies:?}");
    }
    assert!(outcome.anomalies.iter().any(|a| a.id == "A10"));
    // Nothing is sent twice: whatever broke, the server was asked once for each request.
    assert_eq!(lab.proxy.asked().len(), 8);
}

#[tokio::test]
async fn an_endpoint_that_is_not_there_is_a_failed_connection() {
    let lab = Lab::healthy().await;
    let mut job = lab.job("nobody", batch(3));
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    job.endpoint.authority = free.local_addr().unwrap().to_string();
    drop(free);
    let outcome = run(&job).await;
    let summary = only(&outcome);
    assert_eq!(
        summary.counts.by_status,
        [(Status::Connect, 3)].into_iter().collect()
    );
    assert_eq!((outcome.valid, summary.metrics.output_tps), (false, None));
    let warmed = outcome.result.warmup.endpoint.as_ref().unwrap();
    assert_eq!(warmed.status, Status::Connect);
}

#[tokio::test]
async fn without_a_warm_up_the_cold_replica_is_named_and_the_result_refused() {
    let lab = Lab::new(|asked, instance| {
        let mut steps = healthy(Some(instance), TOKENS);
        if instance == "b" && asked.index < 8 {
            steps.insert(0, Step::Pause(Duration::from_millis(1500)));
        }
        steps
    })
    .await;
    let mut job = lab.job("batch", batch(8));
    job.warmup = 0;
    job.save = Some(lab.results.path().join("replicated_metrics.json"));
    let outcome = run(&job).await;
    assert!(!outcome.valid);
    let about_b: Vec<_> = outcome
        .anomalies
        .iter()
        .filter(|a| a.severity == Severity::Error && a.replica.as_deref() == Some("b"))
        .map(|a| a.id.as_str())
        .collect();
    assert_eq!(about_b, ["A6", "A4"]);
    // Where this machine is short of CPU, that is only doubted.
    assert!(outcome.anomalies.iter().any(|a| a.id == "A3"));
    assert!(outcome.result.warmup.instances.is_empty());
    // It is kept as evidence, and not handed on.
    assert!(!newest(&lab).unwrap().valid);
    assert_eq!((outcome.saved, job.save.unwrap().exists()), (None, false));
}

#[tokio::test]
async fn a_secret_is_sent_and_is_in_no_artefact() {
    let secret = "sk-hush-4711";
    let echo = |asked: &Asked| answer(401, &[], &format!("bad: {:?}", asked.headers));
    let lab = Lab::new(move |asked, _| vec![Step::Write(echo(asked))]).await;
    let job = lab.job("secret", batch(2));
    let at = [(&lab.proxy, secret), (&lab.a, "sk-of-a")];
    let keys = at.map(|(fake, key)| (fake.authority.clone(), key.to_owned()));
    let outcome = measured_with(&job, &keys.into(), |_| {}).await.unwrap();
    let shown = |fake: &Fake| fake.asked()[0].headers.get("authorization").cloned();
    assert_eq!(shown(&lab.proxy).unwrap(), "Bearer sk-hush-4711");
    assert_eq!(shown(&lab.a).unwrap(), "Bearer sk-of-a");
    assert_eq!(shown(&lab.b), None);
    for entry in fs::read_dir(outcome.path.parent().unwrap()).unwrap() {
        let text = fs::read_to_string(entry.unwrap().path()).unwrap();
        assert!(!text.contains(secret));
    }
    assert!(!format!("{outcome:?}").contains(secret));
    let body = only(&outcome).errors[0].first_body.clone();
    assert!(body.unwrap().contains("[redacted]"));
}

#[tokio::test]
async fn a_measurement_that_is_dropped_lets_go_of_the_servers() {
    let lab = Lab::new(|_, instance| vec![Step::Write(head(Some(instance))), Step::Hang]).await;
    let mut job = lab.job("hanging", sequential(1));
    job.warmup = 0;
    job.timeout_s = 600.0;
    let measuring = tokio::spawn(async move { measured(&job).await });
    while lab.proxy.asked().is_empty() {
        tokio::task::yield_now().await;
    }
    measuring.abort();
    lab.proxy.left().await;
}

/// A lab whose proxy answers so many measured requests, and then no more.
pub(super) async fn answering(number: usize) -> (Lab, Arc<Notify>) {
    let stuck = Arc::new(Notify::new());
    let tell = Arc::clone(&stuck);
    let lab = Lab::new(move |asked, instance| {
        if asked.index < number {
            return healthy(Some(instance), TOKENS);
        }
        tell.notify_one();
        vec![Step::Write(head(Some(instance))), Step::Hang]
    })
    .await;
    (lab, stuck)
}

#[tokio::test]
async fn a_measurement_that_is_stopped_keeps_what_it_has_and_stands_for_nothing() {
    let (lab, stuck) = answering(3).await;
    let mut job = lab.job("batch", sequential(8));
    job.warmup = 0;
    job.save = Some(lab.results.path().join("saved.json"));
    let stop = async move { stuck.notified().await };
    let outcome = measure(&job, &BTreeMap::new(), stop, |_| {}, nobody)
        .await
        .unwrap();
    let cut = outcome.result.interrupted.unwrap();
    assert_eq!((cut.asked, cut.ended, cut.in_flight), (8, 3, 1));
    assert!(!outcome.valid);
    let ids: Vec<&str> = outcome.anomalies.iter().map(|it| it.id.as_str()).collect();
    assert_eq!((ids, outcome.saved), (vec!["A20"], None));
    assert_eq!(
        fs::read_to_string(&outcome.requests)
            .unwrap()
            .lines()
            .count(),
        3
    );
    let kept: BenchResult = serde_json::from_slice(&fs::read(&outcome.path).unwrap()).unwrap();
    assert_eq!(kept, outcome.result);
    assert_eq!(newest(&lab), None, "it is the newest of nothing");
    lab.proxy.left().await;
}

#[tokio::test]
async fn a_measurement_that_is_stopped_before_a_request_has_ended_leaves_nothing() {
    let (lab, stuck) = answering(0).await;
    let mut job = lab.job("batch", sequential(8));
    job.warmup = 0;
    let stop = async move { stuck.notified().await };
    let failure = measure(&job, &BTreeMap::new(), stop, |_| {}, nobody)
        .await
        .unwrap_err();
    assert_eq!(failure.kind, FailureKind::Interrupted);
    assert!(failure.message.contains("nothing was measured"));
    assert_eq!(
        fs::read_dir(lab.results.path().join("lab"))
            .unwrap()
            .count(),
        0
    );
}

#[tokio::test]
async fn a_job_that_asks_for_nothing_is_refused() {
    for load in [json!({"batch": 0}), json!({"sequential": 0})] {
        assert!(serde_json::from_value::<Shape>(load).is_err());
    }
    let lab = Lab::healthy().await;
    let mut job = lab.job("none", batch(1));
    job.prompts = job.prompts.fitted(Vec::new());
    let failure = measured(&job).await.unwrap_err();
    assert_eq!(failure.message, "benchmark `none` has no prompts");
    assert!(lab.a.asked().is_empty());
}

/// Two terminals, or a fault of ours: whoever ends first must know it too.
#[tokio::test]
async fn two_measurements_at_once_refuse_each_other() {
    let both = Arc::new(Barrier::new(2));
    let lab = Lab::new(move |asked, instance| {
        let mut steps = healthy(Some(instance), TOKENS);
        if !asked.headers["x-request-id"].contains("-warm-") {
            steps.insert(1, Step::Meet(both.clone()));
        }
        steps
    })
    .await;
    let (one, two) = (lab.job("one", sequential(1)), lab.job("two", sequential(1)));
    let (first, second) = tokio::join!(run(&one), run(&two));
    for (outcome, other) in [(&first, "two"), (&second, "one")] {
        assert!(!outcome.valid);
        let errors = outcome.anomalies.iter().filter(|a| a.invalidates());
        let ids: Vec<&str> = errors.map(|anomaly| anomaly.id.as_str()).collect();
        assert_eq!(ids, ["A19"]);
        let evidence = &outcome.anomalies[0].evidence["others"][0];
        assert_eq!(evidence["benchmark"], other);
        assert_eq!(evidence["pid"], std::process::id());
    }
    // Nothing of it is left, and the next one is believed.
    let left = fs::read_dir(lab.results.path().join("lab")).unwrap();
    let left: HashSet<_> = left.map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["one".into(), "two".into()].into());
    let alone = Lab::healthy().await;
    assert!(run(&alone.job("one", sequential(1))).await.valid);
}
