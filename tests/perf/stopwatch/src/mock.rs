//! Backends that cost next to nothing, for what is measured in front of them: one thread for all.
//!
//! A completion is answered at once, or after as many milliseconds as its `seed` says. A stream gets an
//! event with each step of its backend, all streams of one in the same step as an engine's do, and each
//! event says when it was written. Whatever else is asked, routers want to hear before they serve.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::mem::MaybeUninit;
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;

use rustix::buffer::spare_capacity;
use rustix::event::epoll;

use crate::clock::{now, timer, wake_at};
use crate::http::{Request, answer, number_after};

/// Where a backend listens, and the second name of its model, by which a proxy knows it.
pub struct Backend {
    pub port: u16,
    pub nonce: String,
}

/// Bodies up to this size may ask for more than an answer at once: the large ones are not searched.
const SEARCHED: usize = 4096;

const TIMER: u64 = u64::MAX;
const FIRST_PEER: u64 = 1024;

struct Mock {
    gap: u64,
    poll: OwnedFd,
    engines: Vec<Engine>,
    peers: HashMap<u64, Peer>,
    next: u64,
    piece: Box<[u8]>,
    completion: Vec<u8>,
}

/// One backend, and who waits for something of it.
struct Engine {
    listener: TcpListener,
    models: String,
    step: u64,
    streams: Vec<u64>,
    /// Who is answered later, and when.
    held: Vec<(u64, u64)>,
}

struct Peer {
    stream: TcpStream,
    engine: usize,
    asked: Vec<u8>,
    /// As many events are still to come.
    events: u64,
}

pub fn serve(gap_us: f64, backends: &[Backend]) -> io::Result<()> {
    let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let timer = timer()?;
    let read = epoll::EventFlags::IN;
    epoll::add(&poll, &timer, epoll::EventData::new_u64(TIMER), read)?;
    let mut mock = Mock {
        gap: (gap_us * 1e3) as u64,
        poll,
        engines: Vec::new(),
        peers: HashMap::new(),
        next: FIRST_PEER,
        piece: vec![0; 256 * 1024].into(),
        completion: answer(&completion()),
    };
    for (at, backend) in backends.iter().enumerate() {
        let engine = Engine::on(backend, now() + mock.gap * at as u64 / backends.len() as u64)?;
        let data = epoll::EventData::new_u64(at as u64);
        epoll::add(&mock.poll, &engine.listener, data, read)?;
        mock.engines.push(engine);
    }
    println!("serving");
    let mut events = Vec::with_capacity(1024);
    loop {
        if let Some(soonest) = mock.engines.iter().filter_map(Engine::soonest).min() {
            wake_at(&timer, soonest)?;
        }
        epoll::wait(&mock.poll, spare_capacity(&mut events), None)?;
        for event in events.drain(..) {
            match event.data.u64() {
                TIMER => {
                    let _ = rustix::io::read(&timer, &mut [MaybeUninit::<u8>::uninit(); 8]);
                }
                engine if engine < FIRST_PEER => mock.accept(engine as usize)?,
                number => mock.hear(number),
            }
        }
        for engine in 0..mock.engines.len() {
            mock.step(engine);
            mock.let_go(engine);
        }
    }
}

impl Engine {
    fn on(backend: &Backend, step: u64) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", backend.port))?;
        rustix::net::listen(&listener, 4096)?;
        listener.set_nonblocking(true)?;
        let model = |name: &str| {
            format!(r#"{{"id":"{name}","object":"model","created":1,"owned_by":"vllm","root":"m","parent":null,"max_model_len":32768,"permission":[]}}"#)
        };
        let models = format!(
            r#"{{"object":"list","data":[{},{}]}}"#,
            model("m"),
            model(&backend.nonce)
        );
        Ok(Self { listener, models, step, streams: Vec::new(), held: Vec::new() })
    }

    /// When there is something to do.
    fn soonest(&self) -> Option<u64> {
        let step = (!self.streams.is_empty()).then_some(self.step);
        let held = self.held.iter().map(|(due, _)| *due).min();
        step.into_iter().chain(held).min()
    }
}

