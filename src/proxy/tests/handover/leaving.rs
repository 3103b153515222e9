//! Clients that leave, and what is left of their requests.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::net::TcpListener;

use super::*;

#[tokio::test]
async fn who_leaves_while_the_prompt_is_read_has_that_ended() {
    let (p, mut reads) = driven("p", Role::Prefill).await;
    let d = writer("d").await;
    let proxy = Running::before(&[&p, &d]).await;
    let mut client = proxy.client().await;
    client.send(&post("/v1/completions", ASKED)).await;
    let mut call = next(&mut reads).await;
    drop(client);
    soon(call.gone()).await;
    proxy.until_requests(0, 0, 1).await;
    proxy.at_rest().await;
    assert_eq!(d.calls(), 0);
}

#[tokio::test]
async fn who_leaves_while_the_answer_is_written_has_that_ended() {
    for has_begun in [false, true] {
        let p = reader("p").await;
        let (d, mut writes) = driven("d", Role::Decode).await;
        let proxy = Running::before(&[&p, &d]).await;
        let mut client = proxy.client().await;
        let body = r#"{"prompt":"p","stream":true}"#;
        client.send(&post("/v1/completions", body)).await;
        let mut call = next(&mut writes).await;
        if has_begun {
            call.begin_stream().await;
            call.chunk("data: 1\n\n").await;
            client.until("data: 1\n\n\r\n").await;
        }
        drop(client);
        soon(call.gone()).await;
        proxy.until_requests(0, 0, 1).await;
        proxy.at_rest().await;
        assert_eq!((p.calls(), d.calls()), (1, 1), "nothing else was asked");
    }
}

#[tokio::test]
async fn who_leaves_as_nobody_is_free_leaves_what_is_held_to_be_forgotten() {
    let p = reader("p").await;
    let (d, mut writes) = driven("d", Role::Decode).await;
    let mut config = config(1, &[&p, &d]);
    config.limits.in_flight = std::num::NonZeroU32::new(1);
    let proxy = serving(config).await;
    let mut first = proxy.client().await;
    first.send(&post("/v1/completions", ASKED)).await;
    let mut call = next(&mut writes).await;
    let mut second = proxy.client().await;
    second.send(&post("/v1/completions", ASKED)).await;
    proxy.until(|status| status.waiting == 1).await;
    drop(second);
    proxy.until(|status| status.waiting == 0).await;
    call.reply("200 OK", &written(299)).await;
    assert_eq!(first.answer().await.status(), 200);
    proxy.at_rest().await;
    assert_eq!(proxy.handoffs("unreleased").await, 1);
    assert_eq!(d.calls(), 1);
}

/// Answers who probes it until it is told not to: then nobody who connects hears anything.
async fn silent_at_connections(name: &str) -> (Backend, Arc<AtomicBool>, UnboundedReceiver<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let backend = Backend {
        name: name.to_owned(),
        authority: listener.local_addr().unwrap().to_string(),
        role: Role::Decode,
        nonce: Some(format!("replica-{name}")),
        key: None,
    };
    let is_silent = Arc::<AtomicBool>::default();
    let (connected, connections) = mpsc::unbounded_channel();
    // Whatever it is asked: for its models, or on trial with who reads prompts for it.
    let list = format!(
        r#"{{"object":"list","data":[{{"id":"replica-{name}"}}],"choices":[{{"text":" 27"}}]}}"#
    );
    let silent = Arc::clone(&is_silent);
    tokio::spawn(async move {
        let mut kept = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            if silent.load(Ordering::SeqCst) {
                connected.send(()).ok();
                kept.push(stream);
                continue;
            }
            let list = list.clone();
            tokio::spawn(async move {
                let mut head = [0; 4096];
                if stream.read(&mut head).await.is_ok_and(|read| read > 0) {
                    let answer = format!(
                        "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{list}",
                        list.len()
                    );
                    stream.write_all(answer.as_bytes()).await.ok();
                }
            });
        }
    });
    (backend, is_silent, connections)
}

/// A request whose client leaves between its parts, and the servers that it was before.
struct Left {
    proxy: Running,
    _reader: Fake,
    writer: Fake,
    /// What has the writer fetch what was read.
    release: Call,
}

const LEFT: &str = r#"{"model":"tiny","prompt":"p","max_tokens":20,"stream":true}"#;

impl Left {
    async fn behind() -> Self {
        let p = reader("p").await;
        let (d1, is_silent, mut connections) = silent_at_connections("d1").await;
        let mut config = config(1, &[&p]);
        config.backends.push(d1);
        let proxy = serving(config).await;
        let mut client = proxy.client().await;
        is_silent.store(true, Ordering::SeqCst);
        client.send(&named("/v1/completions", LEFT)).await;
        // The prompt was read, and the connection says nothing of who is at its other end. Probes connect, too.
        soon(connections.recv()).await.unwrap();
        proxy
            .until(|status| status.backends["d1"].in_flight == 1)
            .await;
        let (d2, mut writes) = driven("d2", Role::Decode).await;
        proxy.done(&Request::Admit(d2.backend.clone())).await;
        let drain = Request::Drain {
            backend: "d1".to_owned(),
            wait: false,
        };
        proxy.done(&drain).await;
        drop(client);
        Self {
            release: next(&mut writes).await,
            _reader: p,
            writer: d2,
            proxy,
        }
    }
}

