//! What becomes of a request at a server that misbehaves, one fault a line.
//!
//! Of two servers the first is asked first, and it misbehaves when a request says so. Each line says
//! what it does, what the client gets, who was asked, and what the ledger counts. After each, nothing is
//! in flight, and other requests are served as if nothing had been.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex};

use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::*;
use crate::proxy::requests::Outcome;

/// What a server does, one after the other. It closes the connection behind the last.
#[derive(Debug, Clone, Copy)]
enum Does {
    /// Sends this.
    Sends(&'static str),
    /// Sends this byte by byte, with a pause behind each.
    Drips(&'static str),
    /// Sends a header of so many bytes.
    SendsHeader(usize),
    /// Sends so many headers.
    SendsHeaders(usize),
    /// Sends nothing more, and keeps the connection.
    Hangs,
    /// Closes the connection with a reset.
    Resets,
    /// Keeps the connection for what comes next.
    Serves,
    /// Its engine dies behind it.
    LosesItsEngine,
    /// The whole server ends.
    Exits,
}

use Does::{Drips, Exits, Hangs, LosesItsEngine, Resets, Sends, SendsHeader, SendsHeaders, Serves};

/// Who misbehaves, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Who {
    /// The first, on a new connection.
    First,
    /// The first, on one that has served before.
    FirstOnKept,
    /// Both.
    Both,
}

use Who::{Both, First, FirstOnKept};

const JSON: &str = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n";
const STREAM: &str =
    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
const PING: &str = "8\r\n: ping\n\n\r\n";
const EVENT: &str = "9\r\ndata: 1\n\n\r\n";
const ERROR: &str = "15\r\ndata: {\"error\": {}}\n\n\r\n";
const END: &str = "0\r\n\r\n";
const CHUNKED: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";

/// Who misbehaves, what it does, the answer, who was asked, how it counts; and what became of the first.
type Line = (
    Who,
    &'static [Does],
    &'static str,
    &'static str,
    &'static str,
);

#[rustfmt::skip]
const BEFORE_AN_ANSWER: &[Line] = &[
    (First, &[], "200 whole by b", "a b", "ok"),
    (First, &[Resets], "200 whole by b", "a b", "ok"),
    (Both, &[], "502 upstream_broken, not again", "a b", "broken"),
    (Both, &[Resets], "502 upstream_broken, not again", "a b", "broken"),
    (First, &[Hangs], "504 upstream_timeout, not again", "a", "broken"),
    (First, &[LosesItsEngine, Resets], "502 upstream_broken, not again", "a", "broken, a ejected"),
    (First, &[Exits], "502 upstream_broken, not again", "a", "broken, a ejected"),
    (FirstOnKept, &[], "200 whole by b", "a a b", "ok"),
    (FirstOnKept, &[Resets], "200 whole by b", "a a b", "ok"),
    (FirstOnKept, &[Sends("HTTP/1.1 200 OK\r\n")], "200 whole by b", "a b", "ok"),
    (FirstOnKept, &[Exits], "502 upstream_broken, not again", "a", "broken, a ejected"),
    (First, &[Sends("HTTP/1.1 200 OK\r\ncontent-le")], "200 whole by b", "a b", "ok"),
    (First, &[Sends("HTTP/1.1 200 OK\r\ncontent-le"), Resets], "200 whole by b", "a b", "ok"),
    (First, &[Sends("HTTP/1.1 200 OK\r\ncontent-le"), Hangs], "504 upstream_timeout, not again", "a", "broken"),
    (First, &[Drips("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")], "200 whole by a: \"{}\"", "a", "ok"),
];

#[rustfmt::skip]
const NO_ANSWERS: &[Line] = &[
    (First, &[Sends("<html>no</html>")], "200 whole by b", "a b", "ok"),
    (Both, &[Sends("<html>no</html>")], "502 upstream_broken, not again", "a b", "broken"),
    (First, &[Sends("HTTP/2 200\r\n\r\n")], "200 whole by b", "a b", "ok"),
    (First, &[Sends("HTTP/1.1 099 Odd\r\ncontent-length: 0\r\n\r\n")], "200 whole by b", "a b", "ok"),
    (First, &[Sends("HTTP/1.1 200 OK\r\nno colon\r\n\r\n")], "200 whole by b", "a b", "ok"),
    (First, &[Sends("HTTP/1.1 200 OK\r\nx : y\r\n\r\n")], "200 whole by b", "a b", "ok"),
    (First, &[Sends("HTTP/1.1 200 OK\r\nx: y\0\r\n\r\n")], "200 whole by b", "a b", "ok"),
    (First, &[Sends("HTTP/1.1 200 OK\r\nx: y\r\n z\r\ncontent-length: 0\r\n\r\n")], "200 whole by b", "a b", "ok"),
    (First, &[Sends("HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab")], "200 whole by b", "a b", "ok"),
    (First, &[Sends("HTTP/1.1 200 OK\r\ncontent-length: -2\r\n\r\nab")], "200 whole by b", "a b", "ok"),
    (First, &[Sends("HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\nab")], "200 whole by b", "a b", "ok"),
    (First, &[Sends("HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n")], "200 whole by b", "a b", "ok"),
    (First, &[Sends("HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n")], "200 whole by b", "a b", "ok"),
    (First, &[Sends(JSON), SendsHeaders(150), Sends("content-length: 0\r\n\r\n")], "200 whole by b", "a b", "ok"),
    (First, &[Sends(JSON), SendsHeader(300_000), Sends("content-length: 0\r\n\r\n")], "200 whole by b", "a b", "ok"),
];

#[rustfmt::skip]
const ANSWERS: &[Line] = &[
    (First, &[Sends("HTTP/1.1 500 Oh\r\ncontent-length: 2\r\n\r\nno")], "200 whole by b", "a b", "ok"),
    (Both, &[Sends("HTTP/1.1 500 Oh\r\ncontent-length: 2\r\n\r\nno")], "500 whole by b: \"no\", not again", "a b", "server_error"),
    (First, &[LosesItsEngine, Sends("HTTP/1.1 500 Oh\r\ncontent-length: 2\r\n\r\nno")], "500 whole by a: \"no\", not again", "a", "server_error, a ejected"),
    (First, &[Sends("HTTP/1.1 502 Oh\r\ncontent-length: 2\r\n\r\nno")], "200 whole by b", "a b", "ok"),
    (First, &[Sends("HTTP/1.1 504 Oh\r\ncontent-length: 2\r\n\r\nno")], "200 whole by b", "a b", "ok"),
    (First, &[Sends("HTTP/1.1 501 Oh\r\ncontent-length: 2\r\n\r\nno")], "501 whole by a: \"no\"", "a", "server_error"),
    (First, &[Sends("HTTP/1.1 429 Much\r\nretry-after: 7\r\ncontent-length: 2\r\n\r\nno")], "200 whole by b", "a b", "ok"),
    (Both, &[Sends("HTTP/1.1 429 Much\r\nretry-after: 7\r\ncontent-length: 2\r\n\r\nno")], "429 whole by b: \"no\", after 7", "a b", "overloaded"),
    (First, &[Sends("HTTP/1.1 503 Much\r\nretry-after: 7\r\ncontent-length: 2\r\n\r\nno")], "200 whole by b", "a b", "ok"),
    (Both, &[Sends("HTTP/1.1 503 Much\r\nretry-after: 7\r\ncontent-length: 2\r\n\r\nno")], "503 whole by b: \"no\", after 7", "a b", "server_error"),
    (First, &[Sends("HTTP/1.1 400 No\r\ncontent-length: 2\r\n\r\nno")], "400 whole by a: \"no\"", "a", "client_error"),
    (First, &[Sends("HTTP/1.1 404 No\r\ncontent-length: 2\r\n\r\nno")], "404 whole by a: \"no\"", "a", "client_error"),
    (First, &[Sends("HTTP/1.1 422 No\r\ncontent-length: 2\r\n\r\nno")], "422 whole by a: \"no\"", "a", "client_error"),
    (First, &[Sends("HTTP/1.1 401 No\r\ncontent-length: 2\r\n\r\nno")], "401 whole by a: \"no\"", "a", "client_error"),
    (First, &[Sends("HTTP/1.1 413 No\r\ncontent-length: 2\r\n\r\nno")], "413 whole by a: \"no\"", "a", "client_error"),
    (First, &[Sends("HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 6\r\n\r\n<html>")], "200 whole by a: \"<html>\"", "a", "ok"),
    (First, &[Sends(JSON), Sends("content-length: 22\r\n\r\n{\"error\":{\"code\":400}}")], "200 whole by a: \"{\\\"error\\\":{\\\"code\\\":400}}\"", "a", "client_error"),
    (First, &[Sends(JSON), Sends("content-length: 22\r\n\r\n"), Drips("{\"error\":{\"code\":500}}")], "200 whole by a: \"{\\\"error\\\":{\\\"code\\\":500}}\"", "a", "error_event"),
    (First, &[Sends("HTTP/1.1 204 None\r\n\r\n")], "204 whole by a: \"\"", "a", "ok"),
    (First, &[Sends("HTTP/1.1 304 Same\r\netag: \"x\"\r\n\r\n")], "304 whole by a: \"\"", "a", "ok"),
    (First, &[Sends("HTTP/1.1 999 \r\ncontent-length: 0\r\n\r\n")], "999 whole by a: \"\"", "a", "ok"),
    (First, &[Sends("HTTP/1.1 100 Go\r\n\r\nHTTP/1.1 103 Early\r\nlink: x\r\n\r\n"), Sends(JSON), Sends("content-length: 2\r\n\r\n{}")], "200 whole by a: \"{}\"", "a", "ok"),
    (First, &[Sends(JSON), SendsHeader(100_000), Sends("content-length: 2\r\n\r\n{}")], "200 whole by a: \"{}\"", "a", "ok"),
    (First, &[Sends(JSON), Sends("content-encoding: gzip\r\ncontent-length: 2\r\n\r\n\x1f\x0b")], "200 whole by a: \"\\u{1f}\\u{b}\"", "a", "ok"),
];

#[rustfmt::skip]
const BODIES: &[Line] = &[
    (First, &[Sends(JSON), Sends("content-length: 9\r\n\r\n{}")], "200 broken by a: \"{}\"", "a", "broken"),
    (First, &[Sends(JSON), Sends("content-length: 9\r\n\r\n{}"), Resets], "200 broken by a: \"{}\"", "a", "broken"),
    (First, &[Sends(JSON), Sends("content-length: 9\r\n\r\n{}"), Hangs], "200 broken by a: \"{}\"", "a", "broken"),
    (First, &[Sends(JSON), Sends("content-length: 2\r\n\r\n{}more"), Serves], "200 whole by a: \"{}\"", "a", "ok"),
    (First, &[Sends(JSON), Sends("content-length: 2\r\n\r\n{}HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nmore"), Serves], "200 whole by a: \"{}\"", "a", "ok"),
    (First, &[Sends(JSON), Sends("content-length: 2\r\n\r\n"), Drips("{}")], "200 whole by a: \"{}\"", "a", "ok"),
    (First, &[Sends("HTTP/1.1 200 OK\r\ncontent-length: 9\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n")], "200 whole by a: \"{}\"", "a", "ok"),
    (First, &[Sends("HTTP/1.1 200 OK\r\n\r\n{}")], "200 whole by a: \"{}\"", "a", "ok"),
    (First, &[Sends("HTTP/1.0 200 OK\r\n\r\n{}")], "200 whole by a: \"{}\"", "a", "ok"),
    (First, &[Sends("HTTP/1.0 200 OK\r\n\r\n{}"), Hangs], "200 broken by a: \"{}\"", "a", "broken"),
    (First, &[Sends("HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\n{}")], "200 whole by a: \"{}\"", "a", "ok"),
    (First, &[Sends(CHUNKED), Sends("2\r\n{}\r\n0\r\nx-sum: 1\r\n\r\n"), Serves], "200 whole by a: \"{}\"", "a", "ok"),
    (First, &[Sends(CHUNKED), Sends("2;x=y\r\n{}\r\n0\r\n\r\n"), Serves], "200 whole by a: \"{}\"", "a", "ok"),
    (First, &[Sends(CHUNKED), Sends("2\r\n{}\r\n")], "200 broken by a: \"{}\"", "a", "broken"),
    (First, &[Sends(CHUNKED), Sends("4\r\n{}")], "200 broken by a: \"{}\"", "a", "broken"),
    (First, &[Sends(CHUNKED), Sends("2\r\n{}\r\nzz\r\n"), Serves], "200 broken by a: \"{}\"", "a", "broken"),
    (First, &[Sends(CHUNKED), Sends("2\r\n{}\r\n-1\r\n"), Serves], "200 broken by a: \"{}\"", "a", "broken"),
    (First, &[Sends(CHUNKED), Sends("2\r\n{}\r\nfffffffffffffffff\r\n"), Serves], "200 broken by a: \"{}\"", "a", "broken"),
    (First, &[Sends(CHUNKED), Sends("2\r\n{}__\r\n"), Serves], "200 broken by a: \"{}\"", "a", "broken"),
    (First, &[Sends(CHUNKED), Sends("2\r\n{}\r\n"), Hangs], "200 broken by a: \"{}\"", "a", "broken"),
    (First, &[Sends(CHUNKED), Sends("2\r\n{}\r\n"), Exits], "200 broken by a: \"{}\"", "a", "broken, a ejected"),
];

#[rustfmt::skip]
const STREAMS: &[Line] = &[
    (First, &[Sends(STREAM)], "200 whole by b", "a b", "ok"),
    (First, &[Sends(STREAM), Resets], "200 whole by b", "a b", "ok"),
    (First, &[Sends(STREAM), Sends(PING)], "200 whole by b", "a b", "ok"),
    (First, &[Sends(STREAM), Sends("9\r\ndata")], "200 whole by b", "a b", "ok"),
    (First, &[Sends(STREAM), Hangs], "504 upstream_timeout, not again", "a", "broken"),
    (First, &[Sends(STREAM), Exits], "502 upstream_broken, not again", "a", "broken, a ejected"),
    (First, &[Sends(STREAM), Sends(ERROR), Sends(END)], "200 whole by b", "a b", "ok"),
    (Both, &[Sends(STREAM), Sends(ERROR), Sends(END)], "200 whole by b: \"data: {\\\"error\\\": {}}\\n\\n\", not again", "a b", "error_event"),
    (First, &[LosesItsEngine, Sends(STREAM), Sends(ERROR), Sends(END)], "200 whole by a: \"data: {\\\"error\\\": {}}\\n\\n\", not again", "a", "error_event, a ejected"),
    (First, &[Sends(STREAM), Sends(EVENT), Sends(ERROR), Sends(END), Serves], "200 whole by a: \"data: 1\\n\\ndata: {\\\"error\\\": {}}\\n\\n\"", "a", "error_event"),
    (First, &[Sends(STREAM), Sends(EVENT)], "200 broken by a: \"data: 1\\n\\n\", upstream_broken", "a", "broken"),
    (First, &[Sends(STREAM), Sends(EVENT), Resets], "200 broken by a: \"data: 1\\n\\n\", upstream_broken", "a", "broken"),
    (First, &[Sends(STREAM), Sends(EVENT), Hangs], "200 broken by a: \"data: 1\\n\\n\", upstream_broken", "a", "broken"),
    (First, &[Sends(STREAM), Sends(EVENT), Exits], "200 broken by a: \"data: 1\\n\\n\", upstream_broken", "a", "broken, a ejected"),
    (First, &[Sends(STREAM), Sends(EVENT), Sends("9\r\ndata")], "200 broken by a: \"data: 1\\n\\ndata\"", "a", "broken"),
    (First, &[Sends(STREAM), Sends(EVENT), Sends("4\r\ndata\r\n")], "200 broken by a: \"data: 1\\n\\ndata\"", "a", "broken"),
    (First, &[Sends(STREAM), Sends(EVENT), Drips(EVENT), Sends(END), Serves], "200 whole by a: \"data: 1\\n\\ndata: 1\\n\\n\"", "a", "ok"),
    (First, &[Sends(STREAM), Sends(END), Serves], "200 whole by a: \"\"", "a", "ok"),
    (First, &[Sends(STREAM), Sends(EVENT), Sends(END), Serves], "200 whole by a: \"data: 1\\n\\n\"", "a", "ok"),
];

/// Waiting for a backend is over after so long: nothing here takes longer of its own.
const IDLE: f64 = 3.0;

/// A server that does as it is told by requests that say `fault`, and answers all others.
#[derive(Clone)]
struct Actor {
    fake: Arc<Mutex<Option<Fake>>>,
    calls: Arc<Mutex<usize>>,
}

impl Actor {
    async fn start(name: &'static str, script: &'static [Does], is_on_kept: bool) -> Self {
        let actor = Self {
            fake: Arc::default(),
            calls: Arc::default(),
        };
        let own = actor.clone();
        let fake = Fake::answering(name, move |call| {
            let own = own.clone();
            async move { own.answer(call, script, is_on_kept).await }
        });
        *actor.fake.lock().unwrap() = Some(fake.await);
        actor
    }