impl Mock {
    fn accept(&mut self, engine: usize) -> io::Result<()> {
        while let Ok((stream, _)) = self.engines[engine].listener.accept() {
            stream.set_nonblocking(true)?;
            stream.set_nodelay(true)?;
            let data = epoll::EventData::new_u64(self.next);
            epoll::add(&self.poll, &stream, data, epoll::EventFlags::IN)?;
            let peer = Peer { stream, engine, asked: Vec::new(), events: 0 };
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
        match peer.stream.read(&mut self.piece) {
            Ok(0) => drop(self.peers.remove(&number)),
            Ok(read) => {
                peer.asked.extend_from_slice(&self.piece[..read]);
                while let Some(request) = self.request_of(number) {
                    self.answer(number, &request);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => drop(self.peers.remove(&number)),
        }
    }

    fn request_of(&mut self, number: u64) -> Option<Request> {
        Request::take(&mut self.peers.get_mut(&number)?.asked)
    }

    fn answer(&mut self, number: u64, request: &Request) {
        let engine = self.peers[&number].engine;
        if !request.is_post {
            let document = self.document(engine, &request.path);
            return self.write(number, &answer(&document));
        }
        let body = &request.body[..];
        let searched = if body.len() < SEARCHED { body } else { b"" };
        let is_stream = ["\"stream\":true", "\"stream\": true"]
            .iter()
            .any(|it| searched.windows(it.len()).any(|here| here == it.as_bytes()));
        if is_stream {
            self.begin_stream(number, number_after(searched, b"\"max_tokens\"").unwrap_or(16));
        } else if let Some(hold) = number_after(searched, b"\"seed\"") {
            self.engines[engine].held.push((now() + hold * 1_000_000, number));
        } else {
            let completion = std::mem::take(&mut self.completion);
            self.write(number, &completion);
            self.completion = completion;
        }
    }

    fn document(&self, engine: usize, path: &str) -> String {
        match path {
            "/v1/models" => self.engines[engine].models.clone(),
            "/connections" => {
                let own = self.peers.values().filter(|peer| peer.engine == engine);
                (own.count() - 1).to_string()
            }
            _ => r#"{"status":"ok","model_path":"m","served_model_name":"m","version":"0.13.0"}"#.to_owned(),
        }
    }

    fn begin_stream(&mut self, number: u64, events: u64) {
        let Some(peer) = self.peers.get_mut(&number) else {
            return;
        };
        peer.events = events;
        let engine = &mut self.engines[peer.engine];
        if engine.streams.is_empty() {
            // Its steps go on by the same beat, as if there had always been somebody.
            engine.step += (now().saturating_sub(engine.step) / self.gap + 1) * self.gap;
        }
        engine.streams.push(number);
        self.write(number, HEAD);
    }

    /// Gives every stream of an engine its next event, when it is time.
    fn step(&mut self, engine: usize) {
        let Engine { step, streams, .. } = &mut self.engines[engine];
        if streams.is_empty() || *step > now() {
            return;
        }
        *step += self.gap;
        for number in std::mem::take(streams) {
            let Some(peer) = self.peers.get_mut(&number) else {
                continue;
            };
            peer.events -= 1;
            let is_last = peer.events == 0;
            self.write(number, event(is_last).as_bytes());
            if !is_last {
                self.engines[engine].streams.push(number);
            }
        }
    }

    fn let_go(&mut self, engine: usize) {
        if self.engines[engine].held.is_empty() {
            return;
        }
        let now = now();
        let (due, held) = std::mem::take(&mut self.engines[engine].held)
            .into_iter()
            .partition(|(due, _)| *due <= now);
        self.engines[engine].held = held;
        for (_, number) in due {
            self.write(number, &answer(&completion()));
        }
    }

    /// Writes at once: who does not take it in time is forgotten.
    fn write(&mut self, number: u64, bytes: &[u8]) {
        if let Some(peer) = self.peers.get_mut(&number)
            && peer.stream.write_all(bytes).is_err()
        {
            self.peers.remove(&number);
        }
    }
}

const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n\
    transfer-encoding: chunked\r\n\r\n";

/// An event of a stream, as a chunk, with the moment in the place of its text.
fn event(is_last: bool) -> String {
    let finish = if is_last { "\"length\"" } else { "null" };
    let data = format!(
        "data: {{\"id\":\"cmpl-0123456789abcdef0123456789abcdef\",\"object\":\"text_completion\",\"created\":1764201600,\"model\":\"m\",\"choices\":[{{\"index\":0,\"text\":\" {}\",\"logprobs\":null,\"finish_reason\":{finish},\"stop_reason\":null}}],\"usage\":null}}\n\n",
        now()
    );
    let chunk = format!("{:x}\r\n{data}\r\n", data.len());
    if is_last { chunk + "e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n" } else { chunk }
}

/// An answer of 2 KB.
fn completion() -> String {
    let front = r#"{"id":"cmpl-0123456789abcdef0123456789abcdef","object":"text_completion","created":1764201600,"model":"m","choices":[{"index":0,"text":""#;
    let back = r#"","logprobs":null,"finish_reason":"length","stop_reason":null}],"usage":{"prompt_tokens":8,"total_tokens":24,"completion_tokens":16}}"#;
    format!("{front}{}{back}", "a".repeat(2048 - front.len() - back.len()))
}
