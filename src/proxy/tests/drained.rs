//! Backends that somebody had drained until they are undrained.

use std::collections::BTreeSet;

use super::*;
use crate::proxy::control::{BackendState, Reply, Request};

fn drained(names: &[&str]) -> Request {
    Request::Drained(names.iter().map(ToString::to_string).collect())
}

async fn state(proxy: &Running, name: &str) -> BackendState {
    proxy.status().await.backends[name].state
}

#[tokio::test]
async fn nobody_but_who_says_so_ends_it() {
    let (a, b) = (Fake::start("a").await, Fake::start("b").await);
    let proxy = Running::before(&[&a, &b]).await;
    proxy.configure(&config(3, &[&a, &b])).await;
    let status = proxy.done(&drained(&["b"])).await;
    assert_eq!(status.backends["b"].state, BackendState::Draining);
    let served = status.config.unwrap();
    assert_eq!(served.drained, BTreeSet::from(["b".to_owned()]));
    assert_eq!(served.generation, 4, "a plan that rests on it is told");

    // Neither its own start, nor another configuration that says so too, nor a start of the proxy.
    proxy.done(&Request::Admit(b.backend.clone())).await;
    assert_eq!(state(&proxy, "b").await, BackendState::Draining);
    let next = Config {
        drained: served.drained,
        ..config(5, &[&a, &b])
    };
    proxy.configure(&next).await;
    assert_eq!(state(&proxy, "b").await, BackendState::Draining);
    let proxy = Running::start_in(proxy.stop().await).await;
    proxy.until_state("a", BackendState::Ready).await;
    assert_eq!(state(&proxy, "b").await, BackendState::Draining);
    for _ in 0..4 {
        let answer = proxy.post("/v1/completions", "{}").await;
        assert_eq!(answer.instance(), Some("a"));
    }

    let status = proxy.done(&drained(&[])).await;
    assert_eq!(status.backends["b"].state, BackendState::Ready);
    assert_eq!(status.config.unwrap().drained, BTreeSet::new());
}

#[tokio::test]
async fn the_answer_waits_for_what_is_in_flight_and_who_goes_away_leaves_it_drained() {
    let (a, mut calls) = Fake::driven("a").await;
    let b = Fake::start("b").await;
    let proxy = Running::before(&[&a, &b]).await;
    let mut client = proxy.client().await;
    client.send(&post("/v1/completions", "{}")).await;
    let mut call = calls.recv().await.unwrap();
    call.begin_stream().await;

    let (heard, mut waiting) = tokio::sync::mpsc::unbounded_channel();
    let socket = proxy.socket();
    let drain = tokio::spawn(async move {
        let told = |reply: &Reply| heard.send(reply.clone()).unwrap_or_default();
        super::call(&socket, &drained(&["a"]), told).await
    });
    let news = soon(waiting.recv()).await.unwrap();
    assert!(matches!(news, Reply::Waiting { in_flight: 1, .. }));
    drain.abort();
    call.end_stream().await;
    client.until("0\r\n\r\n").await;
    assert_eq!(state(&proxy, "a").await, BackendState::Draining);
}

#[tokio::test]
async fn what_is_not_there_cannot_be_drained() {
    let a = Fake::start("a").await;
    let proxy = Running::before(&[&a]).await;
    let refused = super::call(&proxy.socket(), &drained(&["c"]), |_| ()).await;
    let Ok(Reply::Refused { message }) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!(message, "there is no backend `c`");
    assert_eq!(
        proxy.status().await.config.unwrap().drained,
        BTreeSet::new()
    );
}
