use super::*;

#[tokio::test]
async fn a_client_that_leaves_before_the_head_cuts_the_upstream() {
    let (fake, mut calls) = Fake::driven("a").await;
    let proxy = Running::before(&[&fake]).await;
    let mut client = proxy.client().await;
    client.send(&post("/v1/completions", "{}")).await;
    let mut call = calls.recv().await.unwrap();
    drop(client);
    soon(call.gone()).await;
    proxy.until_requests(0, 0, 1).await;
    assert_eq!(proxy.status().await.backends["a"].in_flight, 0);
}

#[tokio::test]
async fn a_client_that_leaves_before_the_first_event_cuts_the_upstream() {
    let (fake, mut calls) = Fake::driven("a").await;
    let proxy = Running::before(&[&fake]).await;
    let mut client = proxy.client().await;
    client.send(&post("/v1/completions", "{}")).await;
    let mut call = calls.recv().await.unwrap();
    call.begin_stream().await;
    client.until("\r\n\r\n").await;
    drop(client);
    soon(call.gone()).await;
    proxy.until_requests(0, 0, 1).await;
}

#[tokio::test]
async fn a_client_that_leaves_a_silent_stream_cuts_the_upstream() {
    let (fake, mut calls) = Fake::driven("a").await;
    let proxy = Running::before(&[&fake]).await;
    let mut client = proxy.client().await;
    client.send(&post("/v1/completions", "{}")).await;
    let mut call = calls.recv().await.unwrap();
    call.begin_stream().await;
    call.chunk("data: one\n\n").await;
    client.until("one\n\n\r\n").await;
    drop(client);
    soon(call.gone()).await;
    proxy.until_requests(0, 0, 1).await;
    assert_eq!(proxy.status().await.backends["a"].in_flight, 0);
}

#[tokio::test]
async fn a_client_that_leaves_while_it_sends_reaches_no_instance() {
    let fake = Fake::start("a").await;
    let proxy = Running::before(&[&fake]).await;
    let mut client = proxy.client().await;
    client
        .send("POST /v1/completions HTTP/1.1\r\nhost: p\r\ncontent-length: 100\r\n\r\nhalf")
        .await;
    drop(client);
    proxy.until_requests(0, 0, 1).await;
    assert_eq!(fake.calls(), 0);
}

#[tokio::test]
async fn a_client_that_leaves_a_large_upload_cuts_the_upstream() {
    let (fake, mut calls) = Fake::driven("a").await;
    let proxy = Running::before(&[&fake]).await;
    let mut client = proxy.client().await;
    client
        .send("POST /v1/completions HTTP/1.1\r\nhost: p\r\ncontent-length: 20000000\r\n\r\n")
        .await;
    client.send(&"x".repeat(300_000)).await;
    let mut call = calls.recv().await.unwrap();
    let mut half = vec![0; 300_000];
    soon(call.stream.read_exact(&mut half)).await.unwrap();
    assert!(half.iter().all(|byte| *byte == b'x'));
    drop(client);
    soon(call.gone()).await;
    proxy.until_requests(0, 0, 1).await;
    let status = proxy.status().await;
    assert_eq!(status.backends["a"].in_flight, 0);
    assert_eq!(status.backends["a"].state, BackendState::Ready);
}
