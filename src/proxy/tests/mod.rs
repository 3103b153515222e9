//! The whole proxy on loopback, in front of servers that the tests hold by the hand.

mod aborts;
mod alone;
mod answers;
mod bounds;
mod control;
mod disconnects;
mod drained;
mod failures;
mod fake;
mod fuzz;
mod handover;
mod http2;
mod identity;
mod load;
mod matrix;
mod pairs;
mod paths;
mod policies;
mod properties;
mod queue;
mod retries;
mod seen;
mod streaming;
mod succession;

use std::collections::BTreeMap;
use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::control::{
    Backend, BackendState, Config, InstanceLimits, Reply, Request, Requests, Status, Timeouts, call,
};
use super::policy::PolicySpec;
use super::route::Front;
use super::{Declared, Limits, Options, Proxy};
use fake::Fake;

/// Ends a test that would hang. No test is about how long something takes.
async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), future)
        .await
        .expect("it hangs")
}

/// A proxy with a folder of its own.
#[must_use]
struct Running {
    address: SocketAddr,
    folder: tempfile::TempDir,
    front: Arc<Front>,
    stops: mpsc::Sender<()>,
    serving: JoinHandle<()>,
}

impl Running {
    /// Starts one without a configuration.
    async fn start() -> Self {
        Self::start_in(tempfile::tempdir().unwrap()).await
    }

    async fn start_in(folder: tempfile::TempDir) -> Self {
        Self::start_with(folder, Limits::default()).await
    }

    /// Starts one that bears so much of its clients.
    async fn start_with(folder: tempfile::TempDir, limits: Limits) -> Self {
        let options = Options {
            limits,
            ..options(&folder)
        };
        Self::by(options, folder).await
    }

    /// Starts one that serves by what is declared, and keeps nothing. It may be told things.
    async fn declared(declared: Declared, socket: Option<&str>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options = Options {
            control: socket.map(|socket| folder.path().join(socket)),
            state: None,
            declared: Some(declared),
            ..options(&folder)
        };
        Self::by(options, folder).await
    }

    async fn by(options: Options, folder: tempfile::TempDir) -> Self {
        let proxy = Proxy::bind(options).await.unwrap();
        let address = proxy.address();
        let front = Arc::clone(&proxy.front);
        let (stops, stopped) = mpsc::channel(2);
        let serving = tokio::spawn(proxy.serve(stopped));
        Self {
            address,
            folder,
            front,
            stops,
            serving,
        }
    }

    /// Starts one in front of these, and waits until all are ready.
    async fn before(fakes: &[&Fake]) -> Self {
        Self::bearing(Limits::default(), fakes).await
    }

    /// The same, and it bears so much of its clients.
    async fn bearing(limits: Limits, fakes: &[&Fake]) -> Self {
        let proxy = Self::start_with(tempfile::tempdir().unwrap(), limits).await;
        proxy.configure(&config(1, fakes)).await;
        for fake in fakes {
            proxy.done(&Request::Admit(fake.backend.clone())).await;
        }
        proxy
    }

    /// Stops it, and leaves its folder to a successor.
    async fn stop(self) -> tempfile::TempDir {
        self.stops.send(()).await.unwrap();
        soon(self.serving).await.unwrap();
        self.folder
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("control.sock")
    }

    async fn tell(&self, request: &Request) -> Reply {
        soon(call(&self.socket(), request, |_| {})).await.unwrap()
    }

    async fn done(&self, request: &Request) -> Status {
        match self.tell(request).await {
            Reply::Done(status) => *status,
            other => panic!("{request:?} was answered by {other:?}"),
        }
    }

    async fn configure(&self, config: &Config) -> Status {
        self.done(&Request::Configure(config.clone())).await
    }

    async fn status(&self) -> Status {
        self.done(&Request::Status).await
    }

