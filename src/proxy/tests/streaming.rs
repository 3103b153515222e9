use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::AsyncWriteExt;

use super::*;

#[tokio::test]
async fn each_event_arrives_before_the_next_is_sent() {
    let (fake, mut calls) = Fake::driven("a").await;
    let proxy = Running::before(&[&fake]).await;
    let mut client = proxy.client().await;
    client
        .send(&post("/v1/completions", r#"{"stream":true}"#))
        .await;
    let mut call = calls.recv().await.unwrap();
    call.begin_stream().await;
    let head = client.until("\r\n\r\n").await;
    assert!(head.contains("content-type: text/event-stream"), "{head}");
    for event in ["data: one\n\n", "data: two\n\n", "data: [DONE]\n\n"] {
        call.chunk(event).await;
        // The fake sends nothing more until the client has this one.
        let chunk = format!("{:X}\r\n{event}\r\n", event.len());
        assert_eq!(client.until("\n\n\r\n").await, chunk);
    }
    call.end_stream().await;
    assert_eq!(client.until("0\r\n\r\n").await, "0\r\n\r\n");
    proxy.until_requests(1, 0, 0).await;
}

#[tokio::test]
async fn a_broken_stream_never_looks_like_an_ended_one() {
    let (fake, mut calls) = Fake::driven("a").await;
    let proxy = Running::before(&[&fake]).await;
    let mut client = proxy.client().await;
    client.send(&post("/v1/completions", "{}")).await;
    let mut call = calls.recv().await.unwrap();
    call.begin_stream().await;
    call.chunk("data: one\n\n").await;
    // In the middle of a chunk, so that not even its framing is whole.
    call.write("40\r\ndata: tw").await;
    drop(call);
    let seen = client.rest().await;
    assert!(
        seen.contains("data: one\n\n"),
        "what came was lost: {seen:?}"
    );
    assert!(!seen.ends_with("0\r\n\r\n"), "a clean end: {seen:?}");
    proxy.until_requests(0, 1, 0).await;
}

#[tokio::test]
async fn a_stream_that_breaks_between_events_says_so_in_one() {
    let (fake, mut calls) = Fake::driven("a").await;
    let proxy = Running::before(&[&fake]).await;
    let mut client = proxy.client().await;
    client.send(&post("/v1/completions", "{}")).await;
    let mut call = calls.recv().await.unwrap();
    call.begin_stream().await;
    call.chunk("data: one\n\n").await;
    drop(call);
    let seen = client.rest().await;
    let (_, last) = seen.split_once("data: one\n\n\r\n").unwrap();
    let (_, event) = last.split_once("\r\ndata: ").unwrap();
    let error: Value = serde_json::from_str(event.split_once("\n\n").unwrap().0).unwrap();
    assert_eq!(error["error"]["type"], "upstream_broken", "{seen:?}");
    assert!(event.ends_with("\n\n\r\n"), "a clean end: {seen:?}");
    proxy.until_requests(0, 1, 0).await;
}

#[tokio::test]
async fn what_came_with_the_break_still_arrives() {
    let (fake, mut calls) = Fake::driven("a").await;
    let proxy = Running::before(&[&fake]).await;
    let mut client = proxy.client().await;
    client.send(&post("/v1/completions", "{}")).await;
    let mut call = calls.recv().await.unwrap();
    call.write("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nshort")
        .await;
    drop(call);
    let seen = client.rest().await;
    assert!(seen.ends_with("short"), "{seen:?}");
    proxy.until_requests(0, 1, 0).await;
}

#[tokio::test]
async fn a_stream_that_falls_silent_is_broken_off() {
    let (fake, mut calls) = Fake::driven("a").await;
    let proxy = Running::before(&[&fake]).await;
    let mut impatient = config(2, &[&fake]);
    impatient.timeouts.idle = 0.05;
    proxy.configure(&impatient).await;
    let mut client = proxy.client().await;
    client.send(&post("/v1/completions", "{}")).await;
    let mut call = calls.recv().await.unwrap();
    call.begin_stream().await;
    call.chunk("data: one\n\n").await;
    let seen = client.rest().await;
    assert!(!seen.ends_with("0\r\n\r\n"), "a clean end: {seen:?}");
    soon(call.gone()).await;
    proxy.until_requests(0, 1, 0).await;
}

#[tokio::test]
async fn silence_before_the_head_is_a_timeout() {
    let (fake, mut calls) = Fake::driven("a").await;
    let proxy = Running::before(&[&fake]).await;
    let mut impatient = config(2, &[&fake]);
    impatient.timeouts.idle = 0.05;
    proxy.configure(&impatient).await;
    let answer = proxy.post("/v1/completions", "{}").await;
    assert_eq!(answer.status(), 504);
    assert_eq!(answer.error(), "upstream_timeout");
    soon(calls.recv().await.unwrap().gone()).await;
    proxy.until_requests(0, 1, 0).await;
}

/// A client that reads nothing holds the instance back: the proxy does not take in what nobody takes
/// from it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_client_holds_the_instance_back() {
    const FLOOD: usize = 400 * 1024 * 1024;
    let written = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&written);
    let fake = Fake::answering("a", move |mut call| {
        let counter = Arc::clone(&counter);
        async move {
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {FLOOD}\r\n\r\n");
            call.write(&head).await;
            let block = vec![b'x'; 64 * 1024];
            while call.stream.write_all(&block).await.is_ok() {
                counter.fetch_add(block.len(), Ordering::SeqCst);
            }
            None
        }
    })
    .await;
    let proxy = Running::before(&[&fake]).await;
    let mut client = proxy.client().await;
    client.send(&post("/v1/completions", "{}")).await;
    client.until("\r\n\r\n").await;
    // The writer stands still once the buffers of the kernel, and ours, are full.
    let stuck = soon(async {
        loop {
            let before = written.load(Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(200)).await;
            if before > 0 && written.load(Ordering::SeqCst) == before {
                return before;
            }
        }
    })
    .await;
    assert!(stuck < FLOOD / 4, "{stuck} bytes went into the proxy");
    drop(client);
    proxy.until_requests(0, 0, 1).await;
}

