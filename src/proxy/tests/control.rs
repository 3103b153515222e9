use std::io::Cursor;
use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::proxy::ProxyError;
use crate::proxy::control::relay;

async fn refused(proxy: &Running, request: &Request) -> String {
    match proxy.tell(request).await {
        Reply::Refused { message } => message,
        other => panic!("{request:?} was answered by {other:?}"),
    }
}

#[tokio::test]
async fn a_drain_waits_for_what_is_in_flight() {
    let (a, mut calls) = Fake::driven("a").await;
    let b = Fake::start("b").await;
    let proxy = Running::before(&[&a, &b]).await;
    let mut client = proxy.client().await;
    client.send(&post("/v1/completions", "{}")).await;
    let mut call = calls.recv().await.unwrap();
    call.begin_stream().await;

    let (heard, mut waiting) = mpsc::unbounded_channel();
    let socket = proxy.socket();
    let drain = tokio::spawn(async move {
        let request = Request::Drain {
            backend: "a".to_owned(),
            wait: true,
        };
        super::call(&socket, &request, |reply| {
            heard.send(reply.clone()).unwrap();
        })
        .await
    });
    let news = soon(waiting.recv()).await.unwrap();
    let what = "1 request in flight at a".to_owned();
    assert_eq!(news, Reply::Waiting { what, in_flight: 1 });
    for _ in 0..4 {
        assert_eq!(
            proxy.post("/v1/completions", "{}").await.instance(),
            Some("b")
        );
    }
    assert!(!drain.is_finished());
    call.chunk("data: one\n\n").await;
    call.end_stream().await;
    client.until("0\r\n\r\n").await;
    let Ok(Reply::Done(status)) = soon(drain).await.unwrap() else {
        panic!("not drained");
    };
    assert_eq!(status.backends["a"].state, BackendState::Draining);
    assert_eq!(status.backends["a"].in_flight, 0);

    let status = proxy.done(&Request::Admit(a.backend.clone())).await;
    assert_eq!(status.backends["a"].state, BackendState::Ready);
}

/// Begins a drain of `a` for somebody who can be sent away, and waits until that waits.
async fn begun_drain(proxy: &Running) -> JoinHandle<()> {
    let (heard, mut waiting) = mpsc::unbounded_channel();
    let socket = proxy.socket();
    let drain = tokio::spawn(async move {
        let request = Request::Drain {
            backend: "a".to_owned(),
            wait: true,
        };
        let told = |_: &Reply| heard.send(()).unwrap_or_default();
        super::call(&socket, &request, told).await.unwrap();
    });
    soon(waiting.recv()).await.unwrap();
    drain
}

/// A run that was killed while it waited takes nothing out for ever.
#[tokio::test]
async fn a_drain_ends_with_whoever_waits_for_it() {
    let (a, mut calls) = Fake::driven("a").await;
    let proxy = Running::before(&[&a]).await;
    let mut client = proxy.client().await;
    client.send(&post("/v1/completions", "{}")).await;
    let mut call = calls.recv().await.unwrap();
    call.begin_stream().await;

    let killed = begun_drain(&proxy).await;
    let next = begun_drain(&proxy).await;
    killed.abort();
    // Another one waits as well: it stays drained.
    let third = begun_drain(&proxy).await;
    assert_eq!(
        proxy.status().await.backends["a"].state,
        BackendState::Draining
    );
    for gone in [next, third] {
        gone.abort();
    }
    proxy.until_state("a", BackendState::Ready).await;
    call.end_stream().await;
    client.until("0\r\n\r\n").await;
}

#[tokio::test]
async fn what_is_not_served_is_drained_already() {
    let proxy = Running::start().await;
    let backend = "nobody".to_owned();
    let status = proxy
        .done(&Request::Drain {
            backend,
            wait: true,
        })
        .await;
    assert_eq!(status.config, None);
}

