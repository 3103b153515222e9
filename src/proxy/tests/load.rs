use std::num::NonZeroU32;
use std::sync::Arc;

use tokio::sync::Barrier;

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_hundred_and_twelve_streams_at_once_have_no_error() {
    const STREAMS: usize = 512;
    // No stream ends before all have begun.
    let all = Arc::new(Barrier::new(STREAMS));
    let answer = move |mut call: fake::Call| {
        let all = Arc::clone(&all);
        async move {
            call.begin_stream().await;
            call.chunk("data: first\n\n").await;
            all.wait().await;
            for _ in 0..8 {
                call.chunk("data: more\n\n").await;
            }
            call.chunk("data: [DONE]\n\n").await;
            call.end_stream().await;
            Some(call.stream)
        }
    };
    let a = Fake::answering("a", answer.clone()).await;
    let b = Fake::answering("b", answer).await;
    let proxy = Arc::new(Running::before(&[&a, &b]).await);
    let clients: Vec<_> = (0..STREAMS)
        .map(|_| {
            let proxy = Arc::clone(&proxy);
            tokio::spawn(async move { proxy.post("/v1/completions", "{}").await })
        })
        .collect();
    for client in clients {
        let answer = soon(client).await.unwrap();
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.body.matches("data: more").count(), 8);
        assert!(answer.body.contains("data: [DONE]"));
    }
    proxy.until_requests(STREAMS as u64, 0, 0).await;
    assert_eq!((a.calls(), b.calls()), (STREAMS / 2, STREAMS / 2));
}

/// Clients leave at every moment of a request, and nothing stays behind.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_aborts_leave_nothing_in_flight() {
    leave_at_every_moment(InstanceLimits::default()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_aborts_leave_nobody_in_the_queue() {
    let limits = InstanceLimits {
        in_flight: NonZeroU32::new(4),
        queue: Some(1000),
        ..InstanceLimits::default()
    };
    leave_at_every_moment(limits).await;
}

/// Answers, or begins to, or stays silent.
async fn answers_at_random(mut call: fake::Call) -> Option<TcpStream> {
    match fastrand::u8(..4) {
        0 => call.gone().await,
        1 => {
            call.stream.write_all(b"HTTP/1.1 200 OK\r\n").await.ok()?;
            call.gone().await;
        }
        2 => {
            let begun = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n";
            call.stream.write_all(begun.as_bytes()).await.ok()?;
            call.gone().await;
        }
        _ => {
            let whole = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";
            call.stream.write_all(whole.as_bytes()).await.ok()?;
            return Some(call.stream);
        }
    }
    None
}

async fn leave_at_every_moment(limits: InstanceLimits) {
    const ABORTS: u64 = 1000;
    let a = Fake::answering("a", answers_at_random).await;
    let b = Fake::answering("b", answers_at_random).await;
    let proxy = Arc::new(Running::before(&[&a, &b]).await);
    let mut least = config(2, &[&a, &b]);
    least.policy = PolicySpec::LeastConnections;
    least.limits = limits;
    proxy.configure(&least).await;
    let clients: Vec<_> = (0..ABORTS)
        .map(|turn| {
            let proxy = Arc::clone(&proxy);
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_micros(turn * 500)).await;
                let mut client = proxy.client().await;
                client.send(&post("/v1/completions", "{}")).await;
                tokio::time::sleep(Duration::from_micros(fastrand::u64(..8000))).await;
            })
        })
        .collect();
    for client in clients {
        soon(client).await.unwrap();
    }
    // Some leave before their head is read, and were never requests: but each that reached an
    // instance has ended.
    let ended = |requests: &Requests| requests.ok + requests.failed + requests.cut;
    let status = proxy
        .until(|status| {
            let in_flight: u64 = status.backends.values().map(|b| b.in_flight).sum();
            in_flight == 0
                && status.waiting == 0
                && ended(&status.requests) >= (a.calls() + b.calls()) as u64
        })
        .await;
    assert!(ended(&status.requests) <= ABORTS);
    assert!(status.requests.cut > ABORTS / 4, "{status:?}");
    assert_eq!(status.requests.failed, 0);
    for name in ["a", "b"] {
        assert_eq!(status.backends[name].state, BackendState::Ready);
    }
    // No connection of a client is left either: a proxy that stops waits for those.
    let proxy = Arc::into_inner(proxy).unwrap();
    proxy.stops.send(()).await.unwrap();
    soon(proxy.serving).await.unwrap();
}
