//! Clients that take and give nothing hold nothing for long.

use tokio::net::TcpSocket;

use super::*;

fn impatient() -> Duration {
    Duration::from_millis(300)
}

/// An instance that streams without end.
async fn flooding(name: &str) -> Fake {
    let answer = |mut call: fake::Call| async move {
        let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
        call.stream.write_all(head.as_bytes()).await.ok()?;
        let chunk = format!("10000\r\n{}\r\n", "x".repeat(0x10000));
        while call.stream.write_all(chunk.as_bytes()).await.is_ok() {}
        None
    };
    Fake::answering(name, answer).await
}

/// A client that has asked, and reads nothing of the answer.
async fn asks_and_reads_nothing(proxy: &Running) -> Client {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut client = Client(socket.connect(proxy.address).await.unwrap());
    client.send(&post("/v1/completions", "{}")).await;
    proxy
        .until(|status| status.backends.values().any(|b| b.in_flight == 1))
        .await;
    client
}

#[tokio::test]
async fn a_client_that_stops_reading_holds_up_no_drain() {
    let fake = flooding("a").await;
    let limits = Limits {
        client: impatient(),
        ..Limits::default()
    };
    let proxy = Running::bearing(limits, &[&fake]).await;
    let mut client = asks_and_reads_nothing(&proxy).await;
    let drained = proxy
        .done(&Request::Drain {
            backend: "a".to_owned(),
            wait: true,
        })
        .await;
    assert_eq!(drained.backends["a"].in_flight, 0);
    assert_eq!(drained.requests.cut, 1);
    // What the client has is no whole answer.
    assert!(!client.rest().await.ends_with("0\r\n\r\n"));
}

#[tokio::test]
async fn a_configuration_bounds_the_patience_with_new_clients() {
    let fake = flooding("a").await;
    let proxy = Running::before(&[&fake]).await;
    let mut strict = config(2, &[&fake]);
    strict.timeouts.client = Some(impatient().as_secs_f64());
    proxy.configure(&strict).await;
    let _client = asks_and_reads_nothing(&proxy).await;
    proxy.until_requests(0, 0, 1).await;
    let mut hasty = config(3, &[&fake]);
    hasty.timeouts.client = Some(0.0);
    let refused = proxy.tell(&Request::Configure(hasty)).await;
    let message = "the client timeout must be a positive number of seconds, and is 0".to_owned();
    assert_eq!(refused, Reply::Refused { message });
}

#[tokio::test]
async fn a_client_that_reads_slowly_gets_everything() {
    let whole = "x".repeat(16 << 20);
    let sent = whole.clone();
    let answer = move |mut call: fake::Call| {
        let whole = sent.clone();
        async move {
            call.reply("200 OK", &whole).await;
            Some(call.stream)
        }
    };
    let fake = Fake::answering("a", answer).await;
    let limits = Limits {
        client: Duration::from_secs(5),
        ..Limits::default()
    };
    let proxy = Running::bearing(limits, &[&fake]).await;
    let mut client = asks_and_reads_nothing(&proxy).await;
    // Longer than nothing, and shorter than the limit.
    tokio::time::sleep(impatient()).await;
    let answer = client.answer().await;
    assert!(answer.body == whole, "{} bytes", answer.body.len());
    proxy.until_requests(1, 0, 0).await;
}

#[tokio::test]
async fn a_head_that_does_not_end_is_cut_off_and_an_idle_client_is_not() {
    let fake = Fake::start("a").await;
    let limits = Limits {
        head: impatient(),
        ..Limits::default()
    };
    let proxy = Running::bearing(limits, &[&fake]).await;
    let (mut slow, mut fresh, mut kept) = (
        proxy.client().await,
        proxy.client().await,
        proxy.client().await,
    );
    kept.send(&post("/v1/completions", "{}")).await;
    assert_eq!(kept.answer().await.status(), 200);
    slow.send("POST /v1/completions HTTP/1.1\r\nhost: p").await;
    assert_eq!(slow.rest().await, "");
    for idle in [&mut fresh, &mut kept] {
        idle.send(&post("/v1/completions", "{}")).await;
        assert_eq!(idle.answer().await.status(), 200);
    }
    // Its head began once more, after two requests.
    kept.send("GET /health HT").await;
    assert_eq!(kept.rest().await, "");
}