#[tokio::test]
async fn what_nobody_was_asked_to_fetch_is_released() {
    let Left {
        proxy,
        _reader,
        writer: _writer,
        mut release,
    } = Left::behind().await;
    assert_eq!(release.header("x-request-id"), Some("r-1-r"));
    assert_eq!(text(&release), shortened().replace(HOLD, HELD));
    release.reply("200 OK", &written(299)).await;
    drop(release);
    proxy.until_requests(0, 0, 1).await;
    proxy.at_rest().await;
    assert_eq!(proxy.handoffs("released").await, 1);
    assert_eq!(proxy.handoffs("handed_over").await, 0);
}

/// An engine that dies of what it was to fetch, behind a server that lives on for a while, has died of that
/// request.
#[tokio::test]
async fn what_an_engine_died_of_as_it_released_it_goes_to_no_other() {
    let Left {
        proxy,
        _reader,
        writer,
        mut release,
    } = Left::behind().await;
    writer.die();
    let dead = r#"{"error":{"message":"EngineCore encountered an issue."}}"#;
    release.reply("500 Internal Server Error", dead).await;
    drop(release);
    proxy.until_state("d2", BackendState::Ejected).await;
    let again = proxy.post("/v1/completions", LEFT).await;
    assert_eq!((again.status(), &*again.error()), (502, "upstream_died"));
    assert_eq!(again.header("x-should-retry"), Some("false"));
    assert_eq!(proxy.handoffs("unreleased").await, 1);
    proxy.at_rest().await;
}

/// When a client leaves: what of each part has come by then.
const PHASES: [&str; 6] = [
    "silent", "p-head", "p-body", "d-silent", "d-head", "d-stream",
];

/// Answers as far as a body asks for.
async fn answering_in_part(name: &'static str, role: Role) -> Fake {
    let fake = Fake::answering(name, move |mut call: Call| async move {
        let body = text(&call).to_owned();
        let is_read = body.contains("\"do_remote_decode\":true");
        let whole = read(HELD);
        let length = whole.len();
        let of_read = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n");
        let of_stream = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\
                         transfer-encoding: chunked\r\n\r\n9\r\ndata: 1\n\n\r\n";
        // Who is to fetch what nobody waits for any more does so, whatever was asked.
        let is_release = call
            .header("x-request-id")
            .unwrap_or_default()
            .ends_with("-r");
        let is_answered = body.contains("served") || is_release || is_read && body.contains("\"d-");
        let (begun, is_whole) = if is_answered {
            (of_read + &whole, true)
        } else if is_read && body.contains("p-head") {
            ("HTTP/1.1 200 OK\r\ncontent-".to_owned(), false)
        } else if is_read && body.contains("p-body") {
            (of_read + &whole[..100], false)
        } else if body.contains("d-head") {
            ("HTTP/1.1 200 OK\r\ncontent-".to_owned(), false)
        } else if body.contains("d-stream") {
            (of_stream.to_owned(), false)
        } else {
            (String::new(), false)
        };
        call.stream.write_all(begun.as_bytes()).await.ok()?;
        if is_whole {
            return Some(call.stream);
        }
        let mut rest = Vec::new();
        call.stream.read_to_end(&mut rest).await.ok()?;
        None
    });
    with_role(fake.await, role)
}

async fn abort(address: SocketAddr, seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    let phase = random.choice(PHASES).unwrap();
    let body = format!(r#"{{"prompt":"{phase}","stream":true}}"#);
    let mut stream = TcpStream::connect(address).await.unwrap();
    let _ = stream
        .write_all(post("/v1/completions", &body).as_bytes())
        .await;
    tokio::time::sleep(Duration::from_micros(random.u64(..6000))).await;
    if random.bool() {
        stream.set_zero_linger().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn aborts_in_every_phase_leave_nothing_behind() {
    let (p1, p2) = (
        answering_in_part("p1", Role::Prefill).await,
        answering_in_part("p2", Role::Prefill).await,
    );
    let (d1, d2) = (
        answering_in_part("d1", Role::Decode).await,
        answering_in_part("d2", Role::Decode).await,
    );
    let proxy = Running::before(&[&p1, &p2, &d1, &d2]).await;
    for (generation, policy) in (2..).zip(PolicySpec::NAMES) {
        let mut next = config(generation, &[&p1, &p2, &d1, &d2]);
        next.policy = PolicySpec::named(policy).unwrap();
        // Some wait for a place, and leave while they do.
        next.limits.in_flight = std::num::NonZeroU32::new(20);
        proxy.configure(&next).await;
        let clients: Vec<_> = (0..120)
            .map(|turn| tokio::spawn(abort(proxy.address, generation * 1000 + turn)))
            .collect();
        for client in clients {
            soon(client).await.unwrap();
        }
        proxy.until(|status| status.waiting == 0).await;
        proxy.at_rest().await;
        let pool = &proxy.front.pool;
        for backend in pool.backends() {
            assert_eq!(backend.tokens.load(Ordering::SeqCst), 0, "{policy}");
            assert_eq!(backend.oldest(), None, "{policy}");
            let status = backend.status();
            assert_eq!(status.state, BackendState::Ready, "{policy}: {status:?}");
        }
        let status = proxy.status().await;
        assert_eq!(status.requests.failed, 0, "{policy}: {status:?}");
        for at in 0..4 {
            let body = format!(r#"{{"prompt":"served {at}"}}"#);
            let answer = proxy.post("/v1/completions", &body).await;
            assert_eq!(answer.status(), 200, "{policy}");
        }
    }
    assert_eq!(
        proxy.front.pool.handoffs.releasing.load(Ordering::SeqCst),
        0
    );
    let _ = proxy.stop().await;
}
