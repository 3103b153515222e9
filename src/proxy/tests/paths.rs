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
    for path in ["/", "/docs", "/v1", "/metrics/x"] {
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
    let requests = proxy.status().await.requests;
    assert_ne!(requests.refused, 0);
    let refused = requests.refused;
    assert_eq!(
        requests,
        Requests {
            refused,
            ..Requests::default()
        }
    );
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
        ("POST", "/invocations"),
        ("GET", "/v1/models/owner%2Fname"),
        ("GET", "/v1/files/a%20b"),
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
            Some(32),
            "{path}"
        );
    }
}

#[tokio::test]
async fn malformed_requests_are_refused_and_reach_nobody() {
    let fake = Fake::start("a").await;
    let proxy = Running::before(&[&fake]).await;
    for (malformed, status) in [
        ("nonsense\r\n\r\n", 400),
        ("GET /v1/x HTTP/1.1\r\nhost: p\r\nbad header\r\n\r\n", 400),
        (
            "POST /v1/x HTTP/1.1\r\nhost: p\r\ncontent-length: x\r\n\r\n",
            400,
        ),
        (
            "POST /v1/x HTTP/1.1\r\nhost: p\r\ntransfer-encoding: gzip\r\n\r\n",
            400,
        ),
        (
            "POST /v1/x HTTP/1.1\r\nhost: p\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
            501,
        ),
        ("GET /v1/x HTTP/1.1\r\n\r\n", 400),
        ("GET /v1/x HTTP/1.1\r\nhost: p\r\nhost: q\r\n\r\n", 400),
        ("TRACE /v1/x HTTP/1.1\r\nhost: p\r\n\r\n", 501),
        ("CONNECT p:80 HTTP/1.1\r\nhost: p:80\r\n\r\n", 501),
        ("CONNECT /v1/x HTTP/1.1\r\nhost: p\r\n\r\n", 501),
        (
            "GET /v1/x HTTP/1.1\r\nhost: p\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
            501,
        ),
        ("GET /v1/../metrics HTTP/1.1\r\nhost: p\r\n\r\n", 400),
        ("GET //v1/models HTTP/1.1\r\nhost: p\r\n\r\n", 400),
        ("GET /v1%2fmodels HTTP/1.1\r\nhost: p\r\n\r\n", 400),
    ] {
        let mut client = proxy.client().await;
        client.send(malformed).await;
        let head = client.until("\r\n\r\n").await;
        let line = format!("HTTP/1.1 {status} ");
        assert!(head.starts_with(&line), "{malformed:?}: {head}");
    }
    assert_eq!(fake.calls(), 0);
    assert_eq!(proxy.get("/health").await.status(), 200);
}

/// A client that sends no body in the end is told why, and counted as what it was.
#[tokio::test]
async fn a_body_that_cannot_be_read_is_answered() {
    let fake = Fake::start("a").await;
    let proxy = Running::before(&[&fake]).await;
    let chunked = "POST /v1/x HTTP/1.1\r\nhost: p\r\ntransfer-encoding: chunked\r\n\r\n";
    for malformed in [
        "ZZ\r\n",
        "2\r\n{}ab\r\n0\r\n\r\n",
        "-1\r\n",
        "fffffffffffffffff\r\n",
    ] {
        let mut client = proxy.client().await;
        client.send(&format!("{chunked}{malformed}")).await;
        let answer = client.answer().await;
        assert_eq!(
            (answer.status(), answer.error().as_str()),
            (400, "bad_request"),
            "{malformed:?}"
        );
        assert_eq!(answer.header("connection"), Some("close"));
        assert_eq!(client.rest().await, "");
    }
    proxy.until(|it| it.requests.refused == 4).await;
    for truncated in ["2\r\n{", "2\r\n{}\r\n", "2"] {
        let mut client = proxy.client().await;
        client.send(&format!("{chunked}{truncated}")).await;
        client.0.shutdown().await.unwrap();
        assert_eq!(client.answer().await.status(), 400, "{truncated:?}");
    }
    proxy.until_requests(0, 0, 3).await;
    assert_eq!(fake.calls(), 0);
}

