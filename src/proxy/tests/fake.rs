//! A server that looks like vLLM, with a test behind every answer.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::plan::Role;
use crate::proxy::control::Backend;
use crate::proxy::pairs;

type Handler =
    Arc<dyn Fn(Call) -> Pin<Box<dyn Future<Output = Option<TcpStream>> + Send>> + Send + Sync>;

/// What is told of that is held for another, where pairs are tried.
const HELD: &str = "a trial";

/// One request that reached the fake. Whoever has it owns the connection.
pub(super) struct Call {
    pub(super) head: String,
    pub(super) body: Vec<u8>,
    pub(super) stream: TcpStream,
    /// Counts the connections of the fake: two calls of one number came over one connection.
    pub(super) connection: usize,
}

impl Call {
    /// Says what the first line says.
    pub(super) fn line(&self) -> &str {
        self.head.lines().next().unwrap()
    }

    /// A header of the request.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(": ")?;
            key.eq_ignore_ascii_case(name).then_some(value)
        })
    }

    pub(super) async fn write(&mut self, bytes: &str) {
        self.stream.write_all(bytes.as_bytes()).await.unwrap();
    }

    /// Writes the head of a stream.
    pub(super) async fn begin_stream(&mut self) {
        self.write("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
            .await;
    }

    /// Writes a chunk.
    pub(super) async fn chunk(&mut self, data: &str) {
        self.write(&format!("{:x}\r\n{data}\r\n", data.len())).await;
    }

    /// Writes the end of a stream.
    pub(super) async fn end_stream(&mut self) {
        self.write("0\r\n\r\n").await;
    }

    /// Writes a whole answer.
    pub(super) async fn reply(&mut self, status: &str, body: &str) {
        let length = body.len();
        self.write(&format!(
            "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
        ))
        .await;
    }

    /// Waits until the next request came over the same connection, and reads nothing of it.
    pub(super) async fn next_came(&mut self) {
        let came = self.stream.peek(&mut [0]).await.unwrap();
        assert_eq!(came, 1, "the proxy closed the connection");
    }

    /// Waits until the proxy has closed the connection.
    pub(super) async fn gone(&mut self) {
        let mut rest = Vec::new();
        // A reset is as gone as an end.
        let _ = self.stream.read_to_end(&mut rest).await;
        assert_eq!(rest, b"", "the proxy sent more");
    }

    /// Closes the connection with a reset.
    pub(super) fn reset(self) {
        self.stream.set_zero_linger().unwrap();
    }
}

