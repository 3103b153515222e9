//! What odd answers of a backend become, byte for byte.

use super::*;

/// Answers every request with these bytes and then closes, and says what the client saw of it.
async fn seen(answer: &'static str) -> (u16, String, Running) {
    let fake = Fake::answering("a", move |mut call| async move {
        call.write(answer).await;
        None
    });
    let fake = fake.await;
    let proxy = Running::before(&[&fake]).await;
    let mut client = proxy.client().await;
    client
        .send("POST /v1/completions HTTP/1.1\r\nhost: proxy\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}")
        .await;
    let seen = client.rest().await;
    let status = seen.get(9..12).and_then(|it| it.parse().ok());
    (status.unwrap_or_default(), seen, proxy)
}

#[tokio::test]
async fn what_is_no_answer_is_an_error_of_ours() {
    for answer in [
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab",
        "HTTP/1.1 200 OK\r\ncontent-length: -2\r\n\r\nab",
        "HTTP/1.1 099 Odd\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        "HTTP/1.1 200 OK\r\nx : y\r\n\r\n",
        "HTTP/1.1 200 OK\r\nx: y\0\r\n\r\n",
        "HTTP/2 200\r\n\r\n",
        "<html>",
        "HTTP/1.1 200 OK\r\ncontent-le",
    ] {
        let (status, seen, proxy) = seen(answer).await;
        assert_eq!(status, 502, "{answer:?}: {seen}");
        assert!(seen.contains("upstream_broken"), "{answer:?}: {seen}");
        proxy.until_requests(0, 1, 0).await;
    }
}

#[tokio::test]
async fn what_is_an_answer_passes_whole() {
    for (answer, status, body) in [
        // One length is enough, and chunks are the better one (RFC 9112, section 6.3).
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
            200,
            "\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        ),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\nx-sum: 1\r\n\r\n",
            200,
            "\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        ),
        (
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nlink: x\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nab",
            200,
            "\r\n\r\nab",
        ),
        // More than was announced is no part of it.
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nabHTTP/1.1 200 OK\r\n",
            200,
            "\r\n\r\nab",
        ),
        (
            "HTTP/1.1 999 \r\ncontent-length: 0\r\n\r\n",
            999,
            "\r\n\r\n",
        ),
        ("HTTP/1.1 204 No Content\r\n\r\n", 204, "\r\n\r\n"),
        // Its end is that of the connection; ours is told.
        (
            "HTTP/1.0 200 OK\r\n\r\nabc",
            200,
            "\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        ),
    ] {
        let (got, seen, proxy) = seen(answer).await;
        assert_eq!(got, status, "{answer:?}: {seen}");
        assert!(seen.starts_with("HTTP/1.1 "), "{answer:?}: {seen}");
        assert!(seen.ends_with(body), "{answer:?}: {seen}");
        proxy.until_requests(1, 0, 0).await;
    }
}

#[tokio::test]
async fn trailers_are_no_cut_and_the_connection_serves_on() {
    let fake = Fake::answering("a", |mut call| async move {
        let connection = call.connection.to_string();
        call.begin_stream().await;
        call.chunk(&connection).await;
        call.write("0\r\nx-sum: 1\r\n\r\n").await;
        Some(call.stream)
    });
    let fake = fake.await;
    let proxy = Running::before(&[&fake]).await;
    let mut client = proxy.client().await;
    let mut bodies = std::collections::BTreeSet::new();
    for _ in 0..5 {
        client.send(&post("/v1/completions", "{}")).await;
        bodies.insert(client.answer().await.body);
    }
    assert_eq!(bodies.len(), 1, "{bodies:?}");
    proxy.until_requests(5, 0, 0).await;
}

/// Nobody can tell a late second answer from the answer to the next request, but by its being there
/// before that was sent.
#[tokio::test]
async fn what_comes_unasked_is_nobodys_answer() {
    let (fake, mut calls) = Fake::driven("a").await;
    let proxy = Running::before(&[&fake]).await;
    let mut client = proxy.client().await;
    client.send(&post("/v1/completions", "{}")).await;
    let mut call = calls.recv().await.unwrap();
    call.reply("200 OK", r#"{"n":1}"#).await;
    assert_eq!(client.answer().await.body, r#"{"n":1}"#);
    call.reply("200 OK", r#"{"stray":1}"#).await;
    // The runtime is told of it before it is asked for anything else.
    tokio::time::sleep(Duration::from_millis(50)).await;
    client.send(&post("/v1/completions", "{}")).await;
    let mut next = calls.recv().await.unwrap();
    assert_ne!(next.connection, call.connection);
    next.reply("200 OK", r#"{"n":2}"#).await;
    assert_eq!(client.answer().await.body, r#"{"n":2}"#);
    call.gone().await;
}

#[tokio::test]
async fn an_upload_goes_on_while_its_answer_comes() {
    let (fake, mut calls) = Fake::driven("a").await;
    let proxy = Running::before(&[&fake]).await;
    let mut client = proxy.client().await;
    let length = 9_000_000;
    client
        .send(&format!(
            "POST /v1/files HTTP/1.1\r\nhost: proxy\r\ncontent-length: {length}\r\n\r\n"
        ))
        .await;
    let mut sent = 0;
    let piece = "x".repeat(1_000_000);
    // It begins to answer when half of it is there, and goes on to read.
    let echo = async {
        let mut call = calls.recv().await.unwrap();
        call.begin_stream().await;
        let mut read = 0;
        let mut some = vec![0; 64 * 1024];
        while read < length {
            read += call.stream.read(&mut some).await.unwrap();
        }
        call.chunk(&read.to_string()).await;
        call.end_stream().await;
        call
    };
    let upload = async {
        while sent < length {
            client.send(&piece).await;
            sent += piece.len();
        }
        client.answer().await
    };
    let (answer, _call) = soon(async { tokio::join!(upload, echo) }).await;
    assert_eq!(answer.body, "7\r\n9000000\r\n0\r\n\r\n");
}

#[tokio::test]
async fn what_is_in_flight_where_it_was_taken_out_ends() {
    let (fake, mut calls) = Fake::driven("a").await;
    let proxy = Running::before(&[&fake]).await;
    let mut client = proxy.client().await;
    client.send(&post("/v1/completions", "{}")).await;
    let mut call = calls.recv().await.unwrap();
    call.begin_stream().await;
    call.chunk("data: one\n\n").await;
    client.until("data: one\n\n\r\n").await;
    // Its port is free, and the connection stays open, as that of a stopped machine does.
    drop(fake);
    proxy.until_state("a", BackendState::Ejected).await;
    let seen = client.rest().await;
    assert!(!seen.ends_with("0\r\n\r\n"), "a clean end: {seen:?}");
    proxy.until_requests(0, 1, 0).await;
}