#[tokio::test]
async fn what_changes_one_server_is_refused_with_words() {
    let fake = Fake::start("a").await;
    let proxy = Running::before(&[&fake]).await;
    for path in [
        "/sleep",
        "/v1/load_lora_adapter",
        "/v1/%6coad_lora_adapter/",
    ] {
        let answer = proxy.post(path, "{}").await;
        assert_eq!(
            (answer.status(), answer.error().as_str()),
            (403, "of_one_server")
        );
        assert!(answer.body.contains("one of the servers"), "{answer:?}");
    }
    assert_eq!(fake.calls(), 0);
}

#[tokio::test]
async fn a_path_is_sent_as_every_server_reads_it() {
    let (fake, mut calls) = Fake::driven("a").await;
    let proxy = Running::before(&[&fake]).await;
    let mut client = proxy.client().await;
    client
        .send("GET http://other:81/v1/%66iles?a=%66 HTTP/1.1\r\nhost: p\r\n\r\n")
        .await;
    let mut call = calls.recv().await.unwrap();
    assert_eq!(call.line(), "GET /v1/files?a=%66 HTTP/1.1");
    assert_eq!(call.header("host"), Some("other:81"));
    call.reply("200 OK", "{}").await;
    assert_eq!(client.answer().await.status(), 200);
}

#[tokio::test]
async fn a_backend_is_told_for_whom_it_works() {
    let (fake, mut calls) = Fake::driven("a").await;
    let proxy = Running::before(&[&fake]).await;
    let mut client = proxy.client().await;
    client
        .send(
            "GET /v1/x HTTP/1.1\r\nhost: front\r\nx-forwarded-for: 9.9.9.9\r\n\
             traceparent: 00-1-2-01\r\ntracestate: a=b\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n",
        )
        .await;
    let mut call = calls.recv().await.unwrap();
    for (name, value) in [
        ("x-forwarded-for", Some("9.9.9.9, 127.0.0.1")),
        ("x-forwarded-proto", Some("http")),
        ("x-forwarded-host", Some("front")),
        ("traceparent", Some("00-1-2-01")),
        ("tracestate", Some("a=b")),
        ("upgrade", None),
    ] {
        assert_eq!(call.header(name), value, "{name}");
    }
    call.reply("200 OK", "{}").await;
    assert_eq!(client.answer().await.status(), 200);
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

#[tokio::test]
async fn where_a_prompt_was_read_is_no_clients_to_say() {
    let (fake, mut calls) = Fake::driven("a").await;
    let proxy = Running::before(&[&fake]).await;
    let mut client = proxy.client().await;
    let body = r#"{"prompt":"p","kv_transfer_params":{"remote_engine_id":"x"},"n":1}"#;
    client.send(&post("/v1/completions", body)).await;
    let mut call = calls.recv().await.unwrap();
    assert_eq!(call.body, br#"{"prompt":"p","n":1}"#);
    call.reply("200 OK", "{}").await;
    assert_eq!(client.answer().await.status(), 200);
    let broken = proxy.post("/v1/completions", &body[..body.len() - 1]).await;
    assert_eq!(
        (broken.status(), broken.error().as_str()),
        (400, "bad_request")
    );
    // What is too large to be held ends where it says so.
    let beginning = format!(
        r#"{{"kv_transfer_params":{{}},"p":"{}"#,
        "x".repeat(300_000)
    );
    let length = "content-length: 9000000";
    let head = post("/v1/completions", "").replace("content-length: 0", length);
    let mut client = proxy.client().await;
    client.send(&(head + &beginning)).await;
    let large = client.answer().await;
    assert_eq!(
        (large.status(), large.error().as_str()),
        (400, "bad_request")
    );
}
