use super::*;

#[tokio::test]
async fn the_proxy_is_alive_before_it_is_ready() {
    let proxy = Running::start().await;
    assert_eq!(proxy.get("/health").await.status(), 200);
    let unready = proxy.get("/ready").await;
    assert_eq!(
        (unready.status(), unready.error()),
        (503, "no_ready_instance".to_owned())
    );
    assert!(
        unready.body.contains("no configuration"),
        "{}",
        unready.body
    );
    assert_eq!(proxy.post("/v1/completions", "{}").await.status(), 503);

    let mut absent = config(1, &[]);
    absent.backends = vec![nobody("a").await];
    proxy.configure(&absent).await;
    proxy.until(|s| s.backends["a"].trouble.is_some()).await;
    let unready = proxy.get("/ready").await;
    assert_eq!(unready.status(), 503);
    assert!(
        unready.body.contains("a was not seen yet"),
        "{}",
        unready.body
    );

    let fake = Fake::start("b").await;
    proxy.done(&Request::Admit(fake.backend.clone())).await;
    assert_eq!(proxy.get("/ready").await.status(), 200);
}

#[tokio::test]
async fn unknown_paths_and_methods_are_refused_in_openais_shape() {
    let fake = Fake::start("a").await;
    let proxy = Running::before(&[&fake]).await;
    for path in ["/", "/invocations", "/v1", "/metrics/x"] {
        let answer = proxy.get(path).await;
        assert_eq!(
            (answer.status(), answer.error()),
            (404, "not_found".to_owned())
        );
    }
    let answer = proxy.post("/health", "{}").await;
    assert_eq!(
        (answer.status(), answer.header("allow")),
        (405, Some("GET, HEAD"))
    );
    assert_eq!(fake.calls(), 0);
    // Mistakes of clients are no failures of ours.
    assert_eq!(proxy.status().await.requests, Requests::default());
}

#[tokio::test]
async fn every_path_below_v1_is_passed_with_its_method_and_query() {
    let (fake, mut calls) = Fake::driven("a").await;
    let proxy = Running::before(&[&fake]).await;
    for (method, target) in [
        ("POST", "/v1/chat/completions?x=%20y&z"),
        ("DELETE", "/v1/files/7"),
        ("PUT", "/v1/new/thing"),
        ("POST", "/tokenize"),
        ("GET", "/version"),
    ] {
        let mut client = proxy.client().await;
        client
            .send(&format!("{method} {target} HTTP/1.1\r\nhost: p\r\n\r\n"))
            .await;
        let mut call = calls.recv().await.unwrap();
        assert_eq!(call.line(), format!("{method} {target} HTTP/1.1"));
        call.reply("418 I'm a teapot", "{}").await;
        assert_eq!(client.answer().await.status(), 418);
    }
}

#[tokio::test]
async fn a_head_has_no_body_and_keeps_its_length() {
    let (fake, mut calls) = Fake::driven("a").await;
    let proxy = Running::before(&[&fake]).await;
    let mut client = proxy.client().await;
    client
        .send("HEAD /v1/thing HTTP/1.1\r\nhost: p\r\n\r\n")
        .await;
    let mut call = calls.recv().await.unwrap();
    call.write("HTTP/1.1 200 OK\r\ncontent-length: 1234\r\n\r\n")
        .await;
    let head = client.until("\r\n\r\n").await;
    assert!(head.contains("content-length: 1234"), "{head}");
    // The connection is still in step.
    client
        .send("HEAD /health HTTP/1.1\r\nhost: p\r\n\r\n")
        .await;
    assert!(client.until("\r\n\r\n").await.starts_with("HTTP/1.1 200"));
    proxy.until_requests(1, 0, 0).await;
}

