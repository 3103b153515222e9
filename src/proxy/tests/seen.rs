//! What is seen of a request: by its client, by Prometheus, and in the access log.

use std::path::Path;

use super::*;

/// The page of metrics, once a sample on it is as wanted: what a request ends with is counted when it
/// has ended, and that may be after its client has the answer.
async fn until_counted(proxy: &Running, sample: &str) -> String {
    soon(async {
        loop {
            let page = proxy.get("/metrics").await.body;
            if page.lines().any(|line| line == sample) {
                return page;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
}

#[tokio::test]
async fn every_request_is_counted_by_path_status_instance_and_end() {
    let (a, mut calls) = Fake::driven("a").await;
    let proxy = Running::before(&[&a]).await;
    for (status, path) in [
        ("200 OK", "/v1/completions"),
        ("418 I'm a teapot", "/v1/completions"),
        ("500 Internal Server Error", "/v1/whatever\"}"),
    ] {
        let mut client = proxy.client().await;
        client.send(&post(path, "{}")).await;
        calls.recv().await.unwrap().reply(status, "{}").await;
        client.answer().await;
    }
    let mut client = proxy.client().await;
    client.send(&post("/v1/chat/completions", "{}")).await;
    let mut call = calls.recv().await.unwrap();
    call.begin_stream().await;
    call.chunk("data: one\n\n").await;
    client.until("one\n\n\r\n").await;
    drop(client);
    assert_eq!(proxy.get("/nowhere").await.status(), 404);

    let count = |labels: &str| format!("replica_proxy_requests_total{{{labels}}} 1");
    let cut = count(r#"route="/v1/chat/completions",code="200",instance="a",outcome="cut""#);
    let page = until_counted(&proxy, &cut).await;
    for labels in [
        r#"route="/v1/completions",code="200",instance="a",outcome="ok""#,
        r#"route="/v1/completions",code="4xx",instance="a",outcome="client_error""#,
        r#"route="other",code="500",instance="a",outcome="server_error""#,
        r#"route="other",code="404",instance="",outcome="client_error""#,
    ] {
        assert!(
            page.lines().any(|line| line == count(labels)),
            "{labels}: {page}"
        );
    }
    for line in [
        r#"replica_proxy_ttft_seconds_count{instance="a"} 1"#,
        r#"replica_proxy_request_seconds_count{instance="a"} 3"#,
        r#"replica_proxy_inflight{instance="a"} 0"#,
        r#"replica_proxy_ready{instance="a"} 1"#,
        "replica_proxy_buffered_bytes 0",
        "replica_proxy_drain_seconds_count 0",
        "# TYPE replica_proxy_requests_total counter",
        "# TYPE replica_proxy_ttft_seconds histogram",
    ] {
        assert!(page.lines().any(|it| it == line), "{line}: {page}");
    }
}

#[tokio::test]
async fn a_new_epoch_counts_on() {
    let (old, new) = (Fake::start("a").await, Fake::start("a").await);
    let proxy = Running::before(&[&old]).await;
    proxy.post("/v1/completions", "{}").await;
    proxy.configure(&config(2, &[&new])).await;
    proxy.done(&Request::Admit(new.backend.clone())).await;
    proxy.post("/v1/completions", "{}").await;
    let both = r#"replica_proxy_attempts_total{instance="a",reason="first"} 2"#;
    until_counted(&proxy, both).await;
}

/// The numbers of a field like `proxy;dur=0.1, upstream;dur=2.0`.
fn timed(field: &str) -> Vec<(String, f64)> {
    let parts = field.split(", ").map(|part| {
        let (name, took) = part.split_once(";dur=").unwrap();
        (name.to_owned(), took.parse().unwrap())
    });
    parts.collect()
}

#[tokio::test]
async fn an_answer_says_how_long_it_took_unless_nobody_is_to_know() {
    let (a, mut calls) = Fake::driven("a").await;
    let proxy = Running::before(&[&a]).await;
    let mut client = proxy.client().await;
    client.send(&post("/v1/completions", "{}")).await;
    let mut call = calls.recv().await.unwrap();
    let late = Duration::from_millis(20);
    tokio::time::sleep(late).await;
    call.write("HTTP/1.1 200 OK\r\nserver-timing: engine;dur=1\r\nx-replica-instance: z\r\ncontent-length: 0\r\n\r\n")
        .await;
    let answer = client.answer().await;
    assert_eq!(answer.instance(), Some("a"));
    let fields: Vec<_> = answer.head.match_indices("server-timing: ").collect();
    assert_eq!(fields.len(), 2, "{}", answer.head);
    let ours = answer.head.lines().find(|line| line.contains("proxy;dur"));
    let times = timed(ours.unwrap().strip_prefix("server-timing: ").unwrap());
    let names: Vec<_> = times.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["proxy", "upstream"]);
    assert!(times[1].1 >= late.as_secs_f64() * 1e3, "{times:?}");
    drop(call);

    let quiet = Config {
        headers: false,
        ..config(2, &[&a])
    };
    proxy.configure(&quiet).await;
    drop(client);
    let mut client = proxy.client().await;
    client.send(&post("/v1/completions", "{}")).await;
    let mut call = calls.recv().await.unwrap();
    call.reply("200 OK", "{}").await;
    let answer = client.answer().await;
    assert_eq!(answer.status(), 200);
    assert!(!answer.head.contains("x-replica-"), "{}", answer.head);
    assert!(!answer.head.contains("server-timing"), "{}", answer.head);
}

#[tokio::test]
async fn an_instance_is_told_nothing_but_for_whom_it_works() {
    let (a, mut calls) = Fake::driven("a").await;
    let proxy = Running::before(&[&a]).await;
    let mut client = proxy.client().await;
    let trace = "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    client
        .send(&format!(
            "POST /v1/completions HTTP/1.1\r\nhost: proxy\r\n{trace}\r\ncontent-length: 2\r\n\r\n{{}}"
        ))
        .await;
    let call = calls.recv().await.unwrap();
    assert!(call.head.contains(trace), "{}", call.head);
    let names = call
        .head
        .lines()
        .skip(1)
        .filter_map(|line| line.split_once(": "));
    let mut names: Vec<_> = names.map(|(name, _)| name).collect();
    names.sort_unstable();
    let wanted = [
        "content-length",
        "host",
        "traceparent",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-proto",
        "x-request-id",
    ];
    assert_eq!(names, wanted);
}

async fn until_lines(path: &Path, count: usize) -> Vec<Value> {
    soon(async {
        loop {
            let text = std::fs::read_to_string(path).unwrap_or_default();
            if text.matches('\n').count() >= count {
                let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
                return lines.collect();
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
}

#[tokio::test]
async fn a_line_is_written_of_each_request_and_holds_no_secret() {
    let a = Fake::start("a").await;
    let gone = nobody("b").await;
    let proxy = Running::before(&[&a]).await;
    let path = proxy.folder.path().join("access.log");
    let mut logged = Config {
        access_log: Some(path.display().to_string()),
        ..config(2, &[&a])
    };
    proxy.configure(&logged).await;
    proxy
        .ask("POST /v1/completions?api_key=hush HTTP/1.1\r\nhost: p\r\nx-request-id: r-1\r\nauthorization: Bearer hush\r\ncontent-length: 15\r\n\r\n{\"say\":\"hush\"}\n")
        .await;
    proxy.get("/nowhere").await;
    let lines = until_lines(&path, 2).await;
    let expected = [
        ("id", "r-1".into()),
        ("client", "127.0.0.1".into()),
        ("method", "POST".into()),
        ("path", "/v1/completions".into()),
        ("status", 200.into()),
        ("instance", "a".into()),
        ("attempts", 1.into()),
        ("bytes_in", 15.into()),
        ("bytes_out", r#"{"from":"a"}"#.len().into()),
        ("queued_ms", Value::Null),
        ("outcome", "ok".into()),
        ("error", Value::Null),
    ];
    for (key, value) in expected {
        assert_eq!(lines[0][key], value, "{key} of {}", lines[0]);
    }
    assert!(lines[0]["total_ms"].as_f64() >= lines[0]["first_byte_ms"].as_f64());
    let time = lines[0]["time"].as_str().unwrap();
    assert_eq!(time.len(), "2026-11-27T11:58:16.123Z".len(), "{time}");
    assert_eq!(lines[1]["error"], "not_found");
    assert_eq!(lines[1]["instance"], Value::Null);
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(
        !text.contains("hush") && !text.contains("replica-a"),
        "{text}"
    );

    // Moved away as by logrotate, and opened anew.
    std::fs::rename(&path, path.with_extension("1")).unwrap();
    proxy.front.pool.access_log().unwrap().reopen();
    proxy.get("/health").await;
    let lines = until_lines(&path, 1).await;
    assert_eq!((lines.len(), &lines[0]["path"]), (1, &"/health".into()));

    // One that cannot be written is refused, and all stays as it was.
    logged.generation = 3;
    logged.backends.push(gone);
    logged.access_log = Some(proxy.folder.path().display().to_string());
    let Reply::Refused { message } = proxy.tell(&Request::Configure(logged)).await else {
        panic!("it was taken");
    };
    assert!(message.contains("cannot be written"), "{message}");
    let status = proxy.status().await;
    assert_eq!(status.config.unwrap().generation, 2);
    assert!(!status.backends.contains_key("b"));
}

#[tokio::test]
async fn clients_that_are_given_up_are_counted_by_why() {
    let limits = Limits {
        head: Duration::from_millis(50),
        ..Limits::default()
    };
    let proxy = Running::bearing(limits, &[]).await;
    let mut slow = proxy.client().await;
    slow.send("GET /health HTTP/1.1\r\n").await;
    slow.rest().await;
    let counted = r#"replica_proxy_clients_cut_total{reason="slow_head"} 1"#;
    let page = until_counted(&proxy, counted).await;
    assert!(page.contains("\nreplica_proxy_clients 1\n"), "{page}");
}