#[tokio::test]
async fn a_configuration_replaces_another_under_a_stream() {
    let (a, mut calls) = Fake::driven("a").await;
    let b = Fake::start("b").await;
    let proxy = Running::before(&[&a]).await;
    let mut client = proxy.client().await;
    client.send(&post("/v1/completions", "{}")).await;
    let mut call = calls.recv().await.unwrap();
    call.begin_stream().await;
    client.until("\r\n\r\n").await;

    let mut next = config(2, &[&b]);
    next.policy = PolicySpec::LeastConnections;
    let socket = proxy.socket();
    let request = Request::Configure(next.clone());
    let (heard, mut waiting) = mpsc::unbounded_channel();
    let configuring = tokio::spawn(async move {
        super::call(&socket, &request, |reply| {
            heard.send(reply.clone()).unwrap();
        })
        .await
    });
    assert!(matches!(
        soon(waiting.recv()).await.unwrap(),
        Reply::Waiting { in_flight: 1, .. }
    ));
    // The new configuration is in force, the stream goes on, and new requests go to the new one.
    proxy.until_state("b", BackendState::Ready).await;
    assert_eq!(
        proxy.post("/v1/completions", "{}").await.instance(),
        Some("b")
    );
    assert_eq!(
        proxy.status().await.backends["a"].state,
        BackendState::Draining
    );
    call.chunk("data: late\n\n").await;
    client.until("late\n\n\r\n").await;
    assert!(!configuring.is_finished());
    call.end_stream().await;
    client.until("0\r\n\r\n").await;
    let Ok(Reply::Done(status)) = soon(configuring).await.unwrap() else {
        panic!("not configured");
    };
    assert_eq!(status.config, Some(next));
    assert_eq!(status.backends.keys().collect::<Vec<_>>(), ["b"]);
    assert_eq!(status.requests.failed, 0);
}

#[tokio::test]
async fn generations_only_rise() {
    let fake = Fake::start("a").await;
    let proxy = Running::before(&[&fake]).await;
    let third = config(3, &[&fake]);
    proxy.configure(&third).await;
    proxy.configure(&third).await;
    let mut different = third.clone();
    different.policy = PolicySpec::Random;
    let message = refused(&proxy, &Request::Configure(different)).await;
    assert_eq!(message, "another configuration of generation 3 is in force");
    let older = Request::Configure(config(2, &[&fake]));
    assert_eq!(
        refused(&proxy, &older).await,
        "generation 2 is older than 3, which is in force"
    );
    assert_eq!(proxy.status().await.config, Some(third));
}

#[tokio::test]
async fn nonsense_changes_nothing() {
    let fake = Fake::start("a").await;
    let proxy = Running::before(&[&fake]).await;
    let before = proxy.status().await;
    let twice = config(2, &[&fake, &fake]);
    let mut hasty = config(2, &[&fake]);
    hasty.timeouts.idle = 0.0;
    let mut unreal = config(2, &[&fake]);
    unreal.timeouts.connect = -1.0;
    let mut nowhere = config(2, &[&fake]);
    nowhere.backends[0].authority = "nowhere".to_owned();
    for nonsense in [twice, hasty, unreal, nowhere] {
        refused(&proxy, &Request::Configure(nonsense)).await;
    }
    assert_eq!(proxy.status().await, before);
}

#[tokio::test]
async fn a_new_epoch_takes_the_place_of_the_old() {
    let old = Fake::start("a").await;
    let proxy = Running::before(&[&old]).await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let new = Fake::on(listener, "a", "replica-a2", |mut call| async move {
        call.reply("200 OK", "{}").await;
        Some(call.stream)
    });
    let status = proxy.done(&Request::Admit(new.backend.clone())).await;
    assert_eq!(
        status.config.unwrap().backends,
        std::slice::from_ref(&new.backend)
    );
    for _ in 0..5 {
        assert_eq!(proxy.post("/v1/completions", "{}").await.status(), 200);
    }
    assert_eq!((old.calls(), new.calls()), (0, 5));
}

/// Where the next start of an instance is to be, which does not listen yet.
async fn next_start(name: &str) -> Backend {
    let nonce = Some(format!("replica-{name}2"));
    Backend {
        nonce,
        ..nobody(name).await
    }
}

/// The same, listening.
async fn come_up(next: &Backend) -> Fake {
    // Whoever held its port may take a moment to let it go.
    let bound = soon(async {
        loop {
            if let Ok(listener) = tokio::net::TcpListener::bind(&next.authority).await {
                return listener;
            }
            tokio::task::yield_now().await;
        }
    });
    let listener = bound.await;
    let nonce = next.nonce.clone().unwrap();
    Fake::on(listener, &next.name, &nonce, |mut call| async move {
        call.reply("200 OK", "{}").await;
        Some(call.stream)
    })
}

#[tokio::test]
async fn who_serves_goes_on_until_the_next_start_is_seen() {
    let old = Fake::start("a").await;
    let proxy = Running::before(&[&old]).await;
    let next = next_start("a").await;
    let (socket, request) = (proxy.socket(), Request::Admit(next.clone()));
    let admission = tokio::spawn(async move { super::call(&socket, &request, |_| {}).await });
    // It is what is told of, as it is what is declared.
    proxy.until_state("a", BackendState::Pending).await;
    for _ in 0..3 {
        assert_eq!(proxy.post("/v1/completions", "{}").await.status(), 200);
    }
    assert_eq!(old.calls(), 3);

    let new = come_up(&next).await;
    assert!(matches!(soon(admission).await.unwrap(), Ok(Reply::Done(_))));
    for _ in 0..3 {
        assert_eq!(proxy.post("/v1/completions", "{}").await.status(), 200);
    }
    assert_eq!((old.calls(), new.calls()), (3, 3));
}