    async fn answer(
        &self,
        mut call: fake::Call,
        script: &[Does],
        is_on_kept: bool,
    ) -> Option<TcpStream> {
        if call.body != b"fault" {
            call.reply("200 OK", "\"served\"").await;
            return is_on_kept.then_some(call.stream);
        }
        *self.calls.lock().unwrap() += 1;
        for does in script {
            match *does {
                Sends(text) => call.write(text).await,
                SendsHeader(length) => call.write(&format!("x: {}\r\n", "y".repeat(length))).await,
                SendsHeaders(many) => call.write(&"x: y\r\n".repeat(many)).await,
                Drips(text) => drip(&mut call, text).await,
                LosesItsEngine => self.fake.lock().unwrap().as_ref().unwrap().die(),
                Hangs => call.gone().await,
                Serves => return Some(call.stream),
                Resets => {
                    call.reset();
                    return None;
                }
                Exits => {
                    let fake = self.fake.lock().unwrap().take();
                    end(fake.unwrap()).await;
                }
            }
        }
        None
    }

    fn backend(&self) -> Backend {
        self.fake.lock().unwrap().as_ref().unwrap().backend.clone()
    }

    fn was_called(&self) -> usize {
        *self.calls.lock().unwrap()
    }
}

async fn drip(call: &mut fake::Call, text: &str) {
    for byte in text.split_inclusive(|_: char| true) {
        call.write(byte).await;
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Ends a server, and waits until nobody listens at its port.
async fn end(fake: Fake) {
    let address = fake.address();
    drop(fake);
    while TcpStream::connect(address).await.is_ok() {
        tokio::task::yield_now().await;
    }
}

/// A proxy before two servers, and the two.
async fn stage(who: Who, script: &'static [Does]) -> (Running, [Actor; 2]) {
    let serves: &[Does] = &[Sends(JSON), Sends("content-length: 8\r\n\r\n\"served\"")];
    let second = if who == Both { script } else { serves };
    let is_on_kept = who == FirstOnKept;
    let actors = [
        Actor::start("a", script, is_on_kept).await,
        Actor::start("b", second, is_on_kept).await,
    ];
    let proxy = Running::start().await;
    let mut config = config(1, &[]);
    config.backends = actors.iter().map(Actor::backend).collect();
    config.timeouts.gate = Timeouts::default().gate;
    config.timeouts.idle = IDLE;
    proxy.configure(&config).await;
    for backend in config.backends {
        proxy.done(&Request::Admit(backend)).await;
    }
    (proxy, actors)
}

/// What a client gets of a request that says `fault`, from its head to the end of the connection.
async fn got(proxy: &Running) -> String {
    let mut client = proxy.client().await;
    let request = "POST /v1/completions HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\
                   content-type: text/plain\r\ncontent-length: 5\r\n\r\nfault";
    client.send(request).await;
    let mut read = Vec::new();
    let _ = soon(client.0.read_to_end(&mut read)).await;
    let text = String::from_utf8_lossy(&read).into_owned();
    let (head, rest) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let answer = Answer {
        head: format!("{head}\r\n"),
        body: rest.to_owned(),
    };
    told(&answer)
}

/// An answer in one line.
fn told(answer: &Answer) -> String {
    let (body, is_whole) = body(answer);
    let mut line = format!("{} ", answer.status());
    match answer.instance() {
        None => {
            let error: Value = serde_json::from_str(&body).unwrap_or_default();
            line += error["error"]["type"].as_str().unwrap_or(&body);
        }
        Some(instance) => {
            line += if is_whole { "whole by " } else { "broken by " };
            line += instance;
            let (own, broken) = body
                .split_once("data: {\"error\":{\"")
                .unwrap_or((&body, ""));
            if own != "\"served\"" {
                let _ = write!(line, ": {own:?}");
            }
            if broken.contains("upstream_broken") {
                line += ", upstream_broken";
            }
        }
    }
    if let Some(may) = answer.header("x-should-retry") {
        line += if may == "false" {
            ", not again"
        } else {
            ", again"
        };
    }
    if let Some(after) = answer.header("retry-after") {
        let _ = write!(line, ", after {after}");
    }
    line
}

/// What came of a body without its framing, and whether that is all of it.
pub(super) fn body(answer: &Answer) -> (String, bool) {
    if let Some(length) = answer.header("content-length") {
        let is_whole = length.parse() == Ok(answer.body.len());
        return (answer.body.clone(), is_whole);
    }
    if answer.header("transfer-encoding").is_none() {
        return (answer.body.clone(), answer.body.is_empty());
    }
    let (mut text, mut rest) = (String::new(), answer.body.as_str());
    while let Some((size, data)) = rest.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).unwrap();
        if size == 0 {
            return (text, data == "\r\n");
        }
        text += data.get(..size).unwrap_or(data);
        rest = data.get(size + 2..).unwrap_or_default();
    }
    (text, false)
}

/// What the ledger has counted, and which servers are not ready.
async fn counted(proxy: &Running, before: &[u64]) -> String {
    let counts = |outcome: &Outcome| proxy.front.ledger.ended(*outcome);
    let ends = Outcome::ALL.iter().zip(before);
    let new = ends.filter(|(outcome, before)| counts(outcome) > **before);
    let mut words: Vec<_> = new.map(|(outcome, _)| outcome.name().to_owned()).collect();
    for (name, backend) in proxy.status().await.backends {
        if backend.state != BackendState::Ready {
            words.push(format!("{name} {:?}", backend.state).to_lowercase());
        }
    }
    words.join(", ")
}

/// Plays one line, and says in what it went otherwise.
async fn play((who, script, client, asked, ledger): Line) -> Result<(), String> {
    let (proxy, actors) = stage(who, script).await;
    if who == FirstOnKept {
        for body in ["1", "2"] {
            assert_eq!(proxy.post("/v1/completions", body).await.status(), 200);
        }
    }
    let before = Outcome::ALL.map(|outcome| proxy.front.ledger.ended(outcome));
    let got = got(&proxy).await;
    let nothing = |status: &Status| status.backends.values().all(|it| it.in_flight == 0);
    proxy.until(nothing).await;
    if ledger.ends_with("a ejected") {
        proxy.until_state("a", BackendState::Ejected).await;
    }
    let counted = counted(&proxy, &before).await;
    let calls = actors.iter().zip(["a", "b"]);
    let calls = calls.flat_map(|(actor, name)| std::iter::repeat_n(name, actor.was_called()));
    let called = calls.collect::<Vec<_>>().join(" ");
    for at in 0..4 {
        let answer = proxy.post("/v1/completions", &at.to_string()).await;
        if (answer.status(), &*answer.body) != (200, "\"served\"") {
            return Err(format!("{who:?} {script:?}\n  and then {answer:?}"));
        }
    }
    if proxy.front.uploads.held() != 0 {
        return Err(format!("{who:?} {script:?} is held"));
    }
    let (expected, seen) = ((client, asked, ledger), (&*got, &*called, &*counted));
    if expected == seen {
        return Ok(());
    }
    Err(format!(
        "{who:?} {script:?}\n  expected {expected:?}\n  seen     {seen:?}"
    ))
}

async fn play_all(lines: &'static [Line]) {
    let mut playing: JoinSet<_> = lines.iter().copied().map(play).collect();
    let mut wrong = Vec::new();
    while let Some(played) = playing.join_next().await {
        wrong.extend(played.unwrap().err());
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn before_an_answer() {
    play_all(BEFORE_AN_ANSWER).await;
}

#[tokio::test]
async fn what_is_no_answer() {
    play_all(NO_ANSWERS).await;
}

#[tokio::test]
async fn answers_by_their_status() {
    play_all(ANSWERS).await;
}

#[tokio::test]
async fn bodies_that_are_not_as_announced() {
    play_all(BODIES).await;
}

#[tokio::test]
async fn streams_of_events() {
    play_all(STREAMS).await;
}

/// What a port does at which nobody serves any more.
#[derive(Debug, Clone, Copy)]
enum Port {
    Refuses,
    /// Takes connections, and closes them at once.
    Slams,
    /// Takes connections, and says nothing.
    IsMute,
}

#[tokio::test]
async fn ports_without_a_server_cost_no_request() {
    for port in [Port::Refuses, Port::Slams, Port::IsMute] {
        let (proxy, [a, b]) = stage(First, &[]).await;
        let fake = a.fake.lock().unwrap().take().unwrap();
        let address = fake.address();
        end(fake).await;
        let listener = TcpListener::bind(address).await.unwrap();
        let kept = tokio::spawn(async move {
            let mut kept = Vec::new();
            while let Port::Slams | Port::IsMute = port {
                let (stream, _) = listener.accept().await.unwrap();
                if let Port::IsMute = port {
                    kept.push(stream);
                }
            }
        });
        assert_eq!(got(&proxy).await, "200 whole by b", "{port:?}");
        assert_eq!((a.was_called(), b.was_called()), (0, 1));
        let status = proxy.until_state("a", BackendState::Ejected).await;
        assert_eq!(status.requests.ok, 1);
        kept.abort();
    }
}