/// A fake vLLM.
pub(super) struct Fake {
    pub(super) backend: Backend,
    served: Arc<Mutex<Vec<String>>>,
    calls: Arc<AtomicUsize>,
    is_dead: Arc<AtomicBool>,
    is_silent: Arc<AtomicBool>,
    garbles: Arc<AtomicBool>,
    serving: JoinHandle<()>,
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Fake {
    /// Starts one that answers everything with its name.
    pub(super) async fn start(name: &str) -> Self {
        let body = json!({"from": name}).to_string();
        Self::answering(name, move |mut call| {
            let body = body.clone();
            async move {
                call.reply("200 OK", &body).await;
                Some(call.stream)
            }
        })
        .await
    }

    /// Starts one that hands each call to the test.
    pub(super) async fn driven(name: &str) -> (Self, mpsc::UnboundedReceiver<Call>) {
        let (sender, calls) = mpsc::unbounded_channel();
        let fake = Self::answering(name, move |call| {
            sender.send(call).ok();
            async { None }
        });
        (fake.await, calls)
    }

    /// Starts one with a handler, which returns the connection if it may be used again.
    pub(super) async fn answering<F>(
        name: &str,
        handler: impl Fn(Call) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Option<TcpStream>> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self::on(listener, name, &format!("replica-{name}"), handler)
    }

    /// Starts one on a port that is at hand.
    pub(super) fn on<F>(
        listener: TcpListener,
        name: &str,
        nonce: &str,
        handler: impl Fn(Call) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Option<TcpStream>> + Send + 'static,
    {
        let backend = Backend {
            name: name.to_owned(),
            authority: listener.local_addr().unwrap().to_string(),
            role: Role::Both,
            nonce: Some(nonce.to_owned()),
            key: None,
        };
        let served = Arc::new(Mutex::new(vec!["tiny".to_owned(), nonce.to_owned()]));
        let calls = Arc::<AtomicUsize>::default();
        let is_dead = Arc::<AtomicBool>::default();
        let is_silent = Arc::<AtomicBool>::default();
        let garbles = Arc::<AtomicBool>::default();
        let desk = Desk {
            served: Arc::clone(&served),
            calls: Arc::clone(&calls),
            is_dead: Arc::clone(&is_dead),
            is_silent: Arc::clone(&is_silent),
            garbles: Arc::clone(&garbles),
            handler: Arc::new(move |call| Box::pin(handler(call))),
        };
        let serving = tokio::spawn(accept(listener, desk));
        Self {
            backend,
            served,
            calls,
            is_dead,
            is_silent,
            garbles,
            serving,
        }
    }

    /// How many requests came, those for models and of trials aside.
    pub(super) fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    /// Says of its engine from now on that it is dead, as vLLM does at `/health`.
    pub(super) fn die(&self) {
        self.is_dead.store(true, Ordering::SeqCst);
    }

    /// Leaves whoever asks for its health without an answer from now on.
    pub(super) fn fall_silent(&self) {
        self.is_silent.store(true, Ordering::SeqCst);
    }

    /// Writes something else from now on where it fetches what another has computed, and pairs are tried.
    pub(super) fn garble(&self, does: bool) {
        self.garbles.store(does, Ordering::SeqCst);
    }

    /// Serves other names from now on.
    pub(super) fn serve(&self, names: &[&str]) {
        *self.served.lock().unwrap() = names.iter().map(ToString::to_string).collect();
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.backend.authority.parse().unwrap()
    }
}

#[derive(Clone)]
struct Desk {
    served: Arc<Mutex<Vec<String>>>,
    calls: Arc<AtomicUsize>,
    is_dead: Arc<AtomicBool>,
    is_silent: Arc<AtomicBool>,
    garbles: Arc<AtomicBool>,
    handler: Handler,
}

async fn accept(listener: TcpListener, desk: Desk) {
    for connection in 0.. {
        let (stream, _) = listener.accept().await.unwrap();
        tokio::spawn(desk.clone().converse(stream, connection));
    }
}

impl Desk {
    async fn converse(self, mut stream: TcpStream, connection: usize) {
        stream.set_nodelay(true).unwrap();
        while let Some((head, body)) = read_request(&mut stream).await {
            let mut call = Call {
                head,
                body,
                stream,
                connection,
            };
            if ["GET /v1/models ", "GET /v1/models?"]
                .iter()
                .any(|list| call.line().starts_with(list))
            {
                let names = self.served.lock().unwrap().clone();
                let models: Vec<_> = names.iter().map(|id| json!({"id": id})).collect();
                let list = json!({"object": "list", "data": models});
                call.reply("200 OK", &list.to_string()).await;
                stream = call.stream;
                continue;
            }
            if call.line().starts_with("GET /health ") {
                if self.is_silent.load(Ordering::SeqCst) {
                    call.gone().await;
                    return;
                }
                let status = if self.is_dead.load(Ordering::SeqCst) {
                    "503 Service Unavailable"
                } else {
                    "200 OK"
                };
                call.reply(status, "").await;
                stream = call.stream;
                continue;
            }
            if call.line().starts_with("GET /metrics ") {
                call.reply("404 Not Found", "").await;
                stream = call.stream;
                continue;
            }
            let id = call.header("x-request-id").unwrap_or_default();
            if id.starts_with(pairs::ID) {
                let fetches = String::from_utf8_lossy(&call.body).contains(HELD);
                let is_garbled = fetches && self.garbles.load(Ordering::SeqCst);
                let text = if is_garbled { " what?" } else { " 27" };
                let held = json!({"of": HELD});
                let answer = json!({"choices": [{"text": text}], "kv_transfer_params": held});
                call.reply("200 OK", &answer.to_string()).await;
                stream = call.stream;
                continue;
            }
            self.calls.fetch_add(1, Ordering::SeqCst);
            match (self.handler)(call).await {
                Some(again) => stream = again,
                None => return,
            }
        }
    }
}

/// Reads a request with a body of known length; of a chunked one, only the head.
async fn read_request(stream: &mut TcpStream) -> Option<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        bytes.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8(bytes).unwrap();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "))
        .map_or(0, |length| length.parse().unwrap());
    // Large bodies are the business of the handler.
    let mut body = vec![0; if length > 1_000_000 { 0 } else { length }];
    stream.read_exact(&mut body).await.ok()?;
    Some((head, body))
}