/// Whoever asked for it may be killed meanwhile.
#[tokio::test]
async fn the_next_start_takes_its_place_though_nobody_waits_for_it() {
    let old = Fake::start("a").await;
    let proxy = Running::before(&[&old]).await;
    let next = next_start("a").await;
    let (socket, request) = (proxy.socket(), Request::Admit(next.clone()));
    let admission = tokio::spawn(async move { super::call(&socket, &request, |_| {}).await });
    proxy.until_state("a", BackendState::Pending).await;
    admission.abort();
    let new = come_up(&next).await;
    proxy.until_state("a", BackendState::Ready).await;
    soon(async {
        while new.calls() == 0 {
            assert_eq!(proxy.post("/v1/completions", "{}").await.status(), 200);
        }
    })
    .await;
    // Another that is declared meanwhile takes the place of one that never came.
    let (gone, last) = (next_start("a").await, old.backend.clone());
    let (socket, request) = (proxy.socket(), Request::Admit(gone));
    let admission = tokio::spawn(async move { super::call(&socket, &request, |_| {}).await });
    proxy.until_state("a", BackendState::Pending).await;
    proxy.done(&Request::Admit(last)).await;
    assert!(matches!(
        soon(admission).await.unwrap(),
        Ok(Reply::Refused { .. })
    ));
    let before = old.calls();
    assert_eq!(proxy.post("/v1/completions", "{}").await.status(), 200);
    assert_eq!(old.calls(), before + 1);
}

/// A manifest that is put back declares again what serves.
#[tokio::test]
async fn what_is_declared_again_is_not_taken_over_from() {
    let old = Fake::start("a").await;
    let proxy = Running::before(&[&old]).await;
    let next = next_start("a").await;
    let (socket, request) = (proxy.socket(), Request::Admit(next.clone()));
    let admission = tokio::spawn(async move { super::call(&socket, &request, |_| {}).await });
    proxy.until_state("a", BackendState::Pending).await;
    proxy.done(&Request::TakeOver(old.backend.clone())).await;
    assert!(matches!(
        soon(admission).await.unwrap(),
        Ok(Reply::Refused { .. })
    ));
    let new = come_up(&next).await;
    for _ in 0..3 {
        assert_eq!(proxy.post("/v1/completions", "{}").await.status(), 200);
    }
    assert_eq!((old.calls(), new.calls()), (3, 0));
}

#[tokio::test]
async fn what_was_taken_over_from_finishes_what_it_has() {
    let (old, mut calls) = Fake::driven("a").await;
    let proxy = Running::before(&[&old]).await;
    let mut client = proxy.client().await;
    client.send(&post("/v1/completions", "{}")).await;
    let mut call = calls.recv().await.unwrap();
    call.begin_stream().await;

    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let new = Fake::on(listener, "a", "replica-a2", |mut call| async move {
        call.reply("200 OK", "{}").await;
        Some(call.stream)
    });
    let next = new.backend.clone();
    let (heard, mut waiting) = mpsc::unbounded_channel();
    let (socket, request) = (proxy.socket(), Request::TakeOver(next.clone()));
    let taking = tokio::spawn(async move {
        super::call(&socket, &request, |reply| {
            heard.send(reply.clone()).unwrap_or_default();
        })
        .await
    });
    let news = soon(async {
        loop {
            if let Reply::Waiting { in_flight: 1, what } = waiting.recv().await.unwrap() {
                return what;
            }
        }
    });
    assert_eq!(news.await, "1 request in flight at a");
    assert_eq!(proxy.post("/v1/completions", "{}").await.status(), 200);
    assert_eq!(new.calls(), 1, "it serves meanwhile");
    call.end_stream().await;
    client.until("0\r\n\r\n").await;
    assert!(matches!(soon(taking).await.unwrap(), Ok(Reply::Done(_))));
    // Whoever finds it done has nothing to wait for.
    let status = proxy.done(&Request::TakeOver(next)).await;
    assert_eq!(status.backends["a"].state, BackendState::Ready);
    let former = proxy.until(|status| status.former.iter().any(|it| it.ok == 1));
    let former = former.await.former;
    assert_eq!(former.len(), 1, "{former:?}");
    assert_eq!(former[0].start, old.backend.nonce);
}

