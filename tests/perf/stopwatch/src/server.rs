//! A vLLM look-alike of one thread that answers by a timetable and knows when it did.
//!
//! A request is read when its last byte is, and a token is written when its write begins: a write
//! wakes the reader, who on a busy machine runs before us, and a stamp after it would be late.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::fmt::Write as _;
use std::io::{self, Read, Write};
use std::mem::MaybeUninit;
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;

use rustix::buffer::spare_capacity;
use rustix::event::epoll;

use crate::clock::{now, timer, wake_at};

/// The time to the first token, and between two, in nanoseconds.
#[derive(Clone, Copy)]
pub struct Script {
    first: u64,
    gap: u64,
}

impl Script {
    pub fn of(first_ms: f64, gap_ms: f64) -> Self {
        let ns = |ms: f64| (ms * 1e6) as u64;
        Self { first: ns(first_ms), gap: ns(gap_ms) }
    }
}

const LISTENER: u64 = u64::MAX;
const TIMER: u64 = u64::MAX - 1;

struct Server {
    script: Script,
    poll: OwnedFd,
    peers: HashMap<u64, Peer>,
    next: u64,
    /// When each stream is to write its next token, the soonest first.
    due: BinaryHeap<Reverse<(u64, u64)>>,
    truth: String,
}

struct Peer {
    stream: TcpStream,
    asked: Vec<u8>,
    answer: Option<Answer>,
}

/// A stream that is being written.
struct Answer {
    id: String,
    is_chat: bool,
    has_usage: bool,
    has_running_usage: bool,
    tokens: usize,
    read: u64,
    due: u64,
    written: Vec<u64>,
}

pub fn serve(port: u16, script: Script) -> io::Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", port))?;
    rustix::net::listen(&listener, 4096)?;
    listener.set_nonblocking(true)?;
    let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let timer = timer()?;
    let read = epoll::EventFlags::IN;
    epoll::add(&poll, &listener, epoll::EventData::new_u64(LISTENER), read)?;
    epoll::add(&poll, &timer, epoll::EventData::new_u64(TIMER), read)?;
    let mut server = Server {
        script,
        poll,
        peers: HashMap::new(),
        next: 0,
        due: BinaryHeap::new(),
        truth: String::new(),
    };
    println!("serving");
    let mut events = Vec::with_capacity(1024);
    loop {
        if let Some(Reverse((due, _))) = server.due.peek() {
            wake_at(&timer, *due)?;
        }
        epoll::wait(&server.poll, spare_capacity(&mut events), None)?;
        for event in events.drain(..) {
            match event.data.u64() {
                LISTENER => server.accept(&listener)?,
                TIMER => {
                    let _ = rustix::io::read(&timer, &mut [MaybeUninit::<u8>::uninit(); 8]);
                }
                number => server.hear(number),
            }
        }
        server.write_what_is_due();
    }
}

impl Server {
    fn accept(&mut self, listener: &TcpListener) -> io::Result<()> {
        while let Ok((stream, _)) = listener.accept() {
            stream.set_nonblocking(true)?;
            stream.set_nodelay(true)?;
            let data = epoll::EventData::new_u64(self.next);
            epoll::add(&self.poll, &stream, data, epoll::EventFlags::IN)?;
            let peer = Peer { stream, asked: Vec::new(), answer: None };
            self.peers.insert(self.next, peer);
            self.next += 1;
        }
        Ok(())
    }

