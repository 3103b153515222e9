//! What ends it, and what does not.

use std::net::TcpStream;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::json;
use tokio::io::AsyncReadExt;
use tokio::time::timeout;

use super::client::{get, open, post, read_until};
use super::world::{Outside, lives, signal, until};

/// Asks for a stream that lasts as long as the test.
async fn endless_stream(server: &Outside) -> tokio::net::TcpStream {
    let body = json!({"prompt": "hello", "max_tokens": 30_000, "ignore_eos": true, "stream": true});
    let mut stream = open(server.address, "/v1/completions", &body).await;
    read_until(&mut stream, "data: ").await;
    stream
}

#[tokio::test]
async fn sigterm_ends_an_idle_server_and_its_engine() {
    let mut server = Outside::ready("").await;
    let engine = server.engine_pid().await;
    assert_eq!(get(server.address, "/health").await.status(), 200);
    signal(server.pid(), Signal::TERM);
    assert_eq!(server.ended().await.code(), Some(0));
    assert!(!lives(engine));
    assert!(TcpStream::connect(server.address).is_err());
    server.says("Shutting down FastAPI HTTP server.").await;
    server.says("Application shutdown complete.").await;
}

#[tokio::test]
async fn sigterm_while_loading_ends_both() {
    let mut server = Outside::start("--sim-load-seconds 3600");
    let engine = server.engine_pid().await;
    signal(server.pid(), Signal::TERM);
    assert_ne!(server.ended().await.code(), Some(0));
    assert!(!lives(engine));
}

#[tokio::test]
async fn sigterm_with_an_open_stream_hangs_until_the_client_leaves() {
    let mut server = Outside::ready("").await;
    let engine = server.engine_pid().await;
    let mut stream = endless_stream(&server).await;
    signal(server.pid(), Signal::TERM);
    server
        .says("Waiting for connections to close. (CTRL+C to force quit)")
        .await;
    until(|| !lives(engine)).await.expect("the engine ends");
    assert!(
        TcpStream::connect(server.address).is_err(),
        "nobody listens any more"
    );
    for again in [Signal::TERM, Signal::INT] {
        signal(server.pid(), again);
    }
    // What was under way arrives; then there is neither a byte nor an end.
    let mut rest = vec![0; 1 << 16];
    while let Ok(read) = timeout(Duration::from_millis(300), stream.read(&mut rest)).await {
        assert_ne!(
            read.expect("the connection is open"),
            0,
            "the server has hung up"
        );
    }
    assert!(server.is_running());
    drop(stream);
    assert_eq!(server.ended().await.code(), Some(0));
}

#[tokio::test]
async fn sigkill_cuts_a_hanging_stream_without_an_end() {
    let mut server = Outside::ready("").await;
    let mut stream = endless_stream(&server).await;
    signal(server.pid(), Signal::TERM);
    server.says("Waiting for connections to close.").await;
    signal(server.pid(), Signal::KILL);
    server.ended().await;
    let mut rest = Vec::new();
    // An end or a reset, but no [DONE].
    let _ = stream.read_to_end(&mut rest).await;
    assert!(!String::from_utf8_lossy(&rest).contains("[DONE]"));
}

#[tokio::test]
async fn the_death_of_the_engine_is_seen_at_once_and_ends_the_server() {
    let mut server = Outside::ready("").await;
    let mut stream = endless_stream(&server).await;
    signal(server.engine_pid().await, Signal::KILL);
    server.says("died unexpectedly").await;
    assert_eq!(get(server.address, "/health").await.status(), 503);
    let refused = post(
        server.address,
        "/v1/completions",
        &json!({"prompt": "hello"}),
    )
    .await;
    assert_eq!(refused.status(), 500);
    assert_eq!(
        refused.body,
        r#"{"error":{"message":"EngineCore encountered an issue. See stack trace (above) for the root cause.","type":"Internal Server Error","param":null,"code":500}}"#
    );
    let rest = read_until(&mut stream, "[DONE]").await;
    assert!(
        rest.contains(r#"data: {"error": {"message": "EngineCore encountered an issue."#),
        "{rest}"
    );
    drop(stream);
    assert_eq!(server.ended().await.code(), Some(0));
}