#[tokio::test]
async fn an_admission_waits_until_the_instance_is_seen() {
    let proxy = Running::start().await;
    let absent = nobody("a").await;
    let message = refused(&proxy, &Request::Admit(absent.clone())).await;
    assert!(message.contains("no configuration"), "{message}");
    proxy.configure(&config(1, &[])).await;
    let (heard, mut waiting) = mpsc::unbounded_channel();
    let socket = proxy.socket();
    let request = Request::Admit(absent.clone());
    let admission = tokio::spawn(async move {
        super::call(&socket, &request, |reply| {
            heard.send(reply.clone()).unwrap();
        })
        .await
    });
    let Reply::Waiting { what, .. } = soon(waiting.recv()).await.unwrap() else {
        panic!("not waiting");
    };
    assert!(what.starts_with("a was not seen yet"), "{what}");
    let listener = tokio::net::TcpListener::bind(&absent.authority)
        .await
        .unwrap();
    let _fake = Fake::on(listener, "a", "replica-a", |_| async { None });
    assert!(matches!(soon(admission).await.unwrap(), Ok(Reply::Done(_))));
}

#[tokio::test]
async fn the_last_configuration_outlives_the_proxy() {
    let fake = Fake::start("a").await;
    let other = Fake::start("b").await;
    let proxy = Running::before(&[&fake, &other]).await;
    proxy.configure(&config(7, &[&fake, &other])).await;
    let backend = "b".to_owned();
    proxy
        .done(&Request::Drain {
            backend,
            wait: true,
        })
        .await;
    let folder = proxy.stop().await;
    assert!(!folder.path().join("control.sock").exists());

    let proxy = Running::start_in(folder).await;
    let status = proxy.until_state("a", BackendState::Ready).await;
    assert_eq!(status.config, Some(config(7, &[&fake, &other])));
    assert_eq!(status.backends["b"].state, BackendState::Draining);
    assert_eq!(proxy.post("/v1/completions", "{}").await.status(), 200);
}

#[tokio::test]
async fn a_torn_state_file_is_said_to_be_one() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("state.json"), "{\"config\":").unwrap();
    let refusal = Proxy::bind(options(&folder)).await.unwrap_err();
    assert!(matches!(refusal, ProxyError::State { .. }), "{refusal}");
}

#[tokio::test]
async fn the_socket_is_private_and_taken_over_only_from_the_dead() {
    let proxy = Running::start().await;
    let path = proxy.socket();
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let refusal = Proxy::bind(options(&proxy.folder)).await.unwrap_err();
    assert!(
        refusal.to_string().contains("another proxy answers"),
        "{refusal}"
    );
    assert!(proxy.status().await.fd_limit > 0);

    let folder = tempfile::tempdir().unwrap();
    let dead = folder.path().join("control.sock");
    drop(std::os::unix::net::UnixListener::bind(&dead).unwrap());
    let proxy = Running::start_in(folder).await;
    assert_eq!(proxy.status().await.config, None);
}

#[tokio::test]
async fn a_line_of_json_gets_lines_of_json() {
    let proxy = Running::start().await;
    let mut said = Vec::new();
    let reply = relay(&proxy.socket(), Cursor::new("\"status\"\n"), &mut said).await;
    let said = String::from_utf8(said).unwrap();
    let line: Reply = serde_json::from_str(said.trim_end()).unwrap();
    assert_eq!(line, reply.unwrap());
    let nonsense = relay(&proxy.socket(), Cursor::new("nonsense\n"), &mut Vec::new()).await;
    assert!(nonsense.is_err());
}

#[tokio::test]
async fn a_stopped_proxy_finishes_what_is_in_flight() {
    let (fake, mut calls) = Fake::driven("a").await;
    let proxy = Running::before(&[&fake]).await;
    let mut client = proxy.client().await;
    let mut idle = proxy.client().await;
    idle.send("GET /health HTTP/1.1\r\nhost: p\r\n\r\n").await;
    idle.answer().await;
    client.send(&post("/v1/completions", "{}")).await;
    let mut call = calls.recv().await.unwrap();
    call.begin_stream().await;
    client.until("\r\n\r\n").await;
    proxy.stops.send(()).await.unwrap();
    // The idle connection is closed, and nobody gets in any more.
    assert_eq!(idle.rest().await, "");
    soon(async { while TcpStream::connect(proxy.address).await.is_ok() {} }).await;
    assert!(!proxy.serving.is_finished());
    call.chunk("data: last\n\n").await;
    call.end_stream().await;
    let rest = client.rest().await;
    assert!(rest.ends_with("data: last\n\n\r\n0\r\n\r\n"), "{rest:?}");
    soon(proxy.serving).await.unwrap();
}