#[tokio::test]
async fn a_client_that_asks_nothing_for_long_is_let_go() {
    let fake = Fake::start("a").await;
    let limits = Limits {
        idle: impatient(),
        ..Limits::default()
    };
    let proxy = Running::bearing(limits, &[&fake]).await;
    let mut client = proxy.client().await;
    client.send(&post("/v1/completions", "{}")).await;
    assert_eq!(client.answer().await.status(), 200);
    assert_eq!(client.rest().await, "");
}

#[tokio::test]
async fn a_body_that_stops_coming_is_answered_and_nobodys_fault() {
    let fake = Fake::start("a").await;
    let limits = Limits {
        stall: impatient(),
        ..Limits::default()
    };
    let proxy = Running::bearing(limits, &[&fake]).await;
    let mut client = proxy.client().await;
    client
        .send("POST /v1/completions HTTP/1.1\r\nhost: p\r\ncontent-length: 100\r\n\r\nhalf")
        .await;
    let answer = client.answer().await;
    assert_eq!(answer.status(), 408);
    assert_eq!(answer.error(), "request_timeout");
    assert_eq!(client.rest().await, "", "the connection is closed");
    proxy.until_requests(0, 0, 1).await;
    assert_eq!(fake.calls(), 0);
}

#[tokio::test]
async fn a_large_body_that_stops_coming_frees_its_instance() {
    let (fake, mut calls) = Fake::driven("a").await;
    let limits = Limits {
        stall: impatient(),
        ..Limits::default()
    };
    let proxy = Running::bearing(limits, &[&fake]).await;
    let mut client = proxy.client().await;
    client
        .send("POST /v1/completions HTTP/1.1\r\nhost: p\r\ncontent-length: 20000000\r\n\r\n")
        .await;
    client.send(&"x".repeat(300_000)).await;
    let mut call = soon(calls.recv()).await.unwrap();
    let mut half = vec![0; 300_000];
    soon(call.stream.read_exact(&mut half)).await.unwrap();
    soon(call.gone()).await;
    assert_eq!(client.answer().await.status(), 408);
    assert_eq!(client.rest().await, "");
    proxy.until_requests(0, 0, 1).await;
    let status = proxy.status().await;
    assert_eq!(status.backends["a"].in_flight, 0);
    assert_eq!(status.backends["a"].state, BackendState::Ready);
}

#[tokio::test]
async fn a_length_that_is_only_declared_takes_no_instance() {
    let fake = Fake::start("a").await;
    let proxy = Running::before(&[&fake]).await;
    let mut clients = Vec::new();
    for _ in 0..20 {
        let mut client = proxy.client().await;
        client
            .send("POST /v1/completions HTTP/1.1\r\nhost: p\r\ncontent-length: 9000000\r\n\r\nhalf")
            .await;
        clients.push(client);
    }
    // What comes later is answered: they were read meanwhile.
    assert_eq!(proxy.post("/v1/completions", "{}").await.status(), 200);
    assert_eq!(fake.calls(), 1);
    assert_eq!(proxy.status().await.backends["a"].in_flight, 0);
    drop(clients);
    proxy.until_requests(1, 0, 20).await;
}

#[tokio::test]
async fn what_is_too_large_is_refused() {
    let fake = Fake::start("a").await;
    let limits = Limits {
        body: 1000,
        ..Limits::default()
    };
    let proxy = Running::bearing(limits, &[&fake]).await;
    let fits = proxy.post("/v1/completions", &"x".repeat(1000)).await;
    assert_eq!(fits.status(), 200);
    let declared = "POST /v1/completions HTTP/1.1\r\nhost: p\r\ncontent-length: 1001\r\n\r\n";
    let sent = format!(
        "POST /v1/completions HTTP/1.1\r\nhost: p\r\ntransfer-encoding: chunked\r\n\r\n3e9\r\n{}\r\n0\r\n\r\n",
        "x".repeat(1001)
    );
    for request in [declared, &sent] {
        let answer = proxy.ask(request).await;
        assert_eq!(answer.status(), 413);
        assert_eq!(answer.error(), "request_too_large");
    }
    assert_eq!(fake.calls(), 1);
}

