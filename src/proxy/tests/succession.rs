//! One proxy takes over from another, under the eyes of clients.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use tokio::net::UnixStream;

use super::*;

/// Starts a proxy that takes over from the one at this control socket. It keeps its state elsewhere.
async fn successor(control: &Path) -> Running {
    let folder = tempfile::tempdir().unwrap();
    let options = Options {
        control: Some(control.to_owned()),
        succeeds: true,
        ..options(&folder)
    };
    let successor = Running::by(options, folder).await;
    std::os::unix::fs::symlink(control, successor.socket()).unwrap();
    successor
}

/// What the proxy at this control socket says of itself.
async fn status(control: &Path) -> Status {
    match call(control, &Request::Status, |_| {}).await.unwrap() {
        Reply::Done(status) => *status,
        other => panic!("{other:?}"),
    }
}

/// Waits until one has ended; its folder has the control socket of all that come after it.
async fn ended(proxy: Running) -> tempfile::TempDir {
    soon(proxy.serving).await.unwrap();
    proxy.folder
}

#[tokio::test]
async fn a_stream_goes_on_at_the_one_before_and_who_comes_anew_is_served_by_the_next() {
    let (fake, mut calls) = Fake::driven("a").await;
    let first = Running::before(&[&fake]).await;
    let control = first.socket();
    let mut streaming = first.client().await;
    streaming.send(&post("/v1/completions", "{}")).await;
    let mut stream = calls.recv().await.unwrap();
    stream.begin_stream().await;
    stream.chunk("data: one\n\n").await;
    streaming.until("data: one\n\n\r\n").await;

    let second = successor(&control).await;
    assert_eq!(second.address, first.address);
    let mut client = second.client().await;
    client.send(&post("/v1/completions", "{}")).await;
    calls.recv().await.unwrap().reply("200 OK", "{}").await;
    let answer = client.answer().await;
    assert_eq!((answer.status(), answer.header("connection")), (200, None));
    second.until_requests(1, 0, 0).await;

    stream.chunk("data: [DONE]\n\n").await;
    stream.end_stream().await;
    let rest = streaming.rest().await;
    assert!(rest.ends_with("0\r\n\r\n"), "{rest}");
    let _folder = ended(first).await;
    // What ended at the one before is counted by its successor.
    second.until_requests(2, 0, 0).await;
    assert_eq!(status(&control).await.config.unwrap().generation, 1);
}

#[tokio::test]
async fn who_is_connected_is_answered_once_more_and_then_let_go() {
    let (fake, mut calls) = Fake::driven("a").await;
    let first = Running::before(&[&fake]).await;
    let mut client = first.client().await;
    for _ in 0..2 {
        client.send(&post("/v1/completions", "{}")).await;
        calls.recv().await.unwrap().reply("200 OK", "{}").await;
        assert_eq!(client.answer().await.header("connection"), None);
    }
    let second = successor(&first.socket()).await;
    client.send(&post("/v1/completions", "{}")).await;
    calls.recv().await.unwrap().reply("200 OK", "{}").await;
    let answer = client.answer().await;
    assert_eq!(
        (answer.status(), answer.header("connection")),
        (200, Some("close"))
    );
    assert_eq!(client.rest().await, "");
    let _folder = ended(first).await;
    second.until_requests(3, 0, 0).await;
}

#[tokio::test]
async fn a_drain_that_was_begun_is_known_to_the_next() {
    let (a, b) = (Fake::start("a").await, Fake::start("b").await);
    let first = Running::before(&[&a, &b]).await;
    first
        .done(&Request::Drain {
            backend: "a".to_owned(),
            wait: true,
        })
        .await;
    let control = first.socket();
    let second = successor(&control).await;
    let _folder = ended(first).await;
    let status = status(&control).await;
    assert_eq!(status.backends["a"].state, BackendState::Draining);
    let answer = second.post("/v1/completions", "{}").await;
    assert_eq!(answer.instance(), Some("b"));
}

#[tokio::test]
async fn a_successor_that_goes_away_changes_nothing() {
    let fake = Fake::start("a").await;
    let first = Running::before(&[&fake]).await;
    let control = first.socket();
    for said in [
        "{\"succeed\": {\"host\": \"127.0.0.1\", \"port\": 0}}\n",
        "{\"succeed\": {}}\n",
    ] {
        let mut gone = UnixStream::connect(&control).await.unwrap();
        gone.write_all(said.as_bytes()).await.unwrap();
        let mut heard = [0; 16];
        assert_ne!(soon(gone.read(&mut heard)).await.unwrap(), 0);
    }
    let answer = first.post("/v1/completions", "{}").await;
    assert_eq!(answer.status(), 200);
    assert!(status(&control).await.is_serving("a"));
    let second = successor(&control).await;
    let _folder = ended(first).await;
    assert_eq!(second.post("/v1/completions", "{}").await.status(), 200);
}