#[tokio::test]
async fn a_slow_client_is_no_silent_instance() {
    const LENGTH: usize = 32 * 1024 * 1024;
    let fake = Fake::answering("a", |mut call| async move {
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {LENGTH}\r\n\r\n");
        call.write(&head).await;
        call.stream.write_all(&vec![b'x'; LENGTH]).await.ok()?;
        Some(call.stream)
    })
    .await;
    let proxy = Running::before(&[&fake]).await;
    let mut impatient = config(2, &[&fake]);
    impatient.timeouts.idle = 0.3;
    proxy.configure(&impatient).await;
    let mut client = proxy.client().await;
    client.send(&post("/v1/completions", "{}")).await;
    client.until("\r\n\r\n").await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let mut body = vec![0; LENGTH];
    soon(client.0.read_exact(&mut body)).await.unwrap();
    proxy.until_requests(1, 0, 0).await;
}

#[tokio::test]
async fn a_body_too_large_to_be_held_streams_through() {
    const LENGTH: usize = 20 * 1024 * 1024;
    let fake = Fake::answering("a", |mut call| async move {
        let mut body = vec![0; LENGTH];
        call.stream.read_exact(&mut body).await.ok()?;
        assert!(body.iter().all(|&byte| byte == b'y'));
        let length = call.header("content-length").unwrap_or("-").to_owned();
        call.reply("200 OK", &length).await;
        Some(call.stream)
    })
    .await;
    let proxy = Running::before(&[&fake]).await;
    let answer = proxy.post("/v1/completions", &"y".repeat(LENGTH)).await;
    assert_eq!(answer.body, LENGTH.to_string());
    proxy.until_requests(1, 0, 0).await;
}

#[tokio::test]
async fn a_chunked_request_arrives_whole() {
    let (fake, mut calls) = Fake::driven("a").await;
    let proxy = Running::before(&[&fake]).await;
    let mut client = proxy.client().await;
    client
        .send("POST /v1/completions HTTP/1.1\r\nhost: p\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n")
        .await;
    client.send("4\r\ndefg\r\n0\r\n\r\n").await;
    let mut call = calls.recv().await.unwrap();
    assert_eq!(call.body, b"abcdefg");
    assert_eq!(call.header("transfer-encoding"), None);
    call.reply("200 OK", "{}").await;
    assert_eq!(client.answer().await.status(), 200);
}

/// Without chunks, the end of the connection is the end of the answer: nginx speaks so to what is
/// behind it, unless it is told otherwise.
#[tokio::test]
async fn an_http10_client_sees_a_reset_where_a_stream_broke() {
    let (fake, mut calls) = Fake::driven("a").await;
    let proxy = Running::before(&[&fake]).await;
    for breaks in [true, false] {
        let mut client = proxy.client().await;
        let request = post("/v1/completions", "{}").replace("HTTP/1.1", "HTTP/1.0");
        client.send(&request).await;
        let mut call = calls.recv().await.unwrap();
        call.begin_stream().await;
        call.chunk("data: 1\n\n").await;
        client.until("data: 1\n\n").await;
        if breaks {
            drop(call);
        } else {
            call.end_stream().await;
        }
        let mut rest = Vec::new();
        let end = soon(client.0.read_to_end(&mut rest)).await;
        let kind = end.err().map(|error| error.kind());
        let reset = breaks.then_some(std::io::ErrorKind::ConnectionReset);
        assert_eq!(kind, reset, "{}", String::from_utf8_lossy(&rest));
    }
}