#[tokio::test]
async fn all_that_is_held_is_held_within_one_budget() {
    let (fake, mut calls) = Fake::driven("a").await;
    let limits = Limits {
        held: 1_000_000,
        ..Limits::default()
    };
    let proxy = Running::bearing(limits, &[&fake]).await;
    let (first, second) = ("x".repeat(900_000), "x".repeat(500_000));
    let mut client = proxy.client().await;
    client.send(&post("/v1/completions", &first)).await;
    let mut held = soon(calls.recv()).await.unwrap();
    let refused = proxy.post("/v1/completions", &second).await;
    assert_eq!(refused.status(), 503);
    assert_eq!(refused.error(), "proxy_exhausted");
    assert_eq!(refused.header("retry-after"), Some("1"));
    // What is small is always taken.
    let mut small = proxy.client().await;
    small.send(&post("/v1/completions", "{}")).await;
    let mut taken = soon(calls.recv()).await.unwrap();
    taken.reply("200 OK", "{}").await;
    assert_eq!(small.answer().await.status(), 200);
    held.reply("200 OK", "{}").await;
    assert_eq!(client.answer().await.status(), 200);
    drop((held, taken));
    client.send(&post("/v1/completions", &second)).await;
    let mut fits = soon(calls.recv()).await.unwrap();
    fits.reply("200 OK", "{}").await;
    assert_eq!(client.answer().await.status(), 200);
}

#[tokio::test]
async fn a_proxy_that_was_started_again_refuses_nobody_before_it_has_looked() {
    let fake = Fake::start("a").await;
    let proxy = Running::before(&[&fake]).await;
    let proxy = Running::start_in(proxy.stop().await).await;
    for _ in 0..20 {
        assert_eq!(proxy.post("/v1/completions", "{}").await.status(), 200);
    }
    let folder = proxy.stop().await;
    drop(fake);
    let proxy = Running::start_in(folder).await;
    let answer = proxy.post("/v1/completions", "{}").await;
    assert_eq!(
        (answer.status(), answer.error().as_str()),
        (503, "no_ready_instance")
    );
}

fn few(clients: usize) -> Limits {
    Limits {
        clients: Some(clients),
        ..Limits::default()
    }
}

#[tokio::test]
async fn the_client_that_was_idle_for_the_longest_goes_for_another() {
    let fake = Fake::start("a").await;
    let proxy = Running::bearing(few(3), &[&fake]).await;
    let mut clients = Vec::new();
    for _ in 0..3 {
        let mut client = proxy.client().await;
        client.send(&post("/v1/completions", "{}")).await;
        assert_eq!(client.answer().await.status(), 200);
        clients.push(client);
    }
    clients[0].send(&post("/v1/completions", "{}")).await;
    assert_eq!(clients[0].answer().await.status(), 200);
    let mut another = proxy.client().await;
    assert_eq!(clients[1].rest().await, "");
    for client in [&mut clients[0], &mut another] {
        client.send(&post("/v1/completions", "{}")).await;
        assert_eq!(client.answer().await.status(), 200);
    }
}

#[tokio::test]
async fn many_idle_clients_are_in_nobodys_way() {
    let fake = Fake::start("a").await;
    let proxy = Running::bearing(few(4), &[&fake]).await;
    let mut idle = Vec::new();
    for _ in 0..60 {
        idle.push(proxy.client().await);
    }
    for _ in 0..10 {
        assert_eq!(proxy.post("/v1/completions", "{}").await.status(), 200);
        assert_eq!(proxy.get("/health").await.status(), 200);
    }
}

#[tokio::test]
async fn who_comes_when_all_are_being_answered_is_told_so() {
    let (fake, mut calls) = Fake::driven("a").await;
    let proxy = Running::bearing(few(1), &[&fake]).await;
    let mut client = proxy.client().await;
    client.send(&post("/v1/completions", "{}")).await;
    let mut call = calls.recv().await.unwrap();
    call.begin_stream().await;
    client.until("\r\n\r\n").await;
    assert_eq!(proxy.get("/health").await.status(), 200);
    let refused = proxy.post("/v1/completions", "{}").await;
    assert_eq!(
        (refused.status(), refused.error().as_str()),
        (503, "proxy_exhausted")
    );
    assert_eq!(refused.header("connection"), Some("close"));
    call.chunk("data: [DONE]\n\n").await;
    call.end_stream().await;
    client.until("0\r\n\r\n").await;
    drop(call);
    proxy.until_requests(1, 1, 0).await;
    let mut next = proxy.client().await;
    next.send(&post("/v1/completions", "{}")).await;
    let mut call = soon(calls.recv()).await.unwrap();
    call.reply("200 OK", "{}").await;
    assert_eq!(next.answer().await.status(), 200);
}
