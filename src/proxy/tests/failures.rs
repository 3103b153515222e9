use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::net::TcpListener;

use super::*;

/// The value of a sample on the page of metrics.
async fn metric(proxy: &Running, sample: &str) -> u64 {
    let page = proxy.get("/metrics").await.body;
    page.lines()
        .find_map(|line| line.strip_prefix(sample))
        .unwrap_or_else(|| panic!("no {sample} in {page}"))
        .trim()
        .parse()
        .unwrap()
}

#[tokio::test]
async fn a_connect_failure_goes_to_another_instance_and_takes_the_first_out() {
    let (a, b) = (Fake::start("a").await, Fake::start("b").await);
    let proxy = Running::before(&[&a, &b]).await;
    drop(a);
    for _ in 0..4 {
        let answer = proxy.post("/v1/completions", "{}").await;
        assert_eq!((answer.status(), answer.instance()), (200, Some("b")));
    }
    proxy.until_requests(4, 0, 0).await;
    proxy.until_state("a", BackendState::Ejected).await;
    let attempts = "replica_proxy_attempts_total{instance=";
    assert_eq!(
        metric(&proxy, &format!(r#"{attempts}"a",reason="first"}}"#)).await,
        1
    );
    assert_eq!(
        metric(&proxy, &format!(r#"{attempts}"b",reason="first"}}"#)).await,
        3
    );
    assert_eq!(
        metric(&proxy, &format!(r#"{attempts}"b",reason="elsewhere"}}"#)).await,
        1
    );
    let ejections = r#"replica_proxy_ejections_total{instance="a",reason="request"}"#;
    assert_eq!(metric(&proxy, ejections).await, 1);
    let unreachable = r#"replica_proxy_attempt_failures_total{instance="a",reason="unreachable"}"#;
    assert_eq!(metric(&proxy, unreachable).await, 1);
}

#[tokio::test]
async fn nobody_reachable_is_said_to_be_so() {
    let a = Fake::start("a").await;
    let proxy = Running::before(&[&a]).await;
    drop(a);
    let answer = proxy.post("/v1/completions", "{}").await;
    assert_eq!(answer.status(), 502);
    assert_eq!(answer.error(), "upstream_unreachable");
    proxy.until_state("a", BackendState::Ejected).await;
    let answer = proxy.post("/v1/completions", "{}").await;
    assert_eq!(answer.status(), 503);
    assert_eq!(answer.error(), "no_ready_instance");
    assert_eq!(answer.header("retry-after"), Some("1"));
    proxy.until_requests(0, 2, 0).await;
}

#[tokio::test]
async fn what_a_dying_server_had_is_never_sent_again() {
    let (a, mut calls) = Fake::driven("a").await;
    let b = Fake::start("b").await;
    let proxy = Running::before(&[&a, &b]).await;
    let mut client = proxy.client().await;
    client.send(&post("/v1/completions", "{}")).await;
    let call = calls.recv().await.unwrap();
    a.die();
    call.reset();
    let answer = client.answer().await;
    assert_eq!(answer.status(), 502);
    assert_eq!(answer.error(), "upstream_broken");
    assert_eq!((a.calls(), b.calls()), (1, 0));
    proxy.until_requests(0, 1, 0).await;
}

#[tokio::test]
async fn a_request_lost_on_a_closing_connection_is_sent_once_more() {
    let (fake, mut calls) = Fake::driven("a").await;
    let proxy = Running::before(&[&fake]).await;
    let mut client = proxy.client().await;
    client.send(&post("/v1/completions", "{}")).await;
    let mut call = calls.recv().await.unwrap();
    call.reply("200 OK", "{}").await;
    assert_eq!(client.answer().await.status(), 200);
    // The next one is read from the reused connection, so it was certainly written: and then the
    // server closes as if it had not seen it.
    client.send(&post("/v1/completions", r#"{"n":2}"#)).await;
    call.next_came().await;
    drop(call);
    let mut again = calls.recv().await.unwrap();
    assert_eq!(again.body, br#"{"n":2}"#);
    again.reply("200 OK", "{}").await;
    assert_eq!(client.answer().await.status(), 200);
    proxy.until_requests(2, 0, 0).await;
    let resent = r#"replica_proxy_attempts_total{instance="a",reason="resent"}"#;
    assert_eq!(metric(&proxy, resent).await, 1);
}

#[tokio::test]
async fn a_request_that_kills_its_instance_kills_no_second_one() {
    let (a, mut calls) = Fake::driven("a").await;
    let b = Fake::start("b").await;
    let proxy = Running::before(&[&a, &b]).await;
    let mut client = proxy.client().await;
    client.send(&post("/v1/completions", "{}")).await;
    let mut call = calls.recv().await.unwrap();
    call.reply("200 OK", "{}").await;
    client.answer().await;
    assert_eq!(
        proxy.post("/v1/completions", "{}").await.instance(),
        Some("b")
    );
    // This one is taken by the kept connection to `a`, which dies with all of its server.
    client.send(&post("/v1/completions", "{}")).await;
    call.next_came().await;
    drop(a);
    drop(calls);
    tokio::task::yield_now().await;
    call.reset();
    let answer = client.answer().await;
    assert_eq!(answer.status(), 502);
    assert_eq!(b.calls(), 1, "it went on to the next");
    proxy.until_state("a", BackendState::Ejected).await;
}

#[tokio::test]
async fn nothing_is_sent_again_once_an_answer_began() {
    let (fake, mut calls) = Fake::driven("a").await;
    let proxy = Running::before(&[&fake]).await;
    let mut client = proxy.client().await;
    client.send(&post("/v1/completions", "{}")).await;
    let mut call = calls.recv().await.unwrap();
    call.reply("200 OK", "{}").await;
    client.answer().await;
    client.send(&post("/v1/completions", "{}")).await;
    call.next_came().await;
    call.write("HTTP/1.1 20").await;
    drop(call);
    assert_eq!(client.answer().await.status(), 502);
    assert_eq!(fake.calls(), 1, "the half-answered one was sent again");
    proxy.until_requests(1, 1, 0).await;
}

#[tokio::test]
async fn a_connection_closed_while_idle_costs_nothing() {
    let fake = Fake::answering("a", |mut call| async move {
        call.reply("200 OK", "{}").await;
        None
    })
    .await;
    let proxy = Running::before(&[&fake]).await;
    let mut client = proxy.client().await;
    for _ in 0..200 {
        client.send(&post("/v1/completions", "{}")).await;
        assert_eq!(client.answer().await.status(), 200);
    }
    proxy.until_requests(200, 0, 0).await;
}

#[tokio::test]
async fn connections_are_used_again() {
    let fake = Fake::answering("a", |mut call| async move {
        let connection = call.connection.to_string();
        call.reply("200 OK", &connection).await;
        Some(call.stream)
    })
    .await;
    let proxy = Running::before(&[&fake]).await;
    let mut client = proxy.client().await;
    let mut connections = std::collections::BTreeSet::new();
    for _ in 0..50 {
        client.send(&post("/v1/completions", "{}")).await;
        connections.insert(client.answer().await.body);
        tokio::task::yield_now().await;
    }
    assert!(connections.len() < 5, "{connections:?}");
}

#[tokio::test]
async fn a_poisonous_request_takes_nobody_out() {
    let poisoned = |mut call: fake::Call| async move {
        call.reply("500 Internal Server Error", r#"{"error":"engine"}"#)
            .await;
        Some(call.stream)
    };
    let a = Fake::answering("a", poisoned).await;
    let b = Fake::answering("b", poisoned).await;
    let proxy = Running::before(&[&a, &b]).await;
    for _ in 0..100 {
        let answer = proxy.post("/v1/completions", "{}").await;
        assert_eq!(answer.status(), 500);
        assert_eq!(answer.body, r#"{"error":"engine"}"#);
    }
    // A tenth at the start, and one of five: what the budget has.
    let calls = a.calls() + b.calls();
    assert!(calls <= 100 + 10 + 20, "{calls}");
    let status = proxy.status().await;
    for name in ["a", "b"] {
        assert_eq!(status.backends[name].state, BackendState::Ready);
    }
}

#[tokio::test]
async fn a_request_that_resets_connections_takes_nobody_out() {
    let resetting = |call: fake::Call| async move {
        call.reset();
        None
    };
    let a = Fake::answering("a", resetting).await;
    let b = Fake::answering("b", resetting).await;
    let proxy = Running::before(&[&a, &b]).await;
    for _ in 0..100 {
        assert_eq!(
            proxy.post("/v1/completions", "{}").await.error(),
            "upstream_broken"
        );
        assert_eq!(proxy.get("/ready").await.status(), 200);
    }
    proxy.until_requests(0, 100, 0).await;
}

#[tokio::test]
async fn garbage_for_an_answer_is_an_error_of_ours() {
    let fake = Fake::answering("a", |mut call| async move {
        call.write("\u{1}\u{2}garbage\r\n\r\n").await;
        None
    })
    .await;
    let proxy = Running::before(&[&fake]).await;
    let answer = proxy.post("/v1/completions", "{}").await;
    assert_eq!(
        (answer.status(), answer.error()),
        (502, "upstream_broken".to_owned())
    );
}

#[tokio::test]
async fn an_instance_that_comes_back_serves_again() {
    let up = Arc::new(AtomicBool::new(false));
    let a = Fake::start("a").await;
    let address = a.address();
    let proxy = Running::before(&[&a]).await;
    drop(a);
    proxy.post("/v1/completions", "{}").await;
    proxy.until_state("a", BackendState::Ejected).await;
    let listener = TcpListener::bind(address).await.unwrap();
    let flag = Arc::clone(&up);
    let back = Fake::on(listener, "a", "replica-a", move |mut call| {
        flag.store(true, Ordering::SeqCst);
        async move {
            call.reply("200 OK", "{}").await;
            None
        }
    });
    proxy.until_state("a", BackendState::Ready).await;
    assert_eq!(proxy.post("/v1/completions", "{}").await.status(), 200);
    assert!(up.load(Ordering::SeqCst));
    drop(back);
}
