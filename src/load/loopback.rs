//! A server of our own on the loopback, whose truth is known: it writes down when it read each request
//! and when it wrote each token. What a client says of it is wrong by what the client itself costs.
//!
//! It lives on a thread of its own, as a real server lives in a process of its own, and speaks like
//! vLLM: one event of some 200 bytes a token, in a chunk of its own.

use std::collections::BTreeMap;
use std::io;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::clock::Clock;

/// How a server answers every request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Script {
    /// The time to the first token.
    pub(super) first: Duration,
    /// The time between two tokens; none where they are written as fast as it goes.
    pub(super) gap: Duration,
    /// How many tokens there are at most, and how long they are written at most.
    pub(super) tokens: u32,
    pub(super) at_most: Duration,
}

/// What a server did for one request, in nanoseconds of the run's clock.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Truth {
    /// When it had read the request.
    pub(super) read: u64,
    /// When the write of each token began. A write wakes the reader, who on a busy machine runs
    /// before us: a stamp after it would be late.
    pub(super) written: Vec<u64>,
}

/// What a server did, by the ids of requests.
pub(super) type Truths = BTreeMap<String, Truth>;

/// The server. Dropping it ends it.
#[derive(Debug)]
pub(super) struct Loopback {
    pub(super) authority: String,
    shared: Arc<Shared>,
    _end: oneshot::Sender<()>,
}

#[derive(Debug)]
struct Shared {
    clock: Clock,
    script: Script,
    truths: Mutex<Truths>,
}

impl Loopback {
    /// Starts a server that stamps by this clock.
    pub(super) fn start(clock: Clock, script: Script) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let authority = listener.local_addr()?.to_string();
        let shared = Arc::new(Shared {
            clock,
            script,
            truths: Mutex::default(),
        });
        let (end, ended) = oneshot::channel();
        let serving = Arc::clone(&shared);
        let serve = move || {
            runtime.block_on(async {
                tokio::select! {
                    _ = ended => {}
                    _ = accept(listener, serving) => {}
                }
            });
        };
        std::thread::Builder::new()
            .name("loopback".to_owned())
            .spawn(serve)?;
        Ok(Self {
            authority,
            shared,
            _end: end,
        })
    }

    /// What it did for requests that it has seen through.
    pub(super) fn truths(&self) -> Truths {
        self.shared.truths().clone()
    }
}

impl Shared {
    fn truths(&self) -> std::sync::MutexGuard<'_, Truths> {
        self.truths.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn accept(listener: std::net::TcpListener, shared: Arc<Shared>) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(serve(stream, Arc::clone(&shared)));
    }
}

/// Serves the one request of a connection.
async fn serve(mut stream: TcpStream, shared: Arc<Shared>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut asked = Vec::with_capacity(1024);
    let id = loop {
        if stream.read_buf(&mut asked).await? == 0 {
            return Ok(());
        }
        if let Some(id) = whole(&asked) {
            break id;
        }
    };
    let mut truth = Truth {
        read: shared.clock.now(),
        written: Vec::new(),
    };
    stream.write_all(HEAD).await?;
    let (began, script) = (Instant::now(), shared.script);
    let mut due = began + script.first;
    loop {
        if script.gap.is_zero() && !truth.written.is_empty() {
            tokio::task::yield_now().await;
        } else {
            tokio::time::sleep_until(due).await;
        }
        let count = truth.written.len() as u32 + 1;
        let is_last = count >= script.tokens || began.elapsed() >= script.at_most;
        truth.written.push(shared.clock.now());
        stream.write_all(&token(count, is_last)).await?;
        due += script.gap;
        if is_last {
            break;
        }
    }
    shared.truths().insert(id, truth);
    stream.write_all(END).await
}

const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n\
    transfer-encoding: chunked\r\n\r\n";

/// `[DONE]` and the end of the body.
const END: &[u8] = b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n";

/// The event of one token, with the count so far.
fn token(count: u32, is_last: bool) -> Vec<u8> {
    let finish = if is_last { "\"length\"" } else { "null" };
    let event = format!(
        "data: {{\"id\":\"cmpl-loopback\",\"object\":\"text_completion\",\"created\":1,\
         \"model\":\"loopback\",\"choices\":[{{\"index\":0,\"text\":\" a\",\"logprobs\":null,\
         \"finish_reason\":{finish},\"stop_reason\":null}}],\"usage\":{{\"prompt_tokens\":1,\
         \"total_tokens\":{},\"completion_tokens\":{count}}}}}\n\n",
        count + 1
    );
    format!("{:x}\r\n{event}\r\n", event.len()).into_bytes()
}

/// The id of a request, once all of it is there.
fn whole(asked: &[u8]) -> Option<String> {
    let end = asked.windows(4).position(|it| it == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(&asked[..end]).to_ascii_lowercase();
    let field = |name: &str| {
        let mut lines = head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(key, _)| *key == name).map(|(_, value)| value)
    };
    let length: usize = field("content-length")?.parse().ok()?;
    (asked.len() >= end + 4 + length).then(|| field("x-request-id").unwrap_or("").to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_whole_with_its_last_byte() {
        let asked = b"POST / HTTP/1.1\r\nX-Request-Id: r-1\r\nContent-Length: 2\r\n\r\n{}";
        assert_eq!(whole(asked).as_deref(), Some("r-1"));
        assert_eq!(whole(&asked[..asked.len() - 1]), None);
        assert_eq!(whole(&asked[..20]), None);
    }
}
