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

/// Two requests in one piece, of which the first has reached an instance.
async fn asks_twice(proxy: &Running, next: &str) -> Client {
    let mut client = proxy.client().await;
    let both = post("/v1/completions", "{}") + next;
    client.send(&both).await;
    client
}

#[tokio::test]
async fn a_client_that_leaves_behind_its_next_request_cuts_the_upstream() {
    let (fake, mut calls) = Fake::driven("a").await;
    let proxy = Running::before(&[&fake]).await;
    let whole = post("/v1/completions", "next");
    for (next, is_reset) in [(&*whole, false), (&whole[..20], true), ("P", false)] {
        let client = asks_twice(&proxy, next).await;
        let mut call = soon(calls.recv()).await.unwrap();
        if is_reset {
            client.0.set_zero_linger().unwrap();
        }
        drop(client);
        soon(call.gone()).await;
    }
    proxy.until_requests(0, 0, 3).await;
    assert_eq!(proxy.status().await.backends["a"].in_flight, 0);
    assert_eq!(fake.calls(), 3);
}

#[tokio::test]
async fn a_client_that_asks_on_during_a_stream_and_leaves_cuts_the_upstream() {
    let (fake, mut calls) = Fake::driven("a").await;
    let proxy = Running::before(&[&fake]).await;
    let mut client = proxy.client().await;
    client.send(&post("/v1/completions", "{}")).await;
    let mut call = soon(calls.recv()).await.unwrap();
    call.begin_stream().await;
    client.until("\r\n\r\n").await;
    for _ in 0..3 {
        client.send(&post("/v1/completions", "next")).await;
        call.chunk("data: one\n\n").await;
        client.until("one\n\n\r\n").await;
    }
    drop(client);
    soon(call.gone()).await;
    proxy.until_requests(0, 0, 1).await;
}

#[tokio::test]
async fn what_is_asked_ahead_is_answered_in_its_order() {
    let (fake, mut calls) = Fake::driven("a").await;
    let proxy = Running::before(&[&fake]).await;
    // Some of it fits nowhere yet.
    let bodies = ["first".to_owned(), "x".repeat(400_000), "third".to_owned()];
    let (mut reader, mut writer) = proxy.client().await.0.into_split();
    let sent = bodies.clone();
    let writing = tokio::spawn(async move {
        for body in sent {
            let request = post("/v1/completions", &body);
            writer.write_all(request.as_bytes()).await.unwrap();
        }
        writer
    });
    for body in bodies {
        let mut call = soon(calls.recv()).await.unwrap();
        assert!(call.body == body.as_bytes(), "{} bytes", call.body.len());
        // What comes behind it comes while it is answered.
        tokio::time::sleep(Duration::from_millis(20)).await;
        call.reply("200 OK", &body.len().to_string()).await;
        let mut answer = Vec::new();
        let end = format!("\r\n\r\n{}", body.len());
        while !answer.ends_with(end.as_bytes()) {
            answer.push(soon(reader.read_u8()).await.unwrap());
        }
    }
    drop(soon(writing).await.unwrap());
    proxy.until_requests(3, 0, 0).await;
}