#[tokio::test]
async fn where_none_runs_a_successor_is_the_first() {
    let folder = tempfile::tempdir().unwrap();
    let control = folder.path().join("control.sock");
    let first = successor(&control).await;
    assert_eq!(first.get("/health").await.status(), 200);
    // One that was killed leaves its socket behind.
    let left = folder.path().join("left.sock");
    drop(std::os::unix::net::UnixListener::bind(&left).unwrap());
    let second = successor(&left).await;
    assert_eq!(second.get("/health").await.status(), 200);
}

#[tokio::test]
async fn one_that_is_to_listen_elsewhere_takes_everything_else_over() {
    let fake = Fake::start("a").await;
    let first = Running::before(&[&fake]).await;
    let control = first.socket();
    let folder = tempfile::tempdir().unwrap();
    let options = Options {
        host: "127.0.0.2".to_owned(),
        control: Some(control.clone()),
        succeeds: true,
        ..options(&folder)
    };
    let second = Running::by(options, folder).await;
    let address = first.address;
    let _folder = ended(first).await;
    assert!(TcpStream::connect(address).await.is_err());
    assert_eq!(second.post("/v1/completions", "{}").await.status(), 200);
    assert!(status(&control).await.is_serving("a"));
}

/// A start that has left is remembered by every proxy after the one that sent to it, and one that goes on is
/// counted on, with what ends at the proxy before.
#[tokio::test]
async fn what_became_of_the_requests_of_each_start_is_known_to_the_next() {
    let old = Fake::start("a").await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (sender, mut calls) = mpsc::unbounded_channel();
    let new = Fake::on(listener, "a", "replica-a2", move |call| {
        sender.send(call).ok();
        async { None }
    });
    let first = Running::before(&[&old]).await;
    assert_eq!(first.post("/v1/completions", "{}").await.status(), 200);
    let taken = first.done(&Request::TakeOver(new.backend.clone())).await;
    assert_eq!(taken.backends["a"].state, BackendState::Ready);
    let mut streaming = first.client().await;
    streaming.send(&post("/v1/completions", "{}")).await;
    let mut stream = calls.recv().await.unwrap();
    stream.begin_stream().await;

    let control = first.socket();
    let second = successor(&control).await;
    let ok = |status: &Status, start: &Option<String>| {
        let mut former = status.former.iter().filter(|it| it.start == *start);
        former.next().map(|it| (it.ok, it.in_flight))
    };
    let of_old = &old.backend.nonce;
    assert_eq!(ok(&status(&control).await, of_old), Some((1, 0)));
    stream.end_stream().await;
    streaming.until("0\r\n\r\n").await;
    let _folder = ended(first).await;
    let third = successor(&control).await;
    let _folder_of_second = ended(second).await;
    let last = third.done(&Request::TakeOver(old.backend.clone())).await;
    assert_eq!(last.backends["a"].state, BackendState::Ready);
    let of_new = new.backend.nonce.clone();
    third
        .until(|status| ok(status, &of_new) == Some((1, 0)))
        .await;
}

/// Nobody is refused, whenever they come.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_one_after_another_takes_over_every_request_is_answered() {
    let fake = Fake::start("a").await;
    let mut proxy = Running::before(&[&fake]).await;
    let (address, control) = (proxy.address, proxy.socket());
    let (over, answered) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicU32::new(0)),
    );
    let asking: Vec<_> = (0..8)
        .map(|nth| {
            let (over, answered) = (Arc::clone(&over), Arc::clone(&answered));
            tokio::spawn(async move {
                let mut client = Client(TcpStream::connect(address).await.unwrap());
                while !over.load(Ordering::SeqCst) {
                    client.send(&post("/v1/completions", "{}")).await;
                    let answer = client.answer().await;
                    assert_eq!(answer.status(), 200, "{answer:?}");
                    answered.fetch_add(1, Ordering::SeqCst);
                    // Half of them keep their connection for as long as they may.
                    if nth % 2 == 0 || answer.header("connection") == Some("close") {
                        client = Client(TcpStream::connect(address).await.unwrap());
                    }
                }
            })
        })
        .collect();
    // The folder of the first holds the control socket.
    let mut folders = Vec::new();
    for _ in 0..5 {
        let before = answered.load(Ordering::SeqCst);
        let next = successor(&control).await;
        let last = std::mem::replace(&mut proxy, next);
        folders.push(ended(last).await);
        soon(async {
            while answered.load(Ordering::SeqCst) < before + 50 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
    }
    over.store(true, Ordering::SeqCst);
    for one in asking {
        soon(one).await.unwrap();
    }
    let answered = u64::from(answered.load(Ordering::SeqCst));
    proxy.until_requests(answered, 0, 0).await;
}