#[tokio::test]
async fn heads_are_clean_in_both_directions() {
    let (fake, mut calls) = Fake::driven("a").await;
    let proxy = Running::before(&[&fake]).await;
    let mut client = proxy.client().await;
    client
        .send(
            "POST /v1/completions HTTP/1.1\r\nhost: front:8000\r\nconnection: keep-alive, x-hop\r\n\
             x-hop: 1\r\nkeep-alive: timeout=9\r\nte: trailers\r\nexpect: 100-continue\r\n\
             authorization: Bearer secret\r\nx-request-id: mine\r\nx-mine: kept\r\n\
             content-length: 2\r\n\r\n{}",
        )
        .await;
    let mut call = calls.recv().await.unwrap();
    for gone in ["connection", "x-hop", "keep-alive", "te", "expect"] {
        assert_eq!(call.header(gone), None, "{gone} went upstream");
    }
    for (name, value) in [
        ("host", "front:8000"),
        ("authorization", "Bearer secret"),
        ("x-request-id", "mine"),
        ("x-mine", "kept"),
        ("content-length", "2"),
    ] {
        assert_eq!(call.header(name), Some(value));
    }
    call.write(
        "HTTP/1.1 201 Made\r\nconnection: x-hop\r\nx-hop: 1\r\nkeep-alive: timeout=5\r\n\
         x-request-id: theirs\r\nx-replica-instance: liar\r\nset-cookie: a=1\r\nset-cookie: b=2\r\n\
         content-length: 2\r\n\r\n{}",
    )
    .await;
    let continued = client.until("\r\n\r\n").await;
    assert!(continued.starts_with("HTTP/1.1 100"), "{continued}");
    let answer = client.answer().await;
    assert_eq!(answer.status(), 201);
    for gone in ["x-hop", "keep-alive"] {
        assert_eq!(answer.header(gone), None, "{gone} came down");
    }
    assert_eq!(answer.header("x-request-id"), Some("mine"));
    assert_eq!(answer.instance(), Some("a"));
    assert_eq!(answer.head.matches("x-replica-instance").count(), 1);
    assert_eq!(answer.head.matches("set-cookie").count(), 2);
}

#[tokio::test]
async fn every_answer_has_an_id() {
    let fake = Fake::start("a").await;
    let proxy = Running::before(&[&fake]).await;
    for path in ["/health", "/nowhere", "/v1/models", "/v1/thing"] {
        let answer = proxy.get(path).await;
        assert_eq!(
            answer.header("x-request-id").map(str::len),
            Some(36),
            "{path}"
        );
    }
}

#[tokio::test]
async fn malformed_requests_are_refused_and_reach_nobody() {
    let fake = Fake::start("a").await;
    let proxy = Running::before(&[&fake]).await;
    for malformed in [
        "nonsense\r\n\r\n",
        "GET /v1/x HTTP/1.1\r\nbad header\r\n\r\n",
        "POST /v1/x HTTP/1.1\r\nhost: p\r\ncontent-length: x\r\n\r\n",
        "POST /v1/x HTTP/1.1\r\nhost: p\r\ntransfer-encoding: gzip\r\n\r\n",
    ] {
        let mut client = proxy.client().await;
        client.send(malformed).await;
        let head = client.until("\r\n\r\n").await;
        assert!(head.starts_with("HTTP/1.1 400"), "{malformed:?}: {head}");
    }
    let mut client = proxy.client().await;
    client
        .send("POST /v1/x HTTP/1.1\r\nhost: p\r\ntransfer-encoding: chunked\r\n\r\nZZ\r\n")
        .await;
    client.rest().await;
    assert_eq!(fake.calls(), 0);
    assert_eq!(proxy.get("/health").await.status(), 200);
}

/// A request with both lengths is read as chunked, and goes on with the length that it has: a second
/// request hidden in it stays a part of the body (RFC 9112 section 6.3).
#[tokio::test]
async fn nothing_is_smuggled() {
    let (fake, mut calls) = Fake::driven("a").await;
    let proxy = Running::before(&[&fake]).await;
    let mut client = proxy.client().await;
    let hidden = "POST /v1/hidden HTTP/1.1\r\n\r\n";
    client
        .send(&format!(
            "POST /v1/x HTTP/1.1\r\nhost: p\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n{hidden}\r\n0\r\n\r\n",
            hidden.len()
        ))
        .await;
    let mut call = calls.recv().await.unwrap();
    assert_eq!(call.body, hidden.as_bytes());
    call.reply("200 OK", "{}").await;
    assert_eq!(client.answer().await.status(), 200);
    assert_eq!(fake.calls(), 1);
}
