//! Bodies of requests, which come in streams beside others.

use std::future::poll_fn;

use super::*;

#[tokio::test]
async fn a_body_that_is_not_as_long_as_it_says_reaches_no_instance() {
    let fake = Fake::start("a").await;
    let proxy = Running::before(&[&fake]).await;
    let mut client = proxy.http2().await;
    for body in ["x", "longer"] {
        let mut request = head(Method::POST, "/v1/completions");
        let length = "3".parse().unwrap();
        request.headers_mut().insert("content-length", length);
        let answer = soon(client.send(request, body).await).await;
        let reset = answer.err().and_then(|error| error.reason());
        assert_eq!(reset, Some(Reason::PROTOCOL_ERROR), "{body}");
    }
    assert_eq!(fake.calls(), 0);
    assert_eq!(whole(client.post("{}").await).await.status, 200);
    let requests = proxy.status().await.requests;
    assert_eq!((requests.refused, requests.cut), (2, 0));
}

#[tokio::test]
async fn an_upload_that_is_given_up_reaches_no_instance() {
    let fake = Fake::start("a").await;
    let proxy = Running::before(&[&fake]).await;
    let mut client = proxy.http2().await;
    for reason in [Reason::CANCEL, Reason::NO_ERROR] {
        let (_answer, mut upload) = client.begin(head(Method::POST, "/v1/completions")).await;
        upload.send_data(Bytes::from_static(b"{}"), false).unwrap();
        // What is answered behind it shows that it is there.
        let health = head(Method::GET, "/health");
        assert_eq!(client.ask(health, "").await.status, 200);
        upload.send_reset(reason);
    }
    proxy.until_requests(0, 0, 2).await;
    assert_eq!(fake.calls(), 0);
}

#[tokio::test]
async fn an_upload_that_stops_is_answered_and_those_beside_it_go_on() {
    let fake = Fake::start("a").await;
    let limits = Limits {
        stall: Duration::from_millis(300),
        ..Limits::default()
    };
    let proxy = Running::bearing(limits, &[&fake]).await;
    let mut client = proxy.http2().await;
    let (stalled, mut upload) = client.begin(head(Method::POST, "/v1/completions")).await;
    upload.send_data(Bytes::from_static(b"{"), false).unwrap();
    assert_eq!(whole(client.post("{}").await).await.status, 200);
    assert_eq!(whole(stalled).await.status, 408);
    // The rest is not waited for.
    let reset = soon(poll_fn(|cx| upload.poll_reset(cx))).await;
    assert_eq!(reset.unwrap(), Reason::NO_ERROR);
    assert_eq!(whole(client.post("{}").await).await.status, 200);
}

/// Sends a piece of a body when there is room for it, and returns how long it was.
async fn send_piece(upload: &mut SendStream<Bytes>, most: usize) -> usize {
    upload.reserve_capacity(16 * 1024);
    let room = poll_fn(|cx| upload.poll_capacity(cx)).await;
    let room = room.unwrap().unwrap().min(most);
    upload
        .send_data(Bytes::from(vec![b'y'; room]), false)
        .unwrap();
    room
}

#[tokio::test]
async fn an_upload_goes_on_as_fast_as_its_instance_takes_it() {
    const LENGTH: usize = 40 * 1024 * 1024;
    let (fake, mut calls) = Fake::driven("a").await;
    let proxy = Running::before(&[&fake]).await;
    let mut client = proxy.http2().await;
    let mut request = head(Method::POST, "/v1/completions");
    let length = LENGTH.to_string().parse().unwrap();
    request.headers_mut().insert("content-length", length);
    let (answer, mut upload) = client.begin(request).await;
    let mut sent = 0;
    let silence = Duration::from_millis(500);
    while let Ok(piece) = tokio::time::timeout(silence, send_piece(&mut upload, LENGTH)).await {
        sent += piece;
    }
    assert!(sent < LENGTH / 2, "{sent} bytes went nowhere");
    let mut call = soon(calls.recv()).await.unwrap();
    assert_eq!(
        call.header("content-length"),
        Some(LENGTH.to_string().as_str())
    );
    // What is stuck is in nobody's way.
    let beside = client.post("{}").await;
    let mut other = soon(calls.recv()).await.unwrap();
    other.reply("200 OK", "{}").await;
    assert_eq!(whole(beside).await.status, 200);
    let reading = tokio::spawn(async move {
        let mut body = vec![0; LENGTH];
        call.stream.read_exact(&mut body).await.unwrap();
        assert!(body.iter().all(|&byte| byte == b'y'));
        call.reply("200 OK", "all").await;
    });
    while sent < LENGTH {
        sent += soon(send_piece(&mut upload, LENGTH - sent)).await;
    }
    upload.send_data(Bytes::new(), true).unwrap();
    assert_eq!(whole(answer).await.body, "all");
    soon(reading).await.unwrap();
    proxy.until_requests(2, 0, 0).await;
}

#[tokio::test]
async fn what_is_too_large_is_refused_before_it_is_read() {
    let fake = Fake::start("a").await;
    let limits = Limits {
        body: 1000,
        ..Limits::default()
    };
    let proxy = Running::bearing(limits, &[&fake]).await;
    let mut client = proxy.http2().await;
    let mut request = head(Method::POST, "/v1/completions");
    let length = "1001".parse().unwrap();
    request.headers_mut().insert("content-length", length);
    let (answer, mut upload) = client.begin(request).await;
    let answer = whole(answer).await;
    assert_eq!(answer.status, 413);
    assert!(!answer.headers.contains_key("connection"));
    let reset = soon(poll_fn(|cx| upload.poll_reset(cx))).await;
    assert_eq!(reset.unwrap(), Reason::NO_ERROR);
    assert_eq!(whole(client.post("{}").await).await.status, 200);
    assert_eq!(fake.calls(), 1);
}

#[tokio::test]
async fn the_streams_of_a_connection_hold_bodies_within_the_one_budget() {
    let (fake, mut calls) = Fake::driven("a").await;
    let limits = Limits {
        held: 1_000_000,
        ..Limits::default()
    };
    let proxy = Running::bearing(limits, &[&fake]).await;
    let mut client = proxy.http2().await;
    let first = client.post(&"x".repeat(900_000)).await;
    let mut call = soon(calls.recv()).await.unwrap();
    let refused = whole(client.post(&"x".repeat(500_000)).await).await;
    assert_eq!(refused.status, 503);
    assert_eq!(refused.headers["retry-after"], "1");
    call.reply("200 OK", "{}").await;
    assert_eq!(whole(first).await.status, 200);
    assert_eq!(proxy.front.uploads.held(), 0);
}
