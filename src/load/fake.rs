//! A server for tests: real TCP on loopback, and a script for every request.
//!
//! A script says which bytes go out, and which event each waits for, so that no test depends on how
//! fast the machine is. What was asked is kept.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Barrier, Notify};

use super::clock::Clock;

/// One thing that the server does.
pub(super) enum Step {
    /// Writes these bytes.
    Write(Vec<u8>),
    /// Waits until as many requests as the barrier wants have come this far.
    Meet(Arc<Barrier>),
    /// Lets time pass, where slowness itself is the matter.
    Pause(Duration),
    /// Waits for its turn, and is busy alone for a time.
    Alone(Arc<tokio::sync::Mutex<()>>, Duration),
    /// Says no more until the client leaves.
    Hang,
    /// Closes the connection.
    Close,
}

/// A request as the server read it.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) path: String,
    pub(super) headers: HashMap<String, String>,
    pub(super) body: Value,
    /// How many completions came before it.
    pub(super) index: usize,
}

type Script = dyn Fn(&Asked) -> Vec<Step> + Send + Sync;

/// The server.
pub(super) struct Fake {
    pub(super) authority: String,
    state: Arc<State>,
}

struct State {
    nonce: String,
    script: Box<Script>,
    clock: Clock,
    asked: Mutex<Vec<Asked>>,
    accepted: AtomicUsize,
    written: Mutex<Vec<u64>>,
    left: Notify,
}

impl Fake {
    /// Starts a server that names `nonce` among its models.
    pub(super) async fn start(
        nonce: &str,
        script: impl Fn(&Asked) -> Vec<Step> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let authority = listener.local_addr().unwrap().to_string();
        let state = Arc::new(State {
            nonce: nonce.to_owned(),
            script: Box::new(script),
            clock: Clock::start(),
            asked: Mutex::default(),
            accepted: AtomicUsize::default(),
            written: Mutex::default(),
            left: Notify::new(),
        });
        let serving = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                serving.accepted.fetch_add(1, Relaxed);
                tokio::spawn(serve(stream, Arc::clone(&serving)));
            }
        });
        Self { authority, state }
    }

    /// The completions that were asked, in order.
    pub(super) fn asked(&self) -> Vec<Asked> {
        self.state.asked.lock().unwrap().clone()
    }

    /// How many connections were made to it.
    pub(super) fn accepted(&self) -> usize {
        self.state.accepted.load(Relaxed)
    }

    /// The clock of [`Fake::written`].
    pub(super) fn clock(&self) -> Clock {
        self.state.clock
    }

    /// When each write of a script began.
    pub(super) fn written(&self) -> Vec<u64> {
        self.state.written.lock().unwrap().clone()
    }

    /// Waits until a client has left a hanging answer.
    pub(super) async fn left(&self) {
        self.state.left.notified().await;
    }
}

async fn serve(mut stream: TcpStream, state: Arc<State>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    while let Some(mut asked) = read(&mut stream).await? {
        let steps = if asked.path == "/v1/models" {
            let names = json!({"data": [{"id": "tiny"}, {"id": state.nonce}]});
            vec![Step::Write(answer(200, &[], &names.to_string()))]
        } else if asked.path == "/metrics" {
            vec![Step::Write(answer(404, &[], "it counts nothing"))]
        } else {
            {
                let mut all = state.asked.lock().unwrap();
                asked.index = all.len();
                all.push(asked.clone());
            }
            (state.script)(&asked)
        };
        for step in steps {
            match step {
                Step::Write(bytes) => {
                    let now = state.clock.now();
                    state.written.lock().unwrap().push(now);
                    stream.write_all(&bytes).await?;
                }
                Step::Meet(barrier) => {
                    barrier.wait().await;
                }
                Step::Pause(time) => tokio::time::sleep(time).await,
                Step::Alone(turn, time) => {
                    let _turn = turn.lock().await;
                    tokio::time::sleep(time).await;
                }
                Step::Hang => {
                    let _ = stream.read(&mut [0]).await;
                    state.left.notify_one();
                    return Ok(());
                }
                Step::Close => return Ok(()),
            }
        }
    }
    Ok(())
}

async fn read(stream: &mut TcpStream) -> io::Result<Option<Asked>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return Ok(None),
        }
    }
    let head = String::from_utf8(head).unwrap();
    let mut lines = head.lines();
    let path = lines.next().unwrap().split(' ').nth(1).unwrap().to_owned();
    let headers: HashMap<String, String> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
        .collect();
    let length = headers
        .get("content-length")
        .map_or(0, |n| n.parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    Ok(Some(Asked {
        path,
        headers,
        body: serde_json::from_slice(&body).unwrap_or_default(),
        index: 0,
    }))
}

/// A whole answer.
pub(super) fn answer(status: u16, headers: &[(&str, &str)], body: &str) -> Vec<u8> {
    let headers: Vec<String> = headers
        .iter()
        .map(|(name, value)| format!("{name}: {value}\r\n"))
        .collect();
    format!(
        "HTTP/1.1 {status} X\r\ncontent-length: {}\r\n{}\r\n{body}",
        body.len(),
        headers.concat()
    )
    .into_bytes()
}

/// The head of a stream, with who serves it where a proxy would say so.
pub(super) fn head(instance: Option<&str>) -> Vec<u8> {
    let by = instance.map_or(String::new(), |name| {
        format!("x-replica-instance: {name}\r\n")
    });
    format!(
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n{by}transfer-encoding: chunked\r\n\r\n"
    )
    .into_bytes()
}

/// One chunk of a chunked body.
pub(super) fn chunk(bytes: &[u8]) -> Vec<u8> {
    [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat()
}

/// The chunk of the event that brings token number `total`.
pub(super) fn token(text: &str, total: u64) -> Vec<u8> {
    let data = json!({
        "choices": [{"index": 0, "text": text, "finish_reason": null}],
        "usage": {"prompt_tokens": 3, "completion_tokens": total},
    });
    chunk(format!("data: {data}\n\n").as_bytes())
}

/// The chunks that end a stream of so many tokens.
pub(super) fn finish(total: u64) -> Vec<u8> {
    let finish = json!({"choices": [{"index": 0, "text": "", "finish_reason": "length"}]});
    let usage = json!({"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": total}});
    let text = format!("data: {finish}\n\ndata: {usage}\n\ndata: [DONE]\n\n");
    [chunk(text.as_bytes()), b"0\r\n\r\n".to_vec()].concat()
}

/// A healthy answer of so many tokens, a write each.
pub(super) fn healthy(instance: Option<&str>, tokens: u64) -> Vec<Step> {
    let mut steps = vec![Step::Write(head(instance))];
    steps.extend((1..=tokens).map(|n| Step::Write(token("wörd ", n))));
    steps.push(Step::Write(finish(tokens)));
    steps
}
