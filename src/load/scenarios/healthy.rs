//! Measurements that go well: what is sent, what is stamped, what is kept.

use std::sync::Mutex;

use super::super::request::Place;
use super::*;

#[tokio::test]
async fn a_batch_is_warmed_measured_and_kept() {
    let together = Arc::new(Barrier::new(8));
    let lab = Lab::new(move |asked, instance| {
        let mut steps = healthy(Some(instance), TOKENS);
        if asked.index > 0 {
            steps.insert(1, Step::Meet(together.clone())); // all eight, or none
        }
        steps
    })
    .await;
    let job = lab.job("batch", batch(8));
    let outcome = run(&job).await;
    assert!(outcome.valid, "{:?}", outcome.anomalies);

    let summary = only(&outcome);
    assert_eq!((summary.counts.ok, summary.counts.failed), (8, 0));
    assert_eq!(summary.metrics.in_flight.peak, 8);
    assert_eq!(summary.metrics.output_tokens, 8 * TOKENS);
    let shares: Vec<_> = summary
        .by_instance
        .iter()
        .map(|(i, s)| (i.as_str(), s.ok))
        .collect();
    assert_eq!(shares, [("a", 4), ("b", 4)]);
    let warmup = &outcome.result.warmup;
    for (warmed, fake) in warmup.instances.iter().zip([&lab.a, &lab.b]) {
        assert!(warmed.requests.len() >= 2 && warmed.together.len() == 4);
        let asked = fake.asked();
        assert_eq!(asked.len(), warmed.requests.len() + 4);
        let greedy = asked
            .iter()
            .filter(|it| it.body["temperature"].as_f64() == Some(0.0));
        assert_eq!(greedy.count(), asked.len() - 1, "one of them is sampled");
    }
    assert!(warmup.endpoint.is_some() && warmup.took_s > Some(0.0));

    let text = fs::read_to_string(&outcome.path).unwrap();
    assert_eq!(
        serde_json::from_str::<BenchResult>(&text).unwrap(),
        outcome.result
    );
    let lines = fs::read_to_string(&outcome.requests).unwrap();
    assert_eq!(lines.lines().count(), 8);
    let past = newest(&lab).unwrap();
    assert_eq!((past.path, past.valid), (outcome.path.clone(), true));
    assert_eq!((&*past.fingerprint, past.headlines[0].ok), ("f-1", 8));

    fs::write(&outcome.path, &text[..text.len() / 2]).unwrap();
    assert_eq!(newest(&lab), None);
}

/// What the machines do after that look they do while measured: nothing that counts is sent before it
/// has ended, by whoever sends.
#[tokio::test]
async fn the_machines_are_looked_at_between_the_warm_up_and_what_counts() {
    for from in [None, Some("spark-01")] {
        let lab = Lab::healthy().await;
        let mut job = lab.job("batch", batch(2));
        if from.is_some() {
            job = relayed::from_spark(job);
        }
        let looks = Mutex::new(Vec::new());
        let survey = |look| {
            let (lab, looks) = (&lab, &looks);
            async move {
                // Whoever did not wait would have sent by then.
                tokio::time::sleep(Duration::from_millis(50)).await;
                let asked = [&lab.a, &lab.b, &lab.proxy].map(|it| it.asked().len());
                looks.lock().unwrap().push((look, asked));
                Surveyed::new()
            }
        };
        let outcome = match from {
            None => {
                let stop = std::future::pending();
                measure(&job, &BTreeMap::new(), stop, |_| {}, survey).await
            }
            Some(_) => relayed::looked_at(&job, survey).await,
        };
        let warmed = outcome.unwrap().result.warmup.instances;
        let warmed = warmed
            .iter()
            .map(|it| it.requests.len() + it.together.len());
        let warmed: Vec<usize> = warmed.collect();
        let [a, b] = warmed[..] else {
            panic!("{warmed:?}");
        };
        let seen = looks.into_inner().unwrap();
        let whole = Look::Whole;
        let looks = [
            (whole, [0; 3]),
            (Look::Quick, [a, b, 1]),
            (whole, [a, b, 3]),
        ];
        assert_eq!(seen, looks);
    }
}