    /// Takes what a peer says; one that has left is forgotten.
    fn hear(&mut self, number: u64) {
        let Some(peer) = self.peers.get_mut(&number) else {
            return;
        };
        let mut piece = [0; 65536];
        match peer.stream.read(&mut piece) {
            Ok(0) => drop(self.peers.remove(&number)),
            Ok(read) => {
                let at = now();
                peer.asked.extend_from_slice(&piece[..read]);
                if let Some(request) = Request::take(&mut peer.asked) {
                    self.answer(number, &request, at);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => drop(self.peers.remove(&number)),
        }
    }

    fn answer(&mut self, number: u64, request: &Request, at: u64) {
        let peer = self.peers.get_mut(&number).expect("it has just asked");
        let document = match request.path.as_str() {
            "/v1/completions" | "/v1/chat/completions" if request.says("stream", "true") => {
                let answer = Answer::to(request, at, self.script);
                self.due.push(Reverse((answer.due, number)));
                peer.answer = Some(answer);
                let _ = peer.stream.write_all(HEAD);
                return;
            }
            "/v1/completions" | "/v1/chat/completions" => whole(request),
            "/v1/models" => MODELS.to_owned(),
            "/health" | "/ping" => String::new(),
            "/truth" => std::mem::take(&mut self.truth),
            _ => {
                let _ = peer.stream.write_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n");
                return;
            }
        };
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            document.len()
        );
        // It may be long, and nobody is measured meanwhile.
        let _ = peer.stream.set_nonblocking(false);
        let _ = peer.stream.write_all((head + &document).as_bytes());
        let _ = peer.stream.set_nonblocking(true);
    }

    fn write_what_is_due(&mut self) {
        while let Some(Reverse((due, number))) = self.due.peek().copied() {
            if due > now() {
                return;
            }
            self.due.pop();
            let Some(peer) = self.peers.get_mut(&number) else {
                continue;
            };
            let Some(answer) = &mut peer.answer else {
                continue;
            };
            let bytes = answer.next_token();
            answer.written.push(now());
            if peer.stream.write_all(bytes.as_bytes()).is_err() {
                self.peers.remove(&number);
            } else if answer.written.len() < answer.tokens {
                answer.due += self.script.gap;
                self.due.push(Reverse((answer.due, number)));
            } else if let Some(answer) = peer.answer.take() {
                let Answer { id, read, written, .. } = answer;
                let _ = writeln!(self.truth, r#"["{id}",{read},{written:?}]"#);
            }
        }
    }
}

struct Request {
    path: String,
    id: String,
    body: String,
}

impl Request {
    /// The request at the front of what was read, once all of it is there.
    fn take(asked: &mut Vec<u8>) -> Option<Self> {
        let end = asked.windows(4).position(|it| it == b"\r\n\r\n")? + 4;
        let head = String::from_utf8_lossy(&asked[..end]).into_owned();
        let field = |name: &str| {
            let mut fields = head.lines().filter_map(|line| line.split_once(':'));
            let found = fields.find(|(key, _)| key.eq_ignore_ascii_case(name));
            found.map(|(_, value)| value.trim().to_owned())
        };
        let length = field("content-length").map_or(0, |it| it.parse().unwrap_or(0));
        if asked.len() < end + length {
            return None;
        }
        let rest = asked.split_off(end + length);
        let whole = std::mem::replace(asked, rest);
        Some(Self {
            path: head.split(' ').nth(1)?.split('?').next()?.to_owned(),
            id: field("x-request-id").unwrap_or_default(),
            body: String::from_utf8_lossy(&whole[end..]).into_owned(),
        })
    }

    /// What stands after a key of the body, which is JSON that nobody nests keys of these names in.
    fn after(&self, key: &str) -> Option<&str> {
        let (_, rest) = self.body.split_once(&format!("\"{key}\""))?;
        Some(rest.trim_start().strip_prefix(':')?.trim_start())
    }

    fn says(&self, key: &str, value: &str) -> bool {
        self.after(key).is_some_and(|rest| rest.starts_with(value))
    }

    fn tokens(&self) -> usize {
        let said = self.after("max_completion_tokens").or_else(|| self.after("max_tokens"));
        let digits = said.map(|it| it.split(|c: char| !c.is_ascii_digit()).next().unwrap_or(""));
        digits.and_then(|it| it.parse().ok()).unwrap_or(16)
    }
}

impl Answer {
    fn to(request: &Request, read: u64, script: Script) -> Self {
        Self {
            id: request.id.clone(),
            is_chat: request.path.contains("chat"),
            has_usage: request.says("include_usage", "true"),
            has_running_usage: request.says("continuous_usage_stats", "true"),
            tokens: request.tokens().max(1),
            read,
            due: read + script.first,
            written: Vec::with_capacity(request.tokens()),
        }
    }

    fn next_token(&self) -> String {
        let count = self.written.len() + 1;
        let usage = format!(
            r#""usage":{{"prompt_tokens":8,"total_tokens":{},"completion_tokens":{count}}}"#,
            count + 8
        );
        let finish = if count == self.tokens { "\"length\"" } else { "null" };
        let (object, text) = match self.is_chat {
            true => ("chat.completion.chunk", r#""delta":{"content":" a"}"#),
            false => ("text_completion", r#""text":" a""#),
        };
        let front = format!(
            r#"data: {{"id":"cmpl-{}","object":"{object}","created":1764201600,"model":"stopwatch","#,
            self.id
        );
        let running = if self.has_running_usage { format!(",{usage}") } else { String::new() };
        let mut bytes = String::new();
        let mut event = |data: &str| {
            let _ = write!(bytes, "{:x}\r\n{data}\n\n\r\n", data.len() + 2);
        };
        event(&format!(
            r#"{front}"choices":[{{"index":0,{text},"logprobs":null,"finish_reason":{finish},"stop_reason":null}}]{running}}}"#
        ));
        if count == self.tokens {
            if self.has_usage {
                event(&format!(r#"{front}"choices":[],{usage}}}"#));
            }
            event("data: [DONE]");
            bytes.push_str("0\r\n\r\n");
        }
        bytes
    }
}

/// An answer that is no stream: some ask for one before they begin.
fn whole(request: &Request) -> String {
    let (tokens, text) = (request.tokens(), " a".repeat(request.tokens()));
    let said = if request.path.contains("chat") {
        format!(r#""message":{{"role":"assistant","content":"{text}"}}"#)
    } else {
        format!(r#""text":"{text}""#)
    };
    format!(
        r#"{{"id":"cmpl","object":"text_completion","created":1,"model":"stopwatch","choices":[{{"index":0,{said},"finish_reason":"length"}}],"usage":{{"prompt_tokens":8,"completion_tokens":{tokens},"total_tokens":{}}}}}"#,
        tokens + 8
    )
}

const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n\
    transfer-encoding: chunked\r\n\r\n";

const MODELS: &str = r#"{"object":"list","data":[{"id":"stopwatch","object":"model","created":1,"owned_by":"vllm","max_model_len":32768}]}"#;
