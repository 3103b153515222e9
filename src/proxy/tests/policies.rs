use super::*;
use crate::proxy::policy::SessionSettings;

async fn asked(proxy: &Running, session: &str) -> String {
    let head = "POST /v1/completions HTTP/1.1\r\nhost: proxy\r\ncontent-type: application/json";
    let request = format!("{head}\r\nx-session-id: {session}\r\ncontent-length: 2\r\n\r\n{{}}");
    let answer = proxy.ask(&request).await;
    answer.instance().unwrap().to_owned()
}

#[tokio::test]
async fn a_session_stays_with_its_instance() {
    let (a, b) = (Fake::start("a").await, Fake::start("b").await);
    let proxy = Running::before(&[&a, &b]).await;
    let mut next = config(2, &[&a, &b]);
    next.policy = PolicySpec::Session(SessionSettings::default());
    proxy.configure(&next).await;
    let mut seen = Vec::new();
    for session in 0..12 {
        let session = format!("chat-{session}");
        let first = asked(&proxy, &session).await;
        for _ in 0..3 {
            assert_eq!(asked(&proxy, &session).await, first, "{session}");
        }
        seen.push(first);
    }
    assert!(
        ["a", "b"].iter().all(|it| seen.iter().any(|at| at == it)),
        "{seen:?}"
    );
    // The policy is told and kept with its settings.
    let in_force = proxy.status().await.config.unwrap();
    assert_eq!(in_force.policy, next.policy);
}

#[tokio::test]
async fn weights_are_told_to_the_instances_that_are_there() {
    let (a, b) = (Fake::start("a").await, Fake::start("b").await);
    let proxy = Running::before(&[&a, &b]).await;
    for (generation, weights, to_a) in [
        (2, vec![("a", 3)], 6),
        (3, vec![], 4),
        (4, vec![("b", 7)], 1),
    ] {
        let mut next = config(generation, &[&a, &b]);
        let weights = weights
            .into_iter()
            .map(|(name, weight)| (name.to_owned(), weight));
        next.weights = weights.collect();
        proxy.configure(&next).await;
        let mut turns = 0;
        for _ in 0..8 {
            let answer = proxy.post("/v1/completions", "{}").await;
            turns += u32::from(answer.instance() == Some("a"));
        }
        assert_eq!(turns, to_a, "of 8 in generation {generation}");
    }
}
