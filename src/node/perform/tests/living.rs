//! Asking for a sign of life.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::*;
use crate::plan::{Counters, Liveness, LivenessProbe};

const PAGE: &str = "vllm:num_requests_running 0\nvllm:generation_tokens_total 7\n";

/// A server of which each connection carries so many answers.
struct Served {
    port: u16,
    connections: Arc<AtomicUsize>,
}

impl Served {
    async fn answering(answers_each: usize) -> Self {
        let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = socket.local_addr().unwrap().port();
        let connections = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&connections);
        tokio::spawn(async move {
            while let Ok((connection, _)) = socket.accept().await {
                counted.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(answer(connection, answers_each));
            }
        });
        Self { port, connections }
    }

    fn probe(&self) -> LivenessProbe {
        LivenessProbe {
            address: address(),
            node: here().name().clone(),
            host: "127.0.0.1".to_owned(),
            port: self.port,
            counters: Counters {
                path: "/metrics",
                running: "vllm:num_requests_running",
                working: &["vllm:generation_tokens_total"],
            },
            work: Check {
                path: "/v1/completions".to_owned(),
                body: Some(serde_json::json!({"max_tokens": 1})),
                contains: Some("choices".to_owned()),
                api_key: None,
                refused_hint: None,
                shows: "one token".to_owned(),
            },
        }
    }

    async fn asked_early(&self) -> Liveness {
        let connection = here().connect_http("127.0.0.1", self.port).await.unwrap();
        let early = EarlyPage::ask(connection, "/metrics");
        liveness(&here(), &self.probe(), Some(early)).await.unwrap()
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

/// Answers so many requests: the page of counters, or a token.
async fn answer(mut connection: TcpStream, answers: usize) {
    let mut received = Vec::new();
    for _ in 0..answers {
        while !received.windows(4).any(|it| it == b"\r\n\r\n") {
            match connection.read_buf(&mut received).await {
                Ok(1..) => {}
                _ => return,
            }
        }
        let body = if received.starts_with(b"GET") {
            PAGE
        } else {
            r#"{"choices":[{}]}"#
        };
        received.clear();
        let text = format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        connection.write_all(text.as_bytes()).await.unwrap();
    }
}

#[tokio::test]
async fn a_page_and_a_token_come_over_one_connection() {
    let served = Served::answering(2).await;
    assert_eq!(served.asked_early().await, Liveness::Alive { slow: None });
    assert_eq!(served.connections(), 1);
}

#[tokio::test]
async fn what_the_server_has_closed_is_asked_anew() {
    let served = Served::answering(1).await;
    assert_eq!(served.asked_early().await, Liveness::Alive { slow: None });
    assert_eq!(served.connections(), 2, "the page, and the token");
}

#[tokio::test]
async fn a_page_that_broke_off_is_asked_for_again() {
    let served = Served::answering(1).await;
    let connection = here().connect_http("127.0.0.1", served.port).await.unwrap();
    let mut connection = connection;
    let page = crate::node::HttpRequest::get("/metrics");
    connection.exchange(&page).await.unwrap();
    // Nothing more comes over this one.
    let early = EarlyPage::ask(connection, "/metrics");
    let shown = liveness(&here(), &served.probe(), Some(early)).await;
    assert_eq!(shown, Ok(Liveness::Alive { slow: None }));
    assert_eq!(served.connections(), 3, "the first, the page, the token");
}
