//! An endpoint of which nothing is declared: it is measured, and nothing is said to be proved of it.

use super::*;
use crate::load::models_at;
use crate::results::Unproved;

/// A job of which nothing is known but where it is asked.
fn unknown(lab: &Lab, load: Shape) -> Job {
    let known = lab.job("batch", load);
    Job {
        instances: Vec::new(),
        endpoint: Endpoint {
            is_proxy: false,
            policy: None,
            ..known.endpoint
        },
        ..known
    }
}

fn warmed(outcome: &Measurement) -> Vec<(&str, usize)> {
    let instances = outcome.result.warmup.instances.iter();
    instances
        .map(|it| (it.instance.as_str(), it.requests.len() + it.together.len()))
        .collect()
}

/// Whether nothing is said but of this machine: no rule misses the servers that it knows nothing of.
fn is_as_good_as_the_machine(outcome: &Measurement) {
    let of_the_machine = ["A9", "A21", "A23"];
    let said = outcome.anomalies.iter().map(|it| it.id.as_str());
    let other: Vec<&str> = said.filter(|id| !of_the_machine.contains(id)).collect();
    assert!(other.is_empty(), "{:?}", outcome.anomalies);
    assert!(outcome.valid);
}

#[tokio::test]
async fn whoever_answers_is_warmed_and_nobody_is_missed() {
    let lab = Lab::new(|_, _| healthy(None, TOKENS)).await;
    let outcome = run(&unknown(&lab, batch(4))).await;
    is_as_good_as_the_machine(&outcome);
    let result = &outcome.result;
    assert_eq!(result.unproved, Unproved::ALL);
    let [(name, asked)] = warmed(&outcome)[..] else {
        panic!("{:?}", result.warmup);
    };
    assert_eq!(name, lab.proxy.authority);
    assert_eq!(asked + 4, lab.proxy.asked().len());
    assert!(asked >= 2 + 4, "as many at once as the load: {asked}");
    assert!(lab.a.asked().is_empty() && lab.b.asked().is_empty());
    let text = serde_json::to_value(result).unwrap();
    assert_eq!(text["unproved"][0], "identity");
    let known = run(&lab.job("batch", batch(4))).await;
    assert!(known.result.unproved.is_empty());
}

#[tokio::test]
async fn who_says_to_have_served_is_told_apart_and_belongs_to_nobody() {
    let lab = Lab::new(|_, instance| healthy(Some(instance), TOKENS)).await;
    let outcome = run(&unknown(&lab, batch(4))).await;
    is_as_good_as_the_machine(&outcome);
    let names: Vec<&str> = warmed(&outcome).iter().map(|(name, _)| *name).collect();
    assert_eq!(names, ["a", "b"]);
    let shares = &only(&outcome).by_instance;
    assert_eq!((shares["a"].ok, shares["b"].ok), (2, 2));
    let mut requests = outcome
        .result
        .warmup
        .instances
        .iter()
        .flat_map(|it| &it.requests);
    assert!(requests.all(|it| it.text_sha256.is_none() && it.served_by.is_some()));
}

#[tokio::test]
async fn a_cold_endpoint_is_named_by_its_address() {
    let lab = Lab::new(|asked, _| {
        let mut steps = healthy(None, TOKENS);
        if asked.index == 0 {
            steps.insert(0, Step::Pause(Duration::from_millis(600)));
        }
        steps
    })
    .await;
    let mut job = unknown(&lab, sequential(5));
    job.warmup = 0;
    let outcome = run(&job).await;
    let cold = outcome.anomalies.iter().find(|it| it.id == "A6").unwrap();
    assert_eq!(cold.replica.as_deref(), Some(lab.proxy.authority.as_str()));
    assert!(!outcome.valid);
}

#[tokio::test]
async fn who_answers_no_warm_up_is_told_with_what_to_do() {
    for (status, expected) in [
        (401, "--api-key-env NAME"),
        (404, "`--api chat` asks /v1/chat/completions"),
        (400, "--cache allow --natural-length"),
    ] {
        let lab = Lab::new(move |_, _| vec![Step::Write(answer(status, &[], "no"))]).await;
        let failure = measured(&unknown(&lab, sequential(1))).await.unwrap_err();
        let said = format!("answered none of 2 warm-up requests: {status} no");
        assert!(failure.message.ends_with(&said), "{failure:?}");
        assert!(failure.hint.unwrap().contains(expected));
    }
    let lab = Lab::new(|_, _| healthy(None, TOKENS - 1)).await;
    let failure = measured(&unknown(&lab, sequential(1))).await.unwrap_err();
    assert!(failure.hint.unwrap().contains("--natural-length"));
}

#[tokio::test]
async fn its_models_are_those_that_it_names() {
    let lab = Lab::healthy().await;
    let models = models_at(&lab.a.authority, &BTreeMap::new()).await.unwrap();
    assert_eq!(models, ["tiny", "replica-a"]);
    let why = models_at("127.0.0.1:1", &BTreeMap::new())
        .await
        .unwrap_err();
    assert!(
        why.message.contains("cannot connect to 127.0.0.1:1"),
        "{why:?}"
    );
}