    /// Waits until the status is as wanted.
    async fn until(&self, wanted: impl Fn(&Status) -> bool) -> Status {
        soon(async {
            loop {
                let status = self.status().await;
                if wanted(&status) {
                    return status;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await
    }

    async fn until_state(&self, name: &str, state: BackendState) -> Status {
        self.until(|status| status.backends[name].state == state)
            .await
    }

    async fn until_requests(&self, ok: u64, failed: u64, cut: u64) {
        self.until(|status| {
            let requests = status.requests;
            (requests.ok, requests.failed, requests.cut) == (ok, failed, cut)
        })
        .await;
    }

    async fn client(&self) -> Client {
        Client(TcpStream::connect(self.address).await.unwrap())
    }

    /// Sends one request on a connection of its own, and returns the whole answer.
    async fn ask(&self, request: &str) -> Answer {
        let mut client = self.client().await;
        client.send(request).await;
        client.answer().await
    }

    async fn post(&self, path: &str, body: &str) -> Answer {
        self.ask(&post(path, body)).await
    }

    async fn get(&self, path: &str) -> Answer {
        self.ask(&format!("GET {path} HTTP/1.1\r\nhost: proxy\r\n\r\n"))
            .await
    }
}

fn options(folder: &tempfile::TempDir) -> Options {
    Options {
        host: "127.0.0.1".to_owned(),
        port: 0,
        control: Some(folder.path().join("control.sock")),
        succeeds: false,
        state: Some(folder.path().join("state.json")),
        declared: None,
        limits: Limits::default(),
        // A test on one thread has its proxy on it as well, and one on several has it on others.
        workers: Some(match Handle::current().runtime_flavor() {
            RuntimeFlavor::CurrentThread => 0,
            _ => 2,
        }),
    }
}

fn config(generation: u64, fakes: &[&Fake]) -> Config {
    Config {
        generation,
        backends: fakes.iter().map(|fake| fake.backend.clone()).collect(),
        policy: PolicySpec::RoundRobin,
        // Most tests write a stream by hand, and look at each piece as it comes; and nobody waits for who
        // is not ready.
        timeouts: Timeouts {
            gate: 0.0,
            hold: 0.0,
            ..Timeouts::default()
        },
        limits: InstanceLimits::default(),
        client_keys: Vec::new(),
        headers: true,
        access_log: None,
        drained: std::collections::BTreeSet::new(),
        weights: BTreeMap::new(),
    }
}

/// A backend at a port where nobody listens.
async fn nobody(name: &str) -> Backend {
    let gone = Fake::start(name).await;
    gone.backend.clone()
}

fn post(path: &str, body: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nhost: proxy\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// A client that sees bytes.
struct Client(TcpStream);

impl Client {
    async fn send(&mut self, bytes: &str) {
        self.0.write_all(bytes.as_bytes()).await.unwrap();
    }

    /// Reads on until the text ends so.
    async fn until(&mut self, end: &str) -> String {
        let mut read = Vec::new();
        soon(async {
            while !read.ends_with(end.as_bytes()) {
                let byte = self.0.read_u8().await;
                let so_far = String::from_utf8_lossy(&read);
                read.push(byte.unwrap_or_else(|e| panic!("{e} after {so_far:?}")));
            }
        })
        .await;
        String::from_utf8(read).unwrap()
    }

    /// Reads everything until the proxy closes.
    async fn rest(&mut self) -> String {
        let mut read = Vec::new();
        // What matters is what came, and not whether it ended in a reset.
        let _ = soon(self.0.read_to_end(&mut read)).await;
        String::from_utf8(read).unwrap()
    }

    /// Reads one answer with a body of known length, or chunked.
    async fn answer(&mut self) -> Answer {
        let head = self.until("\r\n\r\n").await;
        let mut answer = Answer {
            head,
            body: String::new(),
        };
        if let Some(length) = answer.header("content-length") {
            let mut body = vec![0; length.parse().unwrap()];
            soon(self.0.read_exact(&mut body)).await.unwrap();
            answer.body = String::from_utf8(body).unwrap();
        } else if answer.header("transfer-encoding").is_some() {
            answer.body = self.until("0\r\n\r\n").await;
        }
        answer
    }
}

/// What a client got.
#[derive(Debug)]
struct Answer {
    head: String,
    body: String,
}

impl Answer {
    fn status(&self) -> u16 {
        self.head[9..12].parse().unwrap()
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(": ")?;
            key.eq_ignore_ascii_case(name).then_some(value)
        })
    }

    fn instance(&self) -> Option<&str> {
        self.header("x-replica-instance")
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    fn error(&self) -> String {
        self.json()["error"]["type"].as_str().unwrap().to_owned()
    }
}
