//! Who was tried with whom before a request is split between them.

use super::*;
use crate::plan::Role;

/// One that reads prompts, and one that writes answers.
async fn pair() -> [Fake; 2] {
    let mut prefill = Fake::start("p").await;
    let mut decode = Fake::start("d").await;
    prefill.backend.role = Role::Prefill;
    decode.backend.role = Role::Decode;
    [prefill, decode]
}

#[tokio::test]
async fn who_comes_second_is_not_served_from_before_what_is_computed_gets_there() {
    let [prefill, decode] = pair().await;
    decode.garble(true);
    let proxy = Running::start().await;
    proxy.configure(&config(1, &[&prefill, &decode])).await;
    let is_tried = |status: &Status| {
        let troubles = status
            .backends
            .values()
            .filter_map(|it| it.trouble.as_deref());
        let mut troubles =
            troubles.filter(|it| it.starts_with("what p computes does not get to d"));
        troubles.any(|it| {
            it.contains("by itself d writes \" 27\", and \" what?\" with what it fetches")
        })
    };
    let status = proxy.until(is_tried).await;
    let ready = status
        .backends
        .values()
        .filter(|it| it.state == BackendState::Ready);
    assert_eq!(ready.count(), 1);
}

#[tokio::test]
async fn who_gets_on_with_the_other_is_served_from() {
    let [prefill, decode] = pair().await;
    let proxy = Running::before(&[&prefill, &decode]).await;
    let status = proxy.status().await;
    for backend in status.backends.values() {
        assert_eq!(
            (backend.state, &backend.trouble),
            (BackendState::Ready, &None)
        );
    }
    assert_eq!((prefill.calls(), decode.calls()), (0, 0));
}

#[tokio::test]
async fn where_nothing_is_split_nobody_is_tried() {
    let [mut a, mut b] = pair().await;
    for fake in [&mut a, &mut b] {
        fake.backend.role = Role::Both;
        fake.garble(true);
    }
    let proxy = Running::before(&[&a, &b]).await;
    assert_eq!(proxy.status().await.backends.len(), 2);
}

#[tokio::test]
async fn who_was_tried_once_is_not_tried_again() {
    let [prefill, decode] = pair().await;
    let proxy = Running::before(&[&prefill, &decode]).await;
    decode.serve(&["another"]);
    proxy.front.pool.backends()[1].suspect();
    proxy.until_state("d", BackendState::Ejected).await;
    decode.garble(true);
    decode.serve(&["tiny", "replica-d"]);
    proxy.until_state("d", BackendState::Ready).await;
}
