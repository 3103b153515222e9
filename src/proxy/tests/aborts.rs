//! Clients leave at every moment of a request, under every policy, and nothing stays behind.

use std::sync::Arc;

use super::*;

/// So many leave under each policy: with seven policies more than a thousand in all.
const ABORTS: u64 = 150;

/// When a client leaves.
#[derive(Debug, Clone, Copy)]
enum Leaves {
    BeforeTheHead,
    InTheHead,
    BeforeTheBody,
    InTheBody,
    /// One that is not held before a server is chosen.
    InALargeBody,
    /// With the answer still to come.
    Waiting,
    /// With a head that does not end.
    InTheAnswersHead,
    Midstream,
    /// With a second request behind the first.
    Pipelined,
    /// With all of an answer there, read or not.
    Answered,
}

impl Leaves {
    const ALL: [Self; 10] = [
        Self::BeforeTheHead,
        Self::InTheHead,
        Self::BeforeTheBody,
        Self::InTheBody,
        Self::InALargeBody,
        Self::Waiting,
        Self::InTheAnswersHead,
        Self::Midstream,
        Self::Pipelined,
        Self::Answered,
    ];

    /// What was sent until then.
    fn sent(self) -> String {
        let whole = |what: &str| post("/v1/completions", &format!(r#"{{"prompt":"{what}"}}"#));
        let head = |length: usize| {
            format!("POST /v1/completions HTTP/1.1\r\nhost: p\r\ncontent-length: {length}\r\n\r\n")
        };
        match self {
            Self::BeforeTheHead => String::new(),
            Self::InTheHead => "POST /v1/completions HTTP/1.1\r\nhos".to_owned(),
            Self::BeforeTheBody => head(100),
            Self::InTheBody => head(100) + "{\"prompt\":",
            Self::InALargeBody => head(9_000_000) + &" ".repeat(100_000),
            Self::Waiting => whole("silent"),
            Self::InTheAnswersHead => whole("head"),
            Self::Midstream => whole("stream"),
            Self::Pipelined => whole("silent") + &whole("served"),
            Self::Answered => whole("served"),
        }
    }
}

/// Answers as it is asked to, and never to an end but when it is told to serve.
async fn answer(mut call: fake::Call) -> Option<TcpStream> {
    let body = String::from_utf8_lossy(&call.body).into_owned();
    // Who asks may be gone at any moment.
    let begun = if body.contains("head") {
        "HTTP/1.1 200 OK\r\ncontent-"
    } else if body.contains("stream") {
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n\
         9\r\ndata: 1\n\n\r\n"
    } else if body.contains("served") {
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"
    } else {
        ""
    };
    call.stream.write_all(begun.as_bytes()).await.ok()?;
    if body.contains("served") {
        return Some(call.stream);
    }
    let mut rest = Vec::new();
    call.stream.read_to_end(&mut rest).await.ok()?;
    None
}

/// Sends as much as comes before that moment, waits a little, and leaves: with an end, or a reset.
async fn abort(address: SocketAddr, seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    let leaves = random.choice(Leaves::ALL).unwrap();
    let mut stream = TcpStream::connect(address).await.unwrap();
    // The proxy may have answered and closed before all of it was sent.
    let _ = stream.write_all(leaves.sent().as_bytes()).await;
    tokio::time::sleep(Duration::from_micros(random.u64(..4000))).await;
    if random.bool() {
        stream.set_zero_linger().unwrap();
    }
}

/// Whether nobody holds anything.
fn is_at_rest(front: &Front) -> bool {
    let holds_nothing = |backend: &Arc<crate::proxy::backend::Backend>| {
        let tokens = backend.tokens.load(std::sync::atomic::Ordering::SeqCst);
        (backend.in_flight(), backend.oldest(), tokens) == (0, None, 0)
    };
    let is_idle = front.pool.backends().iter().all(holds_nothing);
    is_idle && front.uploads.held() == 0 && front.clients.connected() == 0
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_aborts_leave_every_count_at_nothing() {
    let (a, b) = (
        Fake::answering("a", answer).await,
        Fake::answering("b", answer).await,
    );
    let proxy = Running::before(&[&a, &b]).await;
    let mut seed = 0;
    for (generation, policy) in (2..).zip(PolicySpec::NAMES) {
        let mut next = config(generation, &[&a, &b]);
        next.policy = PolicySpec::named(policy).unwrap();
        proxy.configure(&next).await;
        let clients: Vec<_> = (0..ABORTS)
            .map(|turn| tokio::spawn(abort(proxy.address, seed + turn)))
            .collect();
        for client in clients {
            soon(client).await.unwrap();
        }
        seed += ABORTS;
        soon(async {
            while !is_at_rest(&proxy.front) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
        let status = proxy.status().await;
        assert_eq!(status.requests.failed, 0, "{policy}: {status:?}");
        for name in ["a", "b"] {
            assert_eq!(status.backends[name].state, BackendState::Ready, "{policy}");
        }
        for at in 0..6 {
            let body = format!(r#"{{"prompt":"served {at}"}}"#);
            assert_eq!(proxy.post("/v1/completions", &body).await.status(), 200);
        }
    }
    // No task of a client is left either: a proxy that stops waits for those.
    let _ = proxy.stop().await;
}