#[tokio::test]
async fn every_request_says_what_it_must_and_shares_no_salt() {
    let lab = Lab::healthy().await;
    let job = lab.job("single", sequential(3));
    run(&job).await;
    run(&job).await;
    let asked = [lab.a.asked(), lab.b.asked(), lab.proxy.asked()].concat();
    // Two to each instance, one of them at once, one through the endpoint, and three that count.
    assert!(asked.len() >= 2 * (2 + 2 + 2 + 1 + 3));
    let field = |name: &str| {
        asked
            .iter()
            .map(|a| a.body[name].to_string())
            .collect::<HashSet<_>>()
    };
    let ids: HashSet<_> = asked
        .iter()
        .map(|a| a.headers["x-request-id"].clone())
        .collect();
    assert_eq!(
        (field("cache_salt").len(), ids.len()),
        (asked.len(), asked.len())
    );
    let body = &lab.proxy.asked()[2].body;
    assert_eq!(body["prompt"], "Why?");
    assert_eq!(body["max_tokens"], TOKENS);
    assert_eq!(
        (&body["temperature"], &body["ignore_eos"]),
        (&json!(0.0), &json!(true))
    );
    assert_eq!(
        body["stream_options"],
        json!({"include_usage": true, "continuous_usage_stats": true})
    );
    assert!(
        asked
            .iter()
            .all(|a| !a.headers.contains_key("authorization"))
    );
}

#[tokio::test]
async fn a_cold_replica_shows_in_the_warm_up_and_not_in_the_statistics() {
    let mut lab = Lab::healthy().await;
    let slow = Duration::from_millis(300);
    lab.b = Fake::start("replica-b", move |asked| {
        let mut steps = healthy(None, TOKENS);
        if asked.index == 0 {
            steps.insert(0, Step::Pause(slow));
        }
        steps
    })
    .await;
    let outcome = run(&lab.job("single", sequential(4))).await;
    let b = &outcome.result.warmup.instances[1];
    assert_eq!(b.instance, "b");
    assert!(b.requests[0].e2el_ms.unwrap() >= 300.0);
    let summary = only(&outcome);
    assert_eq!(
        (summary.counts.total, summary.metrics.output_tokens),
        (4, 4 * TOKENS)
    );
}

#[tokio::test]
async fn stamps_are_never_before_what_they_saw() {
    let lab = Lab::healthy().await;
    let client = client::Client {
        clock: lab.a.clock(),
        keys: key::ApiKeys::default(),
        limit: Duration::from_secs(20),
    };
    let requests = request::Requests::of(&lab.job("x", batch(1)), "run");
    let link = client.open(&lab.a.authority).await;
    let raw = client
        .complete(
            link,
            requests.measured(Place { point: 0, round: 0 }, 0),
            None,
        )
        .await;
    let written = lab.a.written();
    assert!(raw.sent.unwrap() <= written[0]);
    assert!(raw.head.unwrap() >= written[0]);
    let record = sample::read(raw);
    assert_eq!(record.status, Status::Ok);
    for ((at, _), wrote) in record.tokens.iter().zip(&written[1..]) {
        assert!(*at >= wrote / 1000);
    }
    let s = &record.stamps;
    assert!(s.connecting <= s.connected && s.connected <= Some(s.planned));
    assert!(Some(s.planned) <= s.sent && s.sent <= s.head && s.head <= s.event);
    assert!(s.event <= s.first && s.first <= s.last && s.last <= s.done && s.done <= s.eof);
}

#[tokio::test]
async fn an_answer_is_the_same_however_its_bytes_are_cut() {
    let bytewise = Lab::new(|_, instance| {
        healthy(Some(instance), TOKENS)
            .into_iter()
            .flat_map(|step| match step {
                Step::Write(bytes) => bytes.into_iter().map(|b| Step::Write(vec![b])).collect(),
                other => vec![other],
            })
            .collect()
    })
    .await;
    let lab = Lab::healthy().await;
    let mut seen = Vec::new();
    for lab in [&lab, &bytewise] {
        let outcome = run(&lab.job("single", sequential(1))).await;
        let line = fs::read_to_string(outcome.requests).unwrap();
        let record: Record = serde_json::from_str(&line).unwrap();
        assert_eq!(record.status, Status::Ok);
        let counts: Vec<u64> = record.tokens.iter().map(|(_, n)| *n).collect();
        seen.push((record.text_sha256, counts, record.n_in));
    }
    assert_eq!(seen[0], seen[1]);
}

#[tokio::test]
async fn progress_is_told() {
    let lab = Lab::healthy().await;
    let mut phases = Vec::new();
    let told = |phase: Phase| phases.push(phase.doing);
    measured_with(&lab.job("single", sequential(1)), &BTreeMap::new(), told)
        .await
        .unwrap();
    assert_eq!(phases.last().unwrap(), "summarising");
}
